package live

import (
	"fmt"
	"slices"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

// part is a circuit of a scenario, as far as a router can run it.
type part struct {
	name             string
	tenant, policyID string
	provider         string
	config           breaker.Config
	steps            []scenario.Step
}

// prepare takes of a scenario what a router can run and a metrics endpoint can
// judge, and says what it leaves out.
func (d *driver) prepare(s scenario.Scenario) ([]part, []scenario.Skip) {
	var parts []part
	var skipped []scenario.Skip
	requests := 0 // of the parts so far: they share the rate
	for i, c := range s.Circuits {
		skip := func(format string, args ...any) {
			skipped = append(skipped, scenario.Skip{Circuit: c.Name, Why: fmt.Sprintf(format, args...)})
		}
		steps, unseen := measurable(c.Steps)
		mine := scenario.Circuit{Steps: steps}.Requests()
		why := d.cannot(c, steps, requests+mine)
		if why != "" {
			skip("%s", why)
			continue
		}
		p := part{name: c.Name, config: c.Config, steps: steps, tenant: d.Tenant, policyID: d.Policy}
		if d.Config == nil {
			p.tenant, p.policyID = Tenant, PolicyFor(s.Name, i)
		}
		var ok bool
		if p.provider, ok = d.nextProvider(); !ok {
			skip("no provider is left, and a circuit is new only once")
			continue
		}
		if unseen > 0 {
			skip("%d of its expectations need a look into the breaker, which no endpoint gives", unseen)
		}
		parts = append(parts, p)
		requests += mine
	}
	return parts, skipped
}

// measurable drops expectations that metrics cannot answer, and steps after the
// last that they can.
func measurable(steps []scenario.Step) (kept []scenario.Step, unseen int) {
	last := 0
	for _, s := range steps {
		e, ok := s.(scenario.Expect)
		if !ok {
			kept = append(kept, s)
			continue
		}
		live := slices.DeleteFunc(slices.Clone(e.Expectations), func(x scenario.Expectation) bool {
			m, _ := scenario.MeasureNamed(x.Measure)
			if !m.Live && !x.Report {
				unseen++
			}
			return !m.Live
		})
		if len(live) > 0 {
			kept = append(kept, scenario.Expect{Expectations: live})
			last = len(kept)
		}
	}
	return kept[:last], unseen
}

// cannot says why a circuit cannot be run on this router, "" if it can. requests
// are its own and those of the circuits that are run beside it.
func (d *driver) cannot(c scenario.Circuit, steps []scenario.Step, requests int) string {
	for _, s := range c.Steps {
		switch s := s.(type) {
		case scenario.Configure:
			return "it changes the config, which only a change of policy does"
		case scenario.Publish:
			return "it sets the publish latency, which nobody can from outside"
		case scenario.Traffic:
			return "it is days of traffic"
		case scenario.Send:
			if s.Spread > 1 {
				return "its requests are spread over several circuits"
			}
		}
	}
	judged := slices.ContainsFunc(steps, func(s scenario.Step) bool {
		e, ok := s.(scenario.Expect)
		return ok && slices.ContainsFunc(e.Expectations, func(x scenario.Expectation) bool { return !x.Report })
	})
	need := scenario.Circuit{Steps: steps}.Duration() + time.Duration(float64(requests)/d.MaxRate*float64(time.Second))
	switch {
	case !judged:
		return "nothing in it can be judged from metrics"
	case c.Unconfigured:
		return "a router asks only where a policy enables the breaker"
	case d.Config != nil && c.Config != *d.Config:
		return "it needs another config than the policy has"
	case need > d.left():
		return fmt.Sprintf("it needs %s, and %s is left of the limit (--duration, --max-rate)", need.Round(time.Second), max(d.left(), 0).Round(time.Second))
	}
	return ""
}

// nextProvider is the next one to use.
func (d *driver) nextProvider() (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used++
	if len(d.Providers) == 0 {
		return fmt.Sprintf("lt-%x-%d", d.began.UnixMilli(), d.used), true
	}
	if d.used > len(d.Providers) {
		return "", false
	}
	return d.Providers[d.used-1], true
}

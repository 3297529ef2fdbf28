package criteria

import (
	"fmt"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// Accurate is metrics-accurate: "metrics and logs are accurate and useful" (guide,
// Phase 1 step 3), as far as metrics go: held against each other and against the
// rules of the breaker, nothing in them can be false.
type Accurate struct{}

// ID implements Criterion.
func (Accurate) ID() string { return "metrics-accurate" }

// Judge implements Criterion.
func (Accurate) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	r := s.ready(k)
	b := r.blocked(readsTransitions)
	quirks := s.quirks(f)
	wrong := s.contradictions(f)
	switch {
	case len(wrong) > 0 && !r.cannotFail(readsTransitions):
		tf.Verdict = Fail
		tf.Evidence = wrong[:min(len(wrong), maxFacts)]
		tf.Summary = fmt.Sprintf("%s, e.g. %s", plural(len(wrong), "contradiction"), wrong[0].Text)
		tf.Needs = "the exporter, the relabelling or the router's version looked at: until then nothing else that reads these series can pass"
		return tf
	case b != nil:
		return *b
	}
	tf.Verdict = Pass
	tf.Summary = fmt.Sprintf("%s balance", plural(len(f.circuits), "circuit"))
	if len(f.circuits) == 1 {
		tf.Summary = "1 circuit balances"
	}
	if len(quirks) > 0 {
		tf.Summary += fmt.Sprintf("; %s", plural(len(quirks), "known quirk"))
	}
	for _, q := range quirks {
		tf.Evidence = append(tf.Evidence, Fact{Text: q})
	}
	return tf
}

// quirks are habits of the router that look like mistakes and are none (ROUTER.md
// §5), as far as they are met here.
func (s *Study) quirks(f *tenantFacts) []string {
	var out []string
	late, shadow, resets, windows := 0, 0, 0, 0.0
	for _, c := range f.circuits {
		xs := c.c.Transitions
		for i := 1; i < len(xs); i++ {
			if xs[i-1].CO == 0 && xs[i].CO > 0 && xs[i].Epoch == xs[i-1].Epoch {
				late++
			}
		}
		if n := len(xs); n > 0 {
			windows = max(windows, xs[n-1].WindowRequests)
		}
		for _, ep := range c.episodes {
			if ep.Shadow {
				shadow++
			}
			if ep.Reset {
				resets++
			}
		}
	}
	if late > 0 {
		out = append(out, fmt.Sprintf("quirk: %s first appeared with their first open, where rate() and increase() are 0", plural(late, "series")))
	}
	if windows > 0 {
		out = append(out, "quirk: window_requests_total adds up windows; it is not the current window")
	}
	if shadow > 0 {
		out = append(out, fmt.Sprintf("quirk: %s tripped before enabling, since outcomes are counted all the time", plural(shadow, "circuit")))
	}
	if resets > 0 {
		out = append(out, fmt.Sprintf("quirk: %s ended by a reset, which emits no transition", plural(resets, "episode")))
	}
	for _, d := range s.Evidence.Doubles {
		out = append(out, fmt.Sprintf("%s is %s scraped twice; it was counted once", d.Dropped, d.Kept))
	}
	if r := s.Evidence.Dialect.Renames; len(r) > 0 {
		out = append(out, "names differ from the router's: "+strings.Join(r, ", "))
	}
	return out
}

// Counterexamples implements Criterion.
func (Accurate) Counterexamples(s *Study, k int) []Counterexample {
	base := s.common(k)
	ces := base
	for i := range s.tenant(k).circuits {
		at, ok := s.quietMoment(k, i)
		if !ok {
			continue
		}
		step := s.step()
		ces = append(ces,
			Counterexample{"a fail_fast on a closed circuit", func(c *Case) {
				from(c.Circuit(i), at, func(o *evidence.Outcome) { o.FailFast++ }, nil)
			}},
			Counterexample{"an open without a failure", func(c *Case) {
				x := c.Circuit(i)
				plant(c.Evidence, x, at, planted{close: true})
				from(x, at, func(o *evidence.Outcome) { o.Failure--; o.Success++ }, nil)
				still(x, at, step)
			}},
			Counterexample{"a close without an open", func(c *Case) {
				x := c.Circuit(i)
				plant(c.Evidence, x, at, planted{close: true})
				from(x, at, nil, func(y *evidence.Transition) { y.CO--; y.WindowRequests--; y.WindowFailures-- })
			}})
		break
	}
	if len(ces) == len(base) {
		return nil
	}
	return ces
}

// from changes what a circuit counted from an instant on, in that epoch.
func from(c *evidence.Circuit, at time.Time, o func(*evidence.Outcome), x func(*evidence.Transition)) {
	c.InsertOutcome(at.UnixMilli())
	c.InsertTransition(at.UnixMilli())
	epoch := epochAt(c, at.UnixMilli())
	for i := range c.Outcomes {
		if y := &c.Outcomes[i]; o != nil && y.T >= at.UnixMilli() && y.Epoch == epoch {
			o(y)
		}
	}
	for i := range c.Transitions {
		if y := &c.Transitions[i]; x != nil && y.T >= at.UnixMilli() && y.Epoch == epoch {
			x(y)
		}
	}
}

// still makes the failures of the two scrapes on either side of an instant stand
// still, so that none explains what happened there.
func still(c *evidence.Circuit, at time.Time, step time.Duration) {
	lo, hi := at.Add(-3*step), at.Add(5*step)
	for _, t := range []time.Time{lo, hi} {
		c.InsertOutcome(t.UnixMilli())
	}
	i := 0
	for i < len(c.Outcomes) && c.Outcomes[i].T < lo.UnixMilli() {
		i++
	}
	if i == len(c.Outcomes) {
		return
	}
	base := c.Outcomes[i].Failure
	for ; i < len(c.Outcomes) && c.Outcomes[i].T <= hi.UnixMilli(); i++ {
		c.Outcomes[i].Success += c.Outcomes[i].Failure - base
		c.Outcomes[i].Failure = base
	}
}

package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// latched counts gauges that say open while the transitions say closed: old states are
// never removed (ROUTER.md §5), so that nothing may be alerted on from them.
func (x *examination) latched(ctx context.Context) error {
	open := map[string]bool{}
	for i := range x.ev.Tenants {
		for j := range x.ev.Tenants[i].Circuits {
			c := &x.ev.Tenants[i].Circuits[j]
			if n := len(c.Transitions); n > 0 {
				open[circuitName(c.Node, c.Tenant, c.Provider)] = c.Transitions[n-1].CO-c.Transitions[n-1].HC > 0.5
			}
		}
	}
	k := Check{ID: "latched-gauges", Verdict: criteria.Pass}
	says, lies := 0, 0
	q := promquery.Query{Name: "state gauges", From: x.req.At, To: x.req.At,
		Select: x.d.Match("state", promquery.Match{Label: "state", Values: []string{"open"}})}
	_, err := x.c.Instant(ctx, q, func(s promquery.Series) error {
		l := x.d.Canonical(s.Labels)
		isOpen, known := open[circuitName(x.d.Node(s.Labels), l["tenant_id"], l["provider_id"])]
		if !known || len(s.Samples) == 0 || s.Samples[0].V != 1 {
			return nil
		}
		says++
		if !isOpen {
			lies++
			if len(k.Evidence) < 5 {
				k.Evidence = append(k.Evidence, fmt.Sprintf(`%s on %s reads state="open" 1 and is closed`, l["tenant_id"], l["provider_id"]))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.Summary = "the state gauge says open for no circuit"
	switch {
	case lies > 0:
		k.Summary = fmt.Sprintf(`the state gauge says open for %d circuits, %d of them are closed: it latches, never read it`, says, lies)
	case says > 0:
		k.Summary = fmt.Sprintf("the state gauge says open for %d circuits, and so they are; it will go on saying so when they close", says)
	}
	x.add(k)
	return nil
}

func circuitName(node, tenant, provider string) string {
	return node + "\x00" + tenant + "\x00" + provider
}

// minInert is how many outcomes on an open circuit make a breaker inert that denied
// nothing: calls under way and the edges of scrapes explain fewer.
const minInert = 20

// containment: how much of its traffic an open circuit kept away so far. A breaker
// that denies nothing while it is open is inert (ROUTER.md §3), and that is better
// known before a rollout than after it.
func (x *examination) containment(tenants []Tenant) {
	k := Check{ID: "containment", Verdict: criteria.Pass}
	var sum evidence.Containment
	episodes, inert := 0, []string{}
	for i := range x.ev.Tenants {
		t := &x.ev.Tenants[i]
		for j := range t.Circuits {
			c := &t.Circuits[j]
			if !x.asked(tenants, t.ID, c) {
				continue
			}
			for _, ep := range t.Episodes(c, x.ev.At, 0) {
				m := ep.Containment(c, t.Config, t.Since, x.ev.At)
				if !m.Known {
					continue
				}
				episodes++
				sum.FailFast, sum.Outcomes = sum.FailFast+m.FailFast, sum.Outcomes+m.Outcomes
				if m.Upper == 0 && m.Outcomes >= minInert {
					inert = append(inert, fmt.Sprintf("%s on %s: %.0f outcomes on an open circuit, none denied", t.ID, c.Provider, m.Outcomes))
				}
			}
		}
	}
	switch {
	case len(inert) > 0:
		k.Verdict = criteria.Fail
		k.Summary = fmt.Sprintf("inert: %d of %d episodes denied nothing while requests went on", len(inert), episodes)
		k.Evidence = append(inert[:min(len(inert), 5)], "the gate is asked only for requests whose context names a provider; without a fallback in the request it decides nothing")
		k.Next = []string{"see that requests carry selected_provider and fallback_provider before a rollout starts"}
	case sum.FailFast+sum.Outcomes == 0:
		k.Verdict, k.Advisory = criteria.Inconclusive, true
		k.Summary = "not measured: no enabled circuit was open in this time"
		if episodes > 0 {
			k.Summary = fmt.Sprintf("not measured: %d episodes, each too short between two scrapes", episodes)
		}
		k.Next = []string{"a drill on the canary tells: without one, an inert breaker is found out in phase 1 only"}
	default:
		k.Summary = fmt.Sprintf("%.0f %% of what met an open circuit was kept away, in %d episodes", 100*sum.FailFast/(sum.FailFast+sum.Outcomes), episodes)
	}
	x.add(k)
}

// asked reports whether a circuit's gate decides anything: its tenant is enabled by the
// policies, or, where nobody read them, it has denied or probed.
func (x *examination) asked(tenants []Tenant, id string, c *evidence.Circuit) bool {
	if x.req.Tenants != nil {
		return slices.ContainsFunc(tenants, func(t Tenant) bool { return t.ID == id && t.Enabled })
	}
	d := c.Delta(x.out.Window.From, x.ev.At)
	return d.FailFast > 0 || d.OH > 0
}

// twin: does what was counted fit the breaker that cbops is a twin of.
func (x *examination) twin(tenants []Tenant) {
	k := Check{ID: "twin", Verdict: criteria.Pass}
	circuits, moved := 0, 0
	found := []string{}
	for i := range x.ev.Tenants {
		t := &x.ev.Tenants[i]
		cfg := t.Config
		if x.req.Tenants == nil || !isEnabled(tenants, t.ID) {
			cfg = evidence.Config{} // which thresholds it has is not known: only the chain is checked
		}
		for j := range t.Circuits {
			c := &t.Circuits[j]
			circuits++
			if c.Delta(t.Since, x.ev.At).Moved() {
				moved++
			}
			for _, y := range evidence.Contradictions(c, cfg, t.Since, x.ev.Interval) {
				found = append(found, fmt.Sprintf("%s on %s, %s UTC: %s", t.ID, c.Provider, y.At.Format("2 Jan 15:04:05"), y.Text))
			}
		}
	}
	k.Summary = fmt.Sprintf("%d circuits, %d of them moved, and all of it fits the twin", circuits, moved)
	switch {
	case len(found) > 0:
		k.Verdict = criteria.Fail
		k.Summary = fmt.Sprintf("%d contradictions: the metrics are not what this breaker would have counted", len(found))
		k.Evidence = found[:min(len(found), 5)]
		k.Next = []string{"look at the exporter, at relabelling, and at the router's version: no criterion passes on such metrics"}
	case moved == 0:
		k.Verdict, k.Advisory = criteria.Inconclusive, true
		k.Summary = "not told: no circuit has moved in this time"
	}
	x.add(k)
}

func isEnabled(tenants []Tenant, id string) bool {
	return slices.ContainsFunc(tenants, func(t Tenant) bool { return t.ID == id && t.Enabled })
}

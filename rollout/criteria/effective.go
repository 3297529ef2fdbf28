package criteria

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// Effective is breaker-effective: while a circuit is open, the gate is consulted. A
// request that names no provider never asks it, and then an open circuit protects
// nothing and never closes (ROUTER.md §3).
type Effective struct{}

// ID implements Criterion.
func (Effective) ID() string { return "breaker-effective" }

// inFlight is how many outcomes on an open circuit calls under way may explain.
const inFlight = 5

// consulted is what an episode shows of the gate.
type consulted int

const (
	unasked consulted = iota // nobody asked, and hardly anybody called
	asked
	inert // calls went on, and nobody asked
)

// consult judges one episode from enabling on.
func (s *Study) consult(c *circuitFacts, ep evidence.Episode) (consulted, string) {
	from, to := ep.Opened.From, ep.Until(s.Evidence.At)
	if from.Before(c.since) {
		from = c.since
	}
	d := c.c.Delta(from, to)
	if !d.OK {
		return unasked, "no outcomes were read"
	}
	if d.FailFast > 0 || ep.Probed > 0 && !ep.Shadow || d.OH > 0 || ep.Closed != nil && ep.Closed.To.After(c.since) {
		return asked, fmt.Sprintf("%.0f requests were denied, %d probes admitted", d.FailFast, max(ep.Probed, int(d.OH)))
	}
	// What was under way when it opened is over a scrape later.
	sure := ep.Surely(s.Evidence.At)
	if sure.From.Before(c.since) {
		sure.From = c.since
	}
	least, _ := c.c.Between(sure.From.Add(s.step()), sure.To)
	if least.Outcomes() > inFlight {
		return inert, fmt.Sprintf("%.0f outcomes in %s on an open circuit, and nobody asked the gate: requests whose context names no provider never do",
			least.Outcomes(), round(sure.Length()))
	}
	return unasked, fmt.Sprintf("hardly any call in the %s that it was open", round(to.Sub(from)))
}

// Judge implements Criterion.
func (Effective) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	n, count := 0, map[consulted]int{}
	for _, c := range f.circuits {
		for _, ep := range c.episodes {
			n++
			how, why := s.consult(c, ep)
			count[how]++
			ef := episodeFinding(ep)
			ef.Reason = why
			tf.Episodes = append(tf.Episodes, ef)
			if how != asked && len(tf.Evidence) < maxFacts {
				opened := ep.Opened.To
				tf.Evidence = append(tf.Evidence, Fact{Text: fmt.Sprintf("%s %s: %s", c.c.Provider, stamp(opened), why), Provider: c.c.Provider, Node: c.c.Node, From: &opened})
			}
		}
	}
	r := s.ready(k)
	b := r.blocked(readsTransitions)
	switch {
	case count[inert] > 0 && !r.cannotFail(readsTransitions) && r.off == nil:
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("inert in %d of %s: calls went on while the circuit was open, and the gate was never asked", count[inert], plural(n, "episode"))
		tf.Needs = "requests whose context names their provider; until then the breaker protects nothing here"
	case b != nil:
		b.Episodes, b.Evidence = tf.Episodes, append(b.Evidence, tf.Evidence...)
		return *b
	case count[asked] > 0:
		tf.Verdict = Pass
		tf.Summary = fmt.Sprintf("the gate was consulted in %d of %s", count[asked], plural(n, "episode"))
	default:
		tf.Verdict, tf.State, tf.Unseen = Inconclusive, Waiting, true
		tf.Summary = "no episode: whether the gate is consulted was not seen"
		if n > 0 {
			tf.Summary = fmt.Sprintf("%s, and hardly any call while open: whether the gate is consulted was not seen", plural(n, "episode"))
		}
		tf.Needs = "an episode, a drilled one too"
	}
	return tf
}

// Counterexamples implements Criterion.
func (Effective) Counterexamples(s *Study, k int) []Counterexample {
	base := s.common(k)
	ces := base
	for i, c := range s.tenant(k).circuits {
		at, ok := s.quietMoment(k, i)
		if !ok {
			continue
		}
		// Enough calls must follow for their going on to be seen.
		if d := c.c.Delta(at.Add(2*s.step()), at.Add(100*time.Minute)); d.Outcomes() <= 2*inFlight {
			continue
		}
		ces = append(ces, Counterexample{"an open circuit that calls go on through and nobody asks", func(c *Case) {
			plant(c.Evidence, c.Circuit(i), at, planted{})
		}})
		break
	}
	return append(ces, Counterexample{"no episode at all", func(c *Case) {
		for i := range c.Evidence.Tenants[c.Tenant].Circuits {
			x := c.Circuit(i)
			x.Transitions = nil
			for j := range x.Outcomes {
				x.Outcomes[j].FailFast = 0
			}
		}
	}})
}

package criteria

import "fmt"

// FalsePositives is no-false-positives: "no false positives (circuits opening
// unnecessarily)" (guide, Phase 2 step 3): an episode that closes at its first
// probes, without the provider shown failing. It rests on no-unexpected-opens and
// refers to it.
type FalsePositives struct{}

// ID implements Criterion.
func (FalsePositives) ID() string { return "no-false-positives" }

// Judge implements Criterion.
func (FalsePositives) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	n, bad, undecided, waiting := 0, 0, 0, 0
	for _, c := range f.circuits {
		for i, ep := range c.episodes {
			if ep.Shadow {
				continue
			}
			n++
			pr := s.proof(f, c, i)
			switch {
			case pr.expected:
			case pr.undecided || ep.Closed == nil && ep.Ended == nil:
				undecided++
				if pr.waiting || ep.StillOpen {
					waiting++
				}
			case ep.FailedProbes == 0:
				bad++
				opened := ep.Opened.To
				if len(tf.Evidence) < maxFacts {
					tf.Evidence = append(tf.Evidence, Fact{Text: fmt.Sprintf("%s %s closed at its first probes: see no-unexpected-opens", c.c.Provider, stamp(opened)), Provider: c.c.Provider, Node: c.c.Node, From: &opened})
				}
			}
		}
	}
	r := s.ready(k)
	b := r.blocked(readsTransitions)
	switch {
	case bad > 0 && !r.cannotFail(readsTransitions) && r.off == nil:
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("%d of %s opened for nothing and closed at their first probes: see no-unexpected-opens", bad, plural(n, "episode"))
		tf.Needs = "what no-unexpected-opens needs"
	case b != nil:
		b.Evidence = append(b.Evidence, tf.Evidence...)
		return *b
	case undecided > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		if waiting == undecided {
			tf.State = Waiting
		}
		tf.Summary = fmt.Sprintf("%d of %s cannot be told: see no-unexpected-opens", undecided, plural(n, "episode"))
		tf.Needs = "what no-unexpected-opens needs"
	default:
		tf.Verdict = Pass
		tf.Summary = fmt.Sprintf("none of %s opened for nothing", plural(n, "episode"))
		if n == 0 {
			tf.Summary = "no episode"
		}
	}
	return tf
}

// Counterexamples implements Criterion.
func (FalsePositives) Counterexamples(s *Study, k int) []Counterexample {
	base := s.common(k)
	for i := range s.tenant(k).circuits {
		if at, ok := s.quietMoment(k, i); ok {
			return append(base, Counterexample{"an open on a single failure that closes at its first probes", func(c *Case) {
				plant(c.Evidence, c.Circuit(i), at, planted{close: true})
			}})
		}
	}
	return nil
}

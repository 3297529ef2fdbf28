package criteria

import (
	"fmt"
	"sort"

	"github.com/cbops/cbops/rollout/evidence"
)

// Opens is no-unexpected-opens: "no unexpected circuit opens (only during actual
// provider failures)" (guide, Phase 1 step 3). Every episode of the bake must
// have a failing provider behind it; opens from before enabling are not the
// rollout's.
type Opens struct{}

// ID implements Criterion.
func (Opens) ID() string { return "no-unexpected-opens" }

// Judge implements Criterion.
func (Opens) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: s.healthFact(), Episodes: []EpisodeFinding{}}
	var unexpected, undecided, waiting, shadow int
	for _, c := range f.circuits {
		for i, ep := range c.episodes {
			if ep.Shadow {
				shadow++
				continue
			}
			pr := s.proof(f, c, i)
			ef := episodeFinding(ep)
			ef.Premature, ef.Route, ef.Reason = pr.premature, pr.route, pr.reason
			switch {
			case pr.undecided:
				undecided++
				if pr.waiting {
					waiting++
				}
			default:
				ef.Expected = &pr.expected
				if !pr.expected {
					unexpected++
				}
			}
			tf.Episodes = append(tf.Episodes, ef)
		}
	}
	sort.SliceStable(tf.Episodes, func(i, j int) bool { return worseOpen(tf.Episodes[i], tf.Episodes[j]) })
	for _, ef := range tf.Episodes[:min(len(tf.Episodes), maxFacts)] {
		tf.Evidence = append(tf.Evidence, openFact(ef))
	}
	n := len(tf.Episodes)
	r := s.ready(k)
	b := r.blocked(readsTransitions)
	switch {
	case unexpected > 0 && !r.cannotFail(readsTransitions) && r.off == nil:
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("%s, %d expected; %d without a failing provider", plural(n, "episode"), n-unexpected-undecided, unexpected)
		tf.Needs = "a config that does not open on noise, or an explanation for each open"
	case b != nil:
		b.Episodes, b.Evidence = tf.Episodes, append(b.Evidence, tf.Evidence...)
		if n > 0 && b.Verdict == Inconclusive {
			b.Summary += fmt.Sprintf("; %s so far, %d expected, %d undecided", plural(n, "episode"), n-undecided, undecided)
		}
		return *b
	case undecided > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		if waiting == undecided {
			tf.State = Waiting
			eta := s.Evidence.At.Add(maxGrow * s.step())
			tf.ETA = &eta
		}
		tf.Summary = fmt.Sprintf("%s, %d of them cannot be explained either way", plural(n, "episode"), undecided)
		tf.Needs = "another source: a declared incident, the provider's health, or a longer bake"
	default:
		tf.Verdict = Pass
		tf.Summary = fmt.Sprintf("%s, all expected", plural(n, "episode"))
		if n == 0 {
			tf.Summary = fmt.Sprintf("no episode in %d measured hours", r.measured.Hours)
		}
	}
	if shadow > 0 {
		tf.Summary += fmt.Sprintf(" (%d tripped before enabling, not counted)", shadow)
	}
	return tf
}

// maxFacts bounds the facts of a finding; the episodes list has all of them.
const maxFacts = 5

func worseOpen(a, b EpisodeFinding) bool {
	if ra, rb := openRank(a), openRank(b); ra != rb {
		return ra < rb
	}
	return a.OpenedTo.Before(b.OpenedTo)
}

func openRank(e EpisodeFinding) int {
	switch {
	case e.Expected != nil && !*e.Expected:
		return 0
	case e.Expected == nil:
		return 1
	}
	return 2
}

func openFact(e EpisodeFinding) Fact {
	word := "expected"
	switch openRank(e) {
	case 0:
		word = "unexpected"
	case 1:
		word = "undecided"
	}
	from, to := e.OpenedFrom, e.OpenedTo
	return Fact{
		Text:     fmt.Sprintf("%s %s, %s: %s", e.Provider, stamp(to), word, e.Reason),
		Provider: e.Provider, Node: e.Node, From: &from, To: &to,
	}
}

func episodeFinding(ep evidence.Episode) EpisodeFinding {
	ef := EpisodeFinding{
		Provider: ep.Provider, Node: ep.Node, Shadow: ep.Shadow, Reopens: ep.Reopens,
		OpenedFrom: ep.Opened.From, OpenedTo: ep.Opened.To,
	}
	if ep.Closed != nil {
		from, to := ep.Closed.From, ep.Closed.To
		ef.ClosedFrom, ef.ClosedTo = &from, &to
	}
	return ef
}

// Counterexamples implements Criterion.
func (Opens) Counterexamples(s *Study, k int) []Counterexample {
	base := s.common(k)
	ces := base
	for i := range s.tenant(k).circuits {
		at, ok := s.quietMoment(k, i)
		if !ok {
			continue
		}
		ces = append(ces,
			Counterexample{"an open on a single failure", func(c *Case) { plant(c.Evidence, c.Circuit(i), at, planted{close: true}) }},
			Counterexample{"an open that is never asked again", func(c *Case) { plant(c.Evidence, c.Circuit(i), at, planted{}) }})
		break
	}
	if len(ces) == len(base) {
		return nil // no quiet moment: nothing to prove the gate on
	}
	return append(ces, Counterexample{"transitions that no scrape ever showed", func(c *Case) {
		c.Evidence.Dialect.Kind = ""
	}})
}

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

// JudgeTenant implements Criterion.
func (Opens) JudgeTenant(ev *evidence.Evidence, t *evidence.Tenant, p Params) TenantFinding {
	tf := TenantFinding{Tenant: t.ID, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	var unexpected, undecided, waiting int
	shadow := 0
	for i := range t.Circuits {
		c := &t.Circuits[i]
		base := evidence.BaselineOf(c, t.Baseline)
		for _, ep := range t.Episodes(c, ev.At, ev.Skew.Slack()) {
			if ep.Shadow {
				shadow++
				continue
			}
			pr := newOpen(ev, t, c, ep, base, p).judge()
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
	r := ready(ev, t, p)
	switch {
	case unexpected > 0 && (r.blocked == nil || r.blocked.Verdict != Unmeasurable):
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("%s, %d expected; %d without a failing provider", plural(n, "episode"), n-unexpected-undecided, unexpected)
		tf.Needs = "a config that does not open on noise, or an explanation for each open"
	case r.blocked != nil:
		b := *r.blocked
		b.Episodes, b.Evidence = tf.Episodes, append(b.Evidence, tf.Evidence...)
		if n > 0 && b.Verdict == Inconclusive {
			b.Summary += fmt.Sprintf("; %s so far, %d expected, %d undecided", plural(n, "episode"), n-undecided, undecided)
		}
		return b
	case undecided > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		if waiting == undecided {
			tf.State = Waiting
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
		Text:     fmt.Sprintf("%s %s UTC, %s: %s", e.Provider, to.UTC().Format("2 Jan 15:04:05"), word, e.Reason),
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

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Counterexamples implements Criterion.
func (Opens) Counterexamples(ev *evidence.Evidence, t *evidence.Tenant, p Params) []Counterexample {
	ces := common(t, p)
	for i := range t.Circuits {
		at, ok := quietMoment(ev, t, i)
		if !ok {
			continue
		}
		ces = append(ces,
			Counterexample{"an open on a single failure", func(ev *evidence.Evidence, k int) {
				plant(ev, &ev.Tenants[k].Circuits[i], at, planted{close: true})
			}},
			Counterexample{"an open that is never asked again", func(ev *evidence.Evidence, k int) {
				plant(ev, &ev.Tenants[k].Circuits[i], at, planted{})
			}})
		break
	}
	if len(ces) == len(common(t, p)) {
		return nil // no quiet moment: nothing to prove the gate on
	}
	return ces
}

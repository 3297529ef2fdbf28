package criteria

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// WideOpen is no-tenant-wide-open: "no tenant-wide issues (all providers open
// simultaneously)" (guide, Phase 2 step 3). All providers failing for one tenant
// alone is that tenant's problem, credentials or configuration, however expected
// each open was.
type WideOpen struct{}

// ID implements Criterion.
func (WideOpen) ID() string { return "no-tenant-wide-open" }

// openSpan is an open stretch of a provider on a node.
type openSpan struct {
	provider string
	sure     evidence.Interval // open for certain
	at       evidence.Interval // open at most
	f        *circuitFacts
	episode  int
}

// overlap is a stretch in which every provider of the tenant was open on a node.
type overlap struct {
	node   string
	proven bool
	evidence.Interval
	spans []openSpan
}

// Judge implements Criterion.
func (WideOpen) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: s.healthFact(), Episodes: []EpisodeFinding{}}
	used := s.used(f)
	var bad, alone, unsure, excused, split int
	for _, o := range s.overlaps(f, used) {
		x := s.excused(f, o)
		at := o.From
		end := o.To
		text := fmt.Sprintf("%s all open together on %s from %s, for %s", strings.Join(used, ", "), o.node, stamp(at), round(o.Length()))
		switch {
		case x.why != "":
			excused++
			text += ": " + x.why
		case !o.proven:
			unsure++
			text = fmt.Sprintf("%s opened within a scrape of each other on %s at %s: whether they were open together cannot be told", strings.Join(used, ", "), o.node, stamp(at))
		case x.split != "":
			split++
			text += ": " + x.split
		case !x.witnesses:
			alone++
			text += ": nobody else used them then, so whether they failed for all is not known"
		default:
			bad++
			text += ": " + cmp.Or(x.late, "they did not all fail for other tenants then")
		}
		tf.Evidence = append(tf.Evidence, Fact{Text: text, Node: o.node, From: &at, To: &end})
	}
	r := s.ready(k)
	b := r.blocked(readsTransitions)
	switch {
	case bad > 0 && !r.cannotFail(readsTransitions) && r.off == nil:
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("all %s open together %s, for this tenant alone", plural(len(used), "provider"), times(bad))
		tf.Needs = "the tenant's credentials, limits and configuration looked at"
	case b != nil:
		b.Evidence = append(b.Evidence, tf.Evidence...)
		return *b
	case split > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("all %s open together %s, and only tenants with a breaker saw them fail", plural(len(used), "provider"), times(split))
		tf.Needs = "what those tenants share looked at: credentials, limits, the change that enabled them; or a declared incident"
	case alone == 0 && unsure > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("all %s opened within a scrape of each other %s: whether they were open together cannot be told", plural(len(used), "provider"), times(unsure))
		tf.Needs = "an explanation for each open (no-unexpected-opens), a shorter scrape interval, or a waiver"
	case alone > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("all %s open together %s, and nobody to compare with", plural(len(used), "provider"), times(alone))
		tf.Needs = "another tenant on these providers, queries.providerHealthy, or a declared incident"
	default:
		tf.Verdict = Pass
		tf.Summary = fmt.Sprintf("never were all %s open together", plural(len(used), "provider"))
		if len(used) == 1 {
			tf.Summary = "its one provider was never open"
		}
		if excused > 0 {
			tf.Summary = fmt.Sprintf("all %s open together %s, as they failed for others too", plural(len(used), "provider"), times(excused))
		}
	}
	return tf
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// used are the providers with outcomes in the bake.
func (s *Study) used(f *tenantFacts) []string {
	out := []string{}
	for _, c := range f.circuits {
		if d := c.c.Delta(f.t.Since, s.Evidence.At); d.OK && d.Outcomes() > 0 {
			out = appendNew(out, c.c.Provider)
		}
	}
	slices.Sort(out)
	return out
}

// overlaps finds, node by node, when all of the providers that the tenant uses there
// were open.
func (s *Study) overlaps(f *tenantFacts, used []string) []overlap {
	byNode := map[string][]openSpan{}
	usedOn := map[string][]string{}
	var nodes []string
	for _, c := range f.circuits {
		if d := c.c.Delta(f.t.Since, s.Evidence.At); !d.OK || d.Outcomes() == 0 {
			continue
		}
		node := c.c.Node
		nodes = appendNew(nodes, node)
		usedOn[node] = appendNew(usedOn[node], c.c.Provider)
		for i, ep := range c.episodes {
			x := openSpan{provider: c.c.Provider, f: c, episode: i, sure: ep.Surely(s.Evidence.At), at: evidence.Interval{From: ep.Opened.From, To: ep.Until(s.Evidence.At)}}
			if from, ok := s.deniesFrom(f.t, c.c, ep); !ok {
				continue
			} else if x.at.From.Before(from) {
				x.at.From = from
				x.sure.From = later(x.sure.From, from.Add(s.step()))
			}
			if x.at.To.After(x.at.From) {
				byNode[node] = append(byNode[node], x)
			}
		}
	}
	slices.Sort(nodes)
	var out []overlap
	for _, node := range nodes {
		out = append(out, together(node, usedOn[node], byNode[node])...)
	}
	return out
}

// deniesFrom is when an episode can have denied its first request; ok is false where it
// denied none. Before enabling nothing asks a circuit, so that one which tripped then
// stays open, and its first request afterwards is a probe (ROUTER.md §3): it stood in
// nobody's way unless the probe left it open or half-open.
func (s *Study) deniesFrom(t *evidence.Tenant, c *evidence.Circuit, ep evidence.Episode) (time.Time, bool) {
	timeout := time.Duration(t.Config.TimeoutMS) * time.Millisecond
	if !ep.Opened.To.Add(timeout).Before(t.Since) {
		return later(ep.Opened.From, t.Since), true
	}
	var before *evidence.Transition
	for i := range c.Transitions {
		switch x := &c.Transitions[i]; {
		case !x.At().After(t.Since):
			before = x
		case before == nil:
			return t.Since, true // what it was at enabling was not read
		case x.Epoch != before.Epoch:
			return time.Time{}, false
		case x.OH > before.OH && x.CO-x.HC >= 0.5:
			return later(x.At().Add(-s.step()), t.Since), true
		case x.HC > before.HC:
			return time.Time{}, false // its first probe closed it
		}
	}
	return time.Time{}, false
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// together intersects the spans of all providers of a node: at each open, what is
// open then of every provider.
func together(node string, used []string, spans []openSpan) []overlap {
	slices.SortStableFunc(spans, func(a, b openSpan) int { return a.at.From.Compare(b.at.From) })
	var out []overlap
	for i, first := range spans {
		set := []openSpan{first}
		sure, at := first.sure, first.at
		have := []string{first.provider}
		for j, o := range spans {
			// The last one to open: the others were open before, or are later in the list
			// with the same start.
			if j == i || o.provider == first.provider || o.at.From.After(first.at.From) || o.at.From.Equal(first.at.From) && j > i || !o.at.To.After(first.at.From) {
				continue
			}
			set = append(set, o)
			have = appendNew(have, o.provider)
			sure = meet(sure, o.sure)
			at = meet(at, o.at)
		}
		if len(have) != len(used) {
			continue
		}
		x := overlap{node: node, proven: sure.To.After(sure.From), Interval: sure, spans: set}
		if !x.proven {
			x.Interval = at
		}
		if n := len(out) - 1; n >= 0 && out[n].Overlaps(x.Interval) {
			if x.To.After(out[n].To) {
				out[n].To = x.To
			}
			out[n].proven = out[n].proven || x.proven
			continue
		}
		out = append(out, x)
	}
	return out
}

func meet(a, b evidence.Interval) evidence.Interval {
	if b.From.After(a.From) {
		a.From = b.From
	}
	if b.To.Before(a.To) {
		a.To = b.To
	}
	return a
}

// Counterexamples implements Criterion.
func (WideOpen) Counterexamples(s *Study, k int) []Counterexample {
	base := s.common(k)
	f := s.tenant(k)
	if len(f.circuits) == 0 {
		return base
	}
	node := f.circuits[0].c.Node
	at, ok := time.Time{}, false
	for i, c := range f.circuits {
		if c.c.Node == node && !ok {
			at, ok = s.quietMoment(k, i)
		}
	}
	if !ok {
		return nil
	}
	return append(base, Counterexample{"all providers open together for an hour", func(c *Case) {
		for i := range c.Evidence.Tenants[c.Tenant].Circuits {
			if c.Evidence.Tenants[c.Tenant].Circuits[i].Node == node {
				plant(c.Evidence, c.Circuit(i), at, planted{})
			}
		}
	}})
}

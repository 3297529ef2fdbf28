package criteria

import (
	"fmt"
	"slices"
	"time"

	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/evidence"
)

// Wasted is wasted-calls-reduced: "circuit breaker reduces wasted resources (fewer
// calls to unhealthy providers)" (guide, Phase 3 step 3). In a provider's failure the
// open circuit keeps most calls away, and fewer reach the provider than from tenants
// without a breaker, or than did before.
type Wasted struct{}

// ID implements Criterion.
func (Wasted) ID() string { return "wasted-calls-reduced" }

// saved is what a tenant's breaker did in the failures that its episodes stand for.
type saved struct {
	incidents int
	// calls kept away and let through, as the scrapes bound them.
	keptLeast, keptMost, passedLeast, passedMost float64
	// calls that reached the failing provider while it failed, and what had been usual
	// in as much time.
	calls, usual float64
	minutes      float64
	facts        []Fact
	// together: failures left out because all of the tenant's providers were open in
	// them. A request that is denied goes to another provider, whose gate is not asked
	// (ROUTER.md §3): then the calls that reach an open circuit are not let through by it.
	together int
}

func (x saved) lower() float64 { return share(x.keptLeast, x.passedMost) }
func (x saved) upper() float64 { return share(x.keptMost, x.passedLeast) }

func share(kept, passed float64) float64 {
	if kept+passed <= 0 {
		return 0
	}
	return kept / (kept + passed)
}

// saves measures the containment of a tenant's episodes in provider failures, shadow
// ones included from enabling on.
func (s *Study) saves(f *tenantFacts) saved {
	var x saved
	var all []overlap
	if used := s.used(f); len(used) > 1 {
		all = s.overlaps(f, used)
	}
	for _, c := range f.circuits {
		for i, ep := range c.episodes {
			if !ep.Shadow && !s.proof(f, c, i).expected {
				continue
			}
			if inTogether(all, c, i, ep.Until(s.Evidence.At).Sub(ep.Opened.From)) {
				x.together++
				continue
			}
			k := ep.Containment(c.c, f.t.Config, f.t.Since, s.Evidence.At)
			if !k.Known || ep.Shadow && k.FailFast+k.Outcomes <= inFlight {
				continue
			}
			x.incidents++
			x.keptLeast, x.passedMost = x.keptLeast+k.FailFast, x.passedMost+k.OutcomesMost
			x.keptMost, x.passedLeast = x.keptMost+k.FailFastMost, x.passedLeast+k.Outcomes
			from, to := ep.Opened.From, ep.Until(s.Evidence.At)
			if from.Before(f.t.Since) {
				from = f.t.Since
			}
			d := c.c.Delta(from, to)
			hour := c.c.Delta(ep.Opened.From.Add(-time.Hour), ep.Opened.From)
			x.calls += d.Outcomes()
			x.usual += hour.Outcomes() * to.Sub(from).Hours()
			x.minutes += to.Sub(from).Minutes()
			if len(x.facts) < maxFacts {
				opened := ep.Opened.To
				x.facts = append(x.facts, Fact{Text: fmt.Sprintf("%s %s, %s: %.0f calls kept away, %.0f to %.0f let through besides probes; containment %s to %s",
					c.c.Provider, stamp(opened), round(to.Sub(from)), k.FailFast, k.Outcomes, k.OutcomesMost, percent(k.Lower), percent(k.Upper)),
					Provider: c.c.Provider, Node: c.c.Node, From: &opened})
			}
		}
	}
	s.unopened(f, &x)
	return x
}

// inTogether reports whether all of a tenant's providers were open together for more
// than a tenth of an episode that lasted so long.
func inTogether(all []overlap, c *circuitFacts, episode int, lasted time.Duration) bool {
	var sum time.Duration
	for _, o := range all {
		if slices.ContainsFunc(o.spans, func(x openSpan) bool { return x.f == c && x.episode == episode }) {
			sum += o.Length()
		}
	}
	return 10*sum > lasted
}

// unopened counts the calls that went on to a provider that failed for the tenant and
// others, at a rate at which its breaker should have opened, and did not.
func (s *Study) unopened(f *tenantFacts, x *saved) {
	for _, out := range s.shared() {
		if out.From.Before(f.t.Since) {
			continue
		}
		for _, c := range f.circuits {
			if c.c.Provider != out.Provider || slices.ContainsFunc(c.episodes, func(ep evidence.Episode) bool {
				return ep.Opened.From.Before(out.To.Add(s.step())) && ep.Until(s.Evidence.At).After(out.From.Add(-s.step()))
			}) {
				continue
			}
			d := c.c.Delta(out.From, out.To)
			least := 0.5
			if thr := f.t.Config.ErrorRateThreshold; thr <= 1 {
				least = max(least, thr)
			}
			if !d.OK || d.Outcomes() < evidence.MinOutcomes || d.FailFast > 0 || d.Failure/d.Outcomes() < least {
				continue
			}
			x.incidents++
			x.passedLeast, x.passedMost = x.passedLeast+d.Outcomes(), x.passedMost+d.Outcomes()
			x.calls += d.Outcomes()
			x.usual += d.Outcomes()
			if len(x.facts) < maxFacts {
				at := out.From
				x.facts = append(x.facts, Fact{Text: fmt.Sprintf("%s %s, %s: %.0f of %.0f calls failed, and no circuit opened", c.c.Provider, stamp(at), round(out.To.Sub(out.From)), d.Failure, d.Outcomes()),
					Provider: c.c.Provider, Node: c.c.Node, From: &at})
			}
		}
	}
}

// Judge implements Criterion.
func (Wasted) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	r := s.ready(k)
	b := r.blocked(readsTransitions)
	x := s.saves(f)
	tf.Evidence = x.facts
	limit := s.Request.Margins.Containment
	switch {
	case x.incidents > 0 && x.upper() < limit && !r.cannotFail(readsTransitions) && r.off == nil:
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("at most %s of the calls to a failing provider were kept away, limit %s", percent(x.upper()), percent(limit))
		tf.Needs = "requests that ask the gate: see breaker-effective"
		return tf
	case b != nil:
		b.Evidence = append(b.Evidence, tf.Evidence...)
		return *b
	case x.incidents == 0 && x.together > 0:
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("in %s all its providers were open together: requests go to one whose gate is not asked then, and what it kept away cannot be told", plural(x.together, "failure"))
		tf.Needs = "a failure in which one of its providers works, a drill, or a waiver"
		return tf
	case x.incidents == 0:
		tf.Verdict, tf.State, tf.Unseen = Inconclusive, Waiting, true
		tf.Summary = "no provider failed for it: what the breaker saves was not seen"
		tf.Needs = "a provider failure, a drill, or a waiver"
		return tf
	}
	tf.Detectable = "containment of " + percent(x.lower())
	if x.lower() < limit {
		tf.Verdict, tf.State = Inconclusive, Waiting
		tf.Summary = fmt.Sprintf("%s to %s of the calls to a failing provider were kept away, limit %s: the scrapes do not tell", percent(x.lower()), percent(x.upper()), percent(limit))
		tf.Needs = "a longer failure, a shorter scrape interval, or a waiver"
		return tf
	}
	with := x.calls / max(x.usual, 1)
	without, how, fact := s.unprotected(f)
	if how == "" {
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("%s of the calls were kept away, but no comparable failure without a breaker was seen", percent(x.lower()))
		tf.Needs = "a failure that tenants without a breaker share, one before enabling, or a waiver"
		return tf
	}
	tf.Evidence = append(tf.Evidence, fact)
	if with >= without {
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("%s of the usual calls still reached a failing provider, %s %s", percent(with), percent(without), how)
		tf.Needs = "fewer calls to a failing provider than without the breaker"
		return tf
	}
	tf.Verdict = Pass
	tf.Summary = fmt.Sprintf("at least %s kept away in %s; %s of the usual calls reached a failing provider, %s %s; about %.0f calls saved",
		percent(x.lower()), plural(x.incidents, "failure"), percent(with), percent(without), how, x.keptLeast)
	return tf
}

// unprotected is what share of its usual calls reached a failing provider without a
// breaker, at least: from tenants that were not enabled in the same failures, else
// from the tenant itself in failures before it was enabled.
func (s *Study) unprotected(f *tenantFacts) (least float64, how string, fact Fact) {
	var calls, usual float64
	count := func(c *evidence.Circuit, out evidence.Interval) {
		if out.Length() < 3*s.step() {
			return
		}
		during, before := c.Delta(out.From, out.To), c.Delta(out.From.Add(-3*time.Hour).Truncate(time.Hour), out.From.Truncate(time.Hour))
		if before.OK && before.Outcomes() > 0 {
			calls += during.Outcomes()
			usual += before.Outcomes() / 3 * out.Length().Hours()
		}
	}
	tenants := map[string]bool{}
	for _, c := range f.circuits {
		for i, ep := range c.episodes {
			if ep.Shadow || !s.proof(f, c, i).expected {
				continue
			}
			during := evidence.Interval{From: ep.Opened.To, To: ep.Until(s.Evidence.At)}
			for j := range s.Evidence.Others {
				o := &s.Evidence.Others[j]
				if o.Provider != c.c.Provider {
					continue
				}
				if on, known := s.enabledNow(o.Tenant); on || !known {
					continue
				}
				count(o, during)
				tenants[o.Tenant] = true
			}
			for j := range s.Evidence.Tenants {
				t := &s.Evidence.Tenants[j]
				for l := range t.Circuits {
					if o := &t.Circuits[l]; o.Provider == c.c.Provider && t.Since.After(during.To) {
						count(o, during)
						tenants[t.ID] = true
					}
				}
			}
		}
	}
	if usual > 20 {
		least = stat.RateLower(calls, 0.05) / usual
		return least, fmt.Sprintf("of %s without a breaker", plural(len(tenants), "tenant")),
			Fact{Text: fmt.Sprintf("in the same failures %s without a breaker made %.0f calls, %.0f had been usual", plural(len(tenants), "tenant"), calls, usual)}
	}
	calls, usual = 0, 0
	for _, c := range f.circuits {
		for _, out := range s.failuresBefore(f, c) {
			count(c.c, out)
		}
	}
	if usual > 20 {
		least = stat.RateLower(calls, 0.05) / usual
		return least, "of its own before enabling", Fact{Text: fmt.Sprintf("in failures before enabling it made %.0f calls, %.0f had been usual", calls, usual)}
	}
	return 0, "", Fact{}
}

// failuresBefore are stretches of the baseline in which half of a circuit's outcomes
// failed, and far more than usual.
func (s *Study) failuresBefore(f *tenantFacts, c *circuitFacts) []evidence.Interval {
	var out []evidence.Interval
	base := s.normal(c)
	for _, b := range c.c.Bins(f.t.Baseline.From, f.t.Baseline.To, 5*time.Minute) {
		n := b.Success + b.Failure
		if b.Failure < evidence.MinFailures || b.Failure < n/2 || base.Tail(b.Failure, n) >= s.alpha() {
			continue
		}
		if k := len(out) - 1; k >= 0 && b.From.Sub(out[k].To) <= 10*time.Minute {
			out[k].To = b.To
		} else {
			out = append(out, b.Interval)
		}
	}
	return out
}

// Counterexamples implements Criterion.
func (Wasted) Counterexamples(s *Study, k int) []Counterexample {
	return append(s.common(k),
		Counterexample{"a gate that denies nothing", func(c *Case) {
			for i := range c.Evidence.Tenants[c.Tenant].Circuits {
				x := c.Circuit(i)
				since, base := c.Evidence.Tenants[c.Tenant].Since.UnixMilli(), 0.0
				for j := range x.Outcomes {
					o := &x.Outcomes[j]
					if o.T < since {
						base = o.FailFast
						continue
					}
					o.Failure += max(0, o.FailFast-base)
					o.FailFast = min(o.FailFast, base)
				}
			}
		}},
		Counterexample{"no failure at all", func(c *Case) {
			for i := range c.Evidence.Tenants[c.Tenant].Circuits {
				c.Circuit(i).Transitions = nil
			}
		}})
}

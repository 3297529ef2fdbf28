package criteria

import (
	"fmt"
	"math"
	"time"

	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/evidence"
)

// Consistent is consistent-across-tenants: "circuit breaker behavior consistent
// across tenants" (guide, Phase 2 step 3). Tenants of one config open about as often
// in an outage that they share, after what their traffic lets them.
type Consistent struct{}

// ID implements Criterion.
func (Consistent) ID() string { return "consistent-across-tenants" }

// cell is what a tenant's circuits did in one shared outage.
type cell struct {
	// openings counts closed → open and half_open → open; could is how many the timeout
	// and the traffic allow.
	openings, could float64
	episodes        float64
}

// shared are the outages that more than one tenant saw.
func (s *Study) shared() []evidence.ProviderFailure {
	var out []evidence.ProviderFailure
	for _, f := range s.failures() {
		if f.FailingTenants > 1 {
			out = append(out, f)
		}
	}
	return out
}

// exposed is what a tenant did in each shared outage in which it made enough calls to
// open twice: fewer could not, whatever its breaker is like.
func (s *Study) exposed(k int) []cell {
	f := s.tenant(k)
	if !f.haveExposed {
		f.exposed, f.haveExposed = s.newExposed(f), true
	}
	return f.exposed
}

func (s *Study) newExposed(f *tenantFacts) []cell {
	var cells []cell
	enough := 2 * float64(max(f.t.Config.FailureThreshold, evidence.MinFailures))
	for _, out := range s.shared() {
		if out.From.Before(f.t.Since) {
			continue
		}
		in := evidence.Interval{From: out.From.Add(-s.step()), To: out.To.Add(s.step())}
		var x cell
		calls := 0.0
		for _, c := range f.circuits {
			if c.c.Provider != out.Provider {
				continue
			}
			d := c.c.Delta(in.From, in.To)
			calls += d.Outcomes() + d.FailFast
			x.openings += d.CO + d.HO
			if usual := c.c.Delta(in.From.Add(-time.Hour), in.From); usual.OK && usual.Outcomes() > 0 {
				wait := time.Duration(f.t.Config.TimeoutMS)*time.Millisecond + time.Duration(float64(time.Hour)/usual.Outcomes())
				x.could += out.To.Sub(out.From).Seconds() / wait.Seconds()
			}
			for _, ep := range c.episodes {
				if !ep.Shadow && in.Contains(ep.Opened.To) {
					x.episodes++
				}
			}
		}
		if calls >= enough && x.could > 0 {
			cells = append(cells, x)
		}
	}
	return cells
}

// Judge implements Criterion.
func (Consistent) Judge(s *Study, k int) TenantFinding {
	t := &s.Evidence.Tenants[k]
	tf := TenantFinding{Tenant: t.ID, Basis: Measured, Verdict: Inconclusive, State: Waiting, Unseen: true, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	r := s.ready(k)
	if b := r.blocked(readsTransitions); b != nil {
		return *b
	}
	own := s.exposed(k)
	var rest []cell
	alike, others := 0, 0
	for j := range s.Evidence.Tenants {
		if o := &s.Evidence.Tenants[j]; j == k || o.Config != t.Config {
			continue
		}
		alike++
		if x := s.exposed(j); len(x) > 0 {
			others++
			rest = append(rest, x...)
		}
	}
	tf.Needs = "a provider outage that tenants of one config share, or a waiver"
	switch {
	case len(s.shared()) == 0:
		tf.Summary = "no outage was shared: there is nothing to compare"
		return tf
	case alike == 0:
		tf.Summary = "no other judged tenant has this config"
		tf.State, tf.Needs = Stuck, "another tenant with this config, or a waiver"
		return tf
	case len(own) == 0 || len(rest) == 0:
		tf.Summary = "too few calls in the shared outages to compare"
		return tf
	}
	opens := compareRates(own, rest, alike+1, func(c cell) (float64, float64) { return c.openings, c.could })
	eps := compareRates(own, rest, alike+1, func(c cell) (float64, float64) { return c.episodes, 1 })
	limit := s.Request.Margins.Consistency
	tf.Unseen = false
	tf.Summary = fmt.Sprintf("opens at a rate between %s and %s times the others', or they at that times its own; limit %s", digits(opens.lower), digits(opens.upper), digits(limit))
	tf.Evidence = append(tf.Evidence,
		Fact{Text: fmt.Sprintf("opened %.0f times in %s, as timeout and traffic allow %.0f; %s %.0f of %.0f; the larger rate is %s to %s times the smaller (95 %%; the lower bound is corrected for %d tenants)",
			opens.own, plural(len(own), "shared outage"), opens.ownCould, plural(others, "other"), opens.rest, opens.restCould, digits(opens.lower), digits(opens.upper), alike+1),
			Value: number(opens.upper), Limit: number(limit)},
		Fact{Text: fmt.Sprintf("%s episodes an outage, others %s; at least %s times as many or as few", digits(eps.own/eps.ownCould), digits(eps.rest/eps.restCould), digits(eps.lower))})
	tf.Detectable = fmt.Sprintf("a tenant that opens %s times as often", digits(opens.upper/opens.ratio))
	switch {
	case max(opens.lower, eps.lower) > limit:
		tf.Verdict, tf.State = Fail, ""
		tf.Needs = "the tenant's policies, providers and traffic looked at: one config, another behaviour"
	case opens.upper < limit && eps.ratio < limit:
		tf.Verdict, tf.State, tf.Needs = Pass, "", ""
	default:
		tf.Needs = "more shared outages, more tenants of this config, or a waiver"
	}
	return tf
}

// rateRatio is the rates of one tenant and of others, with one-sided bounds of the larger over the
// smaller.
type rateRatio struct {
	own, ownCould, rest, restCould float64
	ratio, lower, upper            float64
}

// compareRates bounds a rate ratio on the log scale. Openings in an outage scatter
// less than chance (a working breaker opens by the clock), or more (one that flaps):
// for a pass the scatter is taken from the cells themselves, at its own upper bound
// with one unit added, so that outages that all look alike are no proof by
// themselves; for a fail it is that of the others, and chance at least (quasi-Poisson,
// docs/statistics.md).
func compareRates(own, rest []cell, tests int, of func(cell) (n, could float64)) rateRatio {
	var c rateRatio
	for _, x := range own {
		n, could := of(x)
		c.own, c.ownCould = c.own+n, c.ownCould+could
	}
	for _, x := range rest {
		n, could := of(x)
		c.rest, c.restCould = c.rest+n, c.restCould+could
	}
	scatterOf := func(cells []cell, rate float64) float64 {
		sum := 0.0
		for _, x := range cells {
			n, could := of(x)
			sum += (n - rate*could) * (n - rate*could) / (rate * could)
		}
		return sum
	}
	all := append(append([]cell{}, own...), rest...)
	scatter := scatterOf(all, max(c.own+c.rest, 0.5)/(c.ownCould+c.restCould))
	df := float64(len(all) - 1)
	a, b := c.own+0.5, c.rest+0.5
	log := math.Abs(math.Log(a / c.ownCould / (b / c.restCould)))
	c.ratio = math.Exp(log)
	wide := (scatter + 1) / max(stat.ChiSquaredLower(0.05, df), 1e-6)
	c.upper = math.Exp(min(log+stat.NormalQuantile(0.05)*math.Sqrt(wide*(1/a+1/b)), 50))
	among := scatterOf(rest, max(c.rest, 0.5)/c.restCould) / max(float64(len(rest)-1), 1) // how the others scatter by themselves
	c.lower = math.Exp(max(0, log-stat.NormalQuantile(0.05/(2*float64(tests)))*math.Sqrt(max(1, among)*(1/a+1/b))))
	return c
}

// Counterexamples implements Criterion.
func (Consistent) Counterexamples(s *Study, k int) []Counterexample {
	return append(s.common(k),
		Counterexample{"episodes that did not happen", func(c *Case) {
			for i := range c.Evidence.Tenants[c.Tenant].Circuits {
				x := c.Circuit(i)
				x.Transitions = nil
				for j := range x.Outcomes {
					x.Outcomes[j].FailFast = 0
				}
			}
		}},
		Counterexample{"nobody else of this config", func(c *Case) {
			for i := range c.Evidence.Tenants {
				if i != c.Tenant {
					c.Evidence.Tenants[i].Config.TimeoutMS++
				}
			}
		}})
}

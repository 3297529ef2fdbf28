package criteria

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/evidence"
)

// Stable is stability-improved: "positive impact on system stability metrics"
// (guide, Phase 3 step 3), by the deployment's own queries. None may be worse; one
// must be better only where a provider failed, since only then can a breaker do any
// good.
type Stable struct{}

// ID implements Criterion.
func (Stable) ID() string { return "stability-improved" }

// Judge implements Criterion.
func (Stable) Judge(s *Study, _ int) TenantFinding {
	tf := TenantFinding{Verdict: Unmeasurable, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	if len(s.Request.Stability) == 0 {
		tf.Summary = "no stability query is given"
		tf.Needs = "queries.stability in the plan, or --query stability/NAME:higher=PROMQL; or an attestation with id stability-improved"
		return tf
	}
	first, last := s.bakes()
	var parts []TenantFinding
	var better, names []string
	for _, q := range s.Request.Stability {
		p := s.stable(q, first, last)
		parts = append(parts, p)
		names = append(names, q.Name)
		if len(p.Statistics) > 0 && p.Statistics[0].Upper < 0 { // better for certain, not by chance
			better = append(better, q.Name)
		}
		tf.Statistics = append(tf.Statistics, p.Statistics...)
		tf.Evidence = append(tf.Evidence, p.Evidence...)
	}
	worst := parts[0]
	for _, p := range parts[1:] {
		if rank(p.Verdict) > rank(worst.Verdict) || p.Verdict == worst.Verdict && p.State == Stuck {
			worst = p
		}
	}
	tf.Verdict, tf.State, tf.Summary, tf.Needs, tf.ETA, tf.Detectable = worst.Verdict, worst.State, worst.Summary, worst.Needs, worst.ETA, worst.Detectable
	if tf.Verdict != Pass {
		return tf
	}
	tf.Summary = fmt.Sprintf("none of %s is worse", strings.Join(names, ", "))
	minutes, who := s.failureMinutes()
	switch {
	case minutes == 0:
		tf.Summary += "; no provider failed, so none need be better"
	case len(better) > 0:
		tf.Summary += fmt.Sprintf("; better: %s, while %s failed", strings.Join(better, ", "), who)
	default:
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary += fmt.Sprintf("; none is better, though %s failed for %.0f minutes", who, minutes)
		tf.Needs = "a query that shows what the breaker is for, or a waiver"
	}
	return tf
}

// bakes are when the first and the last of the judged tenants was enabled: before
// the one nothing had changed, after the other everything had.
func (s *Study) bakes() (first, last time.Time) {
	for i := range s.Evidence.Tenants {
		t := s.Evidence.Tenants[i].Since
		if i == 0 || t.Before(first) {
			first = t
		}
		if t.After(last) {
			last = t
		}
	}
	return first, last
}

// failureMinutes is how long providers failed in the bake, and which.
func (s *Study) failureMinutes() (minutes float64, who string) {
	seen := []string{}
	for _, f := range s.failures() {
		minutes += f.To.Sub(f.From).Minutes()
		seen = appendNew(seen, f.Provider)
	}
	for k := range s.Evidence.Tenants {
		f := s.tenant(k)
		for _, c := range f.circuits {
			for i, ep := range c.episodes {
				if !ep.Shadow && s.proof(f, c, i).expected {
					if len(seen) == 0 || minutes == 0 {
						minutes += max(1, ep.Until(s.Evidence.At).Sub(ep.Opened.To).Minutes())
					}
					seen = appendNew(seen, c.c.Provider)
				}
			}
		}
	}
	return minutes, strings.Join(seen, ", ")
}

func (s *Study) stable(q Stability, first, last time.Time) TenantFinding {
	tf := TenantFinding{Verdict: Unmeasurable, Basis: Measured, Evidence: []Fact{}}
	name := evidence.StabilityPrefix + q.Name
	m := s.Evidence.Measure(name)
	if m == nil {
		tf.Summary, tf.Needs = "the stability query "+q.Name+" was not asked", "the query in the plan"
		return tf
	}
	x, problem := seriesFor(m, "")
	if problem == "" {
		problem = shapeless(x)
	}
	if problem == "" {
		problem = standsStill(x, last, s.Evidence.At)
	}
	if problem != "" {
		tf.Summary = fmt.Sprintf("the stability query %s cannot be judged: %s", q.Name, problem)
		tf.Needs = "a query that answers one series of numbers"
		return tf
	}
	before := s.levels(m, x, s.baselineFrom(first), first, same)
	after := s.levels(m, x, last, s.Evidence.At, same)
	var vs []float64
	for _, l := range before {
		vs = append(vs, l.V)
	}
	s.compare(&tf, before, after, comparison{name: name, margin: q.Margin * math.Abs(stat.Mean(vs)), tests: len(s.Request.Stability), back: same,
		higher: q.Higher, need: s.Request.MinDays * 24, seen: s.answered(m, x, last)})
	if len(tf.Statistics) == 0 {
		return tf
	}
	if st := tf.Statistics[0]; tf.Verdict != Fail && otherUnit(st) {
		tf.Verdict, tf.State, tf.ETA = Inconclusive, Stuck, nil
		tf.Summary = fmt.Sprintf("%s to %s: so much better that the query may have changed its unit", digits(st.Before), digits(st.After))
		tf.Needs = "one unit before and after enabling, or a waiver"
	}
	tf.Summary = q.Name + ": " + tf.Summary
	return tf
}

// baselineFrom is where the baselines begin that end at or after an instant.
func (s *Study) baselineFrom(first time.Time) time.Time {
	from := first
	for i := range s.Evidence.Tenants {
		if b := s.Evidence.Tenants[i].Baseline; b.From.Before(from) {
			from = b.From
		}
	}
	return from
}

// Counterexamples implements Criterion.
func (c Stable) Counterexamples(s *Study, k int) []Counterexample {
	_, last := s.bakes()
	sts := c.Judge(s, k).Statistics
	if len(sts) != len(s.Request.Stability) {
		return nil
	}
	var ces []Counterexample
	for i, q := range s.Request.Stability {
		for _, ce := range measureExamples(evidence.StabilityPrefix+q.Name, last, worse(sts[i], q.Margin, q.Higher, false), nil) {
			if len(sts) > 1 {
				ce.Name = q.Name + ": " + ce.Name
			}
			ces = append(ces, ce)
		}
	}
	return ces
}

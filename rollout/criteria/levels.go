package criteria

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/evidence"
)

// tenantSaw is the reading of the queries.tenantErrorRate.
const tenantSaw = "as the tenant saw it"

// seriesFor finds the one series of a measure that is about a tenant: the one with
// its tenant_id, or the only one without any. problem says why there is none that
// can be judged.
func seriesFor(m *evidence.Measure, tenant string) (s *evidence.MeasureSeries, problem string) {
	if m.Refused != "" {
		return nil, m.Refused
	}
	if len(m.Series) == 0 {
		return nil, "it answers nothing"
	}
	var own, bare []*evidence.MeasureSeries
	for i := range m.Series {
		x := &m.Series[i]
		switch {
		case x.Tenant == tenant && tenant != "":
			own = append(own, x)
		case x.Tenant == "":
			bare = append(bare, x)
		}
	}
	switch {
	case len(own) == 1:
		s = own[0]
	case len(own) > 1:
		return nil, fmt.Sprintf("it answers %d series for %s: want one, by (tenant_id)", len(own), tenant)
	case len(bare) == 1 && len(m.Series) == 1:
		s = bare[0]
	case len(bare) == 0 && tenant != "":
		return nil, "it answers nothing for " + tenant
	default:
		return nil, fmt.Sprintf("it answers %d series: want one, or one a tenant, by (tenant_id)", len(m.Series))
	}
	if s.NotNumbers > 0 && float64(s.NotNumbers) > 0.1*float64(s.NotNumbers+len(s.Values)) {
		return nil, fmt.Sprintf("%d of %d values are not numbers", s.NotNumbers, s.NotNumbers+len(s.Values))
	}
	if len(s.Values) == 0 {
		return nil, "it answers no numbers"
	}
	return s, ""
}

// shapeless: a value that never changes measures nothing; one that only grows is a
// counter.
func shapeless(s *evidence.MeasureSeries) string {
	switch {
	case len(s.Values) < 100:
		return ""
	case slices.Min(s.Values) == slices.Max(s.Values):
		return fmt.Sprintf("it is %s all the time: it measures nothing", digits(s.Values[0]))
	case slices.IsSorted(s.Values):
		return "it never falls: a counter, not a level; take its rate"
	}
	return ""
}

// standsStill: after enabling the series has the same value for far longer than ever
// before: what records it has stopped. At the end of its scale it may rest there.
func standsStill(x *evidence.MeasureSeries, since, at time.Time) string {
	if len(x.Values) == 0 {
		return ""
	}
	lo, hi := slices.Min(x.Values), slices.Max(x.Values)
	longest := func(from, to time.Time) (most time.Duration, begin time.Time, value float64) {
		start := -1
		for i, t := range x.Times {
			if t <= from.UnixMilli() || t > to.UnixMilli() {
				continue
			}
			if start < 0 || x.Values[i] != x.Values[start] {
				start = i
			}
			if d := evidence.Instant(t).Sub(evidence.Instant(x.Times[start])); d > most && x.Values[i] != lo && x.Values[i] != hi {
				most, begin, value = d, evidence.Instant(x.Times[start]), x.Values[i]
			}
		}
		return most, begin, value
	}
	before, _, _ := longest(time.Time{}, since)
	after, begin, value := longest(since, at)
	if after <= 4*before+12*time.Hour {
		return ""
	}
	return fmt.Sprintf("from %s it is %s for %s: what records it stands still", stamp(begin), digits(value), round(after))
}

// levels are the means of a series by the hour; an hour counts with half of its
// points. Hours begin at the clock's, shifted like every bin.
func (s *Study) levels(m *evidence.Measure, x *evidence.MeasureSeries, from, to time.Time, f func(float64) float64) []stat.Level {
	var out []stat.Level
	need := max(1, int(time.Hour/max(m.Step, time.Second))/2)
	for at := from.Add(time.Hour - 1).Truncate(time.Hour).Add(s.phase); !at.Add(time.Hour).After(to); at = at.Add(time.Hour) {
		if v := x.Within(at, at.Add(time.Hour)); len(v) >= need {
			out = append(out, stat.Level{Slot: slot(at), V: f(stat.Mean(v))})
		}
	}
	return out
}

func same(x float64) float64 { return x }

// tenantReading is the error rate as the tenant saw it; ok is false where there is
// no such query, or it cannot be used.
func (s *Study) tenantReading(k int) (x reading, ok bool) {
	m := s.Evidence.Measure(evidence.TenantErrorRate)
	if m == nil {
		return x, false
	}
	series, problem := s.tenantErrors(k)
	if problem != "" {
		return x, false
	}
	t := &s.Evidence.Tenants[k]
	shift, ok := stat.ShiftOf(s.levels(m, series, t.Baseline.From, t.Baseline.To, same), s.levels(m, series, t.Since, s.Evidence.At, same))
	if !ok {
		return x, false
	}
	lower, upper := shift.Bounds(alphaRate/float64(len(s.Evidence.Tenants)), alphaRate)
	x = reading{name: tenantSaw, ok: true, needed: func(margin float64) (int, bool) {
		hours, ok := shift.Needed(margin, alphaRate)
		return hours - shift.Hours, ok
	}}
	x.rise = stat.Rise{Hours: shift.Hours, D: shift.D, SE: shift.SE, P0: shift.Before, P1: shift.After}
	x.stat = s.statistic(tenantSaw, "share", shift.Before, shift.After, shift.D, lower, upper, s.Request.Margins.ErrorRate.Of(max(0, shift.Before-shift.SE)))
	if need := 24 * s.Request.MinDays; x.stat.Verdict == Pass && !s.again && s.answered(m, series, t.Since) < need {
		x.stat.Verdict = Inconclusive // it has not answered for long enough
	}
	return x, true
}

// tenantErrors is the tenant's own error rate, checked to be a share.
func (s *Study) tenantErrors(k int) (*evidence.MeasureSeries, string) {
	m := s.Evidence.Measure(evidence.TenantErrorRate)
	if m == nil {
		return nil, ""
	}
	x, problem := seriesFor(m, s.Evidence.Tenants[k].ID)
	switch {
	case problem != "":
		return nil, problem
	case slices.Max(x.Values) > 1:
		return nil, fmt.Sprintf("a value of %s: want a share from 0 to 1, not percent or a count", digits(slices.Max(x.Values)))
	case slices.Min(x.Values) < 0:
		return nil, "a value below 0: want a share from 0 to 1"
	}
	t := &s.Evidence.Tenants[k]
	if n := len(s.levels(m, x, t.Baseline.From, t.Baseline.To, same)); n < leastBaseline {
		return nil, fmt.Sprintf("it answered in %d of the hours before enabling, %d are needed", n, leastBaseline)
	}
	if n := s.answered(m, x, t.Since); n < leastBaseline {
		return nil, fmt.Sprintf("it answered in %d of the hours since enabling, %d are needed", n, leastBaseline)
	}
	if problem = shapeless(x); problem == "" {
		problem = standsStill(x, t.Since, s.Evidence.At)
	}
	return x, problem
}

// Latency is latency-not-degraded: "no performance degradation (latency < 5%
// increase)" (guide, Phase 1 step 3), by the deployment's own query: the router
// exports nothing from which it could be told (ROUTER.md §5).
type Latency struct{}

// ID implements Criterion.
func (Latency) ID() string { return "latency-not-degraded" }

// Judge implements Criterion.
func (c Latency) Judge(s *Study, k int) TenantFinding {
	t := &s.Evidence.Tenants[k]
	tf := TenantFinding{Tenant: t.ID, Verdict: Unmeasurable, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	m := s.Evidence.Measure(evidence.Latency)
	if m == nil {
		tf.Summary = "the router exports no latency histogram, and no latency query is given"
		tf.Needs = "queries.latency in the plan, or --query latency=PROMQL; or an attestation with id latency-not-degraded"
		return tf
	}
	x, problem := seriesFor(m, t.ID)
	if problem == "" {
		problem = shapeless(x)
	}
	if problem == "" {
		problem = standsStill(x, t.Since, s.Evidence.At)
	}
	if problem == "" && slices.Min(x.Values) <= 0 {
		problem = fmt.Sprintf("a value of %s: a latency is above 0", digits(slices.Min(x.Values)))
	}
	if problem != "" {
		tf.Summary = "the latency query cannot be judged: " + problem
		tf.Needs = "a latency query that answers one number above 0 at a time, for all or by (tenant_id)"
		return tf
	}
	if !t.Config.Enabled {
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary, tf.Needs = "the breaker of "+t.ID+" is not enabled in its policies", "an enabled breaker, or another tenant"
		return tf
	}
	before, after := s.levels(m, x, t.Baseline.From, t.Baseline.To, math.Log), s.levels(m, x, t.Since, s.Evidence.At, math.Log)
	s.compare(&tf, before, after, comparison{
		name: "latency", margin: math.Log1p(s.Request.Margins.Latency), tests: len(s.Evidence.Tenants),
		back: math.Exp, relative: true, need: s.Request.MinDays * 24, seen: s.answered(m, x, t.Since),
	})
	return tf
}

// comparison says how levels are compared.
type comparison struct {
	name   string
	margin float64
	tests  int
	// back turns a level into the query's unit; relative: levels are logarithms.
	back     func(float64) float64
	relative bool
	// higher: more of it is better, so that a fall is worse.
	higher bool
	// need is how many hours the query must have answered for a pass, seen how many it
	// has.
	need, seen int
}

// answered counts the hours since enabling in which a query gave half of its points.
func (s *Study) answered(m *evidence.Measure, x *evidence.MeasureSeries, since time.Time) int {
	n, need := 0, max(1, int(time.Hour/max(m.Step, time.Second))/2)
	for at := since; !at.Add(time.Hour).After(s.Evidence.At); at = at.Add(time.Hour) {
		if len(x.Within(at, at.Add(time.Hour))) >= need {
			n++
		}
	}
	return n
}

// compare fills a finding from levels before and after: worse by less than the
// margin passes. It works on what is worse: levels where more is better are turned
// around.
func (s *Study) compare(tf *TenantFinding, before, after []stat.Level, c comparison) {
	if len(before) < leastBaseline {
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("the baseline is lost: the %s query answered in %d of the hours before enabling, %d are needed", c.name, len(before), leastBaseline)
		tf.Needs = "longer retention, or a baseline that was kept (--frozen-baseline BUNDLE)"
		return
	}
	turn := func(ls []stat.Level) []stat.Level {
		if !c.higher {
			return ls
		}
		out := make([]stat.Level, len(ls))
		for i, l := range ls {
			out[i] = stat.Level{Slot: l.Slot, V: -l.V}
		}
		return out
	}
	shift, ok := stat.ShiftOf(turn(before), turn(after))
	wait := func(summary string, hours int) {
		tf.Verdict, tf.State, tf.Summary = Inconclusive, Waiting, summary
		tf.Needs = fmt.Sprintf("%d more hours", hours)
		eta := s.Evidence.At.Add(time.Duration(hours) * time.Hour)
		tf.ETA = &eta
	}
	if !ok {
		wait(fmt.Sprintf("%d of %d hours of the %s query", c.seen, c.need, c.name), max(1, c.need-c.seen))
		return
	}
	lower, upper := shift.Bounds(alphaRate/float64(max(c.tests, 1)), alphaRate)
	unit := "query"
	if c.relative {
		unit = "relative"
	}
	st := s.statistic(c.name, unit, c.shown(shift.Before), c.shown(shift.After), shift.D, lower, upper, c.margin)
	if c.relative {
		st.Rise, st.Lower, st.Upper, st.Margin, st.Detectable = math.Expm1(st.Rise), math.Expm1(lower), math.Expm1(upper), math.Expm1(c.margin), math.Expm1(upper-shift.D)
	}
	if v := st.After - st.Before; st.Before != 0 {
		rel := v / math.Abs(st.Before)
		st.Relative = &rel
	}
	tf.Statistics = append(tf.Statistics, st)
	tf.Evidence = append(tf.Evidence, Fact{Text: c.words(st), Value: number(st.Upper), Limit: number(st.Margin)})
	tf.Summary, tf.Detectable = c.words(st), "worse by "+c.amount(st.Detectable)
	switch {
	case st.Verdict == Fail:
		tf.Verdict = Fail
		tf.Needs = "a cause for it, or the tenant rolled back"
	case shift.After < shift.Before-math.Log(20) && c.relative:
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("%s to %s: so much better that the query may have changed its unit", digits(st.Before), digits(st.After))
		tf.Needs = "one unit before and after enabling"
	case c.seen < c.need && !s.again:
		wait(fmt.Sprintf("%d of %d hours of the %s query; so far %s", c.seen, c.need, c.name, c.words(st)), c.need-c.seen)
	case st.Verdict == Pass:
		tf.Verdict = Pass
	default:
		hours, ok := shift.Needed(c.margin, alphaRate)
		if !ok {
			tf.Verdict, tf.State = Inconclusive, Stuck
			tf.Needs = "a steadier query or a longer baseline: at the present noise this will not be decided"
			return
		}
		summary := tf.Summary
		wait(summary, hours-shift.Hours)
		tf.Needs = fmt.Sprintf("about %s more at the present noise", round(time.Duration(hours-shift.Hours)*time.Hour))
	}
}

func (c comparison) shown(v float64) float64 {
	if c.higher {
		v = -v
	}
	return c.back(v)
}

func (c comparison) amount(x float64) string {
	if c.relative {
		return percent(x)
	}
	return digits(x)
}

func (c comparison) words(st Statistic) string {
	return fmt.Sprintf("%s to %s, worse by %s at most, margin %s", digits(st.Before), digits(st.After), c.amount(max(st.Upper, 0)), c.amount(st.Margin))
}

// Counterexamples implements Criterion.
func (c Latency) Counterexamples(s *Study, k int) []Counterexample {
	t := &s.Evidence.Tenants[k]
	sts := c.Judge(s, k).Statistics
	if len(sts) == 0 {
		return nil
	}
	return measureExamples(evidence.Latency, t.Since, worse(sts[0], s.Request.Margins.Latency, false, true), func(c *Case) { c.Evidence.Tenants[c.Tenant].Config.Enabled = false })
}

// noQuery is the counterexample that takes a query away.
const noQuery = "no such query"

// measureExamples break a measure: gone, worse from an instant on, not a
// number, ended early.
func measureExamples(name string, since time.Time, worse func(float64) float64, off func(*Case)) []Counterexample {
	change := func(with func(x *evidence.MeasureSeries)) func(*Case) {
		return func(c *Case) {
			all := slices.Clone(c.Evidence.Measures)
			for i := range all {
				if all[i].Name != name {
					continue
				}
				series := slices.Clone(all[i].Series)
				for j := range series {
					with(&series[j])
				}
				all[i].Series = series
			}
			c.Evidence.Measures = all
		}
	}
	ces := []Counterexample{
		{noQuery, func(c *Case) {
			c.Evidence.Measures = slices.DeleteFunc(slices.Clone(c.Evidence.Measures), func(m evidence.Measure) bool { return m.Name == name })
		}},
		{"worse by twice the margin", change(func(x *evidence.MeasureSeries) {
			x.Values = slices.Clone(x.Values)
			for i := range x.Values {
				if x.Times[i] > since.UnixMilli() {
					x.Values[i] = worse(x.Values[i])
				}
			}
		})},
		{"values that are not numbers", change(func(x *evidence.MeasureSeries) {
			x.NotNumbers += len(x.Values)
			x.Times, x.Values = nil, nil
		})},
		{"an answer that ends with the baseline", change(func(x *evidence.MeasureSeries) {
			n := 0
			for n < len(x.Times) && x.Times[n] <= since.UnixMilli() {
				n++
			}
			x.Times, x.Values = x.Times[:n:n], x.Values[:n:n]
		})},
	}
	if off != nil {
		ces = append(ces, Counterexample{"a breaker that is not enabled", off})
	}
	return ces
}

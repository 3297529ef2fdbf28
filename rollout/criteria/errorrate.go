package criteria

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/evidence"
)

// ErrorRate is error-rate-not-increased: "no increase in overall error rate for
// tenant" (guide, Phase 1 step 3). Failures over outcomes, the bake against the same
// hours of the week before; what a failing provider did to tenants without a breaker
// too is not the breaker's.
type ErrorRate struct{}

// ID implements Criterion.
func (ErrorRate) ID() string { return "error-rate-not-increased" }

// alphaRate is the error of each bound, over all looks.
const alphaRate = 0.05

const (
	// leastBaseline is how many measured hours a baseline must have.
	leastBaseline = 24
	// silentFailures is how many failures the baseline must lead one to expect in a
	// stretch without any for the failure series to look dead.
	silentFailures = 20
)

// reading is one way to count errors.
type reading struct {
	name string
	stat Statistic
	rise stat.Rise
	ok   bool
	// needed is after how many hours more it may be decided at a margin.
	needed func(margin float64) (hours int, ok bool)
}

// Judge implements Criterion.
func (ErrorRate) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	r := s.ready(k)
	b := r.blocked(readsOutcomes)
	if r.cannotFail(readsOutcomes) {
		return *b
	}
	rs := s.rates(k)
	if rs.hoursBefore < leastBaseline {
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = fmt.Sprintf("the baseline is lost: %d of the hours before enabling were measured and had outcomes, %d are needed", rs.hoursBefore, leastBaseline)
		tf.Needs = "a baseline that was kept (--frozen-baseline BUNDLE), or longer retention"
		return tf
	}
	readings := s.readings(k, rs)
	for _, x := range readings {
		if x.ok {
			tf.Statistics = append(tf.Statistics, x.stat)
			tf.Evidence = append(tf.Evidence, s.rateFact(x))
		}
	}
	tf.Evidence = append(tf.Evidence, s.outageFacts(rs)...)
	verdict, stuck := Inconclusive, false
	if len(tf.Statistics) > 0 && len(tf.Statistics) == len(readings) {
		verdict, stuck = s.combine(readings)
	}
	switch {
	case verdict == Fail:
		tf.Verdict = Fail
		tf.Summary = rateSummary(readings)
		tf.Needs = "a cause for the rise, or the tenant rolled back"
		return tf
	case b != nil:
		b.Evidence, b.Statistics = append(b.Evidence, tf.Evidence...), tf.Statistics
		return *b
	}
	if _, problem := s.tenantErrors(k); problem != "" {
		tf.Verdict, tf.State = Inconclusive, Stuck
		tf.Summary = "queries.tenantErrorRate cannot be judged: " + problem
		tf.Needs = "a query that answers a share from 0 to 1, by (tenant_id), or none"
		return tf
	}
	tf.Verdict = verdict
	if len(tf.Statistics) == 0 {
		tf.State, tf.Summary, tf.Needs = Waiting, "too few outcomes to compare", "more traffic"
		if !slices.ContainsFunc(rs.before, func(h hourly) bool { return h.n > 0 }) {
			tf.State, tf.Summary = Stuck, "no outcomes before enabling: there is nothing to compare with"
			tf.Needs = "a baseline: a bake that begins later (--since), or a waiver"
		}
		return tf
	}
	tf.Summary = rateSummary(readings)
	tf.Detectable = "a rise of " + points(readings[0].stat.Detectable)
	if verdict == Pass {
		if dead := s.silence(k, rs); dead != "" {
			tf.Verdict, tf.State, tf.Summary = Inconclusive, Stuck, dead
			tf.Needs = "a look at the failure series: did it stop being exported?"
		}
		return tf
	}
	s.undecided(&tf, readings, stuck)
	return tf
}

// undecided fills in what an open verdict waits for.
func (s *Study) undecided(tf *TenantFinding, readings []reading, stuck bool) {
	tf.State = Waiting
	if stuck {
		tf.State = Stuck
		tf.Needs = "what a fail_fast is to a customer: criteria.failFast rescued or rejected (--fail-fast), or queries.tenantErrorRate"
		tf.Summary = "the answer depends on what a fail_fast is to a customer: " + tf.Summary
		return
	}
	latest := 0
	for _, x := range readings {
		if x.stat.Verdict == Pass {
			continue
		}
		hours, ok := x.needed(x.stat.Margin)
		if !ok {
			tf.State = Stuck
			tf.Needs = fmt.Sprintf("a longer baseline, or more traffic: a rise of %s against a margin of %s will not be decided at the present noise", points(x.stat.Rise), points(x.stat.Margin))
			return
		}
		latest = max(latest, hours)
	}
	eta := s.Evidence.At.Add(time.Duration(latest) * time.Hour)
	tf.ETA = &eta
	tf.Needs = fmt.Sprintf("about %s more at the present traffic", round(time.Duration(latest)*time.Hour))
}

// readings count errors without and with fail_fast, as far as both are asked for, or
// without and as the tenant saw them.
func (s *Study) readings(k int, rs *rates) []reading {
	without := s.reading("without fail_fast", rs, false)
	with := s.reading("with fail_fast", rs, true)
	if x, ok := s.tenantReading(k); ok {
		return []reading{without, x}
	}
	any := slices.ContainsFunc(rs.after, func(h hourly) bool { return h.ff > 0 })
	switch {
	case s.Request.FailFast == FailFastRejected:
		return []reading{with}
	case s.Request.FailFast == FailFastRescued || !any:
		return []reading{without}
	}
	return []reading{without, with}
}

// reading compares bake and baseline. Failures that controls show to be the
// provider's are subtracted. Those that only tenants with a breaker show may be: the
// bound of the rise from above leaves them in the bake and takes them from the
// baseline, that from below the other way round.
func (s *Study) reading(name string, rs *rates, failFast bool) reading {
	x := reading{name: name}
	count := func(hs []hourly, maybe bool) []stat.Hour {
		var out []stat.Hour
		for _, h := range hs {
			f := h.f - h.sure
			if maybe {
				f -= h.maybe
			}
			n := h.n
			if failFast {
				n += h.ff
				f += max(0, h.ff-h.excused)
			}
			out = append(out, stat.Hour{Slot: slot(h.from), N: n, F: max(0, f)})
		}
		return out
	}
	high, ok1 := stat.RiseOf(count(rs.before, true), count(rs.after, false))
	low, ok2 := stat.RiseOf(count(rs.before, false), count(rs.after, true))
	if !ok1 || !ok2 {
		return x
	}
	x.ok, x.rise = true, high
	x.needed = func(margin float64) (int, bool) {
		hours, ok := high.Needed(margin, alphaRate, s.firstLook())
		return hours - high.Hours, ok
	}
	first := s.firstLook()
	_, upper := high.Bounds(alphaRate, alphaRate, first)
	lower, _ := low.Bounds(alphaRate/float64(len(s.Evidence.Tenants)), alphaRate, first)
	x.stat = s.statistic(name, "share", high.P0, high.P1, high.D, lower, upper, s.Request.Margins.ErrorRate.Of(high.Sure0()))
	if x.stat.Verdict == Fail && lower <= s.Request.Margins.ErrorRate.Of(low.Most0()) {
		x.stat.Verdict = Inconclusive // with the baseline at its highest, it would be within the margin
	}
	return x
}

// firstLook is after how many hours a pass is possible at the earliest: the minimum,
// and what a second look goes back or shifted bins lose.
func (s *Study) firstLook() float64 { return float64(24*s.Request.MinDays - 3) }

// statistic is a comparison with its verdict: pass below the margin, fail above it.
func (s *Study) statistic(name, unit string, before, after, rise, lower, upper, margin float64) Statistic {
	x := Statistic{Name: name, Unit: unit, Before: before, After: after, Rise: rise, Lower: lower, Upper: upper, Margin: margin, Detectable: upper - rise, Verdict: Inconclusive}
	if before > 0 {
		rel := (after - before) / before
		x.Relative = &rel
	}
	switch {
	case upper < margin:
		x.Verdict = Pass
	case lower > margin:
		x.Verdict = Fail
	}
	return x
}

// combine is DESIGN.md §5's: any fail with a pass is stuck; a pass with an open one
// is open; a fail with an open one fails if it is the reading without fail_fast.
func (s *Study) combine(rs []reading) (v Verdict, stuck bool) {
	a, b := rs[0].stat.Verdict, rs[len(rs)-1].stat.Verdict
	if rs[len(rs)-1].name == tenantSaw {
		return Worst(a, b), false // what the tenant saw leaves nothing to guess
	}
	switch {
	case a == b:
		return a, false
	case a == Fail && b == Pass, a == Pass && b == Fail:
		return Inconclusive, true
	case a == Fail:
		return Fail, false
	}
	return Inconclusive, false
}

func rateSummary(rs []reading) string {
	var parts []string
	for i, x := range rs {
		if i > 0 && x.stat.Rise == rs[0].stat.Rise {
			continue
		}
		part := fmt.Sprintf("%s to %s", percent(x.stat.Before), percent(x.stat.After))
		if len(rs) > 1 {
			part += " " + x.name
		}
		parts = append(parts, part)
	}
	worst := rs[0].stat
	for _, x := range rs[1:] {
		if rank(x.stat.Verdict) > rank(worst.Verdict) || x.stat.Verdict == worst.Verdict && x.stat.Upper > worst.Upper {
			worst = x.stat
		}
	}
	if worst.Verdict == Fail {
		return fmt.Sprintf("%s; a rise of at least %s, margin %s", strings.Join(parts, ", "), points(worst.Lower), points(worst.Margin))
	}
	return fmt.Sprintf("%s; a rise of at most %s, margin %s", strings.Join(parts, ", "), points(max(worst.Upper, 0)), points(worst.Margin))
}

func (s *Study) rateFact(x reading) Fact {
	st := x.stat
	rel := ""
	if st.Relative != nil {
		rel = fmt.Sprintf(" (%+.0f %%)", 100**st.Relative)
	}
	text := fmt.Sprintf("%s: %s before, %s after, rise %s%s, between %s and %s; margin %s; a rise of %s would show",
		x.name, percent(st.Before), percent(st.After), points(st.Rise), rel, points(st.Lower), points(st.Upper), points(st.Margin), points(st.Detectable))
	if n := len(s.Evidence.Tenants); n > 1 {
		text += fmt.Sprintf("; the lower bound is corrected for %d tenants", n)
	}
	return Fact{Text: text, Value: number(st.Upper), Limit: number(st.Margin)}
}

// outageFacts say which controls were used, and where there were none.
func (s *Study) outageFacts(rs *rates) []Fact {
	var facts []Fact
	if rs.outages > 0 {
		names := slices.Sorted(maps.Keys(rs.controls))
		shown := strings.Join(names[:min(len(names), 3)], ", ")
		if len(names) > 3 {
			shown += fmt.Sprintf(" and %d more", len(names)-3)
		}
		facts = append(facts, Fact{Text: fmt.Sprintf("in %s of a failing provider, what it did to tenants without a breaker is subtracted; controls: %s", plural(rs.outages, "hour"), shown)})
	}
	if rs.peers > 0 {
		facts = append(facts, Fact{Text: fmt.Sprintf("in %s only tenants with a breaker saw a provider fail: no control is left, so the bounds are widened by what it may have done", plural(rs.peers, "hour"))})
	}
	return facts
}

// silence finds a stretch without a failure that is too long to believe: the failure
// series may have died. The baseline says how many are expected and how long
// stretches without any were.
func (s *Study) silence(k int, rs *rates) string {
	f := s.tenant(k)
	for _, c := range f.circuits {
		base := s.normal(c)
		if base.P <= 0 {
			continue
		}
		longest := gaps(c.c, f.t.Baseline.From, f.t.Since)
		last, end := f.t.Since, s.Evidence.At
		check := func(from, to time.Time) string {
			if to.Sub(from) <= 4*longest+12*time.Hour {
				return ""
			}
			d := c.c.Delta(from, to)
			if want := d.Outcomes() * base.P; d.OK && want >= silentFailures {
				return fmt.Sprintf("no failure on %s was counted from %s to %s, %.0f were to be expected: the failure series may be dead", c.c.Provider, stamp(from), stamp(to), want)
			}
			return ""
		}
		for i := 1; i < len(c.c.Outcomes); i++ {
			a, b := &c.c.Outcomes[i-1], &c.c.Outcomes[i]
			if !b.At().After(last) || a.Epoch == b.Epoch && a.Failure == b.Failure {
				continue
			}
			if dead := check(last, a.At()); dead != "" {
				return dead
			}
			last = b.At()
		}
		if dead := check(last, end); dead != "" {
			return dead
		}
	}
	return ""
}

// gaps is the longest time without a failure.
func gaps(c *evidence.Circuit, from, to time.Time) time.Duration {
	var longest time.Duration
	last := from
	for i := 1; i < len(c.Outcomes); i++ {
		a, b := &c.Outcomes[i-1], &c.Outcomes[i]
		if b.At().Before(from) || b.At().After(to) {
			continue
		}
		if a.Epoch != b.Epoch || a.Failure != b.Failure {
			longest = max(longest, a.At().Sub(last))
			last = b.At()
		}
	}
	return max(longest, to.Sub(last))
}

// Counterexamples implements Criterion.
func (ErrorRate) Counterexamples(s *Study, k int) []Counterexample {
	rs := s.rates(k)
	margin := s.Request.Margins.ErrorRate.Of(0)
	for _, x := range s.readings(k, rs) {
		margin = max(margin, x.stat.Margin)
	}
	ces := s.common(k)
	ces = append(ces,
		Counterexample{"errors up by twice the margin", func(c *Case) { fail(c, 2*margin) }},
		Counterexample{"no baseline", func(c *Case) {
			for i := range c.Evidence.Tenants[c.Tenant].Circuits {
				x := c.Circuit(i)
				since := c.Evidence.Tenants[c.Tenant].Since.UnixMilli()
				j := 0
				for j < len(x.Outcomes) && x.Outcomes[j].T < since {
					j++
				}
				x.Outcomes = x.Outcomes[j:]
			}
			nodes := append([]evidence.Node{}, c.Evidence.Nodes...)
			for i := range nodes {
				j := 0
				for j < len(nodes[i].Scrapes) && nodes[i].Scrapes[j] < c.Evidence.Tenants[c.Tenant].Since.UnixMilli() {
					j++
				}
				nodes[i].Scrapes = nodes[i].Scrapes[j:]
			}
			c.Evidence.Nodes = nodes
		}})
	if x, ok := s.tenantReading(k); ok {
		for _, ce := range measureExamples(evidence.TenantErrorRate, s.Evidence.Tenants[k].Since, func(v float64) float64 { return min(1, v+max(0, -x.stat.Rise)+2*margin) }, nil) {
			if ce.Name != noQuery { // without it the router's own counters are judged
				ce.Name = "tenantErrorRate: " + ce.Name
				ces = append(ces, ce)
			}
		}
	}
	return ces
}

// fail turns successes of the bake into failures, evenly, so that the failure share
// is up by rise.
func fail(c *Case, rise float64) {
	t := &c.Evidence.Tenants[c.Tenant]
	from := t.Since.UnixMilli()
	for i := range t.Circuits {
		x := c.Circuit(i)
		epoch, start := -1, evidence.Outcome{}
		for j := range x.Outcomes {
			o := &x.Outcomes[j]
			if o.T < from {
				start, epoch = *o, o.Epoch
				continue
			}
			if o.Epoch != epoch {
				start, epoch = evidence.Outcome{}, o.Epoch
			}
			moved := min(rise*(o.Success+o.Failure-start.Success-start.Failure), o.Success)
			o.Success -= moved
			o.Failure += moved
		}
	}
}

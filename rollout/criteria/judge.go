package criteria

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// entry is a line of the catalogue: a criterion of DESIGN.md §5 and the first
// phase that asks for it. judge is nil where this version does not judge it.
type entry struct {
	id    string
	from  int
	judge Criterion
}

// catalogue lists every criterion, in the order in which they are reported.
func catalogue() []entry {
	return []entry{
		{"no-unexpected-opens", 1, Opens{}},
		{"closes-after-recovery", 1, Closes{}},
		{"error-rate-not-increased", 1, nil},
		{"latency-not-degraded", 1, nil},
		{"metrics-accurate", 1, nil},
		{"logs-useful", 1, nil},
		{"breaker-effective", 1, nil},
		{"no-tenant-wide-open", 2, nil},
		{"consistent-across-tenants", 2, nil},
		{"no-false-positives", 2, nil},
		{"wasted-calls-reduced", 3, nil},
		{"no-customer-reports", 3, nil},
		{"stability-improved", 3, nil},
		{"enabled-by-default", 4, nil},
		{"docs-updated", 4, nil},
		{"team-trained", 4, nil},
	}
}

// IDs returns the criteria of a phase, in order of report.
func IDs(phase int) []string {
	var ids []string
	for _, e := range catalogue() {
		if e.from <= phase {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// MinDays is the guide's minimum length of a phase in days, N of DESIGN.md §5:
// "met for 3+ / 7+ / 14+ days"; phase 4 is monitored for at least 7.
func MinDays(phase int) int {
	return map[int]int{1: 3, 2: 7, 3: 14, 4: 7}[phase]
}

// Judge judges the criteria of p.Phase, or only those named in only, in order of
// report. Every criterion is judged, also after the first has failed. The caller
// has checked that only names criteria of the phase.
func Judge(ev *evidence.Evidence, p Params, only []string) []Finding {
	findings := []Finding{}
	for _, e := range catalogue() {
		if e.from > p.Phase || len(only) > 0 && !slices.Contains(only, e.id) {
			continue
		}
		if e.judge == nil {
			findings = append(findings, notJudged(e.id))
			continue
		}
		findings = append(findings, judgeOne(e.judge, ev, p))
	}
	return findings
}

func notJudged(id string) Finding {
	return Finding{
		ID: id, Verdict: Inconclusive, State: Stuck, Basis: Measured,
		Summary:  "not judged by this version",
		Needs:    "a version of cbops that judges it; until then, judge it by hand",
		Evidence: []Fact{}, Counterexamples: []string{}, Tenants: []TenantFinding{},
	}
}

// judgeOne judges one criterion for every tenant and proves every pass.
func judgeOne(c Criterion, ev *evidence.Evidence, p Params) Finding {
	f := Finding{
		ID: c.ID(), Basis: Measured, Evidence: []Fact{},
		Counterexamples: []string{}, Tenants: []TenantFinding{},
	}
	proven := true
	var verdicts []Verdict
	for i := range ev.Tenants {
		tf := c.JudgeTenant(ev, &ev.Tenants[i], p)
		if tf.Verdict == Pass {
			tried, survived := prove(c, ev, i, p)
			f.Counterexamples = union(f.Counterexamples, tried)
			if len(survived) > 0 || len(tried) == 0 {
				f.Broken, proven = true, false
				tf = broken(tf, tried, survived)
			}
		} else {
			proven = false
		}
		verdicts = append(verdicts, tf.Verdict)
		f.Tenants = append(f.Tenants, tf)
	}
	f.Verdict = Worst(verdicts...)
	f.Proven = proven && f.Verdict == Pass
	summarize(&f)
	return f
}

// prove runs the counterexamples of c against the very evidence it passed on.
func prove(c Criterion, ev *evidence.Evidence, tenant int, p Params) (tried, survived []string) {
	for _, ce := range c.Counterexamples(ev, &ev.Tenants[tenant], p) {
		bad := ev.Clone(tenant)
		ce.Break(bad, tenant)
		tried = append(tried, ce.Name)
		if c.JudgeTenant(bad, &bad.Tenants[tenant], p).Verdict == Pass {
			survived = append(survived, ce.Name)
		}
	}
	return tried, survived
}

func broken(tf TenantFinding, tried, survived []string) TenantFinding {
	tf.Verdict, tf.State = Unmeasurable, ""
	if len(tried) == 0 {
		tf.Summary = "would pass, but no counterexample could be built from this evidence"
	} else {
		tf.Summary = "would pass, but also passes with " + strings.Join(survived, ", ")
	}
	tf.Needs = "a look at the evidence by hand: on it this gate cannot fail"
	return tf
}

// summarize fills the criterion's own words from its worst tenants'.
func summarize(f *Finding) {
	if len(f.Tenants) == 0 {
		f.Summary, f.State = "no tenant was judged", Stuck
		return
	}
	var worst []*TenantFinding
	for i := range f.Tenants {
		if f.Tenants[i].Verdict == f.Verdict {
			worst = append(worst, &f.Tenants[i])
		}
	}
	first := worst[0]
	f.Basis, f.State, f.Needs, f.Evidence = first.Basis, first.State, first.Needs, first.Evidence
	for _, w := range worst {
		if w.State == Stuck { // one that will not resolve outweighs those that will
			f.State, f.Needs = Stuck, w.Needs
		}
	}
	f.Summary = first.Summary
	if len(f.Tenants) > 1 {
		f.Summary = fmt.Sprintf("%d of %d tenants %s, e.g. %s: %s",
			len(worst), len(f.Tenants), verb(f.Verdict), first.Tenant, first.Summary)
	}
}

func verb(v Verdict) string {
	return map[Verdict]string{
		Pass: "pass", Fail: "fail", Inconclusive: "are undecided", Unmeasurable: "cannot be measured",
	}[v]
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// readiness is what every criterion read from metrics asks before it may pass.
type readiness struct {
	// blocked, when set, is why no pass is possible: the finding to return unless
	// the criterion fails.
	blocked  *TenantFinding
	measured evidence.Measured
}

// ready checks, in this order: are there series, in a dialect that can be read;
// is the breaker enabled; do the metrics contradict themselves; are enough hours
// measured, with enough outcomes (DESIGN.md §5, "Measured").
func ready(ev *evidence.Evidence, t *evidence.Tenant, p Params) readiness {
	r := readiness{measured: ev.Coverage(t.Since)}
	block := func(v Verdict, s State, summary, needs string, facts ...Fact) readiness {
		r.blocked = &TenantFinding{Tenant: t.ID, Verdict: v, Basis: Measured, State: s,
			Summary: summary, Needs: needs, Evidence: append([]Fact{}, facts...), Episodes: []EpisodeFinding{}}
		return r
	}
	if p := ev.Dialect.Problems; len(p) > 0 {
		return block(Unmeasurable, "", "which series are the router's is not known: "+p[0],
			"a setting in the plan: see docs/prometheus.md", facts(p)...)
	}
	if len(t.Circuits) == 0 {
		return block(Unmeasurable, "",
			"no router_circuit_breaker_events_total series for tenant "+t.ID,
			"scrape the router's metrics endpoint (off by default: metrics_export_enabled), or check the tenant's name")
	}
	if !hasOutcomes(t) {
		return block(Unmeasurable, "",
			"no outcomes of tenant "+t.ID+" are exported",
			"the series router_circuit_breaker_events_total with event_type success and failure")
	}
	if ev.Dialect.Kind == evidence.Documented {
		return block(Unmeasurable, "",
			"state_transitions_total has a state label, not from and to: closes cannot be told from opens",
			"transitions with from and to labels, as the router emits them")
	}
	if !t.Config.Enabled {
		return block(Inconclusive, Stuck, "the breaker of "+t.ID+" is not enabled in its policies",
			"an enabled breaker, or another tenant")
	}
	if facts := contradictions(ev, t); len(facts) > 0 {
		return block(Inconclusive, Stuck, "the metrics contradict themselves: "+facts[0].Text,
			"metrics that agree; see the router's exporter and the relabelling in Prometheus", facts...)
	}
	need := p.MinDays * 24
	have := r.measured.Hours
	blocks := t.Blocks(r.measured)
	good, lean := 0, 0
	for _, b := range blocks {
		if b.Outcomes >= float64(p.MinOutcomesPerDay) {
			good++
		} else {
			lean++
		}
	}
	switch {
	case have < need:
		tf := block(Inconclusive, Waiting,
			fmt.Sprintf("%d of %d measured hours", have, need),
			fmt.Sprintf("%d more measured hours", need-have))
		eta := ev.At.Add(time.Duration(need-have) * time.Hour)
		tf.blocked.ETA = &eta
		return tf
	case good < p.MinDays:
		last, any := lastOutcome(t)
		if any && ev.At.Sub(last) > 6*time.Hour {
			return block(Inconclusive, Stuck,
				"traffic stopped: no outcome since "+last.UTC().Format("2 Jan 15:04")+" UTC",
				"traffic through the breaker")
		}
		return block(Inconclusive, Waiting,
			fmt.Sprintf("%d of %d days with at least %d outcomes (%d with fewer)", good, p.MinDays, p.MinOutcomesPerDay, lean),
			"more traffic, or a lower criteria.minOutcomesPerDay in the plan")
	}
	return r
}

func facts(texts []string) []Fact {
	var out []Fact
	for _, t := range texts {
		out = append(out, Fact{Text: t})
	}
	return out
}

func hasOutcomes(t *evidence.Tenant) bool {
	for i := range t.Circuits {
		for _, o := range t.Circuits[i].Outcomes {
			if o.Success+o.Failure > 0 {
				return true
			}
		}
	}
	return false
}

// lastOutcome is when an outcome was last counted, to within a scrape or a step.
func lastOutcome(t *evidence.Tenant) (last time.Time, ok bool) {
	for i := range t.Circuits {
		all := t.Circuits[i].Outcomes
		for j := len(all) - 1; j > 0; j-- {
			if a, b := all[j-1], all[j]; a.Success+a.Failure != b.Success+b.Failure {
				if b.At().After(last) {
					last, ok = b.At(), true
				}
				break
			}
		}
	}
	return last, ok
}

func contradictions(ev *evidence.Evidence, t *evidence.Tenant) []Fact {
	var facts []Fact
	for i := range t.Circuits {
		c := &t.Circuits[i]
		for _, x := range evidence.Contradictions(c, t.Config, t.Since, ev.Interval) {
			at := x.At
			facts = append(facts, Fact{Text: x.Text, Provider: c.Provider, Node: c.Node, From: &at, To: &at})
		}
	}
	return facts
}

package criteria

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// Judge judges the criteria of the request's phase, or only those named in it, in
// order of report. Every criterion is judged, also after the first has failed.
func Judge(ev *evidence.Evidence, r Request) []Finding {
	return NewStudy(ev, r).findings()
}

func (s *Study) findings() []Finding {
	findings := []Finding{}
	for _, e := range catalogue() {
		if e.from > s.Request.Phase || len(s.Request.Only) > 0 && !slices.Contains(s.Request.Only, e.judge.ID()) {
			continue
		}
		findings = append(findings, s.finding(e))
	}
	return findings
}

// finding judges one criterion for every subject and proves every pass.
func (s *Study) finding(e entry) Finding {
	f := Finding{
		ID: e.judge.ID(), Basis: Measured, Evidence: []Fact{}, Guide: e.guide, Advisory: e.advisory && s.Request.Phase < 3,
		Counterexamples: []string{}, Tenants: []TenantFinding{}, LeftOut: []LeftOut{}, Queries: s.queriesOf(e),
	}
	subjects := []int{Whole}
	if !e.whole {
		subjects = subjects[:0]
		for k := range s.Evidence.Tenants {
			subjects = append(subjects, k)
		}
	}
	proven := len(subjects) > 0
	for _, k := range subjects {
		tf, tried := s.one(e.judge, k)
		f.Counterexamples = union(f.Counterexamples, tried)
		proven = proven && (tf.Verdict != Pass || len(tried) > 0)
		f.Tenants = append(f.Tenants, tf)
	}
	s.verdict(&f)
	f.Proven = proven && f.Verdict == Pass
	f.Lookups = s.lookups(&f)
	return f
}

// one judges one subject: measured, then proven, looked at again, attested, waived.
func (s *Study) one(c Criterion, k int) (tf TenantFinding, tried []string) {
	tf = c.Judge(s, k)
	if tf.Verdict == Pass {
		var survived []string
		tried, survived = s.prove(c, k)
		switch {
		case len(survived) > 0 || len(tried) == 0:
			tf = broken(tf, tried, survived)
		default:
			tf = s.lookAgain(c, k, tf)
		}
	}
	if _, counts := c.(Reports); tf.Verdict == Unmeasurable && !tf.Broken && !counts { // a word without its counts is none
		bare := tf
		if tf = s.attest(c.ID(), bare); tf.Verdict == Pass {
			tried = nil
			for _, ce := range withoutAttestation() {
				tried = append(tried, ce.Name)
				if s.broken(k, ce).attest(c.ID(), bare).Verdict == Pass {
					tf = broken(tf, tried, []string{ce.Name})
				}
			}
		}
	}
	for _, w := range s.Request.Statements.Waivers {
		if w.ID == c.ID() && (w.Tenant == "" || w.Tenant == tf.Tenant) && w.Holds(s.Evidence.At) {
			tf.Waived = &w
		}
	}
	return tf, tried
}

// prove runs the counterexamples of c against the very evidence it passed on.
func (s *Study) prove(c Criterion, k int) (tried, survived []string) {
	for _, ce := range c.Counterexamples(s, k) {
		tried = append(tried, ce.Name)
		if c.Judge(s.broken(k, ce), k).Verdict == Pass {
			survived = append(survived, ce.Name)
		}
	}
	return tried, survived
}

func broken(tf TenantFinding, tried, survived []string) TenantFinding {
	tf.Verdict, tf.State, tf.Broken = Unmeasurable, "", true
	if len(tried) == 0 {
		tf.Summary = "would pass, but no counterexample could be built from this evidence"
	} else {
		tf.Summary = "would pass, but also passes with " + strings.Join(survived, ", ")
	}
	tf.Needs = "a look at the evidence by hand: on it this gate cannot fail"
	return tf
}

// lookAgain holds a pass against other bins and earlier looks.
func (s *Study) lookAgain(c Criterion, k int, tf TenantFinding) TenantFinding {
	if tf.Basis == Twin || tf.Basis == Attested || k == Whole && len(tf.Statistics) == 0 {
		return tf
	}
	for i, again := range s.earlier() {
		other := c.Judge(again, k)
		again.forget(k)
		if other.Verdict == Pass {
			continue
		}
		how := "with hours that begin at half past"
		if i > 0 {
			how = round(s.Evidence.At.Sub(again.Evidence.At)) + " earlier"
		}
		tf.Verdict, tf.State, tf.Fragile = Inconclusive, Waiting, true
		tf.Summary = fmt.Sprintf("fragile: %s; but %s: %s", tf.Summary, how, other.Summary)
		tf.Needs = "a pass that does not hang on the instant; judge again in an hour"
		eta := s.Evidence.At.Add(time.Hour)
		tf.ETA = &eta
		return tf
	}
	return tf
}

// verdict combines what the tenants' findings say: waived ones are out, quiet
// tenants count only where something was found, and tenants to whom nothing
// happened count only where nobody else was seen either.
func (s *Study) verdict(f *Finding) {
	var counted []*TenantFinding
	var waived *statement.Waiver
	seen := false
	for i := range f.Tenants {
		seen = seen || !f.Tenants[i].Unseen && f.Tenants[i].Waived == nil && f.Tenants[i].Verdict == Pass
	}
	for i := range f.Tenants {
		tf := &f.Tenants[i]
		quiet := s.quiet(tf.Tenant)
		undecided := tf.Verdict == Inconclusive || tf.Verdict == Unmeasurable
		switch {
		case tf.Waived != nil:
			waived = tf.Waived
			if tf.Tenant != "" {
				f.LeftOut = append(f.LeftOut, LeftOut{tf.Tenant, "waived: " + tf.Waived.Reason})
			}
		case quiet != nil && undecided && !tf.Broken:
			f.LeftOut = append(f.LeftOut, LeftOut{tf.Tenant, "left out: " + quiet.Reason})
		case tf.Unseen && undecided && seen:
			f.LeftOut = append(f.LeftOut, LeftOut{tf.Tenant, tf.Summary})
		default:
			counted = append(counted, tf)
		}
	}
	if len(counted) == 0 && waived != nil {
		for i := range f.Tenants { // all waived: what they say is shown, and does not count
			counted = append(counted, &f.Tenants[i])
		}
		f.Waived = waived
	}
	var vs []Verdict
	for _, tf := range counted {
		vs = append(vs, tf.Verdict)
	}
	f.Verdict = Worst(vs...)
	summarize(f, counted)
}

func (s *Study) quiet(tenant string) *statement.Quiet {
	for i, q := range s.Request.Statements.Quiet {
		if q.Tenant == tenant && tenant != "" {
			return &s.Request.Statements.Quiet[i]
		}
	}
	return nil
}

// summarize fills the criterion's own words from its worst tenants'.
func summarize(f *Finding, counted []*TenantFinding) {
	if len(counted) == 0 {
		f.Summary, f.State, f.Needs = "no tenant was judged", Stuck, "a tenant to judge"
		if len(f.LeftOut) > 0 {
			f.Summary = "every tenant is left out"
		}
		return
	}
	var worst []*TenantFinding
	for _, tf := range counted {
		if tf.Verdict == f.Verdict {
			worst = append(worst, tf)
		}
		f.Broken = f.Broken || tf.Broken
		f.Fragile = f.Fragile || tf.Fragile
	}
	first := worst[0]
	f.Basis, f.State, f.Needs, f.Evidence, f.Detectable, f.ETA = first.Basis, first.State, first.Needs, first.Evidence, first.Detectable, first.ETA
	for _, w := range worst {
		if w.State == Stuck && f.State != Stuck { // one that will not resolve outweighs those that will
			f.State, f.Needs = Stuck, w.Needs
			first = w
		}
		if w.ETA != nil && (f.ETA == nil || w.ETA.After(*f.ETA)) {
			f.ETA = w.ETA
		}
	}
	if f.State == Stuck || f.Verdict != Inconclusive {
		f.ETA = nil
	}
	f.Evidence = append([]Fact{}, first.Evidence...)
	f.Summary = first.Summary
	if n := len(counted); n > 1 {
		f.Summary = fmt.Sprintf("%d of %d tenants %s, e.g. %s: %s", len(worst), n, verb(f.Verdict, len(worst)), first.Tenant, first.Summary)
		if len(worst) == n && f.Verdict == Pass {
			f.Summary = fmt.Sprintf("all %d tenants pass, e.g. %s: %s", n, first.Tenant, first.Summary)
		}
	}
}

func verb(v Verdict, n int) string {
	one := n == 1
	switch {
	case v == Pass && one:
		return "passes"
	case v == Pass:
		return "pass"
	case v == Fail && one:
		return "fails"
	case v == Fail:
		return "fail"
	case v == Inconclusive && one:
		return "is undecided"
	case v == Inconclusive:
		return "are undecided"
	}
	return "cannot be measured"
}

// queriesOf are the names of the evaluation's queries that a criterion rests on,
// as far as they were asked.
func (s *Study) queriesOf(e entry) []string {
	out := []string{}
	for _, q := range s.Evidence.Queries {
		for _, name := range e.queries {
			if q.Name == name || strings.HasPrefix(q.Name, name+"/") {
				out = appendNew(out, q.Name)
			}
		}
	}
	return out
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

package criteria

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/rollout/statement"
)

// attest turns a finding that cannot be measured into a pass where somebody attests
// it; where an attestation was given and does not count, it says why not.
func (s *Study) attest(id string, tf TenantFinding) TenantFinding {
	a, why := s.attestation(id)
	switch {
	case a != nil:
		without := Fact{Text: "without it: " + tf.Summary}
		tf.Verdict, tf.Basis, tf.State, tf.Needs = Pass, Attested, "", ""
		tf.Summary = fmt.Sprintf("attested by %s, %s, until %s: %s", a.By, date(a.From), date(a.Until), a.Reason)
		from, until := a.From, a.Until
		tf.Evidence = append([]Fact{{Text: tf.Summary, From: &from, To: &until}, without}, tf.Evidence...)
	case why != "":
		tf.Summary += "; " + why
	}
	return tf
}

// attestation is the newest one that counts for a criterion now; why says what is
// wrong with one that does not.
func (s *Study) attestation(id string) (found *statement.Attestation, why string) {
	at := s.Evidence.At
	for i := range s.Request.Statements.Attestations {
		a := &s.Request.Statements.Attestations[i]
		switch {
		case !a.For(id, s.Request.Phase):
		case a.From.After(at):
			why = fmt.Sprintf("the attestation of %s is of %s, after the instant judged", a.By, date(a.From))
		case !at.Before(a.Until):
			why = fmt.Sprintf("the attestation of %s expired on %s", a.By, date(a.Until))
		case s.tooOld(*a):
			why = fmt.Sprintf("the attestation of %s is of %s, before the last of these bakes began", a.By, date(a.From))
		case found == nil || a.From.After(found.From):
			found = a
		}
	}
	if found != nil {
		why = ""
	}
	return found, why
}

// tooOld reports whether an attestation was given before the last of the judged bakes
// began: it says nothing of that one, also where it names the phase, whose earlier bake
// may have been rolled back. What is not about a bake may be attested for its phase
// before.
func (s *Study) tooOld(a statement.Attestation) bool {
	if a.Phased() && (a.For("docs-updated", s.Request.Phase) || a.For("team-trained", s.Request.Phase)) {
		return false
	}
	_, last := s.bakes()
	return a.From.Before(last.UTC().Truncate(24 * time.Hour))
}

func date(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

// Attestable is a criterion that no metric can show: somebody looks and says so.
type Attestable struct{ id, what string }

// ID implements Criterion.
func (c Attestable) ID() string { return c.id }

// Judge implements Criterion.
func (c Attestable) Judge(s *Study, _ int) TenantFinding {
	return TenantFinding{Verdict: Unmeasurable, Basis: Attested, Summary: "nobody attests it", Evidence: []Fact{}, Episodes: []EpisodeFinding{},
		Needs: fmt.Sprintf("somebody who says %s: an attestation with id %s (--attest FILE)", c.what, c.id)}
}

// Counterexamples implements Criterion: there are none, since it never passes by
// itself.
func (Attestable) Counterexamples(*Study, int) []Counterexample { return nil }

// Reports is no-customer-reports: "no increase in customer-reported issues" (guide,
// Phase 3 step 3), from counts that somebody attests.
type Reports struct{}

// ID implements Criterion.
func (Reports) ID() string { return "no-customer-reports" }

// Judge implements Criterion.
func (Reports) Judge(s *Study, _ int) TenantFinding {
	tf := TenantFinding{Verdict: Unmeasurable, Basis: Attested, Evidence: []Fact{}, Episodes: []EpisodeFinding{},
		Needs: "an attestation with id no-customer-reports that gives baselineCount and windowCount over equally long times (--attest FILE)"}
	a, why := s.attestation("no-customer-reports")
	switch {
	case a == nil:
		tf.Summary = "nobody attests how many customers reported"
		if why != "" {
			tf.Summary += "; " + why
		}
		return tf
	case a.BaselineCount == nil || a.WindowCount == nil:
		tf.Summary = "the attestation of " + a.By + " gives no counts"
		return tf
	}
	before, after := *a.BaselineCount, *a.WindowCount
	from, until := a.From, a.Until
	tf.Needs = ""
	tf.Summary = fmt.Sprintf("%d reports after %d before; attested by %s, %s, until %s: %s", after, before, a.By, date(a.From), date(a.Until), a.Reason)
	tf.Evidence = append(tf.Evidence, Fact{Text: tf.Summary, Value: number(float64(after)), Limit: number(float64(before)), From: &from, To: &until})
	tf.Verdict = Pass
	if after > before {
		tf.Verdict = Fail
		tf.Needs = "no more reports than before, or counts over equally long times"
	}
	return tf
}

// Counterexamples implements Criterion.
func (Reports) Counterexamples(*Study, int) []Counterexample {
	return append(withoutAttestation(),
		Counterexample{"an attestation without counts", changed(func(_ *Case, a *statement.Attestation) { a.WindowCount = nil })},
		Counterexample{"one report more than before", changed(func(_ *Case, a *statement.Attestation) {
			if a.BaselineCount != nil {
				n := *a.BaselineCount + 1
				a.WindowCount = &n
			}
		})})
}

func withoutAttestation() []Counterexample {
	return []Counterexample{
		{"no attestation", func(c *Case) { c.Request.Statements.Attestations = nil }},
		{"attestations that have expired", changed(func(c *Case, a *statement.Attestation) { a.Until = c.Evidence.At })},
	}
}

// changed breaks every attestation of a case.
func changed(with func(*Case, *statement.Attestation)) func(c *Case) {
	return func(c *Case) {
		all := append([]statement.Attestation{}, c.Request.Statements.Attestations...)
		for i := range all {
			with(c, &all[i])
		}
		c.Request.Statements.Attestations = all
	}
}

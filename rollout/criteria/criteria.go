// Package criteria judges evidence. A criterion is a pure function from a study of
// evidence and statements to a finding, and it carries counterexamples: changes to
// the very evidence it passed on, each of which must make it not pass. A criterion
// that still passes on one of them cannot fail, and says so instead of passing.
//
// It reads no metrics (rollout/gather), reconstructs no timelines
// (rollout/evidence), holds no statements (rollout/statement), and words nothing
// for a terminal (cmd/internal/render). docs/criteria has a page for each
// criterion, docs/statistics.md the sources of its numbers.
package criteria

import (
	"time"

	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// Verdict is the answer of a gate. The order is from best to worst.
type Verdict string

// The four verdicts.
const (
	Pass         Verdict = "pass"
	Inconclusive Verdict = "inconclusive"
	Unmeasurable Verdict = "unmeasurable"
	Fail         Verdict = "fail"
)

// Basis says what a verdict rests on.
type Basis string

// The bases of a verdict.
const (
	Measured Basis = "measured"
	Twin     Basis = "twin"
	Attested Basis = "attested"
	Drill    Basis = "drill"
)

// State refines Inconclusive.
type State string

// Waiting resolves itself with time; Stuck does not.
const (
	Waiting State = "waiting"
	Stuck   State = "stuck"
)

// Whole is the subject of a criterion that is about the phase and no tenant of it.
const Whole = -1

// Criterion is one success criterion of the guide.
type Criterion interface {
	// ID is its public name, e.g. "no-unexpected-opens".
	ID() string
	// Judge judges one subject of the study: the tenant with that index, or Whole.
	Judge(s *Study, k int) TenantFinding
	// Counterexamples returns changes to the study, each of which must make Judge
	// return something other than Pass for the same subject.
	Counterexamples(s *Study, k int) []Counterexample
}

// Counterexample is one way in which passing evidence could have been bad.
type Counterexample struct {
	// Name is a short phrase: "a single open that first appears at 1".
	Name string
	// Break turns a good case into a bad one.
	Break func(c *Case)
}

// Case is a copy of what was judged, to be broken. Lists may be replaced, never
// written to; Circuit hands out a circuit that may be.
type Case struct {
	Evidence *evidence.Evidence
	Request  *Request
	// Tenant is the index of the judged tenant; Whole for the phase.
	Tenant int
}

// Circuit makes the tenant's i-th circuit the case's own and returns it.
func (c *Case) Circuit(i int) *evidence.Circuit {
	x := &c.Evidence.Tenants[c.Tenant].Circuits[i]
	x.Outcomes = append(make([]evidence.Outcome, 0, len(x.Outcomes)+8), x.Outcomes...)
	x.Transitions = append(make([]evidence.Transition, 0, len(x.Transitions)+8), x.Transitions...)
	return x
}

// Fact is one piece of evidence in a finding: what was looked at, the value,
// and the limit it was held against.
type Fact struct {
	// Text is the whole fact in words, figures included.
	Text     string `json:"text"`
	Provider string `json:"provider,omitempty"`
	Node     string `json:"node,omitempty"`
	// Value and Limit are the compared numbers where there are two.
	Value *float64 `json:"value,omitempty"`
	Limit *float64 `json:"limit,omitempty"`
	// From and To bound the event in time.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
}

// Statistic is a comparison of before and after with its bounds. All values are in
// Unit.
type Statistic struct {
	// Name says which reading it is: "without fail_fast".
	Name string `json:"name"`
	// Unit: "share" (0 to 1), "relative" (to before) or that of the query.
	Unit   string  `json:"unit"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	// Rise is After − Before, or relative to Before where Unit says so. Lower and
	// Upper are one-sided bounds that hold at every look.
	Rise  float64 `json:"rise"`
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
	// Margin is what the rise must stay below.
	Margin float64 `json:"margin"`
	// Detectable is the smallest rise that would have shown as one.
	Detectable float64 `json:"detectable"`
	// Relative is Rise over Before; nil where Before is 0.
	Relative *float64 `json:"relative,omitempty"`
	Verdict  Verdict  `json:"verdict"`
}

// TenantFinding is the verdict of one criterion for one tenant, or with Tenant ""
// for the phase as a whole.
type TenantFinding struct {
	Tenant  string  `json:"tenant"`
	Verdict Verdict `json:"verdict"`
	Basis   Basis   `json:"basis"`
	State   State   `json:"state,omitempty"`
	Summary string  `json:"summary"`
	// Evidence is what the verdict rests on, worst first.
	Evidence []Fact `json:"evidence"`
	// Statistics are the comparisons made.
	Statistics []Statistic `json:"statistics,omitempty"`
	// Needs says what would change an inconclusive or unmeasurable verdict.
	Needs string `json:"needs,omitempty"`
	// Detectable is the smallest effect that would have shown, in words.
	Detectable string `json:"detectable,omitempty"`
	// ETA is when a waiting verdict may be decided at the earliest.
	ETA *time.Time `json:"eta,omitempty"`
	// Broken: a counterexample passed. Fragile: it would pass, but not with other
	// bins or a little earlier.
	Broken  bool `json:"broken,omitempty"`
	Fragile bool `json:"fragile,omitempty"`
	// Waived takes it out of the verdict.
	Waived *statement.Waiver `json:"waived,omitempty"`
	// Unseen: nothing happened to the tenant that the criterion could be seen by, and
	// the criterion does not need it of every tenant.
	Unseen bool `json:"unseen,omitempty"`
	// Episodes are the openings that were judged.
	Episodes []EpisodeFinding `json:"episodes"`
}

// EpisodeFinding is what was found about one episode.
type EpisodeFinding struct {
	Provider string `json:"provider"`
	Node     string `json:"node"`
	// OpenedFrom and OpenedTo bound the open: after the scrape before it, at or
	// before the scrape that showed it.
	OpenedFrom time.Time  `json:"openedFrom"`
	OpenedTo   time.Time  `json:"openedTo"`
	ClosedFrom *time.Time `json:"closedFrom,omitempty"`
	ClosedTo   *time.Time `json:"closedTo,omitempty"`
	Reopens    int        `json:"reopens"`
	// Shadow: tripped before the breaker was enabled.
	Shadow bool `json:"shadow"`
	// Expected is nil for shadow episodes and where it cannot be told.
	Expected *bool `json:"expected,omitempty"`
	// Premature: opened on fewer outcomes than failure_threshold (ROUTER.md §4).
	Premature bool `json:"premature"`
	// Route names the proof that the provider was failing; empty if none.
	Route string `json:"route,omitempty"`
	// Reason is the finding in words, with its figures.
	Reason string `json:"reason"`
}

// Finding is the verdict of one criterion over all judged tenants.
type Finding struct {
	ID      string  `json:"id"`
	Verdict Verdict `json:"verdict"`
	Basis   Basis   `json:"basis"`
	State   State   `json:"state,omitempty"`
	Summary string  `json:"summary"`
	// Guide is the sentence of the guide that it implements.
	Guide      string `json:"guide"`
	Evidence   []Fact `json:"evidence"`
	Needs      string `json:"needs"`
	Detectable string `json:"detectable"`
	// ETA is when a waiting verdict may be decided at the earliest.
	ETA *time.Time `json:"eta,omitempty"`
	// Proven: every counterexample was run against this evidence and did not pass.
	Proven bool `json:"proven"`
	// Broken: a counterexample passed; the verdict is then Unmeasurable.
	Broken bool `json:"broken"`
	// Fragile: a pass did not survive other bins or an earlier look.
	Fragile bool `json:"fragile"`
	// Advisory: it can fail this phase, but not hold it.
	Advisory bool `json:"advisory"`
	// Waived: for all tenants; it is out of the phase's verdict.
	Waived *statement.Waiver `json:"waived,omitempty"`
	// LeftOut are tenants that do not count here, and why.
	LeftOut []LeftOut `json:"leftOut"`
	// Counterexamples lists what was tried, when it passed.
	Counterexamples []string `json:"counterexamples"`
	// Queries are names of the evaluation's queries that it rests on.
	Queries []string `json:"queries"`
	// Lookups are queries to paste, of a finding that did not pass.
	Lookups []Lookup        `json:"lookups"`
	Tenants []TenantFinding `json:"tenants"`
}

// LeftOut is a tenant that does not count for a criterion.
type LeftOut struct {
	Tenant string `json:"tenant"`
	Reason string `json:"reason"`
}

// Counts reports whether the finding is part of the phase's verdict.
func (f *Finding) Counts() bool {
	return f.Waived == nil && (!f.Advisory || f.Verdict == Fail)
}

// Worst returns the worst verdict of vs: fail, unmeasurable, inconclusive,
// pass. Of nothing it is Inconclusive: an empty list is no evidence.
func Worst(vs ...Verdict) Verdict {
	if len(vs) == 0 {
		return Inconclusive
	}
	worst := Pass
	for _, v := range vs {
		if rank(v) > rank(worst) {
			worst = v
		}
	}
	return worst
}

func rank(v Verdict) int {
	switch v {
	case Pass:
		return 0
	case Inconclusive:
		return 1
	case Fail:
		return 3
	default: // Unmeasurable, and whatever is not a verdict
		return 2
	}
}

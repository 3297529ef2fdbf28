// Package criteria judges evidence. A criterion is a pure function from
// evidence to a finding, and it carries counterexamples: changes to the very
// evidence it passed on, each of which must make it not pass. A criterion that
// still passes on one of them cannot fail, and says so instead of passing.
//
// It reads no metrics (rollout/gather), reconstructs no timelines
// (rollout/evidence), and words nothing for a terminal (cmd/internal/render).
package criteria

import (
	"time"

	"github.com/cbops/cbops/rollout/evidence"
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

// Criterion is one success criterion of the guide.
type Criterion interface {
	// ID is its public name, e.g. "no-unexpected-opens".
	ID() string
	// JudgeTenant judges one tenant of the evidence.
	JudgeTenant(ev *evidence.Evidence, t *evidence.Tenant, p Params) TenantFinding
	// Counterexamples returns changes to ev for tenant t, each of which must
	// make JudgeTenant return something other than Pass. Each change gets a deep
	// copy of the evidence and may do with it what it likes.
	Counterexamples(ev *evidence.Evidence, t *evidence.Tenant, p Params) []Counterexample
}

// Counterexample is one way in which passing evidence could have been bad.
type Counterexample struct {
	// Name is a short phrase: "a single open that first appears at 1".
	Name string
	// Break turns good evidence for the tenant with the given index into bad.
	Break func(ev *evidence.Evidence, tenant int)
}

// Params are the phase's requirements.
type Params struct {
	// Phase is 1 to 4.
	Phase int
	// MinDays is N: N × 24 measured hours, N blocks of 24 of them with
	// MinOutcomesPerDay outcomes each (DESIGN.md §5, "Measured").
	MinDays int
	// MinOutcomesPerDay is 100 unless the plan says otherwise.
	MinOutcomesPerDay int
}

// Fact is one piece of evidence in a finding: what was looked at, the value,
// and the limit it was held against.
type Fact struct {
	// Text is the whole fact in words, figures included.
	Text string `json:"text"`
	// Circuit is "provider@node" where the fact is about one.
	Provider string `json:"provider,omitempty"`
	Node     string `json:"node,omitempty"`
	// Value and Limit are the compared numbers where there are two.
	Value *float64 `json:"value,omitempty"`
	Limit *float64 `json:"limit,omitempty"`
	// From and To bound the event in time.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
}

// TenantFinding is the verdict of one criterion for one tenant.
type TenantFinding struct {
	Tenant  string  `json:"tenant"`
	Verdict Verdict `json:"verdict"`
	Basis   Basis   `json:"basis"`
	State   State   `json:"state,omitempty"`
	Summary string  `json:"summary"`
	// Evidence is what the verdict rests on, worst first.
	Evidence []Fact `json:"evidence"`
	// Needs says what would change an inconclusive or unmeasurable verdict.
	Needs string `json:"needs,omitempty"`
	// ETA is when a waiting verdict may be decided at the earliest.
	ETA *time.Time `json:"eta,omitempty"`
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
	// Expected is nil for shadow episodes: nobody asked.
	Expected *bool `json:"expected,omitempty"`
	// Premature: opened on fewer outcomes than failure_threshold (ROUTER.md §4).
	Premature bool `json:"premature"`
	// Route names the proof that the provider was failing: "rate", "run",
	// "tail", "probes", "others"; empty if none.
	Route string `json:"route,omitempty"`
	// Reason is the finding in words, with its figures.
	Reason string `json:"reason"`
}

// Finding is the verdict of one criterion over all judged tenants.
type Finding struct {
	ID         string  `json:"id"`
	Verdict    Verdict `json:"verdict"`
	Basis      Basis   `json:"basis"`
	State      State   `json:"state,omitempty"`
	Summary    string  `json:"summary"`
	Evidence   []Fact  `json:"evidence"`
	Needs      string  `json:"needs"`
	Detectable string  `json:"detectable"`
	// Proven: every counterexample was run against this evidence and did not pass.
	Proven bool `json:"proven"`
	// Broken: a counterexample passed; the verdict is then Unmeasurable.
	Broken bool `json:"broken"`
	// Counterexamples lists what was tried, when it passed.
	Counterexamples []string        `json:"counterexamples"`
	Tenants         []TenantFinding `json:"tenants"`
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

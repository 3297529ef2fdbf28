package criteria

import (
	"fmt"
	"slices"

	"github.com/cbops/cbops/rollout/statement"
)

// Request is what is asked, and what people state. Together with the evidence it
// decides every finding; a bundle keeps both.
type Request struct {
	// Phase is 1 to 4.
	Phase int `json:"phase"`
	// Only are the criteria asked for; none for all of the phase.
	Only []string `json:"only,omitempty"`
	// MinDays is N: N × 24 measured hours, N blocks of 24 of them with
	// MinOutcomesPerDay outcomes each (DESIGN.md §5, "Measured").
	MinDays           int `json:"minDays"`
	MinOutcomesPerDay int `json:"minOutcomesPerDay"`
	// FailFast says what a fail_fast is to a customer: FailFastRescued,
	// FailFastRejected, or FailFastUnknown.
	FailFast string  `json:"failFast"`
	Margins  Margins `json:"margins"`
	// Stability are the stability queries of the deployment, by name.
	Stability []Stability `json:"stability"`
	// Policies are all policies of all tenants as they are on disk; nil where that is
	// not known.
	Policies []Policy `json:"policies"`
	// Flags are what a next command must repeat, quoted for a shell, where the question
	// was put by flags and not by a plan.
	Flags      Flags         `json:"flags,omitzero"`
	Statements statement.Set `json:"statements"`
}

// Flags are the flags of a question as they were given, but for times, which are
// absolute: what commands act on, what was judged, and as of when.
type Flags struct {
	Target string `json:"target,omitempty"`
	Judge  string `json:"judge,omitempty"`
	At     string `json:"at,omitempty"`
}

// What a fail_fast is to a customer.
const (
	FailFastUnknown  = "unknown"
	FailFastRescued  = "rescued"
	FailFastRejected = "rejected"
)

// Margins are how much worse something may be and still count as no worse.
type Margins struct {
	// ErrorRate is max(Floor, Relative·p, min(Cap, Half·p)) of a baseline p; all are
	// shares.
	ErrorRate ErrorMargin `json:"errorRate"`
	// Latency is relative: 0.05.
	Latency float64 `json:"latency"`
	// Consistency is the ratio of episodes per outage between tenants: 3.
	Consistency float64 `json:"consistency"`
	// Containment is the share of calls kept from a failing provider: 0.8.
	Containment float64 `json:"containment"`
}

// ErrorMargin is the margin of an error rate as a function of its baseline.
type ErrorMargin struct {
	Floor    float64 `json:"floor"`
	Relative float64 `json:"relative"`
	Cap      float64 `json:"cap"`
	Half     float64 `json:"half"`
}

// Of is the margin at a baseline p.
func (m ErrorMargin) Of(p float64) float64 {
	return max(m.Floor, m.Relative*p, min(m.Cap, m.Half*p))
}

// Stability is a query of the deployment for how stable the system is.
type Stability struct {
	Name string `json:"name"`
	// Higher: more of it is better.
	Higher bool `json:"higher"`
	// Margin is how much worse it may be, relative to before.
	Margin float64 `json:"margin"`
}

// Policy is a policy as it is on disk.
type Policy struct {
	Tenant  string `json:"tenant"`
	Policy  string `json:"policy"`
	Enabled bool   `json:"enabled"`
	// Problem is why it could not be read; whether it is enabled is then not known.
	Problem string `json:"problem,omitempty"`
}

// DefaultMargins are DESIGN.md §5's.
func DefaultMargins() Margins {
	return Margins{ErrorRate: ErrorMargin{Floor: 0.001, Relative: 0.1, Cap: 0.005, Half: 0.5}, Latency: 0.05, Consistency: 3, Containment: 0.8}
}

const (
	// DefaultStability is the margin of a stability query that names none.
	DefaultStability = 0.05
	// MinOutcomesPerDay is the volume of a day that counts.
	MinOutcomesPerDay = 100
	// SettingMinOutcomes and SettingStability (before a query's name) are settings that
	// an override may loosen, besides the margins.
	SettingMinOutcomes = "minOutcomesPerDay"
	SettingStability   = "stability."
)

// Settings lists what an override may loosen, without the stability queries.
func Settings() []string {
	return append((Margins{ErrorRate: ErrorMargin{1e9, 1e9, 1e9, 1e9}, Latency: 1e9, Consistency: 1e9, Containment: -1}).Loosened(), SettingMinOutcomes)
}

// NewRequest asks for a phase with the guide's settings.
func NewRequest(phase int) Request {
	return Request{Phase: phase, MinDays: MinDays(phase), MinOutcomesPerDay: MinOutcomesPerDay, FailFast: FailFastUnknown, Margins: DefaultMargins(),
		Stability: []Stability{}, Statements: statement.Set{}.Full()}
}

// Loosened lists the settings of m that are looser than the default, by their path
// in a plan.
func (m Margins) Loosened() []string {
	d := DefaultMargins()
	var out []string
	for _, x := range []struct {
		path string
		is   bool
	}{
		{"margins.errorRate.floor", m.ErrorRate.Floor > d.ErrorRate.Floor},
		{"margins.errorRate.relative", m.ErrorRate.Relative > d.ErrorRate.Relative},
		{"margins.errorRate.cap", m.ErrorRate.Cap > d.ErrorRate.Cap},
		{"margins.errorRate.half", m.ErrorRate.Half > d.ErrorRate.Half},
		{"margins.latency", m.Latency > d.Latency},
		{"margins.consistency", m.Consistency > d.Consistency},
		{"margins.containment", m.Containment < d.Containment},
	} {
		if x.is {
			out = append(out, x.path)
		}
	}
	return out
}

// Check returns what is wrong with a request, in words: what nobody may ask.
func (r Request) Check() []string {
	var bad []string
	for _, path := range r.Margins.Loosened() {
		if !slices.ContainsFunc(r.Statements.Overrides, func(o statement.Override) bool { return o.Setting == path }) {
			bad = append(bad, fmt.Sprintf("%s is looser than the default, and no override is recorded for it", path))
		}
	}
	if r.MinOutcomesPerDay < MinOutcomesPerDay && !slices.ContainsFunc(r.Statements.Overrides, func(o statement.Override) bool { return o.Setting == SettingMinOutcomes }) {
		bad = append(bad, fmt.Sprintf("%s is lower than %d, and no override is recorded for it", SettingMinOutcomes, MinOutcomesPerDay))
	}
	for _, s := range r.Stability {
		if s.Margin > DefaultStability && !slices.ContainsFunc(r.Statements.Overrides, func(o statement.Override) bool { return o.Setting == SettingStability+s.Name }) {
			bad = append(bad, fmt.Sprintf("the margin of stability query %q is looser than %g, and no override is recorded for it", s.Name, DefaultStability))
		}
	}
	ids := IDs(r.Phase)
	for _, w := range r.Statements.Waivers {
		if !slices.Contains(AllIDs(), w.ID) {
			bad = append(bad, fmt.Sprintf("a waiver for %q: there is no such criterion", w.ID))
		}
	}
	for _, id := range r.Only {
		if !slices.Contains(ids, id) {
			bad = append(bad, fmt.Sprintf("phase %d has no criterion %q", r.Phase, id))
		}
	}
	return append(bad, r.Statements.Check()...)
}

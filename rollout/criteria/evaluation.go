package criteria

import (
	"fmt"
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// Evaluation is the answer of `cbops evaluate` (DESIGN.md §5).
type Evaluation struct {
	APIVersion  string    `json:"apiVersion"`
	Kind        string    `json:"kind"`
	Environment string    `json:"environment"`
	Rollout     string    `json:"rollout"`
	Phase       int       `json:"phase"`
	At          time.Time `json:"at"`
	Verdict     Verdict   `json:"verdict"`
	// State and ETA say of an undecided phase whether time will tell, and when.
	State    State             `json:"state,omitempty"`
	ETA      *time.Time        `json:"eta,omitempty"`
	Partial  bool              `json:"partial"`
	Window   evidence.Interval `json:"window"`
	Baseline evidence.Interval `json:"baseline"`
	Tenants  []string          `json:"tenants"`
	Criteria []Finding         `json:"criteria"`
	Coverage Coverage          `json:"coverage"`
	// Attestations to EarlierBakes are what people stated, shown whether or not it
	// counts.
	Attestations []AttestationState   `json:"attestations"`
	Incidents    []IncidentState      `json:"incidents"`
	Waivers      []WaiverState        `json:"waivers"`
	Quiet        []statement.Quiet    `json:"quiet"`
	Overrides    []statement.Override `json:"overrides"`
	EarlierBakes []statement.Bake     `json:"earlierBakes"`
	// Notes are what a reader must know besides: controls, clocks, correction for many
	// tenants.
	Notes   []string         `json:"notes"`
	Queries []evidence.Query `json:"queries"`
	Next    []string         `json:"next"`
}

// Coverage says how much of the bake was measured: for several tenants, of the
// one that was measured least.
type Coverage struct {
	MeasuredHours int            `json:"measuredHours"`
	RequiredHours int            `json:"requiredHours"`
	Gaps          []evidence.Gap `json:"gaps"`
}

// Evaluate judges evidence for a phase. With Only, a subset is judged: partial, and
// never a phase pass, whatever its verdict.
func Evaluate(ev *evidence.Evidence, r Request) Evaluation {
	s := NewStudy(ev, r)
	e := Evaluation{
		APIVersion: "cbops/v1", Kind: "Evaluation", Phase: r.Phase, At: ev.At.UTC(),
		Partial: len(r.Only) > 0, Criteria: s.findings(),
		Coverage: Coverage{RequiredHours: r.MinDays * 24, Gaps: []evidence.Gap{}},
		Queries:  append([]evidence.Query{}, ev.Queries...), Tenants: []string{}, Next: []string{}, Notes: []string{},
		Attestations: []AttestationState{}, Incidents: []IncidentState{}, Quiet: append([]statement.Quiet{}, r.Statements.Quiet...),
		Overrides: append([]statement.Override{}, r.Statements.Overrides...), EarlierBakes: []statement.Bake{}, Waivers: []WaiverState{},
	}
	e.decide()
	for i := range ev.Tenants {
		t := &ev.Tenants[i]
		m := s.covered(t.Since)
		if i == 0 || m.Hours < e.Coverage.MeasuredHours {
			e.Coverage.MeasuredHours = m.Hours
			e.Coverage.Gaps = append([]evidence.Gap{}, m.Gaps...)
		}
		e.Tenants = append(e.Tenants, t.ID)
		if i == 0 || t.Since.Before(e.Window.From) {
			e.Window = evidence.Interval{From: t.Since.UTC(), To: ev.At.UTC()}
			e.Baseline = evidence.Interval{From: t.Baseline.From.UTC(), To: t.Baseline.To.UTC()}
		}
	}
	for _, b := range r.Statements.Bakes {
		if !b.To.IsZero() && slices.Contains(e.Tenants, b.Tenant) {
			e.EarlierBakes = append(e.EarlierBakes, b)
		}
	}
	e.Notes = s.notes()
	if e.Coverage.MeasuredHours < e.Coverage.RequiredHours {
		e.Notes = append(e.Notes, missed(e.Coverage.Gaps)...)
	}
	e.Notes = append(e.Notes, s.badQueries()...)
	s.stated(&e)
	e.Next = next(e, r)
	return e
}

// decide takes the phase's verdict from the criteria that count.
func (e *Evaluation) decide() {
	var vs []Verdict
	for i := range e.Criteria {
		if e.Criteria[i].Counts() {
			vs = append(vs, e.Criteria[i].Verdict)
		}
	}
	e.Verdict = Worst(vs...)
	if e.Verdict != Inconclusive {
		return
	}
	e.State = Waiting
	for i := range e.Criteria {
		f := &e.Criteria[i]
		if !f.Counts() || f.Verdict != Inconclusive {
			continue
		}
		if f.State != Waiting {
			e.State = Stuck
		}
		if f.ETA != nil && (e.ETA == nil || f.ETA.After(*e.ETA)) {
			e.ETA = f.ETA
		}
	}
	if len(vs) == 0 {
		e.State = Stuck
	}
	if e.State == Stuck {
		e.ETA = nil
	}
}

// notes are what a reader must know that no single criterion says.
func (s *Study) notes() []string {
	notes := []string{}
	ev := s.Evidence
	if n := len(ev.Tenants); n > 1 {
		notes = append(notes, fmt.Sprintf("%d tenants are judged: a phase passes only if each passes, and a fail by statistics is held to 5 %% over all that are compared, so that the chance of failing any unchanged tenant stays below that for each such criterion", n))
	}
	if s.Request.Policies == nil {
		notes = append(notes, "which other tenants are enabled is not known: all of them are taken as controls for error rates, none for saved calls")
	} else if ev.OtherTenants > 0 {
		off := 0
		seen := map[string]bool{}
		for i := range ev.Others {
			if t := ev.Others[i].Tenant; !seen[t] {
				seen[t] = true
				if on, _ := s.enabledNow(t); !on {
					off++
				}
			}
		}
		notes = append(notes, fmt.Sprintf("%d of %d other tenants have no breaker and serve as controls", off, len(seen)))
	}
	if ev.OtherTenants == 0 {
		notes = append(notes, "no other tenant uses these providers: nobody to compare with")
	}
	return notes
}

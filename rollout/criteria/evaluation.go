package criteria

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// Evaluation is the answer of `cbops evaluate` (DESIGN.md §5).
type Evaluation struct {
	APIVersion  string            `json:"apiVersion"`
	Kind        string            `json:"kind"`
	Environment string            `json:"environment"`
	Rollout     string            `json:"rollout"`
	Phase       int               `json:"phase"`
	At          time.Time         `json:"at"`
	Verdict     Verdict           `json:"verdict"`
	Partial     bool              `json:"partial"`
	Window      evidence.Interval `json:"window"`
	Baseline    evidence.Interval `json:"baseline"`
	Tenants     []string          `json:"tenants"`
	Criteria    []Finding         `json:"criteria"`
	Coverage    Coverage          `json:"coverage"`
	Queries     []evidence.Query  `json:"queries"`
	Next        []string          `json:"next"`
}

// Coverage says how much of the bake was measured: for several tenants, of the
// one that was measured least.
type Coverage struct {
	MeasuredHours int            `json:"measuredHours"`
	RequiredHours int            `json:"requiredHours"`
	Gaps          []evidence.Gap `json:"gaps"`
}

// Evaluate judges evidence for a phase. With only, a subset is judged: partial,
// and never a phase pass, whatever its verdict.
func Evaluate(ev *evidence.Evidence, p Params, only []string) Evaluation {
	e := Evaluation{
		APIVersion: "cbops/v1", Kind: "Evaluation", Phase: p.Phase, At: ev.At.UTC(),
		Partial: len(only) > 0, Criteria: Judge(ev, p, only),
		Coverage: Coverage{RequiredHours: p.MinDays * 24, Gaps: []evidence.Gap{}},
		Queries:  append([]evidence.Query{}, ev.Queries...), Tenants: []string{}, Next: []string{},
	}
	var vs []Verdict
	for _, f := range e.Criteria {
		vs = append(vs, f.Verdict)
	}
	e.Verdict = Worst(vs...)
	for i := range ev.Tenants {
		t := &ev.Tenants[i]
		m := ev.Coverage(t.Since)
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
	e.Next = next(e)
	return e
}

// next is what the reader would do now, most likely first.
func next(e Evaluation) []string {
	cmds := []string{}
	for _, f := range e.Criteria {
		if f.Verdict != Fail {
			continue
		}
		for _, t := range f.Tenants {
			if t.Verdict == Fail {
				cmds = appendNew(cmds, "cbops rollback tenant "+t.Tenant)
			}
		}
	}
	for _, f := range e.Criteria {
		if f.Verdict == Fail {
			cmds = appendNew(cmds, "cbops ticket draft --from "+f.ID)
		}
	}
	if len(cmds) == 0 && e.Verdict != Pass {
		cmds = append(cmds, fmt.Sprintf("cbops evaluate --phase %d", e.Phase))
	}
	return cmds
}

func appendNew(s []string, v string) []string { return union(s, []string{v}) }

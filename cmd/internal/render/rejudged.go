package render

import (
	"fmt"
	"slices"

	"github.com/cbops/cbops/rollout/criteria"
)

// Rejudged says that evidence was judged before, by another version of cbops or with
// another answer.
type Rejudged struct {
	// By is the version that judged it then, This the one that does now.
	By   string `json:"by"`
	This string `json:"this"`
	// Differences are what is judged otherwise now, a line each.
	Differences []string `json:"differences"`
}

func (r *Rejudged) notes() []string {
	if r == nil {
		return nil
	}
	notes := []string{fmt.Sprintf("judged by %s; this is %s", r.By, r.This)}
	if len(r.Differences) == 0 {
		return append(notes, "Both say the same.")
	}
	return append(notes, r.Differences...)
}

// Differences compares two evaluations of the same evidence.
func Differences(then, now criteria.Evaluation) []string {
	out := []string{}
	if then.Verdict != now.Verdict {
		out = append(out, fmt.Sprintf("phase %d: %s then, %s now", now.Phase, then.Verdict, now.Verdict))
	}
	was := map[string]criteria.Finding{}
	for _, f := range then.Criteria {
		was[f.ID] = f
	}
	for _, f := range now.Criteria {
		old, ok := was[f.ID]
		delete(was, f.ID)
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("%s: not judged then, %s now", f.ID, f.Verdict))
		case old.Verdict != f.Verdict:
			out = append(out, fmt.Sprintf("%s: %s then (%s), %s now (%s)", f.ID, old.Verdict, old.Summary, f.Verdict, f.Summary))
		default:
			out = append(out, tenantDifferences(f.ID, old, f)...)
		}
	}
	gone := []string{}
	for id, f := range was {
		gone = append(gone, fmt.Sprintf("%s: %s then, not judged now", id, f.Verdict))
	}
	slices.Sort(gone)
	return append(out, gone...)
}

func tenantDifferences(id string, then, now criteria.Finding) []string {
	was := map[string]criteria.Verdict{}
	for _, t := range then.Tenants {
		was[t.Tenant] = t.Verdict
	}
	var out []string
	for _, t := range now.Tenants {
		if v := was[t.Tenant]; v != t.Verdict {
			out = append(out, fmt.Sprintf("%s, %s: %s then, %s now", id, t.Tenant, v, t.Verdict))
		}
	}
	return out
}

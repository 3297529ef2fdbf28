package render

import (
	"fmt"
	"slices"

	"github.com/cbops/cbops/rollout/criteria"
)

// Explanation is the answer of `cbops evaluate --explain`: the evaluation with
// every episode and query. Criterion is an id, or "all".
type Explanation struct {
	criteria.Evaluation
	Criterion string `json:"-"`
}

// Page implements Document.
func (x Explanation) Page() Page {
	p := Evaluation{x.Evaluation}.Page()
	if x.Criterion != "all" {
		p.Sections = slices.DeleteFunc(p.Sections, func(s Section) bool {
			return len(s.Title) < len(x.Criterion) || s.Title[:len(x.Criterion)] != x.Criterion
		})
	}
	for _, f := range x.Criteria {
		if x.Criterion != "all" && f.ID != x.Criterion || len(f.Tenants) == 0 {
			continue
		}
		s := Section{Title: f.ID + ", every episode"}
		for _, t := range f.Tenants {
			for _, e := range t.Episodes {
				s.Lines = append(s.Lines, fmt.Sprintf("%s %s %s  %s UTC  %s", t.Tenant, e.Provider, e.Node,
					e.OpenedTo.UTC().Format("2 Jan 15:04:05"), episodeText(e)))
			}
		}
		if len(s.Lines) == 0 {
			s.Lines = append(s.Lines, "none")
		}
		if len(f.Counterexamples) > 0 {
			s.Lines = append(s.Lines, fmt.Sprintf("counterexamples tried on this evidence: %q", f.Counterexamples))
		}
		p.Sections = append(p.Sections, s)
	}
	q := Section{Title: "queries"}
	for _, x := range x.Queries {
		q.Lines = append(q.Lines, fmt.Sprintf("%s  %s  %s, %d series, %d samples, %d bytes",
			x.Name, x.Expr, span(x.From, x.To), x.Series, x.Samples, x.Bytes))
	}
	p.Sections = append(p.Sections, q)
	return p
}

func episodeText(e criteria.EpisodeFinding) string {
	word := ""
	switch {
	case e.Shadow:
		word = "before enabling: "
	case e.Expected == nil:
	case *e.Expected:
		word = "expected, by " + e.Route + ": "
	default:
		word = "unexpected: "
	}
	return word + e.Reason
}

package render

import (
	"fmt"
	"slices"

	"github.com/cbops/cbops/rollout/criteria"
)

// Explanation is the answer of `cbops evaluate --explain`: the evaluation with
// every fact, episode and query. Criterion is an id, or "all".
type Explanation struct {
	Evaluation
	Criterion string `json:"-"`
}

// Page implements Document.
func (x Explanation) Page() Page {
	p, sections := x.page()
	asked := func(id string) bool { return x.Criterion == "all" || x.Criterion == id }
	p.Sections = slices.DeleteFunc(sections, func(s Section) bool { return !asked(s.Title) })
	names := []string{}
	for i := range x.Criteria {
		f := &x.Criteria[i]
		if !asked(f.ID) {
			continue
		}
		names = append(names, f.Queries...)
		p.Sections = append(p.Sections, everything(f))
	}
	q := Section{Title: "queries"}
	for _, y := range x.Queries {
		if x.Criterion != "all" && !slices.Contains(names, y.Name) {
			continue
		}
		q.Lines = append(q.Lines, fmt.Sprintf("%s  %s  %s, %d series, %d samples, %d bytes",
			y.Name, y.Expr, span(y.From, y.To), y.Series, y.Samples, y.Bytes))
		for _, w := range y.Warnings {
			q.Lines = append(q.Lines, "  the server warned: "+w)
		}
	}
	if len(q.Lines) == 0 {
		q.Lines = append(q.Lines, "none: it reads no metrics")
	}
	p.Sections = append(p.Sections, q)
	return p
}

// everything is all that a finding rests on.
func everything(f *criteria.Finding) Section {
	s := Section{Title: f.ID + ", in full"}
	s.Lines = append(s.Lines, "the guide: "+f.Guide)
	for _, t := range f.Tenants {
		if t.Tenant != "" {
			s.Lines = append(s.Lines, fmt.Sprintf("%s  %s: %s", t.Tenant, t.Verdict, t.Summary))
		}
		for _, fact := range t.Evidence {
			if len(t.Episodes) == 0 || fact.From == nil {
				s.Lines = append(s.Lines, "  "+fact.Text)
			}
		}
		for _, e := range t.Episodes {
			s.Lines = append(s.Lines, fmt.Sprintf("  %s %s  %s UTC  %s", e.Provider, e.Node,
				e.OpenedTo.UTC().Format("2 Jan 15:04:05"), episodeText(e)))
		}
	}
	for _, l := range f.LeftOut {
		s.Lines = append(s.Lines, fmt.Sprintf("%s does not count: %s", l.Tenant, l.Reason))
	}
	if f.Detectable != "" {
		s.Lines = append(s.Lines, "smallest effect that would show: "+f.Detectable)
	}
	if len(f.Counterexamples) > 0 {
		s.Lines = append(s.Lines, fmt.Sprintf("counterexamples tried on this evidence: %q", f.Counterexamples))
	}
	return s
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

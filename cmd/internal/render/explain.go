package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// Explanation is the answer of `cbops evaluate --explain`: the evaluation with
// every episode and query. Criterion is an id, or "all".
type Explanation struct {
	Evaluation
	Criterion string `json:"-"`
}

// Page implements Document.
func (x Explanation) Page() Page {
	p := x.Evaluation.Page()
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
		q.Lines = append(q.Lines, queryLines(x)...)
	}
	p.Sections = append(p.Sections, q)
	return p
}

// maxExpr is how much of an expression is shown; JSON has all of it.
const maxExpr = 400

// queryLines show a question: what for, over which time, what it cost the server, how
// much came back, and what to paste.
func queryLines(q evidence.Query) []string {
	step := "every scrape"
	if q.Step > 0 {
		step = "every " + shortDuration(q.Step)
	}
	if q.From.Equal(q.To) {
		step = "at the end"
	}
	cost := "cost not told by the server"
	if q.Cost >= 0 {
		cost = fmt.Sprintf("%d samples touched", q.Cost)
	}
	requests := fmt.Sprintf("%d requests", q.Requests)
	if q.Requests == 1 {
		requests = "1 request"
	}
	if q.Requests > q.Planned {
		requests += fmt.Sprintf(", %d planned: a limit split it", q.Planned)
	}
	expr := q.Expr
	if len(expr) > maxExpr {
		expr = strings.ToValidUTF8(expr[:maxExpr], "") + "…"
	}
	lines := []string{
		fmt.Sprintf("%s  %s, %s", q.Name, span(q.From, q.To), step),
		fmt.Sprintf("  %d series, %d samples, %d bytes; %s; %s; %s", q.Series, q.Samples, q.Bytes, cost, requests, q.Server),
		"  " + expr,
	}
	for _, w := range q.Warnings {
		lines = append(lines, "  warning: "+w)
	}
	return lines
}

// shortDuration is a duration without its zero parts: 5m, not 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
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

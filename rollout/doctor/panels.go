package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

// Source is the real Prometheus; *promquery.Client is one.
type Source interface {
	// Count evaluates an expression at an instant, as it stands, and says how many
	// series came back, and what the server warned of.
	Count(ctx context.Context, expr string, at time.Time) (series int, warnings []string, err error)
}

// maxAsked bounds how many queries of one dashboard are asked of a Source.
const maxAsked = 300

// Problem is one thing that is wrong with a panel's query.
type Problem struct {
	Kind Kind `json:"kind"`
	// Text says what is wrong; Shows what the query showed when it was tried.
	Text  string `json:"text"`
	Shows string `json:"shows,omitempty"`
	// metric is the canonical one that is to blame.
	metric string
}

// The kinds of problems that only panels have; the others are those of Reason.
const (
	Unreadable Kind = "unreadable"         // is no PromQL, variables filled in
	Undefined  Kind = "undefined-variable" // uses what the dashboard does not define
	Equals     Kind = "equals-many"        // = with a variable of many values
	Stale      Kind = "stale"              // shows what was, not what is
	FirstOpen  Kind = "first-open"         // does not see the first open of a circuit
	NotNow     Kind = "not-current"        // counts at opens and closes, not as requests come
)

// PanelFinding is what was found about one query of a panel.
type PanelFinding struct {
	Panel int    `json:"panel"`
	Title string `json:"title"`
	Row   string `json:"row"`
	Type  string `json:"type"`
	RefID string `json:"refId"`
	// Place in the document; Query as it stands there; Asked with variables filled in.
	Place string `json:"place"`
	Query string `json:"query"`
	Asked string `json:"asked"`

	Verdict criteria.Verdict `json:"verdict"`
	Summary string           `json:"summary"`
	// Empty: it returns nothing, and not only for now. Returned is how many series the
	// server returned; absent where it was not asked.
	Empty    bool      `json:"empty"`
	Returned *int      `json:"returned,omitempty"`
	Problems []Problem `json:"problems"`
	Notes    []string  `json:"notes"`
	// Replacement is a query that shows what this one was meant to, with the
	// dashboard's variables; "" where none is known. Proven: it was tried on the
	// histories, and none of this was found in it.
	Replacement string `json:"replacement"`
	Proven      bool   `json:"proven"`
	// elsewhere: it is not about the breaker. undecided is why it shows nothing in the
	// histories, where that does not prove it dead.
	elsewhere bool
	undecided string
}

// DashboardReport is what was found about a dashboard.
type DashboardReport struct {
	Dialect string         `json:"dialect"`
	UID     string         `json:"uid"`
	Title   string         `json:"title"`
	Panels  []PanelFinding `json:"panels"`
	// Notes name what was not looked at: library panels, panels without a query.
	Notes []string `json:"notes"`
}

// Dashboard tries every query of a dashboard on the histories, and asks src, if there
// is one, whether it returns something at the given time.
func (p *Practice) Dashboard(ctx context.Context, d *Dashboard, src Source, at time.Time) (DashboardReport, error) {
	report := DashboardReport{Dialect: p.opt.Dialect.name(), UID: d.UID, Title: d.Title, Panels: []PanelFinding{}, Notes: []string{}}
	a := &asker{src: src, at: at, known: map[string]answer{}}
	left := maxAllParts
	var stores []promlab.Queryable
	for _, h := range p.histories {
		stores = append(stores, h.store)
	}
	for _, panel := range d.Panels {
		name := panelName(panel)
		if panel.Library != "" {
			report.Notes = append(report.Notes, fmt.Sprintf("%s is the library panel %q: what is kept in the library was not followed", name, panel.Library))
		}
		if len(panel.Targets) == 0 && panel.Library == "" && panel.Type != "text" {
			report.Notes = append(report.Notes, fmt.Sprintf("%s (%s) has no PromQL query", name, firstOf(panel.Type, "of no type")))
		}
		for _, t := range panel.Targets {
			if !promQL(t.Source) {
				report.Notes = append(report.Notes, fmt.Sprintf("%s asks %s, not Prometheus", name, t.Source))
				continue
			}
			f := PanelFinding{Panel: panel.ID, Title: panel.Title, Row: panel.Row, Type: panel.Type, RefID: t.RefID, Place: t.Place, Query: t.Expr,
				Problems: []Problem{}, Notes: []string{}}
			if t.Hidden {
				f.Notes = append(f.Notes, "the query is hidden")
			}
			p.panel(p.inquest(ctx, &left, stores, nil), &f, d, a)
			if ctx.Err() != nil {
				return report, ctx.Err()
			}
			report.Panels = append(report.Panels, f)
		}
	}
	return report, nil
}

func panelName(p Panel) string {
	if p.Title != "" {
		return fmt.Sprintf("panel %d %q", p.ID, p.Title)
	}
	return fmt.Sprintf("panel %d", p.ID)
}

// promQL reports whether a data source takes PromQL; an unnamed one may.
func promQL(source string) bool {
	s := strings.ToLower(source)
	return s == "" || strings.Contains(s, "prometheus") || strings.Contains(s, "victoriametrics") || strings.HasPrefix(s, "$") || s == "datasource" || s == "mixed"
}

func (p *Practice) panel(q *inquest, f *PanelFinding, d *Dashboard, a *asker) {
	filled, err := p.fill(d, f.Query, a.at)
	if err != nil {
		f.refused(err)
		return
	}
	f.Asked = filled.x.String()
	if t := filled.x.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		f.Verdict, f.Summary = criteria.Unmeasurable, "was not tried: it is a "+parser.DocumentedType(t)
		return
	}
	f.Problems = append(f.Problems, filled.problems...)
	x, notes, err := p.adapt(f.Asked)
	if err != nil {
		f.refused(err)
		return
	}
	f.Notes = append(f.Notes, notes...)
	dead := q.why(x)
	ask := f.Asked
	if filled.x.Type() == parser.ValueTypeScalar {
		ask = "vector(" + ask + ")"
	}
	got, asked, err := a.ask(q.ctx, ask)
	if asked && err == nil {
		f.Returned = &got.series
	}
	switch breaker := p.breakers(x); {
	case p.alertsOnly(x):
		// Empty unless one is pending or firing.
	case f.Returned != nil && *f.Returned > 0: // the server knows best
	case allDead(dead):
		f.Empty = true
		for _, r := range dead {
			f.Problems = append(f.Problems, Problem{Kind: r.Kind, Text: r.Text})
		}
	case f.Returned != nil && !breaker:
		p.missing(q, f, filled.x, a) // as the server is asked: with its own names
	case len(dead) > 0 && breaker:
		f.undecided = dead[0].Text
	case f.Returned != nil:
		f.Notes = append(f.Notes, "it returns nothing now; in the histories it does when something happens")
	}
	for _, b := range p.falsehoods(q, x, f.Empty) {
		if b.metric == mErrorRate && trend(f.Type) {
			// Drawn over time, the last rate is right then.
			f.Notes = append(f.Notes, whileRequests+": "+b.Text)
			continue
		}
		f.Problems = append(f.Problems, b)
	}
	if len(f.Problems) > 0 {
		f.Replacement, f.Proven = p.rewrite(q, filled, f.Problems)
	}
	if q.exhausted() && len(f.Problems) == 0 {
		f.refused(promlab.BoundError("the query has too many parts to try each"))
		return
	}
	f.elsewhere = !p.breakers(x)
	f.conclude(asked, err, p.breakers(x), p.alertsOnly(x))
}

// refused is the verdict on a query that could not be tried.
func (f *PanelFinding) refused(err error) {
	if promlab.Costly(err) { // too much for a trial, not for a server
		f.Verdict, f.Summary = criteria.Unmeasurable, "was not tried: "+oneLine(err.Error())
		return
	}
	f.Problems = append(f.Problems, Problem{Kind: Unreadable, Text: oneLine(err.Error())})
	f.Verdict, f.Summary = criteria.Fail, "shows nothing: the query cannot be read: "+oneLine(err.Error())
}

// trend reports whether a type of panel shows a course over time, not a present value.
func trend(panel string) bool { return panel == "timeseries" || panel == "graph" }

// missing says which selectors make a query empty because the server has no such
// series: for what is not about the breaker, only the server knows.
func (p *Practice) missing(q *inquest, f *PanelFinding, x parser.Expr, a *asker) {
	for _, r := range starved(x, func(leaf parser.Expr) []Reason {
		if m, ok := leaf.(*parser.MatrixSelector); ok {
			leaf = m.VectorSelector
		}
		vs, ok := leaf.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		plain := &parser.VectorSelector{Name: vs.Name, LabelMatchers: vs.LabelMatchers}
		if got, asked, err := a.ask(q.ctx, plain.String()); !asked || err != nil || got.series > 0 {
			return nil
		}
		return one(NoMetric, vs, "the server has no series %s", text(plain))
	}) {
		f.Empty = true
		f.Problems = append(f.Problems, Problem{Kind: r.Kind, Text: r.Text})
	}
	if !f.Empty {
		f.Notes = append(f.Notes, "it returns nothing now; the series that it reads exist")
	}
}

// whileRequests is when a last value is a present one.
const whileRequests = "as long as requests come"

func (f *PanelFinding) conclude(asked bool, err error, breaker, alerts bool) {
	switch {
	case f.Empty:
		f.Verdict, f.Summary = criteria.Fail, "shows nothing: "+f.Problems[len(f.Problems)-1].Text
		for _, p := range f.Problems {
			if p.Kind != Undefined && p.Kind != Equals {
				f.Summary = "shows nothing: " + p.Text
				break
			}
		}
	case len(f.Problems) > 0 && (f.Problems[0].Kind == Undefined || f.Problems[0].Kind == Equals):
		f.Verdict, f.Summary = criteria.Fail, "may show nothing: "+f.Problems[0].Text
	case len(f.Problems) > 0:
		f.Verdict, f.Summary = criteria.Fail, "shows something false: "+f.Problems[0].Text
	case asked && err != nil:
		f.Verdict, f.Summary = criteria.Unmeasurable, "the server did not answer: "+oneLine(err.Error())
	case f.undecided != "":
		f.Verdict, f.Summary = criteria.Inconclusive, "shows nothing in any history: "+f.undecided
	case !asked && !breaker:
		f.Verdict, f.Summary = criteria.Unmeasurable, "it is not about the breaker, and no server was asked"
	case f.Returned != nil && *f.Returned == 0:
		f.Verdict, f.Summary = criteria.Pass, "nothing to show now"
	default:
		f.Verdict, f.Summary = criteria.Pass, "shows something, and nothing false was found in it"
		switch {
		case alerts:
			f.Summary = "shows alerts; whether they can fire is said of each"
		case !breaker:
			f.Summary = "returns something"
		case len(f.Notes) > 0 && strings.HasPrefix(f.Notes[len(f.Notes)-1], whileRequests):
			f.Summary = "shows what is so " + whileRequests
		}
	}
}

// breakers reports whether an expression reads the breaker's metrics.
func (p *Practice) breakers(x parser.Expr) bool {
	found := p.alertsOnly(x)
	walk(x, func(n parser.Node) {
		if vs, ok := n.(*parser.VectorSelector); ok {
			found = found || p.opt.Dialect.canonicalMetric(nameOf(vs)) != "" || p.opt.Dialect.lookalike(nameOf(vs))
		}
	})
	return found
}

func (p *Practice) alertsOnly(x parser.Expr) bool {
	alerts, others := false, false
	walk(x, func(n parser.Node) {
		if vs, ok := n.(*parser.VectorSelector); ok {
			if name := nameOf(vs); name == "ALERTS" || name == "ALERTS_FOR_STATE" {
				alerts = true
			} else {
				others = true
			}
		}
	})
	return alerts && !others
}

// asker asks a Source each query once, and not too many.
type asker struct {
	src   Source
	at    time.Time
	known map[string]answer
}

type answer struct {
	series int
	err    error
}

// ask reports what came back, and whether anybody was asked.
func (a *asker) ask(ctx context.Context, expr string) (answer, bool, error) {
	if a.src == nil {
		return answer{}, false, nil
	}
	if got, ok := a.known[expr]; ok {
		return got, true, got.err
	}
	if len(a.known) >= maxAsked {
		return answer{}, true, fmt.Errorf("more than %d different queries: the rest was not asked", maxAsked)
	}
	series, warnings, err := a.src.Count(ctx, expr, a.at)
	if err == nil && series == 0 && len(warnings) > 0 {
		err = fmt.Errorf("it may have answered in part: %s", oneLine(warnings[0]))
	}
	got := answer{series: series, err: err}
	a.known[expr] = got
	return got, true, err
}

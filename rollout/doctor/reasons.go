package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/promquery/promlab"
)

// Kind is why an expression comes to nothing.
type Kind string

// The kinds of reasons. Those up to Labels hold in every deployment of the dialect:
// an expression with one of them is dead. The others depend on traffic, on other
// series, or on time, and prove nothing.
const (
	NoMetric  Kind = "no-metric"   // nothing has this name
	NoLabel   Kind = "no-label"    // the metric has no such label
	NoValue   Kind = "no-value"    // the label never has such a value
	Constant  Kind = "constant"    // increase() or rate() of what never changes
	Value     Kind = "value"       // compared with what the metric never is
	Window    Kind = "window"      // a range that holds fewer than two scrapes
	Labels    Kind = "labels"      // two sides that never have the same labels
	Threshold Kind = "threshold"   // never that much in the histories
	Elsewhere Kind = "elsewhere"   // reads series that the histories do not have
	TooShort  Kind = "too-short"   // looks back further than the histories go
	Hold      Kind = "hold"        // never holds as long as for asks
	Latched   Kind = "latched"     // what it reads stays as it is after a recovery
	FailFast  Kind = "fail-fast"   // counts requests that were denied as requests that reached a provider
	Unknown   Kind = "unexplained" // comes to nothing, and no part of it says why
)

// Reason is one cause, found in a part of the expression.
type Reason struct {
	Kind Kind `json:"kind"`
	// Part is the piece of the expression.
	Part string `json:"part"`
	Text string `json:"text"`
}

// dead reports whether the reason holds whatever happens.
func (r Reason) dead() bool {
	switch r.Kind {
	case NoMetric, NoLabel, NoValue, Constant, Value, Window, Labels:
		return true
	}
	return false
}

// Bounds of what one expression may cost: people write a few dozen parts.
const (
	maxNodes = 200
	maxParts = 100
	// maxAllParts bounds a whole report; a large one needs a tenth of it.
	maxAllParts = 4000
)

// nodes counts the parts of an expression.
func nodes(x parser.Expr) int {
	n := 0
	walk(x, func(parser.Node) { n++ })
	return n
}

// inquest finds out why an expression comes to nothing in every history, by
// evaluating its parts.
type inquest struct {
	p      *Practice
	ctx    context.Context
	stores []promlab.Queryable
	// recorded are recording rules by what they record.
	recorded map[string]promlab.Rule
	step     time.Duration
	cache    map[string][]promql.Matrix
	// parts is how many more parts may be evaluated, left how many for the whole report.
	parts int
	left  *int
	depth int
	// only is the one history that is looked at, or -1 for all.
	only int
}

func (p *Practice) inquest(ctx context.Context, left *int, stores []promlab.Queryable, recorded map[string]promlab.Rule) *inquest {
	return &inquest{p: p, ctx: ctx, stores: stores, recorded: recorded, step: p.opt.Evaluation, cache: map[string][]promql.Matrix{}, parts: maxParts, left: left, only: -1}
}

// in is the same inquest into one history.
func (q *inquest) in(i int) *inquest {
	one := *q
	one.only, one.cache = i, map[string][]promql.Matrix{}
	return &one
}

// exhausted reports whether no more parts may be evaluated: what was found is true,
// what was not found may still be.
func (q *inquest) exhausted() bool { return q.parts < 0 || *q.left < 0 }

func (q *inquest) where() string {
	if q.only < 0 {
		return "in every history"
	}
	return "in the history " + q.p.histories[q.only].name
}

// values evaluates a part over every history; what cannot be evaluated has no values.
func (q *inquest) values(expr string) []promql.Matrix {
	if m, ok := q.cache[expr]; ok {
		return m
	}
	out := make([]promql.Matrix, len(q.stores))
	*q.left--
	if q.parts--; q.exhausted() {
		return out
	}
	_ = q.p.each(func(i int, h history) error {
		if q.only >= 0 && i != q.only {
			return nil
		}
		if m, err := q.p.engine.Range(q.ctx, q.stores[i], expr, h.from.Add(warm), h.to, q.step); err == nil {
			out[i] = m
		}
		return nil
	})
	q.cache[expr] = out
	return out
}

func (q *inquest) any(expr string) bool {
	for _, m := range q.values(expr) {
		if len(m) > 0 {
			return true
		}
	}
	return false
}

// why explains why x is empty; nil if it is not.
func (q *inquest) why(x parser.Expr) []Reason {
	if rs := q.starved(x); rs != nil {
		return rs
	}
	switch n := x.(type) {
	case *parser.MatrixSelector, *parser.NumberLiteral, *parser.StringLiteral:
		return nil
	case *parser.SubqueryExpr:
		return q.why(n.Expr)
	}
	if q.any(x.String()) {
		return nil
	}
	if q.exhausted() {
		return one(Unknown, x, "the expression has too many parts to find out which one comes to nothing")
	}
	switch n := x.(type) {
	case *parser.ParenExpr:
		return q.why(n.Expr)
	case *parser.StepInvariantExpr:
		return q.why(n.Expr)
	case *parser.UnaryExpr:
		return q.why(n.Expr)
	case *parser.AggregateExpr:
		return q.why(n.Expr)
	case *parser.Call:
		for _, a := range n.Args {
			if rs := q.why(a); rs != nil {
				return rs
			}
		}
		if strings.HasPrefix(n.Func.Name, "absent") {
			return one(Threshold, n, "%s holds only while the series are missing, and they never were", n.Func.Name)
		}
	case *parser.BinaryExpr:
		return q.binary(n)
	}
	return one(Unknown, x, "%s, %s comes to nothing", q.where(), text(x))
}

// starved explains an x that must be empty because selectors in it select nothing. It
// evaluates the selectors only: the usual cause is found at once, however long x is.
func (q *inquest) starved(x parser.Expr) []Reason {
	return starved(x, func(leaf parser.Expr) []Reason {
		switch n := leaf.(type) {
		case *parser.MatrixSelector:
			return q.matrix(n)
		case *parser.VectorSelector:
			if !q.any(n.String()) {
				return q.selector(n)
			}
		}
		return nil
	})
}

// starved returns the reasons of the selectors that make x empty; empty says why a
// selector, instant or range, selects nothing.
func starved(x parser.Expr, empty func(leaf parser.Expr) []Reason) []Reason {
	switch n := x.(type) {
	case *parser.VectorSelector, *parser.MatrixSelector:
		return empty(n)
	case *parser.SubqueryExpr:
		return starved(n.Expr, empty)
	case *parser.ParenExpr:
		return starved(n.Expr, empty)
	case *parser.StepInvariantExpr:
		return starved(n.Expr, empty)
	case *parser.UnaryExpr:
		return starved(n.Expr, empty)
	case *parser.AggregateExpr:
		return starved(n.Expr, empty)
	case *parser.Call:
		if strings.HasPrefix(n.Func.Name, "absent") || n.Func.Name == "scalar" { // something comes of nothing
			return nil
		}
		for _, a := range n.Args {
			if rs := starved(a, empty); rs != nil {
				return rs
			}
		}
	case *parser.BinaryExpr:
		left := starved(n.LHS, empty)
		switch {
		case n.Op == parser.LOR:
			if right := starved(n.RHS, empty); left != nil && right != nil {
				return append(left, right...)
			}
		case left != nil || n.Op == parser.LUNLESS:
			return left
		default:
			return starved(n.RHS, empty)
		}
	}
	return nil
}

func one(k Kind, part parser.Node, format string, args ...any) []Reason {
	return []Reason{{Kind: k, Part: text(part), Text: fmt.Sprintf(format, args...)}}
}

// text is a part of an expression for a message.
func text(n parser.Node) string {
	const longest = 200
	s := oneLine(n.String())
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest]) + "…"
	}
	return s
}

func (q *inquest) matrix(n *parser.MatrixSelector) []Reason {
	vs, ok := n.VectorSelector.(*parser.VectorSelector)
	if !ok {
		return nil
	}
	if q.any("count_over_time(" + n.String() + ") >= 2") {
		return nil
	}
	if n.Range < 2*q.p.opt.Scrape && q.any(vs.String()) {
		return one(Window, n, "[%s] holds fewer than two scrapes, which come every %s", model.Duration(n.Range), model.Duration(q.p.opt.Scrape))
	}
	if !q.any("count_over_time(" + n.String() + ")") {
		return q.selector(vs)
	}
	return nil
}

func (q *inquest) binary(n *parser.BinaryExpr) []Reason {
	left := q.why(n.LHS)
	switch {
	case n.Op == parser.LOR:
		return append(left, q.why(n.RHS)...)
	case left != nil:
		return left
	case n.Op == parser.LUNLESS:
		return one(Unknown, n, "%s leaves nothing of %s", "unless "+text(n.RHS), text(n.LHS))
	}
	if right := q.why(n.RHS); right != nil {
		return right
	}
	if n.VectorMatching == nil { // one side is a number
		side := n.LHS
		if side.Type() == parser.ValueTypeScalar {
			side = n.RHS
		}
		return q.compared(n, side)
	}
	meet := *n
	if n.Op.IsComparisonOperator() {
		meet.Op, meet.ReturnBool = parser.SUB, false
	}
	if !q.any(meet.String()) {
		return one(Labels, n, "the two sides never have the same labels: the left one has %s, the right one %s%s", q.shape(n.LHS), q.shape(n.RHS), q.groupings(n))
	}
	if n.Op.IsComparisonOperator() {
		return q.compared(n, &meet)
	}
	return one(Unknown, n, "%s comes to nothing", text(n))
}

// shape is the label names of what x comes to.
func (q *inquest) shape(x parser.Expr) string {
	names := map[string]bool{}
	for _, m := range q.values(x.String()) {
		for _, s := range m {
			s.Metric.Range(func(l labels.Label) { names[l.Name] = true })
		}
	}
	delete(names, model.MetricNameLabel)
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// groupings names the labels by which a part of x groups although what it groups does
// not have them.
func (q *inquest) groupings(x parser.Expr) string {
	var out string
	walk(x, func(n parser.Node) {
		if a, l := q.emptyGrouping(n); a != nil {
			out += "; " + text(a.Expr) + " has no label " + l
		}
	})
	return out
}

// emptyGrouping returns an aggregation and the label by which it groups for nothing.
func (q *inquest) emptyGrouping(n parser.Node) (*parser.AggregateExpr, string) {
	a, ok := n.(*parser.AggregateExpr)
	if !ok || a.Without || !q.any(a.Expr.String()) {
		return nil, ""
	}
	for _, l := range a.Grouping {
		found := false
		for _, m := range q.values(a.Expr.String()) {
			found = found || slices.ContainsFunc(m, func(s promql.Series) bool { return s.Metric.Has(l) })
		}
		if !found {
			return a, l
		}
	}
	return nil, ""
}

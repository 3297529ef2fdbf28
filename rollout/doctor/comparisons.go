package doctor

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// compared explains a comparison that never holds, from the values of its left side
// (of the difference, where two vectors are compared).
func (q *inquest) compared(n *parser.BinaryExpr, side parser.Expr) []Reason {
	seen := map[float64]bool{}
	low, high := math.Inf(1), math.Inf(-1)
	for _, m := range q.values(side.String()) {
		for _, s := range m {
			for _, f := range s.Floats {
				if !math.IsNaN(f.F) {
					low, high = min(low, f.F), max(high, f.F)
					if len(seen) <= 4 {
						seen[f.F] = true
					}
				}
			}
		}
	}
	if low == 0 && high == 0 {
		if rs := q.zero(side); rs != nil {
			return rs
		}
	}
	switch c := q.passedOn(side); {
	case (c == mState || c == mReason) && len(seen) <= 4:
		var vs []string
		for _, v := range slices.Sorted(maps.Keys(seen)) {
			vs = append(vs, number(v))
		}
		return one(Value, n, "%s is only ever %s", text(side), strings.Join(vs, ", "))
	case c == mErrorRate && !q.any(replaceSide(n, side, "vector(0)")) && !q.any(replaceSide(n, side, "vector(1)")) && !q.any(replaceSide(n, side, "vector(0.5)")):
		return one(Value, n, "%s is a share, from 0 to 1", text(side))
	}
	if side == parser.Expr(n) || n.VectorMatching != nil {
		return one(Threshold, n, "%s the left side minus the right side is between %s and %s", q.where(), number(low), number(high))
	}
	return one(Threshold, n, "%s %s is between %s and %s", q.where(), text(side), number(low), number(high))
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// passedOn is the metric of the breaker whose values x passes on unchanged, or "".
func (q *inquest) passedOn(x parser.Expr) string {
	switch n := x.(type) {
	case *parser.ParenExpr:
		return q.passedOn(n.Expr)
	case *parser.AggregateExpr:
		if n.Op == parser.MAX || n.Op == parser.MIN {
			return q.passedOn(n.Expr)
		}
	case *parser.VectorSelector:
		return q.p.opt.Dialect.canonicalMetric(nameOf(n))
	}
	return ""
}

// replaceSide is a comparison with another expression in place of one of its sides.
func replaceSide(n *parser.BinaryExpr, side parser.Expr, with string) string {
	if n.LHS == side {
		return with + " " + n.Op.String() + " " + n.RHS.String()
	}
	return n.LHS.String() + " " + n.Op.String() + " " + with
}

// zero explains why x is always 0; nil where it cannot.
func (q *inquest) zero(x parser.Expr) []Reason {
	switch n := x.(type) {
	case *parser.ParenExpr:
		return q.zero(n.Expr)
	case *parser.AggregateExpr:
		return q.zero(n.Expr)
	case *parser.BinaryExpr:
		if n.Op == parser.MUL || n.Op == parser.DIV || n.Op == parser.SUB || n.Op == parser.ADD {
			if rs := q.zero(n.LHS); rs != nil {
				return rs
			}
			return q.zero(n.RHS)
		}
	case *parser.Call:
		if !slices.Contains([]string{"rate", "increase", "irate", "delta", "idelta", "deriv", "changes"}, n.Func.Name) {
			return nil
		}
		m, ok := n.Args[0].(*parser.MatrixSelector)
		if !ok || !q.constant(m.VectorSelector.String()) {
			return nil
		}
		return one(Constant, n, "%s() is always 0: %s is set once and then never changes, and a series that appears with its first value has not increased", n.Func.Name, text(m.VectorSelector))
	}
	return nil
}

// constant reports whether a selector selects something, and none of it ever changes.
func (q *inquest) constant(sel string) bool {
	some := false
	for _, m := range q.values(sel) {
		for _, s := range m {
			some = true
			if !unchanged(s.Floats) {
				return false
			}
		}
	}
	return some
}

func unchanged(fs []promql.FPoint) bool {
	for _, f := range fs {
		if f.F != fs[0].F {
			return false
		}
	}
	return true
}

package doctor

import (
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// latches explains why an alert still fires at the end of a history that has been
// well for two hours: it names the series that the expression reads as they are and
// that have stayed what the fault made them.
func (q *inquest) latches(x parser.Expr, at int) []Reason {
	h := q.p.histories[at]
	var out []Reason
	seen := map[string]bool{}
	instant(x, func(vs *parser.VectorSelector) {
		sel := vs.String()
		if seen[sel] || vs.OriginalOffset != 0 || len(out) >= 3 {
			return
		}
		seen[sel] = true
		now, err := q.p.engine.Instant(q.ctx, q.stores[at], sel, h.to)
		if err != nil {
			return
		}
		since, err := q.p.engine.Range(q.ctx, q.stores[at], sel, h.over.Add(10*time.Minute), h.to, q.step)
		before, err2 := q.p.engine.Instant(q.ctx, q.stores[at], sel, h.fault.Add(-time.Minute))
		if err != nil || err2 != nil || len(now) == 0 {
			return
		}
		old := map[uint64]float64{}
		for _, s := range before {
			old[s.Metric.Hash()] = s.F
		}
		for _, s := range since {
			v := s.Floats[len(s.Floats)-1]
			was, existed := old[s.Metric.Hash()]
			if v.T != h.to.UnixMilli() || v.F == 0 || existed && was == v.F || !unchanged(s.Floats) {
				continue
			}
			out = append(out, Reason{Latched, text(vs), text(vs) + " still reads " + number(v.F) + ", " +
				model.Duration(h.to.Sub(h.over)).String() + " after the fault was over: nothing takes it back"})
			return
		}
	})
	if len(out) == 0 {
		out = one(Unknown, x, "it still fires %s after the fault was over", model.Duration(h.to.Sub(h.over)))
	}
	return out
}

// instant calls f for every selector that is read as it is: not within a range.
func instant(n parser.Node, f func(*parser.VectorSelector)) {
	switch n := n.(type) {
	case *parser.MatrixSelector, *parser.SubqueryExpr:
		return
	case *parser.VectorSelector:
		f(n)
	}
	for c := range parser.ChildrenIter(n) {
		instant(c, f)
	}
}

package doctor

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// dilutes reports whether an expression divides failures or successes by a count
// that has fail_fast in it.
func (q *inquest) dilutes(x parser.Expr) bool { return len(q.p.opt.Dialect.denominators(x)) > 0 }

// denominators are the selectors of events in the divisors of x that count
// fail_fast although the dividend does not.
func (d Dialect) denominators(x parser.Expr) []*parser.VectorSelector {
	var out []*parser.VectorSelector
	walk(x, func(n parser.Node) {
		div, ok := n.(*parser.BinaryExpr)
		if !ok || div.Op != parser.DIV {
			return
		}
		above := d.events(div.LHS)
		if len(above) == 0 {
			return
		}
		for _, vs := range above {
			if d.counts(vs, "fail_fast") {
				return
			}
		}
		for _, vs := range d.events(div.RHS) {
			if d.counts(vs, "fail_fast") {
				out = append(out, vs)
			}
		}
	})
	return out
}

// events are the selectors of the events counter under a node.
func (d Dialect) events(x parser.Node) []*parser.VectorSelector {
	var out []*parser.VectorSelector
	walk(x, func(n parser.Node) {
		if vs, ok := n.(*parser.VectorSelector); ok && d.canonicalMetric(nameOf(vs)) == mEvents {
			out = append(out, vs)
		}
	})
	return out
}

// counts reports whether a selector of events takes in a type of event.
func (d Dialect) counts(vs *parser.VectorSelector, event string) bool {
	for _, m := range vs.LabelMatchers {
		if m.Name == d.label("event_type") && !m.Matches(event) {
			return false
		}
	}
	return true
}

// onlyReached narrows a selector of events to requests that reached a provider.
func (d Dialect) onlyReached(vs *parser.VectorSelector) {
	kept := vs.LabelMatchers[:0:0]
	for _, m := range vs.LabelMatchers {
		if m.Name != d.label("event_type") {
			kept = append(kept, m)
		}
	}
	vs.LabelMatchers = append(kept, labels.MustNewMatcher(labels.MatchRegexp, d.label("event_type"), "success|failure"))
}

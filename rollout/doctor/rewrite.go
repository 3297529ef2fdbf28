package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// rewrite makes a query that shows what a faulty one was meant to show, with the
// dashboard's variables in it, and tries it: proven is one that shows something and
// has none of the faults. "" where there is none.
func (p *Practice) rewrite(q *inquest, filled query, problems []Problem) (replacement string, proven bool) {
	x, err := p.engine.Check(filled.text)
	if err != nil {
		return "", false
	}
	if slices.ContainsFunc(problems, func(b Problem) bool { return b.Kind == Undefined }) {
		return "", false // what the variable was to be is for its author to say
	}
	before := x.String()
	text := p.instead(x)
	if text == "" || text == before && !slices.ContainsFunc(problems, func(b Problem) bool { return b.Kind == Equals }) {
		return "", false
	}
	y, err := p.engine.Check(text)
	if err != nil {
		return "", false
	}
	many(y)
	replacement = filled.restore.Replace(y.String())
	anything(y)
	z, _, err := p.adapt(y.String())
	if err != nil {
		return "", false
	}
	proven = len(q.at(hOutage, z, inFault)) > 0 && len(p.falsehoods(q, z, false)) == 0 && q.why(z) == nil
	return replacement, proven
}

// many turns = with a variable into =~.
func many(x parser.Expr) {
	walk(x, func(n parser.Node) {
		if vs, ok := n.(*parser.VectorSelector); ok {
			for i, m := range vs.LabelMatchers {
				if m.Type == labels.MatchEqual && strings.HasPrefix(m.Value, "cbopsvar") {
					vs.LabelMatchers[i] = labels.MustNewMatcher(labels.MatchRegexp, m.Name, m.Value)
				}
			}
		}
	})
}

// instead is the replacement in the dialect's names; "" where there is none. The parts
// that do not tell what they are taken for are replaced, what is wrong is mended, and
// the rest of the query stays.
func (p *Practice) instead(x parser.Expr) string {
	d := p.opt.Dialect
	uses := p.uses(x)
	for _, u := range uses {
		if u.metric != mState && u.metric != mReason {
			continue
		}
		// Its values mean something else, so the query is replaced as a whole; one that
		// reads other metrics too is for its author to mend.
		if slices.ContainsFunc(uses, func(o use) bool { return o.metric != u.metric }) {
			return ""
		}
		return p.named(d.asWhole(u.metric, x), u.vs)
	}
	for _, vs := range d.denominators(x) {
		d.onlyReached(vs)
	}
	d.targets(x)
	return replaced(replaced(x, p.exact), p.meant).String()
}

// asWhole is what a query for a misleading metric was meant to show, in canonical names.
func (d Dialect) asWhole(metric string, x parser.Expr) string {
	if metric == mReason {
		return opens(d.opening(), model.Duration(shown).String())
	}
	if a, ok := x.(*parser.AggregateExpr); ok && len(a.Grouping) == 0 && (a.Op == parser.COUNT || a.Op == parser.SUM) {
		return "count((" + d.notClosed() + ") > 0) or vector(0)"
	}
	return "(" + d.current() + ") or " + by + "(" + mEvents + ") * 0"
}

// meant is an expression in place of a metric, or of a function of it over time, that
// does not tell what it is taken for; nil for every other part of a query.
func (p *Practice) meant(x parser.Expr) parser.Expr {
	var vs *parser.VectorSelector
	switch n := x.(type) {
	case *parser.VectorSelector:
		vs = n
	case *parser.Call:
		for _, a := range n.Args {
			if m, ok := a.(*parser.MatrixSelector); ok {
				vs, _ = m.VectorSelector.(*parser.VectorSelector)
			}
		}
	}
	if vs == nil {
		return nil
	}
	w := model.Duration(4 * p.opt.Scrape).String()
	events := func(function, matcher string) string {
		return by + "(" + function + "(" + sel(mEvents, matcher) + "[" + w + "]))"
	}
	canonical := ""
	switch p.opt.Dialect.canonicalMetric(nameOf(vs)) {
	case mErrorRate:
		canonical = "(" + events("rate", `event_type="failure"`) + " / " + events("rate", `event_type=~"success|failure"`) + ")"
	case mWindowReqs:
		canonical = events("increase", `event_type=~"success|failure"`)
	case mWindowFails:
		canonical = events("increase", `event_type="failure"`)
	case mRemaining:
		canonical = "(" + mRemaining + " and on (tenant_id, provider_id) (" + p.opt.Dialect.current() + ") == 1)"
	default:
		return nil
	}
	y, err := p.engine.Check(p.named(canonical, vs))
	if err != nil {
		return nil
	}
	return y
}

// named puts an expression into the dialect's names and gives its selectors the
// matchers that a query had: those on tenants and the like.
func (p *Practice) named(canonical string, from *parser.VectorSelector) string {
	d := p.opt.Dialect
	text, err := d.expr(canonical)
	if err != nil {
		return ""
	}
	x, err := p.engine.Check(text)
	if err != nil {
		return ""
	}
	own := []string{model.MetricNameLabel, d.label("state"), d.label("reason")}
	walk(x, func(n parser.Node) {
		vs, ok := n.(*parser.VectorSelector)
		if !ok {
			return
		}
		for _, m := range from.LabelMatchers {
			if !slices.Contains(own, m.Name) {
				vs.LabelMatchers = append(vs.LabelMatchers, m)
			}
		}
	})
	return x.String()
}

// current is 0 for a circuit that is closed, 1 for one that is open, 2 for a half-open
// one; of several nodes, the sum. It knows circuits that ever opened.
func (d Dialect) current() string {
	if d.label("from") == "" {
		return d.notClosed()
	}
	count := func(label, state string) string { return by + "(" + sel(mTransitions, label+`="`+state+`"`) + ")" }
	in := count("to", "open")
	zero := in + " * 0"
	isOpen := in + " - (" + count("from", "open") + " or " + zero + ")"
	half := "(" + count("to", "half_open") + " or " + zero + ") - (" + count("from", "half_open") + " or " + zero + ")"
	return isOpen + " + 2 * (" + half + ")"
}

// targets puts the label of the target state in place of `state`, which transitions do
// not have.
func (d Dialect) targets(x parser.Expr) {
	to := d.label("to")
	if to == "" || to == "state" {
		return
	}
	walk(x, func(n parser.Node) {
		switch n := n.(type) {
		case *parser.VectorSelector:
			if d.canonicalMetric(nameOf(n)) != mTransitions {
				return
			}
			for i, m := range n.LabelMatchers {
				if m.Name == "state" {
					n.LabelMatchers[i] = labels.MustNewMatcher(m.Type, to, m.Value)
				}
			}
		case *parser.AggregateExpr:
			if reads(n.Expr, d, mTransitions) {
				for i, l := range n.Grouping {
					if l == "state" {
						n.Grouping[i] = to
					}
				}
			}
		}
	})
}

func reads(x parser.Expr, d Dialect, metric string) bool {
	found := false
	walk(x, func(n parser.Node) {
		if vs, ok := n.(*parser.VectorSelector); ok {
			found = found || d.canonicalMetric(nameOf(vs)) == metric
		}
	})
	return found
}

// exact replaces increase() and rate() of transitions by counts that see a counter
// appear: see opens.
func (p *Practice) exact(x parser.Expr) parser.Expr {
	d := p.opt.Dialect
	call, ok := x.(*parser.Call)
	if !ok || call.Func.Name != "increase" && call.Func.Name != "rate" {
		return nil
	}
	m, ok := call.Args[0].(*parser.MatrixSelector)
	if !ok {
		return nil
	}
	vs, ok := m.VectorSelector.(*parser.VectorSelector)
	if !ok || d.canonicalMetric(nameOf(vs)) != mTransitions || vs.OriginalOffset != 0 || vs.Timestamp != nil || vs.StartOrEnd != 0 {
		return nil
	}
	w := model.Duration(m.Range).String()
	text := vs.String() + " - (" + vs.String() + " offset " + w + ") >= 0 or " + vs.String()
	if inst := d.label("instance"); inst != "" {
		text = "(" + text + ") and on (" + inst + ") group by (" + inst + ") (" + d.metric(mEvents) + " offset " + w + ")"
	}
	text = "(" + text + ")"
	if call.Func.Name == "rate" {
		text = fmt.Sprintf("(%s / %d)", text, max(1, int(m.Range.Seconds())))
	}
	y, err := p.engine.Check(text)
	if err != nil {
		return nil
	}
	return y
}

// replaced rebuilds an expression with f's result in place of every part for which f
// returns one.
func replaced(x parser.Expr, f func(parser.Expr) parser.Expr) parser.Expr {
	if y := f(x); y != nil {
		return y
	}
	switch n := x.(type) {
	case *parser.AggregateExpr:
		n.Expr = replaced(n.Expr, f)
	case *parser.BinaryExpr:
		n.LHS, n.RHS = replaced(n.LHS, f), replaced(n.RHS, f)
	case *parser.ParenExpr:
		n.Expr = replaced(n.Expr, f)
	case *parser.UnaryExpr:
		n.Expr = replaced(n.Expr, f)
	case *parser.SubqueryExpr:
		n.Expr = replaced(n.Expr, f)
	case *parser.Call:
		for i := range n.Args {
			n.Args[i] = replaced(n.Args[i], f)
		}
	}
	return x
}

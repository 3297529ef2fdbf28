package promlab

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Run evaluates the group at from, from+interval, … up to to. It comes to what
// Eval at each of these instants comes to, several times faster where the rules
// allow it: then an expression is evaluated once over the whole time, one rule
// after another, and observe hears rule by rule instead of instant by instant.
func (ev *Evaluator) Run(ctx context.Context, from, to time.Time, interval time.Duration, observe Observe) error {
	if interval <= 0 {
		interval = time.Minute
	}
	if !ev.separable() {
		for at := from; !at.After(to); at = at.Add(interval) {
			if err := ev.Eval(ctx, at, observe); err != nil {
				return err
			}
		}
		return nil
	}
	for i, r := range ev.rules {
		off := ev.group.QueryOffset
		m, err := ev.engine.Range(ctx, ev.in, r.rule.Expr, from.Add(-off), to.Add(-off), interval)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		next := cursor(m)
		for at := from; !at.After(to); at = at.Add(interval) {
			var res promql.Vector
			var oops error
			if err == nil {
				res = next(at.Add(-off))
			} else { // wrong at some instant, perhaps not at this one
				res, oops = ev.engine.Instant(ctx, until{ev.in, at}, r.rule.Expr, at.Add(-off))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if oops == nil {
				oops = ev.step(ctx, r, at, res)
			}
			ev.tell(observe, i, at, oops)
		}
	}
	return nil
}

// cursor returns a function that gives the vectors of a matrix at rising instants.
func cursor(m promql.Matrix) func(at time.Time) promql.Vector {
	pos := make([]int, len(m))
	return func(at time.Time) promql.Vector {
		t := at.UnixMilli()
		var v promql.Vector
		for i, s := range m {
			for pos[i] < len(s.Floats) && s.Floats[pos[i]].T < t {
				pos[i]++
			}
			if pos[i] < len(s.Floats) && s.Floats[pos[i]].T == t {
				v = append(v, promql.Sample{Metric: s.Metric, T: t, F: s.Floats[pos[i]].F})
			}
		}
		return v
	}
}

// separable reports whether every rule can be evaluated over the whole time before
// the next one is: no rule reads what a later rule or itself writes, none looks
// ahead in time, and no two write the same metric.
func (ev *Evaluator) separable() bool {
	recorded := map[string]bool{}
	for _, r := range ev.rules {
		if r.rule.Record == "" {
			continue
		}
		if recorded[r.rule.Record] {
			return false
		}
		recorded[r.rule.Record] = true
	}
	var later []string
	for i := len(ev.rules) - 1; i >= 0; i-- {
		r := ev.rules[i]
		if r.rule.Record != "" {
			later = append(later, r.rule.Record)
		} else {
			later = append(later, alertsMetric, forStateMetric)
		}
		if looksAhead(r.expr) || slices.ContainsFunc(later, func(m string) bool { return Selects(r.expr, m) }) {
			return false
		}
	}
	return true
}

// Selects reports whether an expression could select the metric.
func Selects(expr parser.Expr, metric string) bool {
	found := false
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if vs, ok := n.(*parser.VectorSelector); ok {
			found = found || CouldSelect(vs, metric)
		}
		return nil
	})
	return found
}

// CouldSelect reports whether a selector could select the metric, by its name.
func CouldSelect(vs *parser.VectorSelector, metric string) bool {
	for _, m := range vs.LabelMatchers {
		if m.Name == model.MetricNameLabel && !m.Matches(metric) {
			return false
		}
	}
	return true
}

// looksAhead reports whether the value at an instant depends on later samples, or
// on where the evaluation begins and ends.
func looksAhead(expr parser.Expr) bool {
	found := false
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			found = found || n.OriginalOffset < 0 || n.Timestamp != nil || n.StartOrEnd != 0
		case *parser.SubqueryExpr:
			found = found || n.OriginalOffset < 0 || n.Timestamp != nil || n.StartOrEnd != 0
		}
		return nil
	})
	return found
}

package promlab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// Bounds of one expression: a rule or a panel may be hostile, and is evaluated in
// this process.
const (
	maxSamples = 5_000_000
	maxTime    = 20 * time.Second
	// MaxExprBytes and maxNesting bound the text of an expression; people write a
	// tenth of either.
	MaxExprBytes = 32 << 10
	maxNesting   = 100
	// maxInner bounds how often an expression evaluates a part of itself at one
	// instant: a month of subquery at a minute is 43,200.
	maxInner = 100_000
)

// Queryable is what an expression is evaluated over; *Store is one.
type Queryable = storage.Queryable

// Engine evaluates expressions over stores at given instants. It is safe for
// concurrent use.
type Engine struct {
	engine *promql.Engine
	parser parser.Parser
	step   time.Duration
}

// NewEngine returns an engine with Prometheus' defaults (lookback 5 minutes) whose
// subqueries without a step take the given one: a server's is its evaluation
// interval.
func NewEngine(step time.Duration) *Engine {
	p := parser.NewParser(parser.Options{})
	return &Engine{parser: p, step: step, engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: maxSamples, Timeout: maxTime, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return step.Milliseconds() },
	})}
}

// Check parses an expression and refuses one that is too long, too deep or too
// costly to evaluate here. Instant and Range do not check: check first.
func (e *Engine) Check(expr string) (parser.Expr, error) {
	if err := checkText(expr); err != nil {
		return nil, err
	}
	x, err := e.parser.ParseExpr(expr)
	if err != nil {
		return nil, errors.New(oneLine(err.Error()))
	}
	if n := inner(x, e.step); n > maxInner {
		return nil, BoundError(fmt.Sprintf("the subqueries evaluate %.0f times at each instant; at most %d are tried", n, maxInner))
	}
	return x, nil
}

// checkText bounds an expression before it is parsed.
func checkText(expr string) error {
	if len(expr) > MaxExprBytes {
		return BoundError(fmt.Sprintf("an expression of %d bytes; at most %d are read", len(expr), MaxExprBytes))
	}
	depth, deepest := 0, 0
	for _, c := range []byte(expr) { // brackets in strings count too: nobody quotes a hundred of them
		switch c {
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	if deepest > maxNesting {
		return BoundError(fmt.Sprintf("an expression nested %d deep; at most %d are read", deepest, maxNesting))
	}
	return nil
}

// inner is how often the innermost part of an expression is evaluated at one instant.
func inner(n parser.Node, step time.Duration) float64 {
	times := 1.0
	if s, ok := n.(*parser.SubqueryExpr); ok {
		every := s.Step
		if every <= 0 {
			every = max(step, time.Millisecond)
		}
		times = max(1, float64(s.Range)/float64(every))
	}
	worst := 1.0
	for c := range parser.ChildrenIter(n) {
		worst = max(worst, inner(c, step))
	}
	return times * worst
}

// BoundError is a bound of this process that an expression exceeds. A server may well
// evaluate it.
type BoundError string

// Error implements error.
func (e BoundError) Error() string { return string(e) }

// Costly reports whether an expression was refused, or its evaluation failed, on the
// bounds of this process: that says nothing about the expression.
func Costly(err error) bool {
	var bound BoundError
	var samples promql.ErrTooManySamples
	var timeout promql.ErrQueryTimeout
	return errors.As(err, &bound) || errors.As(err, &samples) || errors.As(err, &timeout)
}

// Instant evaluates an expression at one instant. A scalar is a vector of one
// sample without labels, as for a rule.
func (e *Engine) Instant(ctx context.Context, q Queryable, expr string, at time.Time) (promql.Vector, error) {
	qry, err := e.engine.NewInstantQuery(ctx, q, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer qry.Close()
	res := qry.Exec(ctx)
	if res.Err != nil {
		return nil, res.Err
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		return append(promql.Vector(nil), v...), nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V, Metric: labels.EmptyLabels()}}, nil
	default:
		return nil, fmt.Errorf("the result is a %s, not a vector or scalar", res.Value.Type())
	}
}

// Range evaluates an expression at from, from+step, … up to to. Series are sorted
// by their labels. Native histograms are refused: the store holds none.
func (e *Engine) Range(ctx context.Context, q Queryable, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	if step <= 0 || to.Before(from) {
		return nil, errors.New("a range needs a step above 0 and an end after its begin")
	}
	qry, err := e.engine.NewRangeQuery(ctx, q, nil, expr, from, to, step)
	if err != nil {
		return nil, err
	}
	defer qry.Close() // takes the points back: they are copied
	res := qry.Exec(ctx)
	if res.Err != nil {
		return nil, res.Err
	}
	m, err := res.Matrix()
	if err != nil {
		return nil, err
	}
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		if len(s.Histograms) > 0 {
			return nil, errors.New("the result has native histograms")
		}
		out[i] = promql.Series{Metric: s.Metric, Floats: append([]promql.FPoint(nil), s.Floats...)}
	}
	return out, nil
}

// both reads two stores as one.
type both struct{ a, b *Store }

// Querier implements storage.Queryable.
func (s both) Querier(mint, maxt int64) (storage.Querier, error) {
	a, err := s.a.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	b, err := s.b.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return storage.NewMergeQuerier([]storage.Querier{a, b}, nil, storage.ChainedSeriesMerge), nil
}

// until hides what is later than an instant, as it is hidden from a server that
// evaluates then.
type until struct {
	q  Queryable
	at time.Time
}

// Querier implements storage.Queryable.
func (u until) Querier(mint, maxt int64) (storage.Querier, error) {
	return u.q.Querier(mint, min(maxt, u.at.UnixMilli()))
}

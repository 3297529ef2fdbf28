package promlab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
)

const (
	alertsMetric   = "ALERTS"
	forStateMetric = "ALERTS_FOR_STATE"
)

// Evaluator evaluates one group of rules in virtual time. Prometheus' own `rules`
// package does the same and brings the server's notifier, discovery and
// configuration along; here an alert is a timer over the engine, and promtool is
// the referee (rules_promtool_test.go). It is not safe for concurrent use: virtual
// time has one hand.
type Evaluator struct {
	engine *Engine
	in     Queryable
	out    *Store
	group  Group
	rules  []*evaluated
}

// evaluated is a rule with what it remembers from one evaluation to the next.
type evaluated struct {
	rule   Rule
	expr   parser.Expr
	labels labels.Labels
	active map[uint64]*active
	// written are the series of the last evaluation: one that does not come again
	// is marked stale.
	written map[uint64]labels.Labels
}

type active struct {
	labels   labels.Labels
	firing   bool
	activeAt time.Time
	// keepSince is when keep_firing_for began to run, where keeping is set.
	keepSince time.Time
	keeping   bool
	value     float64
}

// Observe is told what each rule came to at each instant: the active alerts of an
// alerting rule, sorted by labels, or an error. An error leaves the alerts of the
// rule as they were, as in Prometheus.
type Observe func(rule int, at time.Time, alerts []Alert, err error)

// NewEvaluator makes an evaluator that reads the store in and writes recorded
// series, ALERTS and ALERTS_FOR_STATE to the store out; they may be the same. The
// rules see both. An expression that does not parse is an error.
func NewEvaluator(engine *Engine, in, out *Store, group Group) (*Evaluator, error) {
	ev := &Evaluator{engine: engine, in: both{in, out}, out: out, group: group}
	if in == out {
		ev.in = in
	}
	for _, r := range group.Rules {
		if (r.Alert == "") == (r.Record == "") {
			return nil, fmt.Errorf("group %q: a rule has either alert or record", group.Name)
		}
		expr, err := engine.Check(r.Expr)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name(), err)
		}
		merged := maps.Clone(group.Labels)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, r.Labels)
		ev.rules = append(ev.rules, &evaluated{rule: r, expr: expr, labels: labels.FromMap(merged), active: map[uint64]*active{}, written: map[uint64]labels.Labels{}})
	}
	return ev, nil
}

// Queryable is what the rules see: both stores.
func (ev *Evaluator) Queryable() Queryable { return ev.in }

// Eval evaluates every rule at one instant; instants must rise. Only a context
// that ended is an error: what is wrong with a rule is told to observe, which may
// be nil.
func (ev *Evaluator) Eval(ctx context.Context, at time.Time, observe Observe) error {
	for i, r := range ev.rules {
		res, err := ev.engine.Instant(ctx, until{ev.in, at}, r.rule.Expr, at.Add(-ev.group.QueryOffset))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = ev.step(ctx, r, at, res)
		}
		ev.tell(observe, i, at, err)
	}
	return nil
}

func (ev *Evaluator) tell(observe Observe, i int, at time.Time, err error) {
	if observe == nil {
		return
	}
	var alerts []Alert
	for _, a := range ev.rules[i].active {
		out := Alert{Labels: a.labels.Map(), State: Pending, ActiveAt: a.activeAt, Value: a.value}
		if a.firing {
			out.State = Firing
		}
		alerts = append(alerts, out)
	}
	slices.SortFunc(alerts, func(a, b Alert) int { return labels.Compare(labels.FromMap(a.Labels), labels.FromMap(b.Labels)) })
	observe(i, at, alerts, err)
}

// step takes the result of a rule's expression at one instant.
func (ev *Evaluator) step(ctx context.Context, r *evaluated, at time.Time, res promql.Vector) error {
	if r.rule.Record != "" {
		return ev.record(r, at, res)
	}
	return ev.alert(ctx, r, at, res)
}

func (ev *Evaluator) record(r *evaluated, at time.Time, res promql.Vector) error {
	written := make(map[uint64]sampleOf, len(res))
	lb := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range res {
		lb.Reset(s.Metric)
		lb.Set(model.MetricNameLabel, r.rule.Record)
		r.labels.Range(func(l labels.Label) { lb.Set(l.Name, l.Value) })
		lset := lb.Labels()
		if _, twice := written[lset.Hash()]; twice {
			return errors.New("two series have the same labels after the rule's own are applied")
		}
		written[lset.Hash()] = sampleOf{lset, s.F}
	}
	if ev.group.Limit > 0 && len(res) > ev.group.Limit {
		return fmt.Errorf("%d series exceed the group's limit of %d", len(res), ev.group.Limit)
	}
	ev.write(r, at, written)
	return nil
}

// alert moves the timers of a rule's alerts.
func (ev *Evaluator) alert(ctx context.Context, r *evaluated, at time.Time, res promql.Vector) error {
	seen := make(map[uint64]bool, len(res))
	fresh := make([]*active, 0, len(res))
	for _, s := range res {
		lset := ev.alertLabels(ctx, r, s, at)
		h := lset.Hash()
		if seen[h] {
			return errors.New("two results have the same labels after the alert's own are applied")
		}
		seen[h] = true
		fresh = append(fresh, &active{labels: lset, activeAt: at, value: s.F})
	}
	for _, a := range fresh {
		if old := r.active[a.labels.Hash()]; old != nil {
			old.value, old.keeping = a.value, false
			continue
		}
		r.active[a.labels.Hash()] = a
	}
	for h, a := range r.active {
		if !seen[h] && !a.keeps(at, r.rule.KeepFiringFor) {
			delete(r.active, h)
			continue
		}
		a.firing = a.firing || at.Sub(a.activeAt) >= r.rule.For
	}
	if ev.group.Limit > 0 && len(r.active) > ev.group.Limit {
		n := len(r.active)
		clear(r.active)
		return fmt.Errorf("%d alerts exceed the group's limit of %d", n, ev.group.Limit)
	}
	written := make(map[uint64]sampleOf, 2*len(r.active))
	for _, a := range r.active {
		state := a.series(r, alertsMetric)
		written[state.Hash()] = sampleOf{state, 1}
		since := a.series(r, forStateMetric)
		written[since.Hash()] = sampleOf{since, float64(a.activeAt.Unix())}
	}
	ev.write(r, at, written)
	return nil
}

// keeps reports whether an alert whose expression no longer holds fires on.
func (a *active) keeps(at time.Time, keep time.Duration) bool {
	if !a.firing || keep <= 0 {
		return false
	}
	if !a.keeping {
		a.keepSince, a.keeping = at, true
	}
	return at.Sub(a.keepSince) < keep
}

// series are the labels of an alert's ALERTS or ALERTS_FOR_STATE series.
func (a *active) series(r *evaluated, metric string) labels.Labels {
	lb := labels.NewBuilder(r.labels)
	a.labels.Range(func(l labels.Label) { lb.Set(l.Name, l.Value) })
	lb.Set(model.MetricNameLabel, metric)
	lb.Set(model.AlertNameLabel, r.rule.Alert)
	if metric == alertsMetric {
		state := Pending
		if a.firing {
			state = Firing
		}
		lb.Set("alertstate", string(state))
	}
	return lb.Labels()
}

// alertLabels are the labels of the alert that a sample makes. Templates are
// expanded by Prometheus' own expander: a label that shows the value makes a new
// alert with every change of the value, and then `for` never passes.
func (ev *Evaluator) alertLabels(ctx context.Context, r *evaluated, s promql.Sample, at time.Time) labels.Labels {
	lb := labels.NewBuilder(s.Metric)
	lb.Del(model.MetricNameLabel)
	r.labels.Range(func(l labels.Label) {
		v := l.Value
		if strings.Contains(v, "{{") {
			v = ev.expand(ctx, r.rule.Alert, v, s, at)
		}
		lb.Set(l.Name, v)
	})
	lb.Set(model.AlertNameLabel, r.rule.Alert)
	return lb.Labels()
}

func (ev *Evaluator) expand(ctx context.Context, alert, text string, s promql.Sample, at time.Time) string {
	const names = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
	data := template.AlertTemplateData(s.Metric.Map(), map[string]string{}, "", s)
	query := func(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
		return ev.engine.Instant(ctx, until{ev.in, at}, expr, t)
	}
	out, err := template.NewTemplateExpander(ctx, names+text, "__alert_"+alert, data,
		model.TimeFromUnixNano(at.UnixNano()), query, &url.URL{}, nil).Expand()
	if err != nil {
		return "<error expanding template: " + err.Error() + ">"
	}
	return out
}

type sampleOf struct {
	labels labels.Labels
	v      float64
}

// write stores what a rule came to, and marks stale what it came to last time and
// no longer does. A sample that the store refuses, because another rule wrote the
// same series at the same instant, is left out, as in Prometheus.
func (ev *Evaluator) write(r *evaluated, at time.Time, now map[uint64]sampleOf) {
	t := at.Add(-ev.group.QueryOffset)
	written := make(map[uint64]labels.Labels, len(now))
	for h, s := range now {
		if ev.out.Append(s.labels.Map(), t, s.v) == nil {
			written[h] = s.labels
		}
	}
	for h, lset := range r.written {
		if _, again := written[h]; !again {
			_ = ev.out.Append(lset.Map(), t, math.Float64frombits(value.StaleNaN)) // refused: somebody else goes on writing it
		}
	}
	r.written = written
}

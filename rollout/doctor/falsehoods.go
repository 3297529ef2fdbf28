package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/breaker"
)

// falsehoods tries a panel's query where the truth is known: in the silence after a
// recovery, when every circuit has been closed for two hours and nobody asks; in the
// middle of an outage; and where one circuit opens once.
func (p *Practice) falsehoods(q *inquest, x parser.Expr, empty bool) []Problem {
	out := []Problem{}
	add := func(ps ...Problem) { out = append(out, ps...) }
	uses := p.uses(x)
	if !empty {
		add(p.stale(q, x, uses)...)
		add(p.notCurrent(q, x, uses)...)
		add(p.diluted(q, x)...)
		add(p.firstOpen(q, x)...)
	}
	for _, u := range uses {
		if u.metric == mReason && u.counted && !slices.ContainsFunc(out, func(p Problem) bool { return p.Kind == Constant }) {
			for _, r := range q.zero(x) {
				add(Problem{Kind: r.Kind, Text: r.Text, Shows: "0 in every history, circuits that open included"})
			}
		}
	}
	walk(x, func(n parser.Node) {
		if a, l := q.emptyGrouping(n); a != nil && p.breakers(a.Expr) {
			add(Problem{Kind: NoLabel, Text: fmt.Sprintf("it groups by %s, and %s has no such label", l, text(a.Expr)), Shows: "one line for what were to be several"})
		}
	})
	return out
}

// use is how a query reads a metric of the breaker.
type use struct {
	metric string // canonical
	// counted: within rate(), increase() or the like.
	counted bool
	vs      *parser.VectorSelector
}

func counting() []string { return []string{"rate", "increase", "irate", "delta", "idelta", "deriv"} }

func (p *Practice) uses(x parser.Expr) []use {
	var out []use
	var visit func(n parser.Node, counted bool)
	visit = func(n parser.Node, counted bool) {
		switch n := n.(type) {
		case *parser.Call:
			counted = counted || slices.Contains(counting(), n.Func.Name)
		case *parser.VectorSelector:
			if c := p.opt.Dialect.canonicalMetric(nameOf(n)); c != "" {
				out = append(out, use{c, counted, n})
			}
		}
		for c := range parser.ChildrenIter(n) {
			visit(c, counted)
		}
	}
	visit(x, false)
	return out
}

// at evaluates a query at one instant of a history.
func (q *inquest) at(history string, x parser.Expr, t func(h history) time.Time) promql.Vector {
	i := q.p.index(history)
	h := q.p.histories[i]
	v, err := q.p.engine.Instant(q.ctx, q.stores[i], x.String(), t(h))
	if err != nil {
		return nil
	}
	return v
}

func atEnd(h history) time.Time   { return h.to }
func inFault(h history) time.Time { return h.fault.Add(30 * time.Minute) }

// whileOpen and whileClosed are instants of the flapping history, whose provider fails
// in the first of every four minutes.
func whileOpen(h history) time.Time   { return h.fault.Add(41 * time.Minute) }
func whileClosed(h history) time.Time { return h.fault.Add(43 * time.Minute) }

// meaning is what a metric is taken for, and what it is.
func meaning(metric string) string {
	switch metric {
	case mState:
		return "it keeps one series for every state that a circuit ever had and never removes one, so it does not tell the present state"
	case mReason:
		return "it is set to 1 when a reason is first seen and never counts"
	case mErrorRate:
		return "it is the rate at the last outcome and does not decay: without requests it stays what it was"
	case mWindowReqs, mWindowFails:
		return "it adds up the sizes of windows at opens and closes; it is not the present window"
	case mRemaining:
		return "it is set when an open circuit is asked, and stays what it was then"
	}
	return ""
}

// stale finds metrics that keep what was.
func (p *Practice) stale(q *inquest, x parser.Expr, uses []use) []Problem {
	var metric string
	for _, u := range uses {
		if meaning(u.metric) != "" && !u.counted {
			metric = u.metric
			break
		}
	}
	if metric == "" {
		return nil
	}
	name := p.opt.Dialect.metric(metric)
	after := q.at(hSilence, x, atEnd)
	worst := promql.Sample{}
	for _, s := range after {
		if s.F != 0 && !math.IsNaN(s.F) && (worst.F == 0 || s.Metric.Get(p.opt.Dialect.label("state")) == string(breaker.Open) ||
			s.F > worst.F && worst.Metric.Get(p.opt.Dialect.label("state")) != string(breaker.Open)) {
			worst = s
		}
	}
	if worst.F != 0 {
		return []Problem{{Kind: Stale, metric: metric, Text: name + ": " + meaning(metric),
			Shows: fmt.Sprintf("%s%s, two hours after the last request, with every circuit closed", number(worst.F), forWhom(worst.Metric))}}
	}
	if open := q.at(hFlapping, x, whileOpen); len(open) > 0 && same(open, q.at(hFlapping, x, whileClosed)) {
		return []Problem{{Kind: Stale, metric: metric, Text: name + ": " + meaning(metric), Shows: "the same while a circuit is open and after it has closed"}}
	}
	return nil
}

// forWhom names the circuit of a series for a message.
func forWhom(l labels.Labels) string {
	var parts []string
	l.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel && len(parts) < 4 && l.Name != "instance" && l.Name != "job" {
			parts = append(parts, l.Name+"="+l.Value)
		}
	})
	if len(parts) == 0 {
		return ""
	}
	return " for " + strings.Join(parts, ", ")
}

func same(a, b promql.Vector) bool {
	if len(a) != len(b) {
		return false
	}
	was := map[uint64]float64{}
	for _, s := range a {
		was[s.Metric.Hash()] = s.F
	}
	for _, s := range b {
		if v, ok := was[s.Metric.Hash()]; !ok || v != s.F {
			return false
		}
	}
	return true
}

// notCurrent finds windows that are counted as if they were requests.
func (p *Practice) notCurrent(q *inquest, x parser.Expr, uses []use) []Problem {
	for _, u := range uses {
		if (u.metric != mWindowReqs && u.metric != mWindowFails) || !u.counted {
			continue
		}
		if v := q.at(hHealthy, x, atEnd); allZero(v) {
			return []Problem{{Kind: NotNow, Text: p.opt.Dialect.metric(u.metric) + ": " + meaning(u.metric),
				Shows: "nothing in a history with 78 requests a minute in which no circuit opens"}}
		}
	}
	return nil
}

func allZero(v promql.Vector) bool {
	return !slices.ContainsFunc(v, func(s promql.Sample) bool { return s.F != 0 })
}

// diluted finds shares whose denominator counts denied requests, where that changes
// what is shown.
func (p *Practice) diluted(q *inquest, x parser.Expr) []Problem {
	d := p.opt.Dialect
	if len(d.denominators(x)) == 0 {
		return nil
	}
	right, err := p.engine.Check(x.String())
	if err != nil {
		return nil
	}
	for _, vs := range d.denominators(right) {
		d.onlyReached(vs)
	}
	is, should := q.at(hOutage, x, inFault), q.at(hOutage, right, inFault)
	truth := map[uint64]float64{}
	for _, s := range should {
		truth[s.Metric.Hash()] = s.F
	}
	for _, s := range is {
		if v, ok := truth[s.Metric.Hash()]; ok && math.Abs(v-s.F) > 0.01*math.Abs(v) {
			return []Problem{{Kind: FailFast, Text: "its denominator counts fail_fast, requests that reached no provider",
				Shows: fmt.Sprintf("%s%s in an outage, where it is %s", number(s.F), forWhom(s.Metric), number(v))}}
		}
	}
	return nil
}

// firstOpen finds counts of opens that do not see a counter appear at 1.
func (p *Practice) firstOpen(q *inquest, x parser.Expr) []Problem {
	d := p.opt.Dialect
	sees := false
	for _, u := range p.uses(x) {
		sees = sees || u.metric == mTransitions && u.counted && d.takes(u.vs, "from", "closed") && d.takes(u.vs, "to", "open")
	}
	if !sees || !q.ever(hFlapping, x) || q.ever(hSingle, x) {
		return nil
	}
	return []Problem{{Kind: FirstOpen, Text: "rate() and increase() do not see a counter that appears at 1, and that is the first open of a circuit",
		Shows: "nothing in a history in which one circuit opens once"}}
}

// ever reports whether a query is anything but 0 at any time of a history.
func (q *inquest) ever(history string, x parser.Expr) bool {
	one := q.in(q.p.index(history))
	for _, s := range one.values(x.String())[one.only] {
		if slices.ContainsFunc(s.Floats, func(f promql.FPoint) bool { return f.F != 0 && !math.IsNaN(f.F) }) {
			return true
		}
	}
	return false
}

// takes reports whether a selector takes in a value of a label.
func (d Dialect) takes(vs *parser.VectorSelector, label, value string) bool {
	name := d.label(label)
	for _, m := range vs.LabelMatchers {
		if name != "" && m.Name == name && !m.Matches(value) {
			return false
		}
	}
	return true
}

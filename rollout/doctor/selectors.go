package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// selector explains why a selector selects nothing.
func (q *inquest) selector(vs *parser.VectorSelector) []Reason {
	plain := &parser.VectorSelector{Name: vs.Name, LabelMatchers: vs.LabelMatchers}
	if q.any(plain.String()) {
		return one(TooShort, vs, "%s looks back further than the histories go", text(vs))
	}
	name := nameOf(vs)
	if name == "" {
		return one(NoMetric, vs, "%s selects nothing", text(vs))
	}
	if r, ok := q.recorded[name]; ok && q.depth < 5 {
		q.depth++
		defer func() { q.depth-- }()
		if x, err := q.p.engine.Check(r.Expr); err == nil {
			if rs := q.why(x); rs != nil {
				for i := range rs {
					rs[i].Text = fmt.Sprintf("%s is recorded from what comes to nothing: %s", name, rs[i].Text)
				}
				return rs
			}
		}
	}
	if !q.any(nameText(name)) {
		return q.noMetric(vs, name)
	}
	for _, m := range vs.LabelMatchers {
		if m.Name == model.MetricNameLabel || q.any(selectorText(name, m)) {
			continue
		}
		values := q.valuesOf(name, m.Name)
		if len(values) == 0 {
			return one(NoLabel, vs, "%s has no label %s, so %s selects nothing; it has %s%s", name, m.Name, braces(m), strings.Join(q.labelsOf(name), ", "), q.targetHint(name, m))
		}
		return one(NoValue, vs, "the label %s of %s is never %s%s, so %s selects nothing; it is %s", m.Name, name, matchWord(m), strconv.Quote(m.Value), braces(m), quoted(values))
	}
	return one(NoValue, vs, "%s selects nothing: no series of %s has all of these labels", text(vs), name)
}

func (q *inquest) noMetric(vs *parser.VectorSelector, name string) []Reason {
	d := q.p.opt.Dialect
	if slices.Contains(d.Present, name) {
		return one(Elsewhere, vs, "%s exists on the server and is not among what the router emits: it was not tried", name)
	}
	if slices.Contains(metricNames(), name) {
		if to := d.metric(name); to == "" {
			return one(NoMetric, vs, "the dialect %s does not have %s", d.name(), name)
		} else if to != name {
			return one(NoMetric, vs, "nothing is called %s; in the dialect %s it is %s", name, d.name(), to)
		}
		return one(TooShort, vs, "%s did not appear in any history", name)
	}
	if strings.HasSuffix(name, "_bucket") && (d.ours(name) || strings.HasPrefix(name, "router_")) {
		return one(NoMetric, vs, "nothing emits %s: the router exports no histogram, so no buckets exist", name)
	}
	if !d.ours(name) {
		if d.Present != nil && d.lookalike(name) {
			return one(NoMetric, vs, "the server has no metric %s", name)
		}
		return one(Elsewhere, vs, "%s is not a metric of the breaker: it was not tried", name)
	}
	hint := ""
	if n := d.nearest(name); n != "" {
		hint = "; did you mean " + n + "?"
	}
	return one(NoMetric, vs, "nothing emits %s%s", name, hint)
}

// targetHint says where the target state is, to whom looks for it in state.
func (q *inquest) targetHint(name string, m *labels.Matcher) string {
	d := q.p.opt.Dialect
	if m.Name != "state" || d.canonicalMetric(name) != mTransitions || d.label("to") == "" {
		return ""
	}
	return "; the target state is in " + d.label("to")
}

func braces(m *labels.Matcher) string { return "{" + m.String() + "}" }

func matchWord(m *labels.Matcher) string {
	switch m.Type {
	case labels.MatchEqual:
		return ""
	case labels.MatchNotEqual:
		return "other than "
	case labels.MatchRegexp:
		return "like "
	default:
		return "unlike "
	}
}

func quoted(vs []string) string {
	const most = 8
	more := ""
	if len(vs) > most {
		vs, more = vs[:most], ", …"
	}
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = strconv.Quote(v)
	}
	return strings.Join(out, ", ") + more
}

// selectorText is name{m} as an expression.
func selectorText(name string, m *labels.Matcher) string {
	eq := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)
	return (&parser.VectorSelector{Name: name, LabelMatchers: []*labels.Matcher{m, eq}}).String()
}

// nameText is a metric's name as an expression, quoted where it must be.
func nameText(name string) string {
	eq := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)
	return (&parser.VectorSelector{Name: name, LabelMatchers: []*labels.Matcher{eq}}).String()
}

// nameOf is the metric that a selector names exactly, or "".
func nameOf(vs *parser.VectorSelector) string {
	for _, m := range vs.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return vs.Name
}

func (q *inquest) valuesOf(name, label string) []string {
	seen := map[string]bool{}
	for _, m := range q.values(nameText(name)) {
		for _, s := range m {
			seen[s.Metric.Get(label)] = true
		}
	}
	delete(seen, "")
	return slices.Sorted(maps.Keys(seen))
}

func (q *inquest) labelsOf(name string) []string {
	seen := map[string]bool{}
	for _, m := range q.values(nameText(name)) {
		for _, s := range m {
			s.Metric.Range(func(l labels.Label) { seen[l.Name] = true })
		}
	}
	delete(seen, model.MetricNameLabel)
	return slices.Sorted(maps.Keys(seen))
}

// lookalike reports whether a name may be meant for a breaker's: this router's, or that
// of something else that has one.
func (d Dialect) lookalike(name string) bool {
	low := strings.ToLower(name)
	return strings.Contains(low, "circuit_breaker") || strings.Contains(low, "circuitbreaker") || d.ours(name)
}

// ours reports whether a name that does not exist was meant for this router's breaker:
// it begins as the dialect's names or the router's do, or is one of them misspelt.
func (d Dialect) ours(name string) bool {
	if len(name) > 200 {
		return false
	}
	low := strings.ToLower(name)
	return strings.HasPrefix(low, prefix) || strings.HasPrefix(low, "router_") && strings.Contains(low, "circuit") ||
		strings.HasPrefix(name, d.common()) || d.nearest(name) != ""
}

// common is what the dialect's names begin with, up to a whole word; never "".
func (d Dialect) common() string {
	all := ""
	for _, c := range metricNames() {
		m := d.metric(c)
		switch {
		case m == "":
		case all == "":
			all = m
		default:
			n := 0
			for n < len(m) && n < len(all) && m[n] == all[n] {
				n++
			}
			all = all[:n]
		}
	}
	all = all[:strings.LastIndexAny(all, "_:")+1]
	if len(all) < 4 {
		return prefix
	}
	return all
}

// nearest is a metric of the dialect that a name resembles, or "": a name that lost
// or gained a word, or is misspelt. What all of them begin with says nothing.
func (d Dialect) nearest(name string) string {
	best, dist := "", len(name)
	for _, c := range metricNames() {
		m := d.metric(c)
		if m == "" || len(name) > 200 {
			continue
		}
		a, ours := strings.CutPrefix(name, d.common())
		b := strings.TrimPrefix(m, d.common())
		far := levenshtein.Distance(name, m, nil)
		alike := far <= 3
		if ours {
			alike = far <= max(2, min(len(a), len(b))/4) || len(a) > 5 && len(b) > 5 && (strings.Contains(a, b) || strings.Contains(b, a))
		}
		if alike && far < dist {
			best, dist = m, far
		}
	}
	return best
}

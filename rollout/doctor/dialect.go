package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The metrics that the router's breaker emits (ROUTER.md §5), by their canonical
// names.
const (
	prefix        = "router_circuit_breaker_"
	mEvents       = prefix + "events_total"
	mTransitions  = prefix + "state_transitions_total"
	mState        = prefix + "state"
	mReason       = prefix + "trigger_reason"
	mErrorRate    = prefix + "error_rate"
	mWindowReqs   = prefix + "window_requests_total"
	mWindowFails  = prefix + "window_failures_total"
	mTimeoutTrans = prefix + "timeout_transitions_total"
	mRemaining    = prefix + "timeout_remaining_ms"
)

func metricNames() []string {
	return []string{mEvents, mTransitions, mState, mReason, mErrorRate, mWindowReqs, mWindowFails, mTimeoutTrans, mRemaining}
}

// Dialect says how a deployment names what the router emits. The zero value is the
// router's own: names as in ROUTER.md §5, no extra labels.
type Dialect struct {
	// Name is how texts call it: "emitted", "documented", or a deployment's own.
	Name string `json:"name"`
	// Metrics and Labels map canonical names to the deployment's. A name that is not
	// in the map is the same; one mapped to "" does not exist there.
	Metrics map[string]string `json:"metrics"`
	Labels  map[string]string `json:"labels"`
	// Extra are labels that every real series carries, with their values:
	// cluster="prod", or the job.
	Extra map[string]string `json:"extra"`
	// Varying are labels that real series carry with more than one value: matchers on
	// them say nothing about whether an expression can ever select something.
	Varying []string `json:"varying"`
	// Present are names of metrics that the server has beside these, of a breaker by
	// their looks, so that an expression that reads one is not called dead; nil where
	// nobody looked.
	Present []string `json:"present"`
}

func (d Dialect) name() string {
	if d.Name == "" {
		return "emitted"
	}
	return d.Name
}

func (d Dialect) metric(canonical string) string { return renamed(d.Metrics, canonical) }
func (d Dialect) label(canonical string) string  { return renamed(d.Labels, canonical) }

func renamed(m map[string]string, name string) string {
	if to, ok := m[name]; ok {
		return to
	}
	return name
}

// canonicalMetric is the router's name of a deployment's metric, or "".
func (d Dialect) canonicalMetric(name string) string {
	for _, c := range metricNames() {
		if d.metric(c) == name {
			return c
		}
	}
	return ""
}

// store renames the labels of one series; nil if it does not exist there.
func (d Dialect) store(lset map[string]string) map[string]string {
	out := maps.Clone(d.Extra)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range lset {
		if k == model.MetricNameLabel {
			if v = d.metric(v); v == "" {
				return nil
			}
		} else if k = d.label(k); k == "" {
			continue
		}
		if _, fixed := d.Extra[k]; !fixed {
			out[k] = v
		}
	}
	return out
}

// expr renames an expression that is written in canonical names. It is an error
// when it needs something that the dialect does not have.
func (d Dialect) expr(canonical string) (string, error) {
	x, err := parser.NewParser(parser.Options{}).ParseExpr(canonical)
	if err != nil {
		return "", fmt.Errorf("cannot read %q: %w", canonical, err)
	}
	var missing []string
	names := func(list []string) []string {
		var out []string
		for _, l := range list {
			to := d.label(l)
			if to == "" && l != "instance" { // without instances, all counts are of one
				missing = append(missing, "the label "+l)
			}
			if to != "" {
				out = append(out, to)
			}
		}
		return out
	}
	walk(x, func(n parser.Node) {
		switch n := n.(type) {
		case *parser.VectorSelector:
			if n.Name != "" {
				if n.Name = d.metric(n.Name); n.Name == "" {
					missing = append(missing, "the metric "+canonicalName(n))
				}
			}
			for i, m := range n.LabelMatchers {
				name, value := d.label(m.Name), m.Value
				if m.Name == model.MetricNameLabel {
					name, value = m.Name, n.Name
				}
				if name == "" {
					missing = append(missing, "the label "+m.Name)
					continue
				}
				n.LabelMatchers[i] = labels.MustNewMatcher(m.Type, name, value)
			}
		case *parser.AggregateExpr:
			n.Grouping = names(n.Grouping)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				n.VectorMatching.MatchingLabels = names(n.VectorMatching.MatchingLabels)
				n.VectorMatching.Include = names(n.VectorMatching.Include)
			}
		}
	})
	if len(missing) > 0 {
		slices.Sort(missing)
		return "", fmt.Errorf("the dialect %s does not have %s", d.name(), strings.Join(slices.Compact(missing), ", "))
	}
	return x.String(), nil
}

func canonicalName(n *parser.VectorSelector) string {
	for _, m := range n.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			return m.Value
		}
	}
	return "without a name"
}

// walk visits a node and everything under it.
func walk(n parser.Node, f func(parser.Node)) {
	f(n)
	for c := range parser.ChildrenIter(n) {
		walk(c, f)
	}
}

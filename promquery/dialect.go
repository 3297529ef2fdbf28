package promquery

import (
	"maps"
	"slices"
	"strings"
)

// Prefix begins the name of every metric of the router's circuit breaker
// (ROUTER.md §5).
const Prefix = "router_circuit_breaker_"

// Kinds of dialect, by what transitions carry.
const (
	// Emitted is what the router emits: from and to.
	Emitted = "emitted"
	// Documented is what the router's documents say: state, the target.
	Documented = "documented"
)

// CanonicalMetrics are the names of the breaker's metrics, without Prefix.
func CanonicalMetrics() []string {
	return []string{"timeout_transitions_total", "timeout_remaining_ms", "window_requests_total", "window_failures_total",
		"trigger_reason", "error_rate", "state_transitions_total", "events_total", "state"}
}

// CanonicalLabels are the labels that have a meaning.
func CanonicalLabels() []string {
	return []string{"tenant_id", "provider_id", "event_type", "from", "to", "state", "reason", "transition_type", "job", "instance"}
}

// Dialect is what a deployment calls the router's metrics and labels. Elsewhere
// cbops speaks of the canonical ones, ROUTER.md §5's. The zero value is them.
type Dialect struct {
	// Kind is Emitted, Documented, or "" where there are no transitions.
	Kind string `json:"kind"`
	// Metrics are the names in use that are not canonical, by canonical name without
	// Prefix; "" is one of which several candidates exist: it matches nothing.
	Metrics map[string]string `json:"metrics,omitempty"`
	// Labels are the label names in use that are not canonical, by canonical name.
	Labels map[string]string `json:"labels,omitempty"`
	// NodeLabels tell the router's nodes apart, by their names in use; none for job
	// and instance.
	NodeLabels []string `json:"nodeLabels,omitempty"`
	// Aggregated: no label tells nodes apart. Restarts and scrapes of one node cannot
	// be seen.
	Aggregated bool `json:"aggregated,omitempty"`
	// Renames say in words what is called otherwise, sorted.
	Renames []string `json:"renames,omitempty"`
}

// Metric is the name in use of a metric by its canonical name without Prefix; ""
// if it is not known which one it is.
func (d Dialect) Metric(short string) string {
	if name, ok := d.Metrics[short]; ok {
		return name
	}
	return Prefix + short
}

// Label is the name in use of a canonical label.
func (d Dialect) Label(canonical string) string {
	if name, ok := d.Labels[canonical]; ok {
		return name
	}
	return canonical
}

// Match selects a metric, by its canonical name without Prefix, and matchers on
// canonical labels.
func (d Dialect) Match(short string, more ...Match) []Match {
	return d.MatchAny([]string{short}, more...)
}

// MatchAny is Match for several metrics.
func (d Dialect) MatchAny(shorts []string, more ...Match) []Match {
	names := Match{Label: nameLabel}
	for _, s := range shorts {
		if name := d.Metric(s); name != "" {
			names.Values = append(names.Values, name)
		}
	}
	out := []Match{names}
	for _, m := range more {
		m.Label = d.Label(m.Label)
		out = append(out, m)
	}
	return out
}

// Canonical gives a series' labels their canonical names, that of the metric
// included. Others are kept; one that has a canonical name without the meaning is
// kept with "other_" before it.
func (d Dialect) Canonical(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels))
	used := make(map[string]string, len(d.Labels)) // canonical by name in use, where present
	for canonical, name := range d.Labels {
		if _, ok := labels[name]; ok && name != canonical {
			used[name] = canonical
		}
	}
	for k, v := range labels {
		canonical, renamed := used[k]
		switch {
		case renamed:
			out[canonical] = v
		case slices.Contains(slices.Collect(maps.Values(used)), k):
			out["other_"+k] = v
		case k == nameLabel:
			out[k] = d.canonicalMetric(v)
		default:
			out[k] = v
		}
	}
	return out
}

func (d Dialect) canonicalMetric(name string) string {
	for short, used := range d.Metrics {
		if used == name && used != "" {
			return Prefix + short
		}
	}
	return name
}

func (d Dialect) nodeLabels() []string {
	if d.Aggregated {
		return nil
	}
	if len(d.NodeLabels) > 0 {
		return d.NodeLabels
	}
	return []string{"job", "instance"}
}

// Node names the router node that a series is about, from its labels as they are
// in use: job/instance, or what stands in their place. Of an aggregated dialect
// there is one node, "all".
func (d Dialect) Node(labels map[string]string) string {
	names := d.nodeLabels()
	if len(names) == 0 {
		return "all"
	}
	values := make([]string, len(names))
	for i, n := range names {
		values[i] = labels[n]
	}
	return strings.Join(values, "/")
}

// UpMatch selects the scrapes of the nodes that the given series are about, in the
// labels in use; nil where nodes cannot be told apart. Labels that are matched one
// by one may select a few scrapes more: Node tells them.
func (d Dialect) UpMatch(series []map[string]string) []Match {
	names := d.nodeLabels()
	if len(names) == 0 {
		return nil
	}
	out := []Match{{Label: nameLabel, Values: []string{"up"}}}
	for _, n := range names {
		m := Match{Label: n}
		for _, s := range series {
			m.Values = append(m.Values, s[n])
		}
		m.Values = sortedUnique(m.Values)
		out = append(out, m)
	}
	return out
}

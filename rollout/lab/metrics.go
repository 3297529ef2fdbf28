package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cbops/cbops/breaker"
)

// family is what the router's exporter says about one metric: texts, types and
// number formats as recorded from it (testdata/router.prom).
type family struct {
	name, help, typ string
	// decimals is 6 where the exporter prints floats, 0 where it prints integers.
	decimals int
}

const namePrefix = "router_circuit_breaker_"

const genericHelp = "Router metric"

// families returns the breaker's metrics in the order of the exposition.
func families() []family {
	return []family{
		{namePrefix + "error_rate", genericHelp, "counter", 6},
		{namePrefix + "events_total", genericHelp, "counter", 0},
		{namePrefix + "state", "Current circuit breaker state (0=closed, 0.5=half_open, 1=open)", "gauge", 6},
		{namePrefix + "state_transitions_total", "Total circuit breaker state transitions", "counter", 0},
		{namePrefix + "timeout_remaining_ms", genericHelp, "counter", 0},
		{namePrefix + "timeout_transitions_total", genericHelp, "counter", 0},
		{namePrefix + "trigger_reason", "Count of circuit breaker openings by trigger reason", "counter", 0},
		{namePrefix + "window_failures_total", genericHelp, "counter", 0},
		{namePrefix + "window_requests_total", genericHelp, "counter", 0},
	}
}

// familyOf returns the family of a metric; one the recording does not know is
// shown the way the exporter shows everything it has no text for.
func familyOf(all []family, name string) family {
	for _, f := range all {
		if f.name == name {
			return f
		}
	}
	return family{name: name, help: genericHelp, typ: "counter"}
}

// cell is one series of one node.
type cell struct {
	name   string
	extra  []breaker.Label
	value  float64
	digits int
	// scrape are the labels that a scrape stores, made once.
	scrape map[string]string
}

// printed is the value as the exporter prints it, which is what Prometheus gets.
func (c *cell) printed() string { return strconv.FormatFloat(c.value, 'f', c.digits, 64) }

// metrics is one node's metric table. It is the sink of the node's breakers, and
// has the router's habits: a series once made is never removed (an old
// state="open" goes on reading 1), and trigger_reason is set, not counted.
type metrics struct {
	families []family
	circuits map[breaker.Key][]*cell
	// mute drops outcome counts: they were counted when they happened, and the
	// breaker is only catching up (see circuit).
	mute bool
}

func newMetrics() *metrics {
	return &metrics{families: families(), circuits: map[breaker.Key][]*cell{}}
}

// Emit implements breaker.Sink.
func (m *metrics) Emit(k breaker.Key, e breaker.Metric) {
	if m.mute && e.Name == namePrefix+"events_total" {
		return
	}
	c := m.cell(k, e.Name, e.Labels)
	if e.Add {
		c.value += e.Value
	} else {
		c.value = e.Value
	}
}

// cell finds or makes a series. A circuit has about a dozen.
func (m *metrics) cell(k breaker.Key, name string, extra []breaker.Label) *cell {
	for _, c := range m.circuits[k] {
		if c.name == name && slices.Equal(c.extra, extra) {
			return c
		}
	}
	c := &cell{name: name, extra: slices.Clone(extra), digits: familyOf(m.families, name).decimals}
	m.circuits[k] = append(m.circuits[k], c)
	return c
}

// keys returns the circuits in sorted order.
func (m *metrics) keys() []breaker.Key {
	keys := make([]breaker.Key, 0, len(m.circuits))
	for k := range m.circuits {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

func compareKeys(a, b breaker.Key) int {
	return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Provider, b.Provider))
}

// exposition is the text of the metrics endpoint: no final newline, and nearly
// everything typed counter. The router's own order is that of a hash table; here
// families and series are sorted, which no reader may rely on.
func (m *metrics) exposition() string {
	lines := map[string][]string{}
	for k, cells := range m.circuits {
		for _, c := range cells {
			lines[c.name] = append(lines[c.name], c.name+labelText(k, c.extra)+" "+c.printed())
		}
	}
	names := make([]string, 0, len(lines))
	for n := range lines {
		names = append(names, n)
	}
	slices.Sort(names)
	var out []string
	for _, n := range names {
		f := familyOf(m.families, n)
		out = append(out, fmt.Sprintf("# HELP %s %s", f.name, f.help), fmt.Sprintf("# TYPE %s %s", f.name, f.typ))
		slices.Sort(lines[n])
		out = append(out, lines[n]...)
	}
	return strings.Join(out, "\n")
}

func labelText(k breaker.Key, extra []breaker.Label) string {
	all := append(slices.Clone(extra), breaker.Label{Name: "provider_id", Value: k.Provider}, breaker.Label{Name: "tenant_id", Value: k.Tenant})
	slices.SortFunc(all, func(a, b breaker.Label) int { return strings.Compare(a.Name, b.Name) })
	parts := make([]string, len(all))
	for i, l := range all {
		parts[i] = l.Name + `="` + escape(l.Value) + `"`
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// escape is the text format's escaping of label values.
func escape(v string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v)
}

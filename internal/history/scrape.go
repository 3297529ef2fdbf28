package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cbops/cbops/breaker"
)

// scrape looks at a node.
func (w *World) scrape(n *node, at time.Time) error {
	blind := w.Blind != nil && w.Blind(n.name, at)
	up := 1.0
	if blind {
		up = 0
	}
	if w.Emit != nil {
		if n.up == nil {
			n.up = w.Emit(map[string]string{"__name__": "up", "job": "router", "instance": n.name})
		}
		if n.up != nil {
			if err := n.up(at, up); err != nil {
				return fmt.Errorf("emitting: %w", err)
			}
		}
	}
	if blind {
		return nil
	}
	ms := at.UnixMilli()
	n.scrapes = append(n.scrapes, ms)
	if n.fresh {
		n.restarts = append(n.restarts, ms)
		n.fresh = false
	}
	for _, k := range n.keys() {
		c := n.circuits[k]
		p := c.now
		p.T, p.Epoch = ms, n.epoch
		c.points = append(c.points, p)
		if w.Emit != nil {
			if err := c.emit(w.Emit, at); err != nil {
				return fmt.Errorf("emitting: %w", err)
			}
		}
	}
	return nil
}

func (n *node) keys() []breaker.Key {
	if len(n.sorted) == len(n.circuits) {
		return n.sorted
	}
	keys := make([]breaker.Key, 0, len(n.circuits))
	for k := range n.circuits {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b breaker.Key) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Provider, b.Provider))
	})
	n.sorted = keys
	return keys
}

// emit writes the counters that exist: one that never counted is no series.
func (c *circuit) emit(to Sink, at time.Time) error {
	values := [counters]float64{c.now.Success, c.now.Failure, c.now.FailFast, c.now.CO, c.now.OH, c.now.HO, c.now.HC, c.now.WR, c.now.WF}
	for i, v := range values {
		if v == 0 {
			continue
		}
		if !c.known[i] {
			c.series[i], c.known[i] = to(c.labels(i)), true
		}
		if c.series[i] == nil {
			continue
		}
		if err := c.series[i](at, v); err != nil {
			return err
		}
	}
	return nil
}

// labels are those of a circuit's i-th counter.
func (c *circuit) labels(i int) map[string]string {
	l := map[string]string{"job": "router", "instance": c.node.name, "tenant_id": c.key.Tenant, "provider_id": c.key.Provider}
	switch i {
	case 0, 1, 2:
		l["__name__"], l["event_type"] = prefix+"events_total", []string{"success", "failure", "fail_fast"}[i]
	case 3, 4, 5, 6:
		x := [][2]string{{"closed", "open"}, {"open", "half_open"}, {"half_open", "open"}, {"half_open", "closed"}}[i-3]
		l["__name__"], l["from"], l["to"] = prefix+"state_transitions_total", x[0], x[1]
	case 7:
		l["__name__"] = prefix + "window_requests_total"
	default:
		l["__name__"] = prefix + "window_failures_total"
	}
	return l
}

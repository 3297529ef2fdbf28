package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/evidence"
)

// Judged is a tenant to be judged.
type Judged struct {
	ID    string
	Since time.Time
}

// near is how far outcomes are kept at every scrape around what changed, and coarse
// how far apart elsewhere: as rollout/gather reads them.
const (
	near   = 20 * time.Minute
	coarse = 5 * time.Minute
)

// Config is a twin's config as evidence keeps it.
func Config(enabled bool, c breaker.Config) evidence.Config {
	return evidence.Config{Enabled: enabled, FailureThreshold: c.FailureThreshold, SuccessThreshold: c.SuccessThreshold, TimeoutMS: c.TimeoutMS,
		HalfOpenMaxCalls: c.HalfOpenMaxCalls, ErrorRateThreshold: c.ErrorRateThreshold, WindowSeconds: c.WindowSeconds, LatencyThresholdMS: c.LatencyThresholdMS}
}

// Evidence is what a gatherer would have read at `at`, with the baseline of the
// given length. Tenants that are not judged are the others.
func (w *World) Evidence(at time.Time, baseline time.Duration, judged ...Judged) *evidence.Evidence {
	ev := &evidence.Evidence{At: at, Interval: Every, Dialect: evidence.Dialect{Kind: evidence.Emitted, Renames: []string{}},
		Skew: evidence.Skew{Measured: true}, Tenants: []evidence.Tenant{}, Others: []evidence.Circuit{}, Windows: []evidence.Interval{},
		Nodes: []evidence.Node{}, Doubles: []evidence.Double{}, Measures: []evidence.Measure{}, Queries: []evidence.Query{}, Gaps: []evidence.Gap{},
		Present: []string{prefix + "events_total", prefix + "state_transitions_total", prefix + "window_failures_total", prefix + "window_requests_total"}}
	from := at
	for _, j := range judged {
		if b := j.Since.Add(-baseline); b.Before(from) {
			from = b
		}
	}
	from = from.Add(-10 * time.Minute)
	lo, hi := from.UnixMilli(), at.UnixMilli()
	for _, n := range w.nodes {
		x := evidence.Node{Name: "router/" + n.name, Scrapes: between(n.scrapes, lo, hi), Restarts: between(n.restarts, lo, hi)}
		if len(x.Scrapes) == 0 {
			continue
		}
		x.First, x.Last = x.Scrapes[0], x.Scrapes[len(x.Scrapes)-1]
		ev.Nodes = append(ev.Nodes, x)
	}
	var opened []int64
	for _, j := range judged {
		t := evidence.Tenant{ID: j.ID, Since: j.Since, Baseline: evidence.Interval{From: j.Since.Add(-baseline), To: j.Since}, Circuits: []evidence.Circuit{}}
		for _, o := range w.Tenants {
			if o.ID == j.ID {
				s := source{t: o}
				l := s.loaded(at)
				t.Config = Config(l.Enabled, l.Config)
			}
		}
		for _, n := range w.nodes {
			for _, k := range n.keys() {
				if k.Tenant == j.ID {
					c, changed := n.circuits[k].evidence(n, lo, hi, coarse)
					opened = append(opened, changed...)
					t.Circuits = append(t.Circuits, c)
				}
			}
		}
		slices.SortFunc(t.Circuits, func(a, b evidence.Circuit) int {
			return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Node, b.Node))
		})
		ev.Tenants = append(ev.Tenants, t)
	}
	slices.SortFunc(ev.Tenants, func(a, b evidence.Tenant) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(opened)
	for _, t := range opened {
		i := evidence.Interval{From: evidence.Instant(t).Add(-near), To: evidence.Instant(t).Add(near)}
		if k := len(ev.Windows) - 1; k >= 0 && ev.Windows[k].Overlaps(i) {
			ev.Windows[k].To = i.To
		} else {
			ev.Windows = append(ev.Windows, i)
		}
	}
	others := map[string]bool{}
	for _, n := range w.nodes {
		for _, k := range n.keys() {
			if slices.ContainsFunc(judged, func(j Judged) bool { return j.ID == k.Tenant }) {
				continue
			}
			c, _ := n.circuits[k].evidence(n, lo, hi, time.Hour, ev.Windows...)
			c.Transitions = nil
			for i := range c.Outcomes {
				c.Outcomes[i].FailFast = 0
			}
			ev.Others = append(ev.Others, c)
			others[k.Tenant] = true
		}
	}
	slices.SortFunc(ev.Others, func(a, b evidence.Circuit) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Node, b.Node))
	})
	ev.OtherTenants = len(others)
	return ev
}

func between(ts []int64, lo, hi int64) []int64 {
	out := []int64{}
	for _, t := range ts {
		if t >= lo && t <= hi {
			out = append(out, t)
		}
	}
	return out
}

// evidence thins a circuit's points as rollout/gather does; the newest scrape is left
// out. It returns when transitions moved.
func (c *circuit) evidence(n *node, lo, hi int64, step time.Duration, windows ...evidence.Interval) (evidence.Circuit, []int64) {
	e := evidence.Circuit{Node: "router/" + n.name, Tenant: c.key.Tenant, Provider: c.key.Provider, Step: step}
	var ps []Point
	for _, p := range c.points {
		if p.T >= lo && p.T <= hi {
			ps = append(ps, p)
		}
	}
	if len(ps) > 0 && ps[len(ps)-1].T == last(n.scrapes, hi) {
		ps = ps[:len(ps)-1]
	}
	if len(ps) == 0 {
		return e, nil
	}
	// The circuit did not exist before its first point: its counters stood at zero.
	if first := between(n.scrapes, lo, ps[0].T-1); len(first) > 0 && ps[0].Success+ps[0].Failure+ps[0].CO > 0 {
		ps = append([]Point{{T: first[0], Epoch: ps[0].Epoch}, {T: first[len(first)-1], Epoch: ps[0].Epoch}}, ps...)
		if first[0] == first[len(first)-1] {
			ps = ps[1:]
		}
	}
	moved := func(a, b Point) bool {
		return a.CO != b.CO || a.OH != b.OH || a.HO != b.HO || a.HC != b.HC || a.WR != b.WR
	}
	var changed []int64
	for i := 1; i < len(ps); i++ {
		if ps[i].Epoch == ps[i-1].Epoch && moved(ps[i-1], ps[i]) {
			changed = append(changed, ps[i].T)
		}
	}
	end := ps[len(ps)-1].T
	k := 0
	for i, p := range ps {
		for k < len(changed) && changed[k] < p.T-near.Milliseconds() {
			k++
		}
		close := k < len(changed) && changed[k] <= p.T+near.Milliseconds() || p.T >= end-near.Milliseconds()
		for _, w := range windows {
			close = close || p.T >= w.From.UnixMilli() && p.T <= w.To.UnixMilli()
		}
		edge := i == 0 || i == len(ps)-1 || ps[i-1].Epoch != p.Epoch || ps[i+1].Epoch != p.Epoch
		if close || edge || p.T%step.Milliseconds() == 0 {
			e.Outcomes = append(e.Outcomes, evidence.Outcome{T: p.T, Epoch: p.Epoch, Success: p.Success, Failure: p.Failure, FailFast: p.FailFast})
		}
		beside := edge || moved(ps[i-1], p) || moved(p, ps[i+1]) || i > 1 && moved(ps[i-2], ps[i-1])
		if beside {
			e.Transitions = append(e.Transitions, evidence.Transition{T: p.T, Epoch: p.Epoch, CO: p.CO, OH: p.OH, HO: p.HO, HC: p.HC, WindowRequests: p.WR, WindowFailures: p.WF})
		}
	}
	return e, changed
}

func last(ts []int64, hi int64) int64 {
	for i := len(ts) - 1; i >= 0; i-- {
		if ts[i] <= hi {
			return ts[i]
		}
	}
	return 0
}

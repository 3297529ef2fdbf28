package gather

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// circuits turns what was read into timelines, sorted by tenant, provider, node.
func (r *records) circuits() []evidence.Circuit {
	r.settle()
	r.restarts()
	var cs []evidence.Circuit
	for _, k := range r.keys() {
		rec, n := r.by[k], r.g.nodes[k.node]
		if n == nil {
			continue
		}
		c := evidence.Circuit{Node: k.node, Tenant: k.tenant, Provider: k.provider, Step: r.step,
			Outcomes: r.outcomes(rec, n), Transitions: r.transitions(rec, n), Resets: r.g.resetsOf(k)}
		if len(c.Outcomes) > 0 || r.counted(rec) {
			cs = append(cs, c)
		}
		step := max(r.g.ev.Interval, time.Second)
		for _, t := range rec.bad {
			r.g.gap(instant(t).Add(-step), instant(t).Add(step), k.node, "a counter of "+k.provider+" was not a number")
		}
	}
	return cs
}

// counted reports whether any transition was counted.
func (r *records) counted(rec *record) bool {
	for c := cCO; c <= cWF; c++ {
		if len(rec.series[c]) > 0 {
			return true
		}
	}
	return false
}

// settle sorts what came in pieces and leaves out the newest scrape.
func (r *records) settle() {
	for k, rec := range r.by {
		n := r.g.nodes[k.node]
		if n == nil {
			continue
		}
		rec.near = rec.near.merged()
		for c := range counters {
			rec.held[c] = rec.held[c].merged()
			ss := rec.series[c]
			if c <= cFailFast && len(rec.near) > 0 {
				// Where every scrape was read, a coarse sample adds nothing but echoes.
				ss = slices.DeleteFunc(ss, func(s sample) bool { return s.coarse && rec.near.cover(s.t, s.t) })
			}
			rec.series[c] = inOrder(ss, n.usable())
		}
		slices.Sort(rec.bad)
		rec.bad = slices.Compact(rec.bad)
	}
}

// inOrder sorts samples by time, each time once: a raw one before a coarse one,
// which is the same scrape seen from afar. Nearly always they are in order.
func inOrder(ss []sample, usable int64) []sample {
	order := func(a, b sample) int {
		switch {
		case a.t != b.t:
			return cmp.Compare(a.t, b.t)
		case a.coarse == b.coarse:
			return 0
		case a.coarse:
			return 1
		}
		return -1
	}
	if !slices.IsSortedFunc(ss, order) {
		slices.SortStableFunc(ss, order)
	}
	for len(ss) > 0 && ss[len(ss)-1].t > usable {
		ss = ss[:len(ss)-1]
	}
	return slices.CompactFunc(ss, func(a, b sample) bool { return a.t == b.t })
}

// resetsOf are the known resets of a circuit.
func (g *gatherer) resetsOf(k key) []int64 {
	var out []int64
	for _, x := range g.req.Resets {
		if x.Tenant == k.tenant && x.Provider == k.provider && (x.Node == "" || x.Node == k.node) {
			out = append(out, x.At.UnixMilli())
		}
	}
	slices.Sort(out)
	return out
}

// cursor walks along the samples of some counters in order of time and knows their
// values. A counter that is absent, and appears later in the same epoch, stood at 0:
// that is how a first open is seen at all.
type cursor struct {
	rec      *record
	restarts []int64
	at       [counters]int
	last     [counters]float64
	epoch    int
}

// to moves to a time; times ascend.
func (u *cursor) to(t int64, from, upto counter) {
	for u.epoch < len(u.restarts) && u.restarts[u.epoch] <= t {
		r := u.restarts[u.epoch]
		u.epoch++
		u.last = [counters]float64{} // a restart takes every counter to 0
		for c := from; c <= upto; c++ {
			ss := u.rec.series[c]
			for u.at[c] < len(ss) && ss[u.at[c]].t < r {
				u.at[c]++
			}
			if i := u.at[c]; u.rec.stoodFrom(c, i, r) {
				u.last[c] = ss[i].v // and it had reached the same again by the first scrape
			}
		}
	}
	for c := from; c <= upto; c++ {
		ss := u.rec.series[c]
		for u.at[c] < len(ss) && ss[u.at[c]].t <= t {
			u.last[c] = ss[u.at[c]].v
			u.at[c]++
		}
	}
}

// stoodFrom reports whether a counter stood, from at least the instant t to its sample
// at index i, at every scrape.
func (rec *record) stoodFrom(c counter, i int, t int64) bool {
	return i > 0 && i < len(rec.series[c]) && rec.held[c].cover(t, rec.series[c][i].t)
}

// outcomes are a circuit's outcome counters at every time at which one was read.
func (r *records) outcomes(rec *record, n *node) []evidence.Outcome {
	var times []int64
	for c := cSuccess; c <= cFailFast; c++ {
		for _, s := range rec.series[c] {
			times = append(times, s.t)
		}
	}
	times = without(times, n.vague, rec.bad, rec.unknown)
	u := cursor{rec: rec, restarts: n.restarts}
	out := make([]evidence.Outcome, 0, len(times))
	for _, t := range times {
		u.to(t, cSuccess, cFailFast)
		out = append(out, evidence.Outcome{T: t, Epoch: u.epoch, Success: u.last[cSuccess], Failure: u.last[cFailure], FailFast: u.last[cFailFast]})
	}
	return out
}

// transitions are a circuit's transition counters where they matter: at the first
// and the last scrape of the node, on both sides of every restart, and on both sides
// of every change with the scrape after it. In between nothing changed.
func (r *records) transitions(rec *record, n *node) []evidence.Transition {
	if len(n.scrapes) < 2 {
		return nil
	}
	first, last := n.scrapes[0], n.usable()
	times := []int64{first, last}
	for _, t := range n.restarts {
		times = append(times, n.upto(t-1), t)
	}
	for c := cCO; c <= cWF; c++ {
		for i, s := range rec.series[c] {
			switch {
			case i == 0 && s.t > first, i > 0 && r.restartBetween(n, rec.series[c][i-1].t, s.t) && !rec.stoodFrom(c, i, rec.series[c][i-1].t):
				times = append(times, n.upto(s.t-1), s.t) // appeared: it stood at 0 before
			case i > 0 && s.v != rec.series[c][i-1].v:
				times = append(times, rec.series[c][i-1].t, s.t)
			default:
				continue
			}
			if after := n.after(s.t); after <= last {
				times = append(times, after)
			}
		}
	}
	times = without(times, n.vague, rec.bad)
	u := cursor{rec: rec, restarts: n.restarts}
	out := make([]evidence.Transition, 0, len(times))
	for _, t := range times {
		if t < first || t > last {
			continue
		}
		u.to(t, cCO, cWF)
		out = append(out, evidence.Transition{T: t, Epoch: u.epoch, CO: u.last[cCO], OH: u.last[cOH], HO: u.last[cHO], HC: u.last[cHC],
			WindowRequests: u.last[cWR], WindowFailures: u.last[cWF]})
	}
	return out
}

func (r *records) restartBetween(n *node, a, b int64) bool {
	i := sort.Search(len(n.restarts), func(i int) bool { return n.restarts[i] > a })
	return i < len(n.restarts) && n.restarts[i] <= b
}

// without sorts times, each once, and drops those of which half is not known, and
// those on either side of a restart that nothing dates: no point there, not a carried
// value.
func without(times []int64, vague spans, lists ...[]int64) []int64 {
	slices.Sort(times)
	return slices.DeleteFunc(slices.Compact(times), func(t int64) bool {
		for _, l := range lists {
			if _, in := slices.BinarySearch(l, t); in {
				return true
			}
		}
		return slices.ContainsFunc(vague, func(v span) bool { return v.from < t && t < v.to })
	})
}

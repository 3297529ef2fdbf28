package gather

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// restarts finds, per node, the first scrape after each restart: a counter fell, or
// a series was absent at a scrape of its node, since every counter of a node vanishes
// only by a restart. Where the samples only bound it, what was read between the
// bounds belongs to neither side, and is a gap.
func (r *records) restarts() {
	found := r.findRestarts()
	for name, n := range r.g.nodes {
		for _, x := range found[name] {
			n.restarts = sorted(append(n.restarts, x.to))
			if n.between(x.from, x.to) > 0 {
				n.vague = append(n.vague, x)
				r.g.gap(instant(x.from), instant(x.to), name, "a restart, to be dated no better")
			}
		}
	}
	for _, k := range r.keys() {
		if rec, n := r.by[k], r.g.nodes[k.node]; n != nil {
			r.finishEndings(k, rec, n)
			for c := range counters {
				r.dropEchoes(rec, c, n.restarts)
			}
		}
	}
}

// findRestarts bounds the restarts that are not known yet: each after one instant, at
// or before another, which is a scrape.
func (r *records) findRestarts() map[string][]span {
	exact, late := map[string][]span{}, map[string][]span{}
	for _, k := range r.keys() {
		rec, n := r.by[k], r.g.nodes[k.node]
		if n == nil {
			continue
		}
		for c := range counters {
			e, l := r.breaks(rec, n, c)
			exact[k.node] = append(exact[k.node], e...)
			late[k.node] = append(late[k.node], l...)
		}
	}
	out := map[string][]span{}
	for name, n := range r.g.nodes {
		known := slices.Clone(n.restarts)
		byEnd := func(a, b span) int { return cmp.Or(cmp.Compare(a.to, b.to), -cmp.Compare(a.from, b.from)) }
		slices.SortFunc(exact[name], byEnd)
		for _, s := range exact[name] {
			if !slices.Contains(known, s.to) {
				known = sorted(append(known, s.to))
				out[name] = append(out[name], s)
			}
		}
		slices.SortFunc(late[name], byEnd)
		for _, s := range late[name] {
			if !within(known, s.from, s.to) {
				known = sorted(append(known, s.to))
				out[name] = append(out[name], s)
			}
		}
	}
	return out
}

// breaks finds where one counter says that its node restarted: exactly, or after one
// instant and at or before another.
func (r *records) breaks(rec *record, n *node, c counter) (exact, late []span) {
	ss := rec.series[c]
	transition := c >= cCO && c <= cHC // read at every scrape, or known to have stood
	for i := range ss {
		a, b := ss[i], sample{t: n.usable() + 1, v: math.Inf(1)} // it may never have come back
		if i+1 < len(ss) {
			b = ss[i+1]
		}
		var gone int64
		seen := false
		if c <= cFailFast {
			gone, seen = r.goneAt(rec, n, a.t, b.t)
		}
		switch {
		case transition && r.absent(rec, n, c, a.t, b.t):
			exact = append(exact, span{a.t, n.after(a.t)})
		case c <= cFailFast && seen && !a.coarse && n.between(a.t, gone) == 0:
			exact = append(exact, span{a.t, gone})
		case c <= cFailFast && seen:
			late = append(late, span{r.since(a), gone})
		case b.v >= a.v:
		case !a.coarse && !b.coarse && n.between(a.t, b.t) == 0:
			exact = append(exact, span{a.t, b.t})
		default:
			late = append(late, span{r.since(a), b.t})
		}
	}
	return exact, late
}

// goneAt is the first scrape between two samples of an outcome counter at which the
// series was found to be gone: where every scrape was read, the next one without a
// sample; elsewhere a step without one, with a scrape of the node shortly before.
func (r *records) goneAt(rec *record, n *node, a, b int64) (int64, bool) {
	first := int64(math.MaxInt64)
	slack := (r.g.ev.Interval / 2).Milliseconds()
	if b-a <= 3*slack {
		return 0, false // the next scrape
	}
	for i := rec.near.ending(a); i < len(rec.near) && rec.near[i].from < b && first == math.MaxInt64; i++ {
		near := rec.near[i]
		if s := n.after(max(a+slack, near.from-1)); s > a && s >= near.from && s <= near.to && s < b-slack && !rec.isBad(s) {
			first = s
		}
	}
	if step := r.step.Milliseconds(); step > 0 && b-a > step {
		for t := r.stepFrom(a + lookback.Milliseconds() + 1); t < min(b, first); t += step {
			// A scrape that failed in between would have marked the series stale.
			if s := n.upto(t); s > a && s >= t-r.g.ev.Interval.Milliseconds() && !rec.isBad(s) {
				first = min(first, s)
				break
			}
		}
	}
	return first, first < math.MaxInt64
}

func (rec *record) isBad(t int64) bool {
	_, bad := slices.BinarySearch(rec.bad, t)
	return bad
}

// since is when a sample was stored at the earliest: a coarse reading shows the last
// one of up to five minutes before its step.
func (r *records) since(s sample) int64 {
	if !s.coarse || r.step <= 0 {
		return s.t
	}
	return min(s.t, r.stepFrom(s.t)-lookback.Milliseconds())
}

func sorted(ts []int64) []int64 {
	slices.Sort(ts)
	return slices.Compact(ts)
}

// within reports whether one of the ascending times lies in (from, to].
func within(ts []int64, from, to int64) bool {
	i := sort.Search(len(ts), func(i int) bool { return ts[i] > from })
	return i < len(ts) && ts[i] <= to
}

// absent: strictly between the samples a and b of a series, with half an interval of
// slack, there was a scrape of the node that succeeded, at which the series was not
// there. A scrape with a value that is not a number was there.
func (r *records) absent(rec *record, n *node, c counter, a, b int64) bool {
	slack := (r.g.ev.Interval / 2).Milliseconds()
	if b-a <= 3*slack {
		return false // the next scrape
	}
	if rec.held[c].cover(a, b) {
		return false
	}
	for _, e := range rec.ends {
		if e.c == c && e.from < b && a < e.to {
			return false // it ended in a stretch that was not read; others date that
		}
	}
	missing := n.between(a+slack, b-slack)
	if missing > 0 && len(rec.bad) > 0 {
		i, _ := slices.BinarySearch(rec.bad, a+slack+1)
		j, _ := slices.BinarySearch(rec.bad, b-slack)
		missing -= j - i
	}
	return missing > 0
}

// finishEndings gives a series that a restart ended in a stretch that was not read
// its last sample: the scrape before the first restart there.
func (r *records) finishEndings(k key, rec *record, n *node) {
	for _, e := range rec.ends {
		i := sort.Search(len(n.restarts), func(i int) bool { return n.restarts[i] > e.from })
		if i == len(n.restarts) || n.restarts[i] > e.to {
			// It vanished, and no restart of its node explains it.
			r.g.gap(instant(e.from), instant(e.to), k.node, "a transition series of "+k.provider+" vanished without a restart")
			continue
		}
		if last := n.upto(n.restarts[i] - 1); last > e.from {
			rec.series[e.c] = inOrder(append(rec.series[e.c], sample{t: last, v: e.v}), n.usable())
		}
	}
}

// dropEchoes drops what a restart left behind: for five minutes a coarse reading
// repeats the last value of a series that is gone and was not marked stale. A value
// at least as high as before the restart, so soon after it, is taken for one: what
// the counter really was then is not known.
func (r *records) dropEchoes(rec *record, c counter, restarts []int64) {
	ss := rec.series[c]
	if len(restarts) == 0 {
		return
	}
	rec.series[c] = slices.DeleteFunc(slices.Clone(ss), func(s sample) bool {
		i := sort.Search(len(restarts), func(i int) bool { return restarts[i] > s.t }) - 1
		if i < 0 || restarts[i] <= r.since(s) {
			return false
		}
		before := sort.Search(len(ss), func(k int) bool { return ss[k].t >= restarts[i] }) - 1
		if before >= 0 && s.v < ss[before].v {
			return false
		}
		rec.unknown = append(rec.unknown, s.t)
		return true
	})
	slices.Sort(rec.unknown)
}

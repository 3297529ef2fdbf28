package gather

import (
	"slices"
	"sort"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// points builds the record of one circuit: a point for every time at which
// outcomes were read, and for every scrape at or beside which a transition was
// counted. A series that is absent at a scrape of its node, and appears later in
// the same epoch, stood at 0 there: that is how a first open is seen at all.
func (r *records) points(k key, rec *record, restarts []time.Time) []evidence.Point {
	times := map[int64]bool{}
	for t := range rec.outcomeTimes {
		times[t] = true
	}
	marks := r.transitionTimes(k, rec, restarts)
	for t := range marks {
		times[t] = true
	}
	for _, t := range r.bad[k] {
		delete(times, t.UnixMilli()) // half of that scrape is not known: no point, not a carried value
	}
	sorted := make([]int64, 0, len(times))
	for t := range times {
		sorted = append(sorted, t)
	}
	slices.Sort(sorted)
	var at [counters]int // next unread sample of each counter
	var last [counters]float64
	epoch := 0
	pts := make([]evidence.Point, 0, len(sorted))
	for _, ms := range sorted {
		t := time.UnixMilli(ms).UTC()
		for epoch < len(restarts) && !restarts[epoch].After(t) {
			epoch++
			last = [counters]float64{} // a restart takes every counter to 0
			for c := range counters {
				for at[c] < len(rec.series[c]) && rec.series[c][at[c]].t.Before(restarts[epoch-1]) {
					at[c]++
				}
			}
		}
		for c := range counters {
			for at[c] < len(rec.series[c]) && !rec.series[c][at[c]].t.After(t) {
				last[c] = rec.series[c][at[c]].v
				at[c]++
			}
		}
		p := evidence.Point{T: t, Epoch: epoch, HasOutcomes: rec.outcomeTimes[ms], HasTransitions: marks[ms],
			Success: last[cSuccess], Failure: last[cFailure], FailFast: last[cFailFast],
			CO: last[cCO], OH: last[cOH], HO: last[cHO], HC: last[cHC],
			WindowRequests: last[cWR], WindowFailures: last[cWF]}
		pts = append(pts, p)
	}
	return pts
}

// transitionTimes are the scrapes at which the transition counters matter: the
// first and the last of the node, both sides of every restart, and every scrape
// at which one moved or appeared with the scrapes beside it. Between them nothing
// changed, so nothing is lost by leaving the others out.
func (r *records) transitionTimes(k key, rec *record, restarts []time.Time) map[int64]bool {
	marks := map[int64]bool{}
	scrapes := r.g.scrapes[k.node]
	latest := r.g.latest()
	for len(scrapes) > 0 && scrapes[len(scrapes)-1].After(latest) {
		scrapes = scrapes[:len(scrapes)-1]
	}
	if len(scrapes) == 0 {
		for t := range rec.transTimes { // no `up`: the samples themselves are the scrapes
			marks[t] = true
		}
		return marks
	}
	mark := func(i int) {
		if i >= 0 && i < len(scrapes) {
			marks[scrapes[i].UnixMilli()] = true
		}
	}
	index := func(t time.Time) int {
		return sort.Search(len(scrapes), func(i int) bool { return !scrapes[i].Before(t) })
	}
	mark(0)
	mark(len(scrapes) - 1)
	for _, t := range restarts {
		i := index(t)
		mark(i - 1)
		mark(i)
	}
	for c := cCO; c <= cWF; c++ {
		for i, s := range rec.series[c] {
			if i > 0 && s.v == rec.series[c][i-1].v {
				continue
			}
			j := index(s.t)
			mark(j - 1)
			mark(j)
			mark(j + 1)
		}
	}
	return marks
}

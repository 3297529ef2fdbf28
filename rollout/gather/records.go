package gather

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// counter is one of the cumulative counters of a point.
type counter int

const (
	cSuccess counter = iota
	cFailure
	cFailFast
	cCO
	cOH
	cHO
	cHC
	cWR
	cWF
	counters
)

// key is a circuit of a node.
type key struct{ node, tenant, provider string }

// sample is a counter's value at a time.
type sample struct {
	t time.Time
	v float64
}

// record is all that was read of one circuit.
type record struct {
	// series holds each counter's samples, ascending; coarse ones and raw ones
	// together, since a counter only grows.
	series [counters][]sample
	// outcomeTimes are the times at which outcomes were asked for and answered.
	outcomeTimes map[int64]bool
	transTimes   map[int64]bool
}

type records struct {
	g             *gatherer
	by            map[key]*record
	names         map[string]bool
	documented    bool
	anyTransition bool
	// bad are scrapes with a NaN or an infinity in a counter.
	bad map[key][]time.Time
}

func (g *gatherer) newRecords() *records {
	return &records{g: g, by: map[key]*record{}, names: map[string]bool{}, bad: map[key][]time.Time{}}
}

// which maps a series to its counter.
func (r *records) which(l map[string]string) (counter, bool) {
	switch l["__name__"] {
	case events:
		c, ok := map[string]counter{"success": cSuccess, "failure": cFailure, "fail_fast": cFailFast}[l["event_type"]]
		return c, ok
	case transitions:
		if _, ok := l["from"]; !ok {
			r.documented = r.documented || l["state"] != ""
			return 0, false
		}
		r.anyTransition = true
		c, ok := map[string]counter{"closed>open": cCO, "open>half_open": cOH, "half_open>open": cHO, "half_open>closed": cHC}[l["from"]+">"+l["to"]]
		return c, ok
	case breakerPrefix + "window_requests_total":
		return cWR, true
	case breakerPrefix + "window_failures_total":
		return cWF, true
	}
	return 0, false
}

func (r *records) add(series []promquery.Series, trans bool) {
	latest := r.g.latest()
	for _, s := range series {
		r.names[s.Labels["__name__"]] = true
		c, ok := r.which(s.Labels)
		if !ok {
			continue
		}
		k := key{nodeOf(s.Labels), s.Labels["tenant_id"], s.Labels["provider_id"]}
		rec := r.by[k]
		if rec == nil {
			rec = &record{outcomeTimes: map[int64]bool{}, transTimes: map[int64]bool{}}
			r.by[k] = rec
		}
		for _, x := range s.Samples {
			t := time.UnixMilli(x.T).UTC()
			if t.After(latest) {
				continue // the newest scrape may be half written
			}
			if !finite(x.V) {
				r.bad[k] = append(r.bad[k], t)
				continue
			}
			rec.series[c] = append(rec.series[c], sample{t, x.V})
			if trans {
				rec.transTimes[t.UnixMilli()] = true
			} else {
				rec.outcomeTimes[t.UnixMilli()] = true
			}
		}
	}
}

// changes are the times at which a transition counter moved or appeared.
func (r *records) changes() []time.Time {
	var out []time.Time
	for k, rec := range r.by {
		first := r.g.firstScrape(k.node)
		for c := cCO; c <= cHC; c++ {
			for i, s := range rec.series[c] {
				if i == 0 && s.t.After(first) && s.v > 0 || i > 0 && s.v != rec.series[c][i-1].v {
					out = append(out, s.t)
				}
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

func (g *gatherer) firstScrape(node string) time.Time {
	if s := g.scrapes[node]; len(s) > 0 {
		return s[0]
	}
	return g.from
}

func (r *records) present() []string {
	names := []string{}
	for n := range r.names {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// circuits turns what was read into points. documented says that transitions
// carry a state label instead of from and to.
func (r *records) circuits() (cs []evidence.Circuit, documented bool) {
	restarts := r.restarts()
	for k, rec := range r.by {
		c := evidence.Circuit{Node: k.node, Tenant: k.tenant, Provider: k.provider, Points: r.points(k, rec, restarts[k.node])}
		if len(c.Points) > 0 {
			cs = append(cs, c)
		}
		for _, t := range r.bad[k] {
			step := max(r.g.ev.Interval, time.Second)
			r.g.ev.Gaps = append(r.g.ev.Gaps, evidence.Gap{Interval: evidence.Interval{From: t.Add(-step), To: t.Add(step)},
				Node: k.node, Reason: "a counter of " + k.provider + " was not a number"})
		}
	}
	slices.SortFunc(cs, func(a, b evidence.Circuit) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Node, b.Node))
	})
	slices.SortFunc(r.g.ev.Gaps, func(a, b evidence.Gap) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Reason, b.Reason))
	})
	for i := range r.g.ev.Nodes {
		n := &r.g.ev.Nodes[i]
		n.Restarts = unionTimes(n.Restarts, restarts[n.Name])
	}
	return cs, r.documented && !r.anyTransition
}

// restarts finds, per node, the first scrape after each restart: a counter fell,
// or a series of transitions was absent at scrapes: every counter of a node
// vanishes only by a restart. Transitions are read at every scrape and date a
// restart exactly; outcomes are read in coarse steps and only add what those missed.
func (r *records) restarts() map[string][]time.Time {
	exact, late := map[string][]time.Time{}, map[string][]time.Time{}
	latest := r.g.latest()
	for k, rec := range r.by {
		for c := range counters {
			slices.SortFunc(rec.series[c], func(a, b sample) int { return a.t.Compare(b.t) })
			rec.series[c] = slices.CompactFunc(rec.series[c], func(a, b sample) bool { return a.t.Equal(b.t) })
			ss := rec.series[c]
			for i := 1; i < len(ss); i++ {
				switch {
				case c >= cCO && r.absent(k, ss[i-1].t, ss[i].t):
					exact[k.node] = append(exact[k.node], r.g.nextScrape(k.node, ss[i-1].t))
				case ss[i].v < ss[i-1].v && c >= cCO:
					exact[k.node] = append(exact[k.node], ss[i].t)
				case ss[i].v < ss[i-1].v:
					late[k.node] = append(late[k.node], ss[i].t)
				}
			}
			// A series that never came back ended with a restart too.
			if n := len(ss); c >= cCO && n > 0 && r.absent(k, ss[n-1].t, latest.Add(time.Millisecond)) {
				exact[k.node] = append(exact[k.node], r.g.nextScrape(k.node, ss[n-1].t))
			}
		}
	}
	out := map[string][]time.Time{}
	for n, ts := range exact {
		slices.SortFunc(ts, time.Time.Compare)
		out[n] = slices.CompactFunc(ts, time.Time.Equal)
	}
	for n, ts := range late {
		slices.SortFunc(ts, time.Time.Compare)
		for _, t := range ts {
			known := slices.ContainsFunc(out[n], func(x time.Time) bool { d := t.Sub(x); return d >= 0 && d <= 2*coarse+r.g.ev.Interval })
			if !known {
				out[n] = unionTimes(out[n], []time.Time{t})
			}
		}
	}
	for k, rec := range r.by {
		for c := range counters {
			rec.series[c] = withoutEchoes(rec.series[c], out[k.node])
		}
	}
	return out
}

// absent: strictly between a and b there were at least two successful scrapes of
// the node at which the circuit's counters were not there at all. A scrape with a
// value that is not a number was there.
func (r *records) absent(k key, a, b time.Time) bool {
	n := r.g.scrapesBetween(k.node, a, b)
	for _, t := range r.bad[k] {
		if t.After(a) && t.Before(b) {
			n--
		}
	}
	return n >= 2
}

// withoutEchoes drops what a restart left behind: for five minutes a range query
// repeats the last value of a series that is gone, unless it was marked stale.
func withoutEchoes(ss []sample, restarts []time.Time) []sample {
	for i := 1; i < len(ss); i++ {
		if ss[i].v >= ss[i-1].v {
			continue
		}
		for _, r := range restarts {
			if d := ss[i].t.Sub(r); d < 0 || d > 3*coarse {
				continue
			}
			j := i
			for j > 0 && !ss[j-1].t.Before(r) {
				j--
			}
			ss = slices.Delete(ss, j, i)
			i = j
		}
	}
	return ss
}

func unionTimes(a, b []time.Time) []time.Time {
	a = append(a, b...)
	slices.SortFunc(a, time.Time.Compare)
	return slices.CompactFunc(a, time.Time.Equal)
}

// scrapesBetween counts the successful scrapes strictly between a and b.
func (g *gatherer) scrapesBetween(node string, a, b time.Time) int {
	s := g.scrapes[node]
	i := sort.Search(len(s), func(i int) bool { return s[i].After(a) })
	j := sort.Search(len(s), func(i int) bool { return !s[i].Before(b) })
	return j - i
}

func (g *gatherer) nextScrape(node string, t time.Time) time.Time {
	s := g.scrapes[node]
	if i := sort.Search(len(s), func(i int) bool { return s[i].After(t) }); i < len(s) {
		return s[i]
	}
	return t
}

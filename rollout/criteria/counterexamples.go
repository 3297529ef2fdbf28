package criteria

import (
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// common are the counterexamples of every criterion that reads metrics: no
// evidence must never pass.
func common(t *evidence.Tenant, p Params) []Counterexample {
	last := t.Since.Add(time.Duration(p.MinDays)*24*time.Hour - 2*time.Hour)
	return []Counterexample{
		{"no series at all", func(ev *evidence.Evidence, k int) { ev.Tenants[k].Circuits = nil }},
		{"scrapes that end too early", func(ev *evidence.Evidence, _ int) {
			for i := range ev.Nodes {
				ev.Nodes[i].Scrapes = slices.DeleteFunc(ev.Nodes[i].Scrapes, func(t time.Time) bool { return t.After(last) })
			}
		}},
		{"answers that were partial throughout", func(ev *evidence.Evidence, k int) {
			ev.Gaps = append(ev.Gaps, evidence.Gap{
				Interval: evidence.Interval{From: ev.Tenants[k].Since, To: ev.At}, Reason: "planted"})
		}},
		{"a breaker that is not enabled", func(ev *evidence.Evidence, k int) { ev.Tenants[k].Config.Enabled = false }},
	}
}

// quietMoment finds a scrape in the middle of a measured hour of the bake in
// which the circuit is closed and nothing happens on any circuit of the tenant
// within an hour, so that an open planted there has no failing provider behind
// it by construction.
func quietMoment(ev *evidence.Evidence, t *evidence.Tenant, circuit int) (time.Time, bool) {
	c := &t.Circuits[circuit]
	m := evidence.Coverage(ev.Nodes, ev.Gaps, t.Since, ev.At, ev.Interval)
	for _, h := range m.Measured {
		at := h.Add(30 * time.Minute)
		if at.Add(2*time.Hour).After(ev.At) || !calm(t, at) {
			continue
		}
		d := c.Delta(at.Add(-5*time.Minute), at.Add(5*time.Minute))
		before := c.Delta(t.Since, at)
		// Few failures around, traffic there, and the circuit is closed.
		if d.OK && before.OK && d.Failure < minFailures && before.Success > 0 && closedAt(c, at) {
			return at, true
		}
	}
	return time.Time{}, false
}

// calm: no transition on any circuit of the tenant within an hour of at.
func calm(t *evidence.Tenant, at time.Time) bool {
	for i := range t.Circuits {
		d := t.Circuits[i].Delta(at.Add(-time.Hour), at.Add(time.Hour))
		if d.CO+d.OH+d.HO+d.HC > 0 {
			return false
		}
	}
	return true
}

// closedAt: the totals at the last transition point up to at say closed.
func closedAt(c *evidence.Circuit, at time.Time) bool {
	closed := true
	for _, p := range c.Points {
		if p.T.After(at) {
			break
		}
		if p.HasTransitions {
			closed = p.CO-p.HC == 0
		}
	}
	return closed
}

// planted describes an open to be planted.
type planted struct {
	// close: half-open and closed again within the two scrapes that follow.
	close bool
	// wedge: half-open at once, then fail_fast for ever and no outcome.
	wedge bool
}

// plant writes an open into a circuit's record at the time at, exactly as the
// router's counters would have shown it, on one failure in an empty window.
func plant(ev *evidence.Evidence, c *evidence.Circuit, at time.Time, what planted) {
	step := ev.Interval
	if step <= 0 {
		step = time.Minute
	}
	opened, asked, done := at, at.Add(step), at.Add(2*step)
	insert(c, at.Add(-step), opened, asked, done)
	n := 0.0
	for i := range c.Points {
		p := &c.Points[i]
		if p.T.Before(opened) {
			continue
		}
		p.CO, p.Failure = p.CO+1, p.Failure+1
		p.WindowRequests, p.WindowFailures = p.WindowRequests+1, p.WindowFailures+1
		if p.T.Before(asked) || !what.close && !what.wedge {
			continue
		}
		p.OH++
		if what.close && !p.T.Before(done) {
			p.HC, p.Success = p.HC+1, p.Success+2
		}
	}
	if !what.wedge {
		return
	}
	// From here on the circuit only denies.
	cut := slices.IndexFunc(c.Points, func(p evidence.Point) bool { return p.T.After(asked) })
	if cut < 1 {
		return
	}
	last := c.Points[cut-1]
	c.Points = c.Points[:cut]
	for t := asked.Add(step); !t.After(ev.At); t = t.Add(step) {
		n++
		p := last
		p.T, p.FailFast = t, last.FailFast+n
		p.HasOutcomes, p.HasTransitions = true, true
		c.Points = append(c.Points, p)
	}
}

// insert makes sure that there are points with everything read at the given
// times (ascending), equal to the last point before each.
func insert(c *evidence.Circuit, times ...time.Time) {
	for _, t := range times {
		i := slices.IndexFunc(c.Points, func(p evidence.Point) bool { return !p.T.Before(t) })
		if i < 0 {
			i = len(c.Points)
		}
		if i < len(c.Points) && c.Points[i].T.Equal(t) {
			p := full(c.Points[:i+1])
			c.Points[i] = p
			continue
		}
		if i == 0 {
			continue // before anything is known: nothing to continue from
		}
		p := full(c.Points[:i])
		p.T = t
		c.Points = slices.Insert(c.Points, i, p)
	}
}

// full is the last point of pts with both kinds of counters carried forward
// within its epoch.
func full(pts []evidence.Point) evidence.Point {
	out := pts[len(pts)-1]
	for i := len(pts) - 1; i >= 0 && pts[i].Epoch == out.Epoch && (!out.HasOutcomes || !out.HasTransitions); i-- {
		p := pts[i]
		if !out.HasOutcomes && p.HasOutcomes {
			out.Success, out.Failure, out.FailFast = p.Success, p.Failure, p.FailFast
			out.HasOutcomes = true
		}
		if !out.HasTransitions && p.HasTransitions {
			out.CO, out.OH, out.HO, out.HC = p.CO, p.OH, p.HO, p.HC
			out.WindowRequests, out.WindowFailures = p.WindowRequests, p.WindowFailures
			out.HasTransitions = true
		}
	}
	return out
}

package evidence

import (
	"slices"
	"sort"
	"time"
)

// Clone is a deep copy.
func (e *Evidence) Clone() *Evidence {
	c := *e
	c.Tenants = slices.Clone(e.Tenants)
	for i := range c.Tenants {
		c.Tenants[i].Circuits = cloneCircuits(c.Tenants[i].Circuits)
	}
	c.Others = cloneCircuits(e.Others)
	c.Windows = slices.Clone(e.Windows)
	c.Nodes = slices.Clone(e.Nodes)
	for i := range c.Nodes {
		c.Nodes[i].Scrapes = slices.Clone(c.Nodes[i].Scrapes)
		c.Nodes[i].Restarts = slices.Clone(c.Nodes[i].Restarts)
	}
	c.Present = slices.Clone(e.Present)
	c.Queries = slices.Clone(e.Queries)
	c.Gaps = slices.Clone(e.Gaps)
	return &c
}

func cloneCircuits(cs []Circuit) []Circuit {
	cs = slices.Clone(cs)
	for i := range cs {
		cs[i].Points = slices.Clone(cs[i].Points)
	}
	return cs
}

// Counts is what was counted between two points.
type Counts struct {
	Success, Failure, FailFast     float64
	CO, OH, HO, HC                 float64
	WindowRequests, WindowFailures float64
	// OK says that outcomes were read on both ends; without it they are 0
	// because nothing is known.
	OK bool
}

// Delta counts from one instant to another: from the last point at or before
// `from` to the last one at or before `to`, separately for outcomes and for
// transitions. Where nothing was read at or before `from`, the first point after
// it is taken. A restart between adds what was counted before it, up to the last
// scrape of the old epoch, and what the new epoch counted from zero.
func (c *Circuit) Delta(from, to time.Time) Counts {
	var d Counts
	a, b, ok := c.bounds(from, to, func(p *Point) bool { return p.HasOutcomes })
	if ok {
		d.OK = b > a
		c.sum(a, b, func(p *Point) bool { return p.HasOutcomes }, func(p *Point, sign float64) {
			d.Success += sign * p.Success
			d.Failure += sign * p.Failure
			d.FailFast += sign * p.FailFast
		})
	}
	a, b, ok = c.bounds(from, to, func(p *Point) bool { return p.HasTransitions })
	if ok {
		c.sum(a, b, func(p *Point) bool { return p.HasTransitions }, func(p *Point, sign float64) {
			d.CO += sign * p.CO
			d.OH += sign * p.OH
			d.HO += sign * p.HO
			d.HC += sign * p.HC
			d.WindowRequests += sign * p.WindowRequests
			d.WindowFailures += sign * p.WindowFailures
		})
	}
	return d
}

// bounds finds the indices of the points that stand for from and to.
func (c *Circuit) bounds(from, to time.Time, has func(*Point) bool) (a, b int, ok bool) {
	upto := func(t time.Time) int {
		i := sort.Search(len(c.Points), func(i int) bool { return c.Points[i].T.After(t) }) - 1
		for i >= 0 && !has(&c.Points[i]) {
			i--
		}
		return i
	}
	b = upto(to)
	if b < 0 {
		return 0, 0, false
	}
	a = upto(from)
	if a < 0 {
		for a = 0; a <= b && !has(&c.Points[a]); a++ {
		}
	}
	return a, b, a <= b
}

// sum adds the growth from point a to point b over epochs.
func (c *Circuit) sum(a, b int, has func(*Point) bool, add func(*Point, float64)) {
	pa, pb := &c.Points[a], &c.Points[b]
	add(pa, -1)
	last := pa
	for i := a + 1; i <= b && pa.Epoch != pb.Epoch; i++ {
		p := &c.Points[i]
		if !has(p) {
			continue
		}
		if p.Epoch != last.Epoch {
			add(last, 1) // the old epoch ends at its last scrape; the new one starts at zero
		}
		last = p
	}
	add(pb, 1)
}

// Bin is what a circuit counted in an interval.
type Bin struct {
	Interval
	Success, Failure, FailFast float64
	// Span is the time between the points that were subtracted; a bin whose Span
	// is much longer than itself bridges a gap.
	Span time.Duration
}

// longBin is how far a long bin may reach beyond itself: two coarse steps.
const longBin = 10 * time.Minute

// Bins cuts [from, to] into bins of the given width. Bins for which no outcomes
// were read, or which bridge a gap, are left out: more than 2.5 widths of a short
// bin, more than ten minutes beyond a long one.
func (c *Circuit) Bins(from, to time.Time, width time.Duration) []Bin {
	var bins []Bin
	has := func(p *Point) bool { return p.HasOutcomes }
	for t := from; !t.Add(width).After(to); t = t.Add(width) {
		a, b, ok := c.bounds(t, t.Add(width), has)
		if !ok || b <= a {
			continue
		}
		span := c.Points[b].T.Sub(c.Points[a].T)
		if span > max(min(width*5/2, width+longBin), width) {
			continue
		}
		d := c.Delta(t, t.Add(width))
		bins = append(bins, Bin{Interval{t, t.Add(width)}, d.Success, d.Failure, d.FailFast, span})
	}
	return bins
}

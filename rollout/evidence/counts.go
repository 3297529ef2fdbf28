package evidence

import (
	"slices"
	"sort"
	"time"
)

// Counts is what was counted between two scrapes.
type Counts struct {
	Success, Failure, FailFast     float64
	CO, OH, HO, HC                 float64
	WindowRequests, WindowFailures float64
	// OK says that outcomes were read on both ends; without it they are 0
	// because nothing is known.
	OK bool
	// Restarts is how many restarts lie between the ends. What was counted from a
	// restart's last scrape to the restart itself is lost, so that the counts are
	// then too small by an unknown amount.
	Restarts int
}

// Outcomes is success and failure together; fail-fasts are not outcomes.
func (c Counts) Outcomes() float64 { return c.Success + c.Failure }

// Moved reports whether any transition was counted.
func (c Counts) Moved() bool { return c.CO+c.OH+c.HO+c.HC > 0 }

// Delta counts from one instant to another: from the last scrape at or before
// `from` to the last one at or before `to`, separately for outcomes and for
// transitions. Where nothing was read at or before `from`, the first scrape after
// it is taken. It is a lower bound of what happened between those two scrapes.
func (c *Circuit) Delta(from, to time.Time) Counts {
	a, b := from.UnixMilli(), to.UnixMilli()
	d := c.outcomes(max(c.outcomeUpto(a), 0), c.outcomeUpto(b))
	x := c.transitions(max(c.transitionUpto(a), 0), c.transitionUpto(b))
	d.CO, d.OH, d.HO, d.HC = x.CO, x.OH, x.HO, x.HC
	d.WindowRequests, d.WindowFailures = x.WindowRequests, x.WindowFailures
	d.Restarts = max(d.Restarts, x.Restarts)
	return d
}

// Between bounds what was counted from one instant to another. least is counted
// between the first scrape at or after `from` and the last at or before `to`,
// most between those outside. A bound that the scrapes do not give is not OK: no
// scrape on that side, or, for most, a restart between. A restart that no counter
// shows (every series of the node came back at least as high) cannot be seen.
func (c *Circuit) Between(from, to time.Time) (least, most Counts) {
	a, b := from.UnixMilli(), to.UnixMilli()
	least = c.outcomes(c.outcomeFrom(a), c.outcomeUpto(b))
	x := c.transitions(c.transitionFrom(a), c.transitionUpto(b))
	least.CO, least.OH, least.HO, least.HC = x.CO, x.OH, x.HO, x.HC
	least.WindowRequests, least.WindowFailures = x.WindowRequests, x.WindowFailures
	lo, hi := c.outcomeUpto(a), c.outcomeFrom(b)
	if lo >= 0 && hi < len(c.Outcomes) {
		most = c.outcomes(lo, hi)
	}
	if lo, hi := c.transitionUpto(a), c.transitionFrom(b); lo >= 0 && hi < len(c.Transitions) {
		x := c.transitions(lo, hi)
		most.CO, most.OH, most.HO, most.HC = x.CO, x.OH, x.HO, x.HC
		most.WindowRequests, most.WindowFailures = x.WindowRequests, x.WindowFailures
		most.Restarts = max(most.Restarts, x.Restarts)
	} else {
		most.OK = false
	}
	most.OK = most.OK && most.Restarts == 0
	return least, most
}

// outcomeUpto is the index of the last outcome at or before t, -1 if none.
func (c *Circuit) outcomeUpto(t int64) int {
	return sort.Search(len(c.Outcomes), func(i int) bool { return c.Outcomes[i].T > t }) - 1
}

// outcomeFrom is the index of the first outcome at or after t.
func (c *Circuit) outcomeFrom(t int64) int {
	return sort.Search(len(c.Outcomes), func(i int) bool { return c.Outcomes[i].T >= t })
}

func (c *Circuit) transitionUpto(t int64) int {
	return sort.Search(len(c.Transitions), func(i int) bool { return c.Transitions[i].T > t }) - 1
}

func (c *Circuit) transitionFrom(t int64) int {
	return sort.Search(len(c.Transitions), func(i int) bool { return c.Transitions[i].T >= t })
}

// outcomes counts from outcome a to outcome b. An epoch ends at its last scrape;
// the next one begins at zero.
func (c *Circuit) outcomes(a, b int) Counts {
	var d Counts
	if a < 0 || b <= a || b >= len(c.Outcomes) {
		return d
	}
	d.OK = true
	add := func(o *Outcome, sign float64) {
		d.Success += sign * o.Success
		d.Failure += sign * o.Failure
		d.FailFast += sign * o.FailFast
	}
	add(&c.Outcomes[a], -1)
	for i := a; c.Outcomes[i].Epoch != c.Outcomes[b].Epoch; {
		e := c.Outcomes[i].Epoch
		next := i + sort.Search(b-i, func(k int) bool { return c.Outcomes[i+k].Epoch > e })
		add(&c.Outcomes[next-1], 1)
		d.Restarts++
		i = next
	}
	add(&c.Outcomes[b], 1)
	return d
}

func (c *Circuit) transitions(a, b int) Counts {
	var d Counts
	if a < 0 || b <= a || b >= len(c.Transitions) {
		return d
	}
	add := func(x *Transition, sign float64) {
		d.CO += sign * x.CO
		d.OH += sign * x.OH
		d.HO += sign * x.HO
		d.HC += sign * x.HC
		d.WindowRequests += sign * x.WindowRequests
		d.WindowFailures += sign * x.WindowFailures
	}
	add(&c.Transitions[a], -1)
	for i := a; c.Transitions[i].Epoch != c.Transitions[b].Epoch; {
		e := c.Transitions[i].Epoch
		next := i + sort.Search(b-i, func(k int) bool { return c.Transitions[i+k].Epoch > e })
		add(&c.Transitions[next-1], 1)
		d.Restarts++
		i = next
	}
	add(&c.Transitions[b], 1)
	return d
}

// Bin is what a circuit counted in an interval.
type Bin struct {
	Interval
	Success, Failure, FailFast float64
	// Span is the time between the scrapes that were subtracted; a bin whose Span
	// is much longer than itself bridges a gap.
	Span time.Duration
	// Restarted: a restart lies in the bin, so that some of it is lost.
	Restarted bool
}

// longBin is how far a long bin may reach beyond itself: two coarse steps.
const longBin = 10 * time.Minute

// Bins cuts [from, to] into bins of the given width, or of the circuit's Step
// where that is wider. Bins for which no outcomes were read, or which bridge a gap,
// are left out: more than 2.5 widths of a short bin, more than ten minutes or two
// steps beyond a long one.
func (c *Circuit) Bins(from, to time.Time, width time.Duration) []Bin {
	width = max(width, c.Step)
	var bins []Bin
	limit := max(min(width*5/2, width+max(longBin, 2*c.Step)), width)
	for t := from; !t.Add(width).After(to); t = t.Add(width) {
		a, b := max(c.outcomeUpto(t.UnixMilli()), 0), c.outcomeUpto(t.Add(width).UnixMilli())
		d := c.outcomes(a, b)
		if !d.OK {
			continue
		}
		span := c.Outcomes[b].At().Sub(c.Outcomes[a].At())
		if span > limit {
			continue
		}
		bins = append(bins, Bin{Interval{t, t.Add(width)}, d.Success, d.Failure, d.FailFast, span, d.Restarts > 0})
	}
	return bins
}

// InsertOutcome makes sure that there is an outcome at t, equal to the last one
// before it, and returns its index; -1 where nothing is known before t.
func (c *Circuit) InsertOutcome(t int64) int {
	i := c.outcomeFrom(t)
	if i < len(c.Outcomes) && c.Outcomes[i].T == t {
		return i
	}
	if i == 0 {
		return -1
	}
	o := c.Outcomes[i-1]
	o.T = t
	c.Outcomes = slices.Insert(c.Outcomes, i, o)
	return i
}

// InsertTransition is InsertOutcome for transitions.
func (c *Circuit) InsertTransition(t int64) int {
	i := c.transitionFrom(t)
	if i < len(c.Transitions) && c.Transitions[i].T == t {
		return i
	}
	if i == 0 {
		return -1
	}
	x := c.Transitions[i-1]
	x.T = t
	c.Transitions = slices.Insert(c.Transitions, i, x)
	return i
}

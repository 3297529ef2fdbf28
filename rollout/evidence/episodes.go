package evidence

import (
	"math"
	"sort"
	"time"
)

// Episode is an open of a circuit and what followed, until it closed: closed →
// open to half_open → closed. Opening again from half-open is the same episode.
type Episode struct {
	Node, Tenant, Provider string
	// Opened bounds the open: after From (the last scrape before; zero if the
	// circuit was open when reading began), at or before To.
	Opened Interval
	// Closed bounds the close; nil if it was not seen.
	Closed *Interval
	// Ended bounds the restart or the reset that ended it; nil if none did. A reset
	// leaves no trace but the next open, so that its bounds are wide.
	Ended *Interval
	// Reopens counts half_open → open, which is also the number of failed probes;
	// Probed counts open → half_open. Where a scrape interval holds a close and
	// another open, what belongs to which cannot be told: both are then lower
	// bounds.
	Reopens, FailedProbes int
	Probed                int
	// Shadow: opened before the breaker was enabled, whatever the clocks say.
	Shadow bool
	// StillOpen: neither closed nor ended; HalfOpen: and half-open then.
	StillOpen, HalfOpen bool
	// Lost: ended by a restart of the node, which clears every circuit. Reset:
	// ended by a remote call, which emits no transition (ROUTER.md §2).
	Lost, Reset bool
}

// Until is when the episode was over at the latest, or at where it was not.
func (e *Episode) Until(at time.Time) time.Time {
	switch {
	case e.Closed != nil:
		return e.Closed.To
	case e.Ended != nil:
		return e.Ended.To
	}
	return at
}

// Surely is the stretch in which the circuit was not closed for certain: from the
// scrape that showed the open to the last one before it was over. It is empty
// (From not before To) where open and close fall into neighbouring scrapes.
func (e *Episode) Surely(at time.Time) Interval {
	i := Interval{From: e.Opened.To, To: at}
	switch {
	case e.Closed != nil:
		i.To = e.Closed.From
	case e.Ended != nil:
		i.To = e.Ended.From
	}
	return i
}

// Episodes returns the episodes of one of the tenant's circuits that were open at
// Since or opened later, up to `at`, in order of time. slack is how far the clocks
// may disagree about Since: only what opened before it by more is shadow.
func (t *Tenant) Episodes(c *Circuit, at time.Time, slack time.Duration) []Episode {
	eps := Episodes(c, t.Since, at)
	for i := range eps {
		eps[i].Shadow = !eps[i].Opened.To.Add(slack).After(t.Since)
	}
	return eps
}

// Episodes returns the episodes of a circuit that were open at `since` or opened
// later, up to `at`, in order of time. Several opens between two scrapes are
// several episodes: all but the last have closed there too.
func Episodes(c *Circuit, since, at time.Time) []Episode {
	w := walker{c: c, since: since}
	for i := range c.Transitions {
		x := &c.Transitions[i]
		if x.At().After(at) {
			break
		}
		w.step(x)
		w.prev = x
	}
	if w.cur != nil {
		w.cur.StillOpen = true
		w.finish(time.Time{})
	}
	return w.out
}

// walker goes along a circuit's transitions and knows the state that they leave.
type walker struct {
	c     *Circuit
	since time.Time
	prev  *Transition
	// open, half and closed are 0 or 1, and one of them is 1, as long as the
	// counters make sense.
	open, half, closed int
	resets             []int64
	cur                *Episode
	out                []Episode
}

func (w *walker) step(x *Transition) {
	if w.prev == nil {
		// What was counted before reading began gives the state only.
		w.closed, w.open, w.half = 1, 0, 0
		if open, _ := state(x); open {
			w.closed = 0
			if halfOpen(x) {
				w.half = 1
			} else {
				w.open = 1
			}
			w.begin(Interval{To: x.At()})
		}
		w.resets = w.c.Resets[sort.Search(len(w.c.Resets), func(i int) bool { return w.c.Resets[i] > x.T }):]
		w.mark()
		return
	}
	step := Interval{From: w.prev.At(), To: x.At()}
	var base Transition // zero: a new epoch starts with every counter at 0
	if w.prev.Epoch == x.Epoch {
		base = *w.prev
	} else {
		if w.cur != nil {
			w.cur.Lost, w.cur.Ended = true, &Interval{From: step.From, To: step.To}
			w.finish(step.To)
		}
		w.closed, w.open, w.half = 1, 0, 0
	}
	opens, closes := count(x.CO-base.CO), count(x.HC-base.HC)
	probed, reopened := count(x.OH-base.OH), count(x.HO-base.HO)
	w.open += opens + reopened - probed
	w.half += probed - reopened - closes
	w.closed += closes - opens
	known := w.knownReset(x.T)
	if opens > 0 && (w.cur != nil || opens > 1) {
		// More than one episode has a part in this step: what belongs to which
		// cannot be told.
		probed, reopened = 0, 0
	}
	if w.cur != nil {
		w.cur.Probed += probed
		w.cur.Reopens += reopened
		w.cur.FailedProbes = w.cur.Reopens
		switch {
		case closes > 0:
			w.close(step)
			closes--
		case opens > 0 || known:
			w.reset(step)
			known = false
		}
	}
	for ; opens > 0; opens-- {
		w.begin(step)
		w.cur.Probed, w.cur.Reopens, w.cur.FailedProbes = probed, reopened, reopened
		switch {
		case closes > 0:
			w.cur.Probed = max(w.cur.Probed, 1)
			w.close(step)
			closes--
		case opens > 1 || known:
			w.reset(step)
		}
	}
	w.mark()
}

// knownReset reports whether a reset up to t is known, each once.
func (w *walker) knownReset(t int64) bool {
	any := false
	for len(w.resets) > 0 && w.resets[0] <= t {
		w.resets, any = w.resets[1:], true
	}
	return any
}

// reset ends the current episode without a counted close: a reset by remote call
// emits no transition (ROUTER.md §2), it is known, or shows by the next open.
func (w *walker) reset(in Interval) {
	w.cur.Reset, w.cur.Ended = true, &Interval{From: w.cur.Opened.From, To: in.To}
	if w.half > 0 && (w.cur.HalfOpen || w.open == 0) {
		w.half--
	} else {
		w.open--
	}
	w.closed++
	w.finish(in.To)
}

// mark tells the current episode which state it is in.
func (w *walker) mark() {
	if w.cur != nil {
		w.cur.HalfOpen = w.half > 0
	}
}

func (w *walker) begin(i Interval) {
	w.cur = &Episode{Node: w.c.Node, Tenant: w.c.Tenant, Provider: w.c.Provider, Opened: i, Shadow: !i.To.After(w.since)}
}

func (w *walker) close(in Interval) {
	w.cur.Closed = &Interval{From: in.From, To: in.To}
	w.finish(in.To)
}

// finish keeps the current episode unless it was over at since.
func (w *walker) finish(over time.Time) {
	if w.cur.StillOpen || over.After(w.since) || !w.cur.Opened.To.Before(w.since) {
		w.out = append(w.out, *w.cur)
	}
	w.cur = nil
}

// state says from the totals whether the circuit is not closed, and whether the
// totals make sense: C = 1 − co + hc must be 0 or 1.
func state(x *Transition) (open, sane bool) {
	n := x.CO - x.HC
	return n >= 0.5, n > -0.5 && n < 1.5
}

func halfOpen(x *Transition) bool { return x.OH-x.HO-x.HC >= 0.5 }

func count(d float64) int { return int(math.Round(max(d, 0))) }

package evidence

import (
	"math"
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
	// Reopens counts half_open → open, which is also the number of failed probes.
	Reopens, FailedProbes int
	// Probed counts open → half_open.
	Probed int
	// Shadow: opened before the breaker was enabled.
	Shadow bool
	// StillOpen: not closed by the end; HalfOpen: and half-open then.
	StillOpen, HalfOpen bool
	// Lost: ended by a restart of the node, which clears every circuit.
	Lost bool
}

// Episodes returns the episodes of a circuit that were open at `since` or opened
// later, up to `at`, in order of time. Several opens between two scrapes are
// several episodes: all but the last have closed there too.
func Episodes(c *Circuit, since, at time.Time) []Episode {
	var out []Episode
	var cur *Episode
	var prev *Point
	finish := func(closed *Interval, lost bool) {
		if cur == nil {
			return
		}
		cur.Closed, cur.Lost = closed, lost
		if (closed == nil && !lost) || endOf(cur, closed, prev).After(since) || !cur.Opened.To.Before(since) {
			out = append(out, *cur)
		}
		cur = nil
	}
	begin := func(i Interval) {
		cur = &Episode{Node: c.Node, Tenant: c.Tenant, Provider: c.Provider, Opened: i, Shadow: !i.To.After(since)}
	}
	for i := range c.Points {
		p := &c.Points[i]
		if !p.HasTransitions || p.T.After(at) {
			continue
		}
		step := Interval{To: p.T}
		var base Point // zero: a new epoch starts with every counter at 0
		switch {
		case prev == nil && p.Epoch == 0:
			// What was counted before reading began gives the state only.
			if open, _ := state(p); open {
				begin(step)
				cur.HalfOpen = halfOpen(p)
			}
			prev = p
			continue
		case prev != nil && prev.Epoch == p.Epoch:
			base, step.From = *prev, prev.T
		case prev != nil:
			finish(nil, cur != nil)
			step.From = prev.T
		}
		opens, closes := count(p.CO-base.CO), count(p.HC-base.HC)
		probed, reopened := count(p.OH-base.OH), count(p.HO-base.HO)
		if cur != nil {
			cur.Probed, cur.Reopens = cur.Probed+probed, cur.Reopens+reopened
			cur.FailedProbes = cur.Reopens
			if closes > 0 {
				closed := step
				finish(&closed, false)
				closes--
			}
		}
		for ; opens > 0; opens-- {
			begin(step)
			if closes > 0 || opens > 1 {
				closed := step
				cur.Probed = 1
				finish(&closed, false)
				closes--
				continue
			}
			if open, _ := state(p); open {
				cur.Reopens, cur.FailedProbes, cur.Probed = reopened, reopened, probed
			}
		}
		if cur != nil {
			cur.HalfOpen = halfOpen(p)
		}
		prev = p
	}
	if cur != nil {
		cur.StillOpen = true
		finish(nil, false)
	}
	return out
}

func endOf(e *Episode, closed *Interval, prev *Point) time.Time {
	switch {
	case closed != nil:
		return closed.To
	case prev != nil:
		return prev.T
	}
	return e.Opened.To
}

// state says from the totals whether the circuit is not closed, and whether the
// totals make sense: C = 1 − co + hc must be 0 or 1.
func state(p *Point) (open, sane bool) {
	n := p.CO - p.HC
	return n >= 0.5, n > -0.5 && n < 1.5
}

func halfOpen(p *Point) bool { return p.OH-p.HO-p.HC >= 0.5 }

func count(d float64) int { return int(math.Round(max(d, 0))) }

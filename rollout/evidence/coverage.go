package evidence

import (
	"math"
	"slices"
	"sort"
	"time"
)

// Measured is how much of a bake was seen.
type Measured struct {
	// Hours is len(Measured).
	Hours int
	// Measured are the starts of the hours, counted from the bake's start, that
	// had 90 % of their expected scrapes on every node and no gap.
	Measured []time.Time
	// Gaps are the stretches of unmeasured hours, and why.
	Gaps []Gap
}

// measuredShare is the share of expected scrapes that makes an hour count.
const measuredShare = 0.9

// Coverage finds the measured hours of [since, at] (DESIGN.md §5, "Measured").
// The newest scrape is left out: its neighbours may not be written yet. Without
// nodes, or without a known interval, nothing is measured.
func Coverage(nodes []Node, gaps []Gap, since, at time.Time, interval time.Duration) Measured {
	var m Measured
	// A node that was retired before the bake owes it no scrapes.
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool {
		return len(n.Scrapes) > 0 && n.Scrapes[len(n.Scrapes)-1].Before(since)
	})
	if interval <= 0 || len(nodes) == 0 {
		if at.After(since) {
			m.Gaps = append(m.Gaps, Gap{Interval: Interval{since, at}, Reason: "no scrape of the router was found"})
		}
		return m
	}
	// An interval longer than an hour can never fill one.
	expected := math.Ceil(measuredShare*float64(time.Hour)/float64(interval) - 1e-9)
	miss := func(from, to time.Time, node, why string) {
		if n := len(m.Gaps) - 1; n >= 0 && m.Gaps[n].To.Equal(from) && m.Gaps[n].Reason == why && m.Gaps[n].Node == node {
			m.Gaps[n].To = to
			return
		}
		m.Gaps = append(m.Gaps, Gap{Interval: Interval{from, to}, Node: node, Reason: why})
	}
	for from := since; !from.Add(time.Hour).After(at); from = from.Add(time.Hour) {
		to := from.Add(time.Hour)
		if i := slices.IndexFunc(gaps, func(g Gap) bool { return g.From.Before(to) && g.To.After(from) }); i >= 0 {
			miss(from, to, gaps[i].Node, gaps[i].Reason)
			continue
		}
		if i := slices.IndexFunc(nodes, func(n Node) bool { return float64(scrapesIn(n, from, to)) < max(expected, 1) }); i >= 0 {
			miss(from, to, nodes[i].Name, "scrapes are missing")
			continue
		}
		m.Measured = append(m.Measured, from)
	}
	m.Hours = len(m.Measured)
	return m
}

// scrapesIn counts the scrapes in (from, to], without the newest of all.
func scrapesIn(n Node, from, to time.Time) int {
	usable := n.Scrapes
	if len(usable) > 0 {
		usable = usable[:len(usable)-1]
	}
	after := func(t time.Time) int {
		return sort.Search(len(usable), func(i int) bool { return usable[i].After(t) })
	}
	return after(to) - after(from)
}

// Block is 24 measured hours and the outcomes counted in them.
type Block struct {
	From, To time.Time
	Outcomes float64
}

// Blocks groups the measured hours into blocks of 24, however long that took,
// and counts the tenant's outcomes in them.
func (t *Tenant) Blocks(m Measured) []Block {
	var blocks []Block
	for i := 0; i+24 <= len(m.Measured); i += 24 {
		b := Block{From: m.Measured[i], To: m.Measured[i+23].Add(time.Hour)}
		for _, h := range m.Measured[i : i+24] {
			for j := range t.Circuits {
				for _, bin := range t.Circuits[j].Bins(h, h.Add(time.Hour), time.Hour) {
					b.Outcomes += bin.Success + bin.Failure
				}
			}
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// Contradiction is something the router cannot have done.
type Contradiction struct {
	At   time.Time
	Text string
}

// Contradictions holds a circuit's counters of the bake against each other
// (JUDGING.md, "Are the metrics accurate?"), with one scrape of slack: each
// finding must stand at two consecutive points.
func Contradictions(c *Circuit, cfg Config, since time.Time, interval time.Duration) []Contradiction {
	var out []Contradiction
	bad := 0
	var prev, last *Point // any earlier point; the last with outcomes
	quietClosed := 0
	for i := range c.Points {
		p := &c.Points[i]
		if p.T.Before(since) || !p.HasTransitions {
			continue
		}
		ok := sane(p)
		if !ok {
			bad++
		} else {
			bad = 0
		}
		if bad == 2 {
			out = append(out, Contradiction{p.T, "the transitions do not chain: the totals give no single state"})
		}
		if prev != nil && prev.Epoch == p.Epoch && p.CO > prev.CO && !windowGrows(c, i, prev.WindowRequests) {
			out = append(out, Contradiction{p.T, "a closed to open transition without growth of window_requests_total"})
		}
		prev = p
	}
	for i := range c.Points {
		p := &c.Points[i]
		if p.T.Before(since) || !p.HasOutcomes {
			continue
		}
		if last != nil && last.Epoch == p.Epoch {
			if p.FailFast > last.FailFast && closedAround(c, last.T.Add(-interval), p.T.Add(interval)) {
				if quietClosed++; quietClosed == 1 {
					out = append(out, Contradiction{p.T, "fail_fast was counted while the transitions say closed"})
				}
			}
			span := p.T.Sub(last.T)
			f, s := p.Failure-last.Failure, p.Success-last.Success
			if interval > 0 && span <= interval*3/2 && cfg.FailureThreshold > 0 &&
				f > float64(cfg.FailureThreshold-1)*(s+1) && f > float64(cfg.FailureThreshold) &&
				closedAround(c, last.T.Add(-interval), p.T.Add(interval)) {
				out = append(out, Contradiction{p.T, "more failures in a closed scrape than this config can leave closed, and no open"})
			}
		}
		last = p
	}
	return out
}

// windowGrows: window_requests_total grew at point i or at the transition point
// after it, since a scrape may fall between the two emissions. A deployment that
// exports no window totals at all contradicts nothing.
func windowGrows(c *Circuit, i int, before float64) bool {
	slack := 1
	for j := i; j < len(c.Points) && slack >= 0; j++ {
		p := &c.Points[j]
		if !p.HasTransitions {
			continue
		}
		if p.Epoch != c.Points[i].Epoch || p.WindowRequests > before {
			return true
		}
		slack--
	}
	last := c.Points[len(c.Points)-1]
	return last.WindowRequests == 0 && before == 0 || slack >= 0
}

// sane: exactly one of C, O, H is 1 and each is 0 or 1.
func sane(p *Point) bool {
	o, h := p.CO+p.HO-p.OH, p.OH-p.HO-p.HC
	cl := 1 - p.CO + p.HC
	one := func(x float64) bool { return x > -0.5 && x < 1.5 }
	return one(o) && one(h) && one(cl) && math.Abs(o+h+cl-1) < 0.5
}

// closedAround: the circuit was closed at from, and no transition was counted
// until to, both within transition points that surround the interval.
func closedAround(c *Circuit, from, to time.Time) bool {
	d := c.Delta(from, to)
	if d.CO+d.OH+d.HO+d.HC > 0 {
		return false
	}
	i := sort.Search(len(c.Points), func(i int) bool { return c.Points[i].T.After(to) }) - 1
	for ; i >= 0; i-- {
		if p := &c.Points[i]; p.HasTransitions {
			open, ok := state(p)
			return ok && !open
		}
	}
	return true // no transition series at all: closed since the start
}

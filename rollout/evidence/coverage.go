package evidence

import (
	"math"
	"slices"
	"sort"
	"strings"
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

// Coverage finds the measured hours of [since, At] (DESIGN.md §5, "Measured"). The
// newest scrape is left out: its neighbours may not be written yet. Without nodes,
// or without a known interval, nothing is measured.
func (e *Evidence) Coverage(since time.Time) Measured {
	var m Measured
	at, interval := e.At, e.Interval
	if interval <= 0 || len(e.Nodes) == 0 {
		if at.After(since) {
			m.Gaps = append(m.Gaps, Gap{Interval: Interval{since, at}, Reason: "no scrape of the router was found"})
		}
		return m
	}
	owed := make([]Interval, len(e.Nodes))
	for i := range e.Nodes {
		owed[i] = e.owes(i, since)
	}
	// An interval longer than an hour can never fill one.
	expected := max(math.Ceil(measuredShare*float64(time.Hour)/float64(interval)-1e-9), 1)
	miss := func(from, to time.Time, node, why string) {
		if n := len(m.Gaps) - 1; n >= 0 && m.Gaps[n].To.Equal(from) && m.Gaps[n].Reason == why && m.Gaps[n].Node == node {
			m.Gaps[n].To = to
			return
		}
		m.Gaps = append(m.Gaps, Gap{Interval: Interval{from, to}, Node: node, Reason: why})
	}
	for from := since; !from.Add(time.Hour).After(at); from = from.Add(time.Hour) {
		to := from.Add(time.Hour)
		if i := slices.IndexFunc(e.Gaps, func(g Gap) bool { return g.From.Before(to) && g.To.After(from) }); i >= 0 {
			miss(from, to, e.Gaps[i].Node, e.Gaps[i].Reason)
			continue
		}
		seen, lacking := 0, -1
		for i := range e.Nodes {
			n := float64(scrapesIn(e.Nodes[i], from, to))
			whole := !owed[i].From.After(from) && !owed[i].To.Before(to)
			switch {
			case n >= expected:
				seen++
			case whole || n > 0 && !e.partOf(owed[i], from, to, n, expected):
				lacking = i
			}
		}
		switch {
		case lacking >= 0:
			miss(from, to, e.Nodes[lacking].Name, "scrapes are missing")
		case seen == 0:
			miss(from, to, "", "no node of the router was scraped")
		default:
			m.Measured = append(m.Measured, from)
		}
	}
	m.Hours = len(m.Measured)
	return m
}

// partOf reports whether n scrapes are enough for the part of an hour in which a
// node that came or went was there.
func (e *Evidence) partOf(owed Interval, from, to time.Time, n, expected float64) bool {
	if owed.From.After(from) {
		from = owed.From
	}
	if owed.To.Before(to) {
		to = owed.To
	}
	return n+2 >= expected*to.Sub(from).Hours()
}

// successor is how soon after a node has gone another of its job must have come
// for the one to have been replaced: a deployment that rolls.
const successor = 30 * time.Minute

// owes is the time in which a node owes scrapes. One that is no longer a target
// owes them all the same, unless it left before the bake, or with another in its
// place: that nobody looks at it any more is no evidence that it is gone.
func (e *Evidence) owes(i int, since time.Time) Interval {
	n := &e.Nodes[i]
	o := Interval{From: Instant(n.First), To: Instant(n.Last)}
	if n.Older || n.First == 0 {
		o.From = time.Time{}
	}
	if n.Last == 0 {
		o.To = e.At
		return o
	}
	if e.Elastic || o.To.Before(since) {
		return o
	}
	for j := range e.Nodes {
		d := Instant(e.Nodes[j].First).Sub(o.To)
		if j != i && e.Nodes[j].First > n.First && jobOf(e.Nodes[j].Name) == jobOf(n.Name) && d.Abs() <= successor {
			return o
		}
	}
	o.To = e.At
	return o
}

func jobOf(node string) string {
	job, _, _ := strings.Cut(node, "/")
	return job
}

// scrapesIn counts the scrapes in (from, to], without the newest of all.
func scrapesIn(n Node, from, to time.Time) int {
	usable := n.Scrapes
	if len(usable) > 0 {
		usable = usable[:len(usable)-1]
	}
	after := func(t time.Time) int {
		return sort.Search(len(usable), func(i int) bool { return usable[i] > t.UnixMilli() })
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

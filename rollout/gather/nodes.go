package gather

import (
	"context"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// node is a scraped router process as it is being found out about.
type node struct {
	name string
	// scrapes succeeded; targeted are all, the failed ones included.
	scrapes     []int64
	first, last int64
	restarts    []int64
	// vague are restarts that the scrapes do not date.
	vague []span
	older bool
}

// usable is up to when a node's scrapes are complete: its newest scrape is left
// out, since its series may not all be written yet.
func (n *node) usable() int64 {
	if len(n.scrapes) < 2 {
		return 0
	}
	return n.scrapes[len(n.scrapes)-2]
}

// between counts the scrapes that succeeded strictly between a and b.
func (n *node) between(a, b int64) int {
	i := sort.Search(len(n.scrapes), func(i int) bool { return n.scrapes[i] > a })
	j := sort.Search(len(n.scrapes), func(i int) bool { return n.scrapes[i] >= b })
	return max(j-i, 0)
}

// upto is the last scrape at or before t, or t itself where none is known.
func (n *node) upto(t int64) int64 {
	if i := sort.Search(len(n.scrapes), func(i int) bool { return n.scrapes[i] > t }); i > 0 {
		return n.scrapes[i-1]
	}
	return t
}

// after is the first scrape after t, or t itself where none is known.
func (n *node) after(t int64) int64 {
	if i := sort.Search(len(n.scrapes), func(i int) bool { return n.scrapes[i] > t }); i < len(n.scrapes) {
		return n.scrapes[i]
	}
	return t
}

// nodes are the router's, by name.
type nodes map[string]*node

func (ns nodes) evidence() []evidence.Node {
	out := []evidence.Node{}
	for _, n := range ns {
		out = append(out, evidence.Node{Name: n.name, Scrapes: n.scrapes, First: n.first, Last: n.last, Older: n.older,
			Restarts: append([]int64{}, n.restarts...)})
	}
	slices.SortFunc(out, func(a, b evidence.Node) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// readScrapes finds when each node that showed outcomes was scraped, and which
// targets are one router scraped twice.
func (g *gatherer) readScrapes(ctx context.Context, r *records) error {
	g.nodes = nodes{}
	for k := range r.by {
		if g.nodes[k.node] == nil {
			g.nodes[k.node] = &node{name: k.node}
		}
	}
	if len(g.nodes) == 0 {
		return nil
	}
	visit := func(s promquery.Series) error {
		n := g.nodes[g.d.Node(s.Labels)]
		if n == nil {
			return nil
		}
		for _, x := range s.Samples {
			if n.first == 0 || x.T < n.first {
				n.first = x.T
			}
			n.last = max(n.last, x.T)
			if x.V == 1 {
				n.scrapes = append(n.scrapes, x.T)
			}
		}
		return nil
	}
	if up := g.d.UpMatch(r.labelSets()); up != nil {
		q := promquery.Query{Name: "scrapes", Select: up, From: g.from, To: g.req.At}
		if err := g.read(ctx, g.src.Raw, q, visit); err != nil {
			return err
		}
	}
	for _, n := range g.nodes {
		n.scrapes = sorted(n.scrapes) // two targets may share job and instance
	}
	if err := g.scrapesElsewhere(ctx, r); err != nil {
		return err
	}
	if err := g.scrapesWithoutUp(ctx, r); err != nil {
		return err
	}
	for _, n := range g.nodes {
		n.scrapes = sorted(n.scrapes)
	}
	g.ev.Interval = interval(g.nodes)
	g.dropDoubles(r) // while samples still stand at the common steps
	g.mapToScrapes(r)
	g.findOlder(r)
	return nil
}

// scrapesElsewhere forgets the scrapes of nodes whose series are not stored at them:
// a recording rule makes such series, at times of its own.
func (g *gatherer) scrapesElsewhere(ctx context.Context, r *records) error {
	off := map[string]bool{}
	q := promquery.Query{Name: "stored at scrapes", Select: g.d.Match("events_total", g.whose()), SplitBy: "tenant_id", From: g.req.At, To: g.req.At,
		Wrap: func(s string) string { return "timestamp(" + s + ")" }}
	err := g.read(ctx, g.src.Instant, q, func(s promquery.Series) error {
		n := g.nodes[g.d.Node(s.Labels)]
		for _, x := range s.Samples {
			if n != nil && n.first != 0 && n.upto(int64(math.Round(x.V*1000))+1) < int64(math.Round(x.V*1000))-1 {
				off[n.name] = true
			}
		}
		return nil
	})
	for name := range off {
		n := g.nodes[name]
		n.scrapes, n.first, n.last = nil, 0, 0
	}
	return err
}

// scrapesWithoutUp takes the samples of a node's own series for its scrapes where
// the server has no up series for it: a sample is proof of a scrape, its absence
// is none. Such a node owes scrapes for all of the bake.
func (g *gatherer) scrapesWithoutUp(ctx context.Context, r *records) error {
	missing := map[string]bool{}
	for name, n := range g.nodes {
		if len(n.scrapes) == 0 && n.first == 0 {
			missing[name] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	// One circuit of each node suffices, the busiest: it is there at every scrape.
	busy := map[string]key{}
	for k := range r.by {
		if b, ok := busy[k.node]; missing[k.node] && (!ok || r.volume(k) > r.volume(b) || r.volume(k) == r.volume(b) && k.less(b)) {
			busy[k.node] = k
		}
	}
	var tenants, providers []string
	for _, k := range busy {
		tenants, providers = append(tenants, k.tenant), append(providers, k.provider)
	}
	q := promquery.Query{Name: "scrapes, without up", SplitBy: "tenant_id", From: g.from, To: g.req.At,
		Select: g.d.Match("events_total", promquery.Match{Label: "tenant_id", Values: unique(tenants)},
			promquery.Match{Label: "provider_id", Values: unique(providers)})}
	return g.read(ctx, g.src.Raw, q, func(s promquery.Series) error {
		if n := g.nodes[g.d.Node(s.Labels)]; n != nil && missing[n.name] {
			for _, x := range s.Samples {
				n.scrapes = append(n.scrapes, x.T)
			}
		}
		return nil
	})
}

// interval is the median distance of scrapes.
func interval(ns nodes) time.Duration {
	var ds []int64
	for _, n := range ns {
		for i := 1; i < len(n.scrapes); i++ {
			ds = append(ds, n.scrapes[i]-n.scrapes[i-1])
		}
	}
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return (time.Duration(ds[len(ds)/2]) * time.Millisecond).Round(time.Second)
}

// findOlder marks nodes that were seen first in the middle of what was read with
// counters that one step cannot explain: they had been running before, unseen.
func (g *gatherer) findOlder(r *records) {
	high, grown := map[string]float64{}, map[string]float64{}
	for k, rec := range r.by {
		n := g.nodes[k.node]
		if n == nil || instant(n.first).Before(g.from.Add(3*margin)) {
			continue
		}
		for c := cSuccess; c <= cFailure; c++ {
			if ss := rec.series[c]; len(ss) > 0 && ss[0].t-n.first <= r.step.Milliseconds()+lookback.Milliseconds() {
				high[k.node] += ss[0].v
				if len(ss) > 1 {
					grown[k.node] += max(ss[1].v-ss[0].v, 0)
				}
			}
		}
	}
	for name, h := range high {
		if h > 50 && h > 5*max(grown[name], 1) {
			g.nodes[name].older = true
		}
	}
}

// instant is the time of ms milliseconds since the Unix epoch.
func instant(ms int64) time.Time { return evidence.Instant(ms) }

func unique(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

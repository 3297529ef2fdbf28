package gather

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// stretch is a time that is read at every scrape, for some circuits.
type stretch struct {
	from, to int64
	keys     map[key]bool
}

// readNear reads outcomes at every scrape around what changed, and at the end:
// whether something is open now, and asked now. Circuits that change all the time are
// few, or all: they are read throughout by a question of their own, so that what is
// read around an outage of everybody stays short.
func (g *gatherer) readNear(ctx context.Context, r *records) error {
	r.settle()
	end := g.latest()
	if end == 0 {
		return nil
	}
	for k, times := range r.changes() {
		for _, t := range times {
			g.readAround(r.by[k], t-near.Milliseconds(), t+near.Milliseconds())
		}
	}
	g.nearRestarts(r)
	always := stretch{from: g.from.UnixMilli(), to: g.req.At.UnixMilli(), keys: map[key]bool{}}
	var all []stretch
	for k, rec := range r.by {
		g.readAround(rec, end-near.Milliseconds(), g.req.At.UnixMilli())
		rec.near = rec.near.merged()
		if len(rec.near) > g.req.Limits.Windows/2 {
			always.keys[k] = true
			continue
		}
		for _, s := range rec.near {
			all = append(all, stretch{s.from, s.to, map[key]bool{k: true}})
		}
	}
	around := func(k key) func(int64) bool {
		rec := r.by[k]
		if rec == nil {
			return nil
		}
		return func(t int64) bool { return rec.near.cover(t, t) }
	}
	for _, s := range append(g.merge(all), always) {
		if len(s.keys) == 0 {
			continue
		}
		q := promquery.Query{Name: "outcomes, near", SplitBy: "tenant_id", From: instant(s.from), To: instant(s.to),
			Select: g.d.Match("events_total", promquery.Match{Label: "tenant_id", Values: tenantsOf(s.keys)},
				promquery.Match{Label: "provider_id", Values: providersOf(s.keys)})}
		if err := g.read(ctx, g.src.Raw, q, r.visit(false, around)); err != nil {
			return err
		}
	}
	return nil
}

// readAround marks a stretch in which a circuit is to be read at every scrape.
func (g *gatherer) readAround(rec *record, from, to int64) {
	if from, to = max(from, g.from.UnixMilli()), min(to, g.req.At.UnixMilli()); from < to {
		rec.near = append(rec.near, span{from, to})
	}
}

// witnesses is how many circuits of a node are read at every scrape to date a restart.
const witnesses = 3

// nearRestarts marks what must be read to date restarts that the coarse reading only
// bounds, for the busiest circuits of the node: the sooner one is used after a restart,
// the sooner it shows.
func (g *gatherer) nearRestarts(r *records) {
	busy := map[string][]key{}
	for _, k := range r.keys() {
		busy[k.node] = append(busy[k.node], k)
	}
	for _, ks := range busy {
		slices.SortStableFunc(ks, func(a, b key) int { return -cmp.Compare(r.volume(a), r.volume(b)) })
	}
	for name, spans := range r.findRestarts() {
		n := g.nodes[name]
		for _, x := range spans {
			if n.between(x.from, x.to) == 0 {
				continue
			}
			for _, k := range busy[name][:min(witnesses, len(busy[name]))] {
				g.readAround(r.by[k], x.from, n.after(x.to))
			}
		}
	}
}

func (g *gatherer) stretch(from, to int64, keys ...key) stretch {
	s := stretch{max(from, g.from.UnixMilli()), min(to, g.req.At.UnixMilli()), map[key]bool{}}
	for _, k := range keys {
		s.keys[k] = true
	}
	return s
}

// merge joins what overlaps, and then what lies nearest, until no more stretches are
// left than may be read.
func (g *gatherer) merge(all []stretch) []stretch {
	all = slices.DeleteFunc(all, func(s stretch) bool { return s.from >= s.to }) // before or after what is read
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
	join := func(apart int64) {
		out := all[:0]
		for _, s := range all {
			if n := len(out) - 1; n >= 0 && s.from-out[n].to <= apart {
				out[n].to = max(out[n].to, s.to)
				for k := range s.keys {
					out[n].keys[k] = true
				}
				continue
			}
			out = append(out, s)
		}
		all = out
	}
	join(near.Milliseconds())
	if n := g.req.Limits.Windows; len(all) > n {
		apart := make([]int64, 0, len(all))
		for i := 1; i < len(all); i++ {
			apart = append(apart, all[i].from-all[i-1].to)
		}
		slices.Sort(apart)
		join(apart[len(all)-n-1]) // closing the nearest gaps first reads the least in vain
	}
	return all
}

// latest is the last scrape that counts, over all nodes.
func (g *gatherer) latest() int64 {
	t := int64(0)
	for _, n := range g.nodes {
		t = max(t, n.usable())
	}
	return t
}

// changes are the times at which each circuit's transitions moved or appeared.
func (r *records) changes() map[key][]int64 {
	out := map[key][]int64{}
	for k, rec := range r.by {
		n := r.g.nodes[k.node]
		if n == nil || len(n.scrapes) == 0 {
			continue
		}
		for c := cCO; c <= cHC; c++ {
			for i, s := range rec.series[c] {
				appeared := i == 0 && s.t > n.scrapes[0] && s.v > 0
				if appeared || i > 0 && (s.v != rec.series[c][i-1].v || r.absent(rec, n, c, rec.series[c][i-1].t, s.t)) {
					out[k] = append(out[k], s.t)
				}
			}
		}
		out[k] = sorted(out[k])
	}
	return out
}

// controls chooses which tenants that are not judged are read: all of them, or
// those with the most outcomes where they are too many. It returns nil for all.
func (g *gatherer) controls(ctx context.Context, providers []string) (tenants []string, err error) {
	others := g.d.Match("events_total", promquery.Match{Label: "event_type", Values: []string{"success", "failure"}},
		promquery.Match{Label: "provider_id", Values: providers}, promquery.Match{Label: "tenant_id", Not: true, Values: g.judged})
	by := g.d.Label("tenant_id")
	q := promquery.Query{Name: "others, count", Select: others, From: g.req.At, To: g.req.At,
		Wrap: func(s string) string { return "count(count by (" + by + ") (" + s + "))" }}
	err = g.read(ctx, g.src.Instant, q, func(s promquery.Series) error {
		for _, x := range s.Samples {
			g.ev.OtherTenants = int(x.V)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	q.Name = "others, chosen"
	q.Wrap = func(s string) string {
		return fmt.Sprintf("topk(%d, sum by (%s) (%s))", g.req.Limits.Others, by, s)
	}
	err = g.read(ctx, g.src.Instant, q, func(s promquery.Series) error {
		tenants = append(tenants, g.d.Canonical(s.Labels)["tenant_id"])
		return nil
	})
	return unique(tenants), err
}

// readOthers reads the providers of the judged tenants as others saw them: hourly
// over all of the time, and at every scrape around the episodes.
func (g *gatherer) readOthers(ctx context.Context) error {
	var all []stretch
	var providers []string
	for i := range g.ev.Tenants {
		t := &g.ev.Tenants[i]
		for j := range t.Circuits {
			c := &t.Circuits[j]
			providers = append(providers, c.Provider)
			for _, ep := range t.Episodes(c, g.req.At, g.req.Skew.Slack()) {
				all = append(all, g.around(ep)...)
			}
		}
	}
	if len(providers) == 0 {
		return nil
	}
	providers = unique(providers)
	tenants, err := g.controls(ctx, providers)
	if err != nil || len(tenants) == 0 {
		return err
	}
	r := g.newRecords()
	r.step = time.Hour
	match := func(providers []string) []promquery.Match {
		return g.d.Match("events_total", promquery.Match{Label: "event_type", Values: []string{"success", "failure"}},
			promquery.Match{Label: "provider_id", Values: providers}, promquery.Match{Label: "tenant_id", Values: tenants})
	}
	q := promquery.Query{Name: "others", Select: match(providers), SplitBy: "tenant_id",
		From: g.firstStep(time.Hour), To: g.req.At, Step: time.Hour}
	if err := g.read(ctx, g.src.Range, q, r.visit(true, keepAll)); err != nil {
		return err
	}
	g.mapToScrapes(r)
	for _, s := range g.merge(all) {
		q := promquery.Query{Name: "others, near", Select: match(providersOf(s.keys)), SplitBy: "tenant_id", From: instant(s.from), To: instant(s.to)}
		if err := g.read(ctx, g.src.Raw, q, r.visit(false, keepAll)); err != nil {
			return err
		}
		g.ev.Windows = append(g.ev.Windows, evidence.Interval{From: q.From, To: q.To})
	}
	g.ev.Others = append(g.ev.Others, r.circuits()...)
	g.ev.Nodes = g.nodes.evidence()
	return nil
}

// around is where others are read at every scrape: the whole episode, up to a bound,
// and its end. When the provider was back is asked of others too.
func (g *gatherer) around(ep evidence.Episode) []stretch {
	k := key{node: ep.Node, tenant: ep.Tenant, provider: ep.Provider}
	opened, until := ep.Opened.To, ep.Until(g.req.At)
	first := opened.Add(min(longest, until.Sub(opened)))
	return []stretch{
		g.stretch(opened.Add(-near).UnixMilli(), first.Add(near).UnixMilli(), k),
		g.stretch(until.Add(-near).UnixMilli(), until.Add(near).UnixMilli(), k),
	}
}

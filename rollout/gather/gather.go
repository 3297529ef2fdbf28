// Package gather asks Prometheus and turns the answers into evidence. It decides
// nothing: what is missing becomes a gap or an absent circuit, never a zero that
// nobody counted. How Prometheus is reached is promquery's; what follows from the
// evidence is rollout/evidence's and rollout/criteria's.
package gather

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// Source answers queries; *promquery.Client is one.
type Source interface {
	Raw(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error)
	Range(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error)
}

// TenantRequest is one tenant to be judged.
type TenantRequest struct {
	ID     string
	Since  time.Time
	Config evidence.Config
}

// Request says what is to be judged.
type Request struct {
	Tenants []TenantRequest
	At      time.Time
	// Baseline is the length of the time before Since that stands for "before".
	Baseline time.Duration
	// Progress is told what is being read; may be nil.
	Progress func(string)
}

const (
	breakerPrefix  = "router_circuit_breaker_"
	events         = breakerPrefix + "events_total"
	transitions    = breakerPrefix + "state_transitions_total"
	windowRequests = breakerPrefix + "window_requests_total"
	windowFailures = breakerPrefix + "window_failures_total"

	// coarse is the step of outcomes away from transitions; near is how far raw
	// samples are read around one.
	coarse = 5 * time.Minute
	near   = 20 * time.Minute
	// longest bounds how much of one episode is read of other tenants.
	longest = 6 * time.Hour
	// margin is read before the baseline, so that its first bin has a start.
	margin = 10 * time.Minute
)

// gatherer is one run of Gather.
type gatherer struct {
	src Source
	req Request
	ev  *evidence.Evidence
	// from is where reading begins: the earliest baseline.
	from time.Time
	// nodes by name, with the scrapes as milliseconds for look-up.
	scrapes map[string][]time.Time
}

// Gather reads all that the criteria may look at. The number of queries does not
// depend on the number of tenants. An error means that there is no answer at all.
func Gather(ctx context.Context, src Source, req Request) (*evidence.Evidence, error) {
	g := &gatherer{src: src, req: req, scrapes: map[string][]time.Time{}, ev: &evidence.Evidence{
		At: req.At.UTC(), Tenants: []evidence.Tenant{}, Others: []evidence.Circuit{}, Windows: []evidence.Interval{},
		Nodes: []evidence.Node{}, Present: []string{}, Queries: []evidence.Query{}, Gaps: []evidence.Gap{},
	}}
	for i, t := range req.Tenants {
		if b := t.Since.Add(-req.Baseline); i == 0 || b.Before(g.from) {
			g.from = b
		}
	}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"scrapes", g.readScrapes}, {"circuits", g.readCircuits}, {"other tenants", g.readOthers},
	} {
		g.progress("reading %s", step.name)
		if err := step.run(ctx); err != nil {
			return nil, fmt.Errorf("reading %s: %w", step.name, err)
		}
	}
	return g.ev, nil
}

func (g *gatherer) progress(format string, args ...any) {
	if g.req.Progress != nil {
		g.req.Progress(fmt.Sprintf(format, args...))
	}
}

// raw asks for raw samples and keeps the books: the query, its size, and a gap
// for every warning, since a warned answer may be partial.
func (g *gatherer) raw(ctx context.Context, name string, sel []promquery.Match, from, to time.Time) ([]promquery.Series, error) {
	var out []promquery.Series
	a, err := g.src.Raw(ctx, promquery.Query{Name: name, Select: sel, From: from, To: to, SplitBy: "tenant_id"}, collect(&out))
	return g.keep(name, a, out, err)
}

func (g *gatherer) ranged(ctx context.Context, name string, sel []promquery.Match, wrap func(string) string, from, to time.Time, step time.Duration) ([]promquery.Series, error) {
	var out []promquery.Series
	a, err := g.src.Range(ctx, promquery.Query{Name: name, Select: sel, Wrap: wrap, From: from, To: to, Step: step}, collect(&out))
	return g.keep(name, a, out, err)
}

// collect keeps whole series: what a visit is given is valid only during the call.
func collect(to *[]promquery.Series) promquery.Visit {
	by := map[string]int{}
	return func(s promquery.Series) error {
		var key strings.Builder
		for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
			fmt.Fprintf(&key, "%q%q", k, s.Labels[k])
		}
		i, ok := by[key.String()]
		if !ok {
			i = len(*to)
			by[key.String()] = i
			*to = append(*to, promquery.Series{Labels: maps.Clone(s.Labels)})
		}
		(*to)[i].Samples = append((*to)[i].Samples, s.Samples...)
		return nil
	}
}

func is(label string, values ...string) promquery.Match {
	return promquery.Match{Label: label, Values: values}
}

func (g *gatherer) keep(name string, a promquery.Answer, out []promquery.Series, err error) ([]promquery.Series, error) {
	if err != nil {
		return nil, err
	}
	g.ev.Queries = append(g.ev.Queries, evidence.Query{Name: name, Expr: a.Expr, From: a.From, To: a.To, Step: a.Step,
		Series: a.Series, Samples: a.Samples, Bytes: a.Bytes, Server: a.Server, Warnings: append([]string{}, a.Warnings...)})
	for _, w := range a.Warned {
		g.ev.Gaps = append(g.ev.Gaps, evidence.Gap{Interval: evidence.Interval{From: w.From, To: w.To}, Reason: "the server warned: " + w.Text})
	}
	return out, nil
}

func nodeOf(labels map[string]string) string { return labels["job"] + "/" + labels["instance"] }

// readScrapes finds the router's nodes and when each was scraped.
func (g *gatherer) readScrapes(ctx context.Context) error {
	found, err := g.ranged(ctx, "nodes", []promquery.Match{is("__name__", events)},
		func(s string) string { return "count by (job, instance) (" + s + ")" }, align(g.from, coarse), g.req.At, coarse)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	var jobs, instances []string
	for _, s := range found {
		jobs = append(jobs, s.Labels["job"])
		instances = append(instances, s.Labels["instance"])
	}
	up, err := g.raw(ctx, "up", []promquery.Match{is("__name__", "up"), is("job", unique(jobs)...), is("instance", unique(instances)...)},
		g.from.Add(-margin), g.req.At)
	if err != nil {
		return err
	}
	for _, s := range up {
		name := nodeOf(s.Labels)
		for _, x := range s.Samples {
			if x.V == 1 {
				g.scrapes[name] = append(g.scrapes[name], time.UnixMilli(x.T).UTC())
			}
		}
	}
	if err := g.scrapesWithoutUp(ctx, found); err != nil {
		return err
	}
	for _, s := range found {
		name := nodeOf(s.Labels)
		times := g.scrapes[name]
		slices.SortFunc(times, time.Time.Compare)
		times = slices.CompactFunc(times, time.Time.Equal) // two targets may share job and instance
		g.scrapes[name] = times
		if !slices.ContainsFunc(g.ev.Nodes, func(n evidence.Node) bool { return n.Name == name }) {
			g.ev.Nodes = append(g.ev.Nodes, evidence.Node{Name: name, Scrapes: times, Restarts: []time.Time{}})
		}
	}
	slices.SortFunc(g.ev.Nodes, func(a, b evidence.Node) int { return cmp.Compare(a.Name, b.Name) })
	g.ev.Interval = interval(g.ev.Nodes)
	return nil
}

// scrapesWithoutUp takes the samples of a node's own series for its scrapes where
// the server has no up series for it: a sample is proof of a scrape, its absence
// is none.
func (g *gatherer) scrapesWithoutUp(ctx context.Context, found []promquery.Series) error {
	missing := map[string]bool{}
	for _, s := range found {
		if name := nodeOf(s.Labels); len(g.scrapes[name]) == 0 {
			missing[name] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var ids []string
	for _, t := range g.req.Tenants {
		ids = append(ids, t.ID)
	}
	series, err := g.raw(ctx, "scrapes, without up", []promquery.Match{is("__name__", events), is("tenant_id", unique(ids)...)},
		g.from.Add(-margin), g.req.At)
	if err != nil {
		return err
	}
	for _, s := range series {
		if name := nodeOf(s.Labels); missing[name] {
			for _, x := range s.Samples {
				g.scrapes[name] = append(g.scrapes[name], time.UnixMilli(x.T).UTC())
			}
		}
	}
	return nil
}

// interval is the median distance of scrapes.
func interval(nodes []evidence.Node) time.Duration {
	var ds []time.Duration
	for _, n := range nodes {
		for i := 1; i < len(n.Scrapes); i++ {
			ds = append(ds, n.Scrapes[i].Sub(n.Scrapes[i-1]))
		}
	}
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[len(ds)/2].Round(time.Second)
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// readCircuits reads the judged tenants: transitions at every scrape, outcomes in
// coarse steps, and raw around what changed.
func (g *gatherer) readCircuits(ctx context.Context) error {
	if len(g.req.Tenants) == 0 {
		return nil
	}
	var ids []string
	for _, t := range g.req.Tenants {
		ids = append(ids, t.ID)
	}
	who := is("tenant_id", unique(slices.Clone(ids))...)
	from, at := g.from.Add(-margin), g.req.At
	recs := g.newRecords()
	for _, q := range []struct {
		name     string
		selector []promquery.Match
	}{
		{"transitions", []promquery.Match{is("__name__", transitions), who}},
		{"windows", []promquery.Match{is("__name__", windowRequests, windowFailures), who}},
	} {
		series, err := g.raw(ctx, q.name, q.selector, from, at)
		if err != nil {
			return err
		}
		recs.add(series, true)
	}
	outcomes := []promquery.Match{is("__name__", events), who}
	series, err := g.ranged(ctx, "outcomes", outcomes, nil, align(from, coarse), at, coarse)
	if err != nil {
		return err
	}
	recs.add(series, false)
	for _, w := range around(recs.changes(), from, at, g.latest()) {
		series, err := g.raw(ctx, "outcomes, near", outcomes, w.From, w.To)
		if err != nil {
			return err
		}
		recs.add(series, false)
	}
	circuits, documented := recs.circuits()
	if documented {
		g.ev.Dialect = "documented"
	} else if recs.anyTransition {
		g.ev.Dialect = "emitted"
	}
	g.ev.Present = recs.present()
	for _, t := range g.req.Tenants {
		et := evidence.Tenant{ID: t.ID, Since: t.Since.UTC(), Config: t.Config, Circuits: []evidence.Circuit{},
			Baseline: evidence.Interval{From: t.Since.Add(-g.req.Baseline).UTC(), To: t.Since.UTC()}}
		for _, c := range circuits {
			if c.Tenant == t.ID {
				et.Circuits = append(et.Circuits, c)
			}
		}
		g.ev.Tenants = append(g.ev.Tenants, et)
	}
	slices.SortFunc(g.ev.Tenants, func(a, b evidence.Tenant) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// latest is the last scrape but one: the newest is left out, since its series may
// not all be written yet.
func (g *gatherer) latest() time.Time {
	var t time.Time
	for _, n := range g.ev.Nodes {
		if k := len(n.Scrapes); k >= 2 && n.Scrapes[k-2].After(t) {
			t = n.Scrapes[k-2]
		}
	}
	return t
}

// align rounds t down to a multiple of step, so that the same window asks for
// the same instants whenever it is asked for.
func align(t time.Time, step time.Duration) time.Time { return t.Truncate(step) }

// around merges the stretches near the given times.
func around(times []time.Time, from, to, latest time.Time) []evidence.Interval {
	slices.SortFunc(times, time.Time.Compare)
	var out []evidence.Interval
	for _, t := range times {
		w := evidence.Interval{From: t.Add(-near), To: t.Add(near)}
		if w.From.Before(from) {
			w.From = from
		}
		if w.To.After(to) {
			w.To = to
		}
		if n := len(out) - 1; n >= 0 && !w.From.After(out[n].To.Add(near)) {
			if w.To.After(out[n].To) {
				out[n].To = w.To
			}
			continue
		}
		out = append(out, w)
	}
	if latest.IsZero() {
		return out
	}
	// The end is always read raw: whether something is open now, and asked now.
	tail := evidence.Interval{From: latest.Add(-near), To: to}
	if n := len(out) - 1; n >= 0 && !tail.From.After(out[n].To) {
		out[n].To = to
	} else {
		out = append(out, tail)
	}
	return out
}

// readOthers reads the providers that opened as other tenants saw them: raw
// around the opens, hourly over the baseline.
func (g *gatherer) readOthers(ctx context.Context) error {
	var times []time.Time
	var providers, ids []string
	for _, t := range g.ev.Tenants {
		ids = append(ids, t.ID)
		for i := range t.Circuits {
			for _, ep := range evidence.Episodes(&t.Circuits[i], t.Since, g.req.At) {
				providers = append(providers, ep.Provider)
				end := g.req.At
				if ep.Closed != nil {
					end = ep.Closed.To
				}
				// The whole episode, up to a bound, and its end: when the provider was
				// back is asked of others too.
				for t := ep.Opened.To; t.Before(end) && t.Sub(ep.Opened.To) < longest; t = t.Add(near) {
					times = append(times, t)
				}
				times = append(times, end)
			}
		}
	}
	if len(times) == 0 {
		return nil
	}
	selector := []promquery.Match{is("__name__", events), is("event_type", "success", "failure"), is("provider_id", unique(providers)...),
		{Label: "tenant_id", Not: true, Values: unique(ids)}}
	recs := g.newRecords()
	series, err := g.ranged(ctx, "others, before", selector, nil, align(g.from, time.Hour), g.req.At, time.Hour)
	if err != nil {
		return err
	}
	recs.add(series, false)
	for _, w := range around(times, g.from, g.req.At, time.Time{}) {
		series, err := g.raw(ctx, "others, near", selector, w.From, w.To)
		if err != nil {
			return err
		}
		recs.add(series, false)
		g.ev.Windows = append(g.ev.Windows, w)
	}
	g.ev.Others, _ = recs.circuits()
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

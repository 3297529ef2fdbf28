package gather

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// TrafficRequest says whose traffic is wanted.
type TrafficRequest struct {
	// Tenants, or nil for all.
	Tenants []string
	At      time.Time
	// Window is how far back; 0 for 14 days. Whole hours count.
	Window  time.Duration
	Dialect promquery.Dialect
}

// TrafficAnswer is what was measured and how.
type TrafficAnswer struct {
	From    time.Time
	To      time.Time
	Tenants []evidence.Traffic
	Queries []evidence.Query
	Gaps    []evidence.Gap
}

// trafficWindow is the guide's for choosing tenants.
const trafficWindow = 14 * 24 * time.Hour

// Traffic measures tenants by their outcomes, which the router counts whether or not
// a breaker is enabled (ROUTER.md §5): two questions for any number of tenants. A
// router that is scraped twice is counted once.
func Traffic(ctx context.Context, src Source, req TrafficRequest) (*TrafficAnswer, error) {
	if req.Window <= 0 {
		req.Window = trafficWindow
	}
	to := req.At.UTC().Truncate(time.Hour)
	from := to.Add(-req.Window.Truncate(time.Hour))
	g := newGatherer(src, Request{At: to, Dialect: req.Dialect})
	t := &traffic{g: g, from: from, hours: int(to.Sub(from) / time.Hour), by: map[key]*hourly{}, sum: map[string][]float64{}}
	var who []promquery.Match
	if req.Tenants != nil {
		who = []promquery.Match{{Label: "tenant_id", Values: unique(req.Tenants)}}
	}
	events := g.d.Match("events_total", append([]promquery.Match{{Label: "event_type", Values: []string{"success", "failure"}}}, who...)...)
	q := promquery.Query{Name: "traffic", Select: events, SplitBy: "tenant_id", From: from, To: to, Step: time.Hour}
	if err := g.read(ctx, src.Range, q, t.outcomes); err != nil {
		return nil, fmt.Errorf("reading traffic: %w", err)
	}
	opens := g.d.Match("state_transitions_total", append([]promquery.Match{{Label: "from", Values: []string{"closed"}}, {Label: "to", Values: []string{"open"}}}, who...)...)
	q = promquery.Query{Name: "opens", Select: opens, SplitBy: "tenant_id", From: from, To: to, Step: 6 * time.Hour,
		Wrap: func(s string) string { return "last_over_time(" + s + "[6h])" }}
	if g.d.Kind != promquery.Documented {
		if err := g.read(ctx, src.Range, q, t.opens); err != nil {
			return nil, fmt.Errorf("reading opens: %w", err)
		}
	}
	t.dropDoubles()
	g.sortGaps()
	return &TrafficAnswer{From: from, To: to, Tenants: evidence.TrafficOf(from, t.circuits()), Queries: g.ev.Queries, Gaps: g.ev.Gaps}, nil
}

// traffic collects hourly counts. Values of one series come hour after hour.
type traffic struct {
	g     *gatherer
	from  time.Time
	hours int
	by    map[key]*hourly
	// sum is each node's successes of all circuits at every hour, to find doubles.
	sum map[string][]float64
}

// hourly is one circuit of one node.
type hourly struct {
	evidence.Hourly
	// last values seen, by outcome, and when.
	success, failure previous
	opened           previous
	// appeared is the hour in which the failure counter was seen first, and its value.
	appeared int
	first    float64
}

type previous struct {
	t  int64
	v  float64
	ok bool
}

func (t *traffic) circuit(s promquery.Series) (*hourly, key, map[string]string) {
	l := t.g.d.Canonical(s.Labels)
	k := key{t.g.d.Node(s.Labels), l["tenant_id"], l["provider_id"]}
	h := t.by[k]
	if h == nil {
		h = &hourly{Hourly: evidence.Hourly{Tenant: k.tenant, Provider: k.provider, Outcomes: make([]float32, t.hours), Failures: make([]float32, t.hours)}}
		for i := range h.Outcomes {
			h.Outcomes[i] = -1
		}
		t.by[k] = h
	}
	return h, k, l
}

func (t *traffic) outcomes(s promquery.Series) error {
	h, k, l := t.circuit(s)
	failed := l["event_type"] == "failure"
	prev := &h.success
	if failed {
		prev = &h.failure
	}
	if t.sum[k.node] == nil {
		t.sum[k.node] = make([]float64, t.hours+1)
	}
	for _, x := range s.Samples {
		if math.IsNaN(x.V) || math.IsInf(x.V, 0) {
			prev.ok = false
			continue
		}
		i := int(instant(x.T).Sub(t.from)/time.Hour) - 1 // the hour that ends at x.T
		if i+1 >= 0 && i+1 <= t.hours && !failed {
			t.sum[k.node][i+1] += x.V
		}
		grown := x.V - prev.v
		if grown < 0 {
			grown = x.V // a restart: what was counted before it in this hour is lost
		}
		if prev.ok && i >= 0 && i < t.hours && x.T-prev.t <= 2*time.Hour.Milliseconds() {
			h.Outcomes[i] = max(h.Outcomes[i], 0) + float32(grown)
			if failed {
				h.Failures[i] += float32(grown)
			}
		}
		if failed && !prev.ok && prev.t == 0 {
			h.appeared, h.first = i, x.V
		}
		*prev = previous{x.T, x.V, true}
	}
	return nil
}

// opens counts how much the counter grew from one stretch to the next; one that
// appears after the first stretch stood at 0 before.
func (t *traffic) opens(s promquery.Series) error {
	h, _, _ := t.circuit(s)
	first := t.from.UnixMilli()
	for _, x := range s.Samples {
		if math.IsNaN(x.V) || math.IsInf(x.V, 0) {
			continue
		}
		grown := x.V - h.opened.v
		switch {
		case !h.opened.ok && x.T <= first:
			grown = 0
		case grown < 0:
			grown = x.V
		}
		h.Opens += int(math.Round(grown))
		h.opened = previous{x.T, x.V, true}
	}
	return nil
}

// dropDoubles leaves out a node whose successes are another one's at every hour.
func (t *traffic) dropDoubles() {
	names := make([]string, 0, len(t.sum))
	for n := range t.sum {
		names = append(names, n)
	}
	slices.Sort(names)
	records := map[string]map[key]*record{}
	for _, n := range names {
		rec := &record{}
		for i, v := range t.sum[n] {
			rec.series[cSuccess] = append(rec.series[cSuccess], sample{t: int64(i), v: v})
		}
		records[n] = map[key]*record{{}: rec}
	}
	t.g.ev.Interval = time.Minute
	for i, a := range names {
		for _, b := range names[i+1:] {
			if t.sum[a] == nil || t.sum[b] == nil {
				continue
			}
			if same, reason := t.g.sameRouter(records[a], records[b], time.Hour); same {
				t.g.ev.Doubles = append(t.g.ev.Doubles, evidence.Double{Kept: a, Dropped: b, Reason: reason})
				delete(t.sum, b)
			}
		}
	}
}

// circuits adds up the nodes.
func (t *traffic) circuits() []evidence.Hourly {
	sums := map[key]*evidence.Hourly{}
	keys := make([]key, 0, len(t.by))
	for k := range t.by {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	for _, k := range keys {
		if t.sum[k.node] == nil {
			continue
		}
		id := key{tenant: k.tenant, provider: k.provider}
		if sums[id] == nil {
			sums[id] = &evidence.Hourly{Tenant: k.tenant, Provider: k.provider}
		}
		h := t.by[k]
		// A failure counter that appears while its node is scraped stood at 0 before.
		if i := h.appeared; h.first > 0 && i >= 0 && i < t.hours && t.sum[k.node][i] > 0 {
			h.Outcomes[i] = max(h.Outcomes[i], 0) + float32(h.first)
			h.Failures[i] += float32(h.first)
		}
		sums[id].Add(h.Hourly)
	}
	var out []evidence.Hourly
	for _, s := range sums {
		out = append(out, *s)
	}
	return out
}

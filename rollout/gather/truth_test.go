package gather_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// happened is what really happened on one circuit of one node, in milliseconds.
type happened struct {
	success, failure, failFast []int64
	opens, closes              []int64
}

// liar is a node of the router as it really was: the twin, its counters since the
// last restart, and all that ever happened.
type liar struct {
	name     string
	now      int64
	reg      *breaker.Registry
	counters map[string]*tally
	truth    map[breaker.Key]*happened
	restarts []int64
	scrapes  []int64
}

type tally struct {
	labels map[string]string
	v      float64
}

func newLiar(name string) *liar {
	n := &liar{name: name, truth: map[breaker.Key]*happened{}}
	n.boot()
	return n
}

func (n *liar) boot() {
	n.counters = map[string]*tally{}
	n.reg = breaker.NewRegistry(breaker.Options{Sink: n})
}

// Emit implements breaker.Sink.
func (n *liar) Emit(k breaker.Key, m breaker.Metric) {
	h := n.truth[k]
	if h == nil {
		h = &happened{}
		n.truth[k] = h
	}
	id := fmt.Sprint(k, m.Name)
	labels := map[string]string{"__name__": m.Name, "job": "router", "instance": n.name, "tenant_id": k.Tenant, "provider_id": k.Provider}
	for _, l := range m.Labels {
		id += l.Name + "=" + l.Value
		labels[l.Name] = l.Value
	}
	c := n.counters[id]
	if c == nil {
		c = &tally{labels: labels}
		n.counters[id] = c
	}
	if m.Add {
		c.v += m.Value
	} else {
		c.v = m.Value
	}
	switch {
	case m.Name == "router_circuit_breaker_events_total":
		list := map[string]*[]int64{"success": &h.success, "failure": &h.failure, "fail_fast": &h.failFast}[m.Labels[0].Value]
		*list = append(*list, n.now)
	case m.Name == "router_circuit_breaker_state_transitions_total" && labels["to"] == "open" && labels["from"] == "closed":
		h.opens = append(h.opens, n.now)
	case m.Name == "router_circuit_breaker_state_transitions_total" && labels["to"] == "closed":
		h.closes = append(h.closes, n.now)
	}
}

// history is a random life of some nodes and what a scraper saw of it.
type history struct {
	start, end time.Time
	nodes      []*liar
	store      *promlab.Store
	// whole: no scrape failed and no node restarted.
	whole bool
}

func drawHistory(t *rapid.T) *history {
	h := &history{start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), store: promlab.NewStore()}
	h.end = h.start.Add(time.Duration(rapid.IntRange(13, 30).Draw(t, "hours")) * time.Hour)
	h.whole = rapid.Bool().Draw(t, "whole")
	interval := int64(rapid.SampledFrom([]int{30, 60, 120}).Draw(t, "interval")) * 1000
	marks := rapid.Bool().Draw(t, "staleness markers")
	// One seed for all that happens: shrinking a life event by event takes for ever.
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	for i := range rapid.IntRange(1, 2).Draw(t, "nodes") {
		n := newLiar(fmt.Sprintf("n%d", i))
		h.nodes = append(h.nodes, n)
		h.live(rng, n, interval, marks)
	}
	return h
}

// live lets a node live: bursts of traffic with quiet stretches between, restarts,
// and a scraper that sometimes misses it, briefly or for hours.
func (h *history) live(rng *rand.Rand, n *liar, interval int64, marks bool) {
	pick := func(of ...int64) int64 { return of[rng.IntN(len(of))] }
	cfg := breaker.PolicyDefaults()
	cfg.TimeoutMS = pick(1000, 30_000, 200_000)
	keys := []breaker.Key{{Tenant: "t-acme", Provider: "openai"}, {Tenant: "t-acme", Provider: "anthropic"}}
	seen := map[string]bool{}
	next := h.start.UnixMilli() + 1 + rng.Int64N(interval)
	n.now = h.start.UnixMilli()
	blind := int64(0)
	for n.now < h.end.UnixMilli() {
		pace, errors := pick(2000, 20_000, 400_000, 4_000_000), int(pick(0, 1, 6, 10))
		if !h.whole && rng.IntN(8) == 0 {
			n.restarts = append(n.restarts, n.now)
			n.boot()
		}
		if !h.whole && rng.IntN(6) == 0 {
			blind = n.now + pick(1, 3, 40, 400)*60_000
		}
		for range 3 + rng.IntN(23) {
			at := n.now + 1 + rng.Int64N(pace)
			for next <= at {
				n.now = next
				h.scrape(n, next < blind, marks, seen)
				next += interval
			}
			n.now = at
			k := keys[rng.IntN(2)]
			n.reg.Configure(k, cfg, at)
			if !n.reg.Allow(k, at) {
				continue
			}
			if rng.IntN(10) < errors {
				n.reg.Failure(k, at)
			} else {
				n.reg.Success(k, at)
			}
		}
	}
}

// scrape stores what the scraper sees now.
func (h *history) scrape(n *liar, fails, marks bool, seen map[string]bool) {
	at := time.UnixMilli(n.now).UTC()
	up := 1.0
	if fails {
		up = 0
	} else {
		n.scrapes = append(n.scrapes, n.now)
	}
	must(h.store.Append(map[string]string{"__name__": "up", "job": "router", "instance": n.name}, at, up))
	for id, c := range n.counters {
		if !fails {
			must(h.store.Append(c.labels, at, c.v))
			seen[id] = true
		}
	}
	for id := range seen {
		if n.counters[id] == nil || fails {
			delete(seen, id)
			if marks {
				must(h.store.Append(idLabels(h, n, id), at, math.Float64frombits(0x7ff0000000000002)))
			}
		}
	}
}

// idLabels finds the labels of a series that may be gone.
func idLabels(h *history, n *liar, id string) map[string]string {
	if c := n.counters[id]; c != nil {
		return c.labels
	}
	var found map[string]string
	h.store.Each(func(l map[string]string, _ func(func(time.Time, float64) bool)) {
		if l["instance"] != n.name || l["__name__"] == "up" {
			return
		}
		// The id as Emit makes it: labels in the order in which the twin emits them.
		for _, order := range [][]string{{"event_type"}, {"from", "to"}, {"state"}, {"reason"}, {"transition_type"}, {}} {
			s := fmt.Sprint(breaker.Key{Tenant: l["tenant_id"], Provider: l["provider_id"]}, l["__name__"])
			for _, k := range order {
				s += k + "=" + l[k]
			}
			if s == id {
				found = l
			}
		}
	})
	if found == nil {
		panic("no labels of " + id)
	}
	return found
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// inside counts the ascending times in (from, to].
func inside(ts []int64, from, to int64) int {
	i := sort.Search(len(ts), func(i int) bool { return ts[i] > from })
	j := sort.Search(len(ts), func(i int) bool { return ts[i] > to })
	return max(j-i, 0)
}

// take removes the first of the times in the interval. A scrape does not see what
// happens in its own millisecond.
func take(ts []int64, in evidence.Interval) ([]int64, bool) {
	for i, x := range ts {
		if x >= in.From.UnixMilli() && x < in.To.UnixMilli() {
			return slices.Delete(slices.Clone(ts), i, i+1), true
		}
	}
	return ts, false
}

// A random history of the twin, scraped at random intervals with random gaps and
// restarts, is reconstructed without ever claiming more than the samples allow, and
// completely where nothing is missing.
func TestReconstructionContainsTheTruth(t *testing.T) {
	if testing.Short() {
		t.Skip("many histories: skipped by -short")
	}
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		client, err := promquery.New(promquery.Options{URL: "http://prometheus.example", Transport: promlab.Transport(promlab.NewServer(h.store, promlab.Options{Now: func() time.Time { return h.end }}))})
		if err != nil {
			t.Fatal(err)
		}
		since := h.start.Add(12 * time.Hour)
		ev, err := gather.Gather(context.Background(), client, gather.Request{At: h.end, Baseline: 12 * time.Hour, Dialect: emitted(),
			Tenants: []gather.TenantRequest{{ID: "t-acme", Since: since, Config: evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2}}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(ev.Doubles) > 0 {
			t.Fatalf("two nodes were taken for one: %+v", ev.Doubles)
		}
		for _, n := range h.nodes {
			checkNode(t, h, n, ev)
		}
	})
}

func checkNode(t *rapid.T, h *history, n *liar, ev *evidence.Evidence) {
	name := "router/" + n.name
	i := slices.IndexFunc(ev.Nodes, func(x evidence.Node) bool { return x.Name == name })
	if i < 0 {
		if len(n.scrapes) > 20 && len(n.counters) > 0 && h.whole {
			t.Fatalf("%s is missing", name)
		}
		return
	}
	node := ev.Nodes[i]
	for _, r := range node.Restarts {
		// A restart that only coarse outcomes show is dated to their step.
		before := n.scrapes[max(sort.Search(len(n.scrapes), func(i int) bool { return n.scrapes[i] > r-11*60_000 })-1, 0)]
		if inside(n.restarts, before-1, r) == 0 {
			t.Fatalf("%s restarted at %v: it did not; it did at %v", name, clock([]int64{r}), clock(n.restarts))
		}
	}
	for i := range ev.Tenants[0].Circuits {
		c := &ev.Tenants[0].Circuits[i]
		if c.Node == name {
			checkCircuit(t, h, n, c, ev)
		}
	}
}

func clock(ts []int64) (out []string) {
	for _, x := range ts {
		out = append(out, evidence.Instant(x).Format("2T15:04:05.000"))
	}
	return out
}

func checkCircuit(t *rapid.T, h *history, n *liar, c *evidence.Circuit, ev *evidence.Evidence) {
	truth := n.truth[breaker.Key{Tenant: c.Tenant, Provider: c.Provider}]
	eps := evidence.Episodes(c, h.start, h.end)
	opens, closes, restarts := truth.opens, truth.closes, n.restarts
	ok := false
	for _, e := range eps {
		what := fmt.Sprintf("%s %s: %+v; opens %v closes %v restarts %v", c.Node, c.Provider, e, clock(truth.opens), clock(truth.closes), clock(n.restarts))
		if e.Opened.From.IsZero() {
			e.Opened.From = h.start.Add(-time.Second)
		}
		if opens, ok = take(opens, e.Opened); !ok {
			t.Fatalf("no open there: %s", what)
		}
		if e.Closed != nil {
			if closes, ok = take(closes, *e.Closed); !ok {
				t.Fatalf("no close there: %s", what)
			}
		}
		if e.Reset {
			t.Fatalf("nobody reset it: %s", what)
		}
		if e.Lost {
			if _, ok = take(restarts, *e.Ended); !ok {
				t.Fatalf("no restart there: %s", what)
			}
		}
	}
	seen := n.scrapes[:sort.Search(len(n.scrapes), func(i int) bool { return n.scrapes[i] > h.end.UnixMilli() })]
	last := seen[max(len(seen)-2, 0)]
	// What was over before the first scrape left its counts only.
	want := inside(truth.opens, 0, last-1) - inside(truth.closes, 0, seen[0]-1)
	if h.whole && len(eps) != want {
		t.Fatalf("%d episodes, %d opens up to the last scrape but one: %+v %v", len(eps), want, eps, clock(truth.opens))
	}
	if found := evidence.Contradictions(c, ev.Tenants[0].Config, h.start, ev.Interval); len(found) > 0 {
		t.Fatalf("%s %s: what happened contradicts itself: %+v", c.Node, c.Provider, found)
	}
	span := h.end.Sub(h.start).Milliseconds()
	for range 10 {
		a := h.start.UnixMilli() + rapid.Int64Range(0, span).Draw(t, "a")
		b := a + rapid.Int64Range(0, span/4).Draw(t, "b")
		least, most := c.Between(evidence.Instant(a), evidence.Instant(b))
		for _, x := range []struct {
			what    string
			lo, hi  float64
			happens []int64
		}{
			{"successes", least.Success, most.Success, truth.success}, {"failures", least.Failure, most.Failure, truth.failure},
			{"fail-fasts", least.FailFast, most.FailFast, truth.failFast}, {"opens", least.CO, most.CO, truth.opens}, {"closes", least.HC, most.HC, truth.closes},
		} {
			real := float64(inside(x.happens, a-1, b-1)) // from a on, before b
			if x.lo > real {
				t.Fatalf("%s %s: at least %g %s from %d to %d, %g really", c.Node, c.Provider, x.lo, x.what, a, b, real)
			}
			if most.OK && x.hi < real && !hidden(n, c, a, b) {
				t.Fatalf("%s %s: at most %g %s from %s to %s, %g really; restarts %v", c.Node, c.Provider, x.hi, x.what, clock([]int64{a}), clock([]int64{b}), real, clock(n.restarts))
			}
		}
	}
}

// hidden: the node restarted between the scrapes around [a, b]; where no counter
// shows it, the upper bound cannot know.
func hidden(n *liar, c *evidence.Circuit, a, b int64) bool {
	lo, hi := int64(0), int64(math.MaxInt64)
	for _, o := range c.Outcomes {
		if o.T <= a {
			lo = o.T
		}
		if o.T >= b {
			hi = o.T
			break
		}
	}
	for _, o := range c.Transitions {
		if o.T <= a {
			lo = min(lo, o.T)
		}
		if o.T >= b {
			hi = max(hi, o.T)
			break
		}
	}
	return inside(n.restarts, lo, hi) > 0
}

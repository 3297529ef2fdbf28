package criteria_test

import (
	"math/rand/v2"
	"sort"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// world builds evidence the way a router and a scraper would have left it: every
// scrape of a bake, counters that only grow, causes planted by hand.
type world struct {
	rng   *rand.Rand
	start time.Time // of the baseline
	since time.Time
	at    time.Time
	ev    *evidence.Evidence
}

const scrape = time.Minute

func newWorld(days int) *world {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w := &world{rng: rand.New(rand.NewPCG(7, 9)), start: start}
	w.since = start.Add(7 * 24 * time.Hour)
	w.at = w.since.Add(time.Duration(days) * 24 * time.Hour)
	w.ev = &evidence.Evidence{At: w.at, Interval: scrape, Dialect: evidence.Dialect{Kind: evidence.Emitted}, Present: []string{"router_circuit_breaker_events_total"}}
	var scrapes []int64
	for t := start; !t.After(w.at); t = t.Add(scrape) {
		scrapes = append(scrapes, t.UnixMilli())
	}
	w.ev.Nodes = []evidence.Node{{Name: "router/node-1:9001", Scrapes: scrapes, First: scrapes[0], Last: scrapes[len(scrapes)-1]}}
	w.ev.Windows = []evidence.Interval{{From: w.since, To: w.at}}
	return w
}

func guide() evidence.Config {
	return evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 30000,
		HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}
}

// circuit is one circuit's traffic: outcomes per scrape and their error rate.
func (w *world) circuit(tenant, provider string, perMinute float64, errors func(time.Time) float64) evidence.Circuit {
	c := evidence.Circuit{Node: "router/node-1:9001", Tenant: tenant, Provider: provider}
	var s, f float64
	for t := w.start; !t.After(w.at); t = t.Add(scrape) {
		for n := w.poisson(perMinute); n > 0; n-- {
			if w.rng.Float64() < errors(t) {
				f++
			} else {
				s++
			}
		}
		c.Outcomes = append(c.Outcomes, evidence.Outcome{T: t.UnixMilli(), Success: s, Failure: f})
		c.Transitions = append(c.Transitions, evidence.Transition{T: t.UnixMilli()})
	}
	return c
}

func (w *world) poisson(mean float64) int {
	n := 0
	for x := w.rng.ExpFloat64(); x < mean; x += w.rng.ExpFloat64() {
		n++
	}
	return n
}

func flat(p float64) func(time.Time) float64 { return func(time.Time) float64 { return p } }

// outage is an error rate of 95 % within [from, from+d], p elsewhere.
func outage(p float64, from time.Time, d time.Duration) func(time.Time) float64 {
	return func(t time.Time) float64 {
		if !t.Before(from) && t.Before(from.Add(d)) {
			return 0.95
		}
		return p
	}
}

func (w *world) tenant(id string, cfg evidence.Config, cs ...evidence.Circuit) {
	w.ev.Tenants = append(w.ev.Tenants, evidence.Tenant{ID: id, Since: w.since, Config: cfg,
		Baseline: evidence.Interval{From: w.start, To: w.since}, Circuits: cs})
	sort.Slice(w.ev.Tenants, func(i, j int) bool { return w.ev.Tenants[i].ID < w.ev.Tenants[j].ID })
}

// point is all that c has counted at one scrape: a world reads every one.
type point struct {
	*evidence.Outcome
	*evidence.Transition
}

// add adds d to every point of c from t on.
func add(c *evidence.Circuit, t time.Time, d func(point)) {
	for i := range c.Outcomes {
		if c.Outcomes[i].T >= t.UnixMilli() {
			d(point{&c.Outcomes[i], &c.Transitions[i]})
		}
	}
}

// open plants an open at t, on wf failures of wr outcomes in the window, which
// closes after the given time; closes == 0 leaves it open.
func open(c *evidence.Circuit, t time.Time, wr, wf float64, closes time.Duration, reopens int) {
	add(c, t, func(p point) { p.CO++; p.WindowRequests += wr; p.WindowFailures += wf; p.Failure += wf })
	for i := range reopens {
		at := t.Add(time.Duration(i+1) * scrape)
		add(c, at, func(p point) { p.OH++; p.HO++; p.Failure++; p.FailFast += 20 })
	}
	if closes == 0 {
		return
	}
	add(c, t.Add(closes), func(p point) { p.OH++; p.HC++; p.Success += 2 })
}

func params() criteria.Params { return criteria.Params{Phase: 1, MinDays: 3, MinOutcomesPerDay: 100} }

func finding(ev *evidence.Evidence, id string) criteria.Finding {
	return criteria.Judge(ev, params(), []string{id})[0]
}

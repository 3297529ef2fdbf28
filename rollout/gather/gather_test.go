package gather_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// fixture is a router as a scraper sees it: counters by hand, one scrape a minute.
type fixture struct {
	t     *testing.T
	store *promlab.Store
	start time.Time
	since time.Time
	at    time.Time
}

func newFixture(t *testing.T) *fixture {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return &fixture{t: t, store: promlab.NewStore(), start: start, since: start.Add(24 * time.Hour), at: start.Add(36 * time.Hour)}
}

// scrapes writes a minute-by-minute series from one instant to another; v is
// called with the minutes since the start of the fixture.
func (f *fixture) scrapes(labels map[string]string, from, to time.Time, v func(minute int) float64) {
	f.t.Helper()
	for t := from; !t.After(to); t = t.Add(time.Minute) {
		if err := f.store.Append(labels, t, v(int(t.Sub(f.start)/time.Minute))); err != nil {
			f.t.Fatal(err)
		}
	}
}

func on(node string, more ...string) map[string]string {
	l := map[string]string{"job": "router", "instance": node}
	for i := 0; i < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

func event(node, kind string) map[string]string {
	return on(node, "__name__", "router_circuit_breaker_events_total", "event_type", kind, "tenant_id", "t-acme", "provider_id", "openai")
}

func transition(node, from, to string) map[string]string {
	return on(node, "__name__", "router_circuit_breaker_state_transitions_total", "from", from, "to", to, "tenant_id", "t-acme", "provider_id", "openai")
}

// node writes up and ten successes a minute over the whole fixture.
func (f *fixture) node(name string) {
	f.scrapes(on(name, "__name__", "up"), f.start, f.at, func(int) float64 { return 1 })
	f.scrapes(event(name, "success"), f.start, f.at, func(m int) float64 { return float64(10 * m) })
}

func (f *fixture) gather() *evidence.Evidence {
	f.t.Helper()
	c, err := promquery.New(promquery.Options{URL: "http://prometheus.example",
		Transport: promlab.Transport(promlab.NewServer(f.store, promlab.Options{Now: func() time.Time { return f.at }}))})
	if err != nil {
		f.t.Fatal(err)
	}
	ev, err := gather.Gather(context.Background(), c, gather.Request{At: f.at, Baseline: 23 * time.Hour,
		Dialect: emitted(),
		Tenants: []gather.TenantRequest{{ID: "t-acme", Since: f.since, Config: evidence.Config{Enabled: true, FailureThreshold: 5}}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return ev
}

func (f *fixture) episodes(ev *evidence.Evidence) []evidence.Episode {
	f.t.Helper()
	var out []evidence.Episode
	for i := range ev.Tenants[0].Circuits {
		out = append(out, evidence.Episodes(&ev.Tenants[0].Circuits[i], f.since, f.at)...)
	}
	return out
}

func emitted() promquery.Dialect { return promquery.Dialect{Kind: evidence.Emitted} }

func one(int) float64 { return 1 }

// The first open of a circuit is a series that appears at 1: rate() and
// increase() are 0 there.
func TestFirstOpenIsSeen(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	at := f.since.Add(3 * time.Hour)
	f.scrapes(transition("n1", "closed", "open"), at, f.at, one)
	f.scrapes(transition("n1", "open", "half_open"), at.Add(time.Minute), f.at, one)
	f.scrapes(transition("n1", "half_open", "closed"), at.Add(2*time.Minute), f.at, one)
	eps := f.episodes(f.gather())
	if len(eps) != 1 {
		t.Fatalf("want one episode, got %+v", eps)
	}
	e := eps[0]
	if !e.Opened.To.Equal(at) || !e.Opened.From.Equal(at.Add(-time.Minute)) || e.Closed == nil || !e.Closed.To.Equal(at.Add(2*time.Minute)) || e.Shadow {
		t.Fatalf("wrong bounds: %+v", e)
	}
}

func TestShadowOpenBeforeEnabling(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	f.scrapes(transition("n1", "closed", "open"), f.since.Add(-5*time.Hour), f.at, one)
	eps := f.episodes(f.gather())
	if len(eps) != 1 || !eps[0].Shadow || !eps[0].StillOpen {
		t.Fatalf("want one shadow episode that is still open, got %+v", eps)
	}
}

// A restart in the middle of an open: series vanish and come back lower.
func TestRestartDuringAnOpen(t *testing.T) {
	f := newFixture(t)
	restart := f.since.Add(5 * time.Hour)
	f.scrapes(on("n1", "__name__", "up"), f.start, f.at, one)
	f.scrapes(event("n1", "success"), f.start, restart.Add(-time.Minute), func(m int) float64 { return float64(10 * m) })
	f.scrapes(event("n1", "success"), restart, f.at, func(m int) float64 { return float64(m - 1739) })
	f.scrapes(transition("n1", "closed", "open"), restart.Add(-20*time.Minute), restart.Add(-time.Minute), one)
	f.scrapes(transition("n1", "closed", "open"), restart.Add(2*time.Hour), f.at, one)
	ev := f.gather()
	eps := f.episodes(ev)
	if len(ev.Nodes[0].Restarts) != 1 || !evidence.Instant(ev.Nodes[0].Restarts[0]).Equal(restart) {
		t.Errorf("restarts %v, want %v", ev.Nodes[0].Restarts, restart)
	}
	if len(eps) != 2 || !eps[0].Lost || eps[0].StillOpen || eps[1].Lost || !eps[1].StillOpen {
		t.Fatalf("want an episode lost to the restart and a new one, got %+v", eps)
	}
	c := &ev.Tenants[0].Circuits[0]
	d := c.Delta(restart.Add(-time.Hour), restart.Add(time.Hour))
	if d.Success < 600 || d.Success > 720 { // 590 before, 61 after, a scrape or a coarse step of slack
		t.Errorf("successes across the restart: %.0f", d.Success)
	}
}

func TestScrapeGapIsNotMeasured(t *testing.T) {
	f := newFixture(t)
	for _, part := range [][2]time.Time{{f.start, f.since.Add(2 * time.Hour)}, {f.since.Add(4 * time.Hour), f.at}} {
		f.scrapes(on("n1", "__name__", "up"), part[0], part[1], one)
		f.scrapes(event("n1", "success"), part[0], part[1], func(m int) float64 { return float64(m) })
	}
	ev := f.gather()
	m := ev.Coverage(f.since)
	if m.Hours != 10 && m.Hours != 9 { // 12 h, two of them without scrapes; the newest scrape is left out
		t.Fatalf("measured %d hours", m.Hours)
	}
	if len(m.Gaps) == 0 {
		t.Fatal("no gap named")
	}
}

func TestNaNIsAGapNotAZero(t *testing.T) {
	f := newFixture(t)
	f.scrapes(on("n1", "__name__", "up"), f.start, f.at, one)
	f.scrapes(event("n1", "success"), f.start, f.at, func(m int) float64 {
		if m == 1600 {
			return math.NaN()
		}
		return float64(10 * m)
	})
	ev := f.gather()
	if len(ev.Gaps) == 0 {
		t.Fatal("a NaN left no gap")
	}
	for _, p := range ev.Tenants[0].Circuits[0].Outcomes {
		if p.Success != p.Success {
			t.Fatalf("NaN in a point: %+v", p)
		}
	}
}

func TestTwoNodesAreTwoCircuits(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	f.scrapes(on("n2", "__name__", "up"), f.start, f.at, func(int) float64 { return 1 })
	f.scrapes(event("n2", "success"), f.start, f.at, func(m int) float64 { return float64(7 * m) })
	f.scrapes(transition("n2", "closed", "open"), f.since.Add(time.Hour), f.at, one)
	ev := f.gather()
	if len(ev.Nodes) != 2 || len(ev.Tenants[0].Circuits) != 2 {
		t.Fatalf("%d nodes, %d circuits", len(ev.Nodes), len(ev.Tenants[0].Circuits))
	}
	if eps := f.episodes(ev); len(eps) != 1 || eps[0].Node != "router/n2" {
		t.Fatalf("got %+v", eps)
	}
}

func TestNoUpSeries(t *testing.T) {
	f := newFixture(t)
	f.scrapes(event("n1", "success"), f.start, f.at, func(m int) float64 { return float64(10 * m) })
	ev := f.gather()
	if len(ev.Nodes) != 1 || len(ev.Nodes[0].Scrapes) < 1000 || ev.Interval != time.Minute {
		t.Fatalf("nodes %d, interval %s", len(ev.Nodes), ev.Interval)
	}
}

func TestNoSeriesAtAll(t *testing.T) {
	f := newFixture(t)
	f.scrapes(on("n1", "__name__", "up"), f.start, f.at, one)
	ev := f.gather()
	if len(ev.Tenants[0].Circuits) != 0 || len(ev.Nodes) != 0 {
		t.Fatalf("evidence from nothing: %+v", ev.Tenants)
	}
}

func TestDocumentedDialect(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	f.scrapes(on("n1", "__name__", "router_circuit_breaker_state_transitions_total", "state", "open", "tenant_id", "t-acme", "provider_id", "openai"),
		f.since.Add(time.Hour), f.at, one)
	ev := f.gather()
	if n := len(ev.Tenants[0].Circuits[0].Transitions); n != 2 || ev.Tenants[0].Circuits[0].Transitions[1].CO != 0 {
		t.Fatalf("opens were read from a state label: %+v", ev.Tenants[0].Circuits[0].Transitions)
	}
}

// Two restarts within minutes: an open in each epoch is an episode of its own.
func TestTwoRestartsCloseTogether(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	at := f.since.Add(3 * time.Hour)
	f.scrapes(transition("n1", "closed", "open"), at, at.Add(2*time.Minute), one)
	f.scrapes(transition("n1", "closed", "open"), at.Add(6*time.Minute), at.Add(8*time.Minute), one)
	ev := f.gather()
	if n := len(ev.Nodes[0].Restarts); n != 2 {
		t.Errorf("%d restarts, want 2", n)
	}
	eps := f.episodes(ev)
	if len(eps) != 2 || !eps[0].Lost || !eps[1].Lost {
		t.Fatalf("want two episodes, each lost to a restart, got %+v", eps)
	}
}

// NaN in a transition counter is no absence: no restart, no second open.
func TestNaNInTransitionsIsNoRestart(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	at := f.since.Add(-3 * time.Hour)
	nan := func(m int) float64 {
		if m >= 1700 && m < 1704 {
			return math.NaN()
		}
		return 1
	}
	f.scrapes(transition("n1", "closed", "open"), at, f.at, nan)
	f.scrapes(transition("n1", "open", "half_open"), at.Add(time.Minute), f.at, nan)
	f.scrapes(transition("n1", "half_open", "closed"), at.Add(2*time.Minute), f.at, nan)
	ev := f.gather()
	if n := len(ev.Nodes[0].Restarts); n != 0 {
		t.Errorf("%d restarts, want none", n)
	}
	if eps := f.episodes(ev); len(eps) != 0 {
		t.Fatalf("want no episode, got %+v", eps)
	}
}

// A node that left before the bake owes it no scrapes.
func TestRetiredNodeDoesNotBlock(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	f.scrapes(on("n0", "__name__", "up"), f.start, f.start.Add(5*time.Hour), one)
	f.scrapes(event("n0", "success"), f.start, f.start.Add(5*time.Hour), func(m int) float64 { return float64(m) })
	ev := f.gather()
	if m := ev.Coverage(f.since); m.Hours < 11 {
		t.Fatalf("measured %d hours", m.Hours)
	}
}

// warned is a source whose every raw answer carries a warning.
type warned struct{ gather.Source }

func (w warned) Raw(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error) {
	a, err := w.Source.Raw(ctx, q, visit)
	a.Warned = append(a.Warned, promquery.Warning{From: q.From, To: q.To, Text: "results truncated due to limit"})
	return a, err
}

// An answer with a warning may be partial: what it covers is not measured.
func TestAWarningIsAGap(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	c, err := promquery.New(promquery.Options{URL: "http://prometheus.example",
		Transport: promlab.Transport(promlab.NewServer(f.store, promlab.Options{Now: func() time.Time { return f.at }}))})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := gather.Gather(t.Context(), warned{c}, gather.Request{At: f.at, Baseline: 23 * time.Hour, Dialect: emitted(),
		Tenants: []gather.TenantRequest{{ID: "t-acme", Since: f.since}}})
	if err != nil {
		t.Fatal(err)
	}
	if m := ev.Coverage(f.since); m.Hours != 0 {
		t.Fatalf("%d hours measured by partial answers", m.Hours)
	}
}

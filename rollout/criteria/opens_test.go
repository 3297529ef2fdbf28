package criteria_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

func TestSteadyPassesAndIsProven(t *testing.T) {
	w := newWorld(4)
	w.tenant("t-acme", guide(), w.circuit("t-acme", "openai", 60, flat(0.01)))
	f := finding(w.ev, "no-unexpected-opens")
	if f.Verdict != criteria.Pass || !f.Proven || len(f.Counterexamples) < 5 {
		t.Fatalf("want a proven pass, got %+v", f)
	}
}

func TestNoiseOnLowTrafficFails(t *testing.T) {
	w := newWorld(4)
	c := w.circuit("t-bolt", "openai", 2, flat(0.01))
	for i := range 12 {
		open(&c, w.since.Add(time.Duration(6*i+3)*time.Hour), 1, 1, 2*scrape, 0)
	}
	w.tenant("t-bolt", guide(), c)
	f := finding(w.ev, "no-unexpected-opens")
	if f.Verdict != criteria.Fail {
		t.Fatalf("want fail, got %s: %s", f.Verdict, f.Summary)
	}
	for _, e := range f.Tenants[0].Episodes {
		if e.Expected == nil || *e.Expected || !e.Premature {
			t.Errorf("episode %v: want unexpected and premature, got %+v", e.OpenedTo, e)
		}
	}
}

// One open on a series that appears with it is as good as the hundredth.
func TestSingleFirstOpenFails(t *testing.T) {
	w := newWorld(4)
	c := w.circuit("t-acme", "openai", 6, flat(0.01))
	open(&c, w.since.Add(50*time.Hour), 1, 1, 2*scrape, 0)
	w.tenant("t-acme", guide(), c)
	if f := finding(w.ev, "no-unexpected-opens"); f.Verdict != criteria.Fail {
		t.Fatalf("want fail, got %s: %s", f.Verdict, f.Summary)
	}
}

func TestOutageIsExpectedByRoute(t *testing.T) {
	from := func(w *world) time.Time { return w.since.Add(30 * time.Hour) }
	tests := []struct {
		name  string
		route string
		build func(w *world) evidence.Circuit
	}{
		{"rate", "rate", func(w *world) evidence.Circuit {
			c := w.circuit("t-acme", "openai", 60, outage(0.01, from(w), 2*time.Minute))
			open(&c, from(w), 60, 31, 3*scrape, 0)
			return c
		}},
		{"run", "run", func(w *world) evidence.Circuit {
			// Five in a row open it with 5 of 30 in the window, then the flow stops.
			c := w.circuit("t-acme", "openai", 30, flat(0.002))
			open(&c, from(w), 30, 5, 2*scrape, 0)
			return c
		}},
		{"tail", "tail", func(w *world) evidence.Circuit {
			// Open and closed within one scrape: the window totals do not tell them
			// apart, and twelve of two hundred are far from the configured rate.
			c := w.circuit("t-acme", "openai", 200, flat(0.002))
			add(&c, from(w), func(p point) { p.CO++; p.OH++; p.HC++; p.WindowRequests += 300; p.Failure += 12 })
			return c
		}},
		{"probes", "probes", func(w *world) evidence.Circuit {
			// One failure opened it, and the provider failed four probes in a row.
			c := w.circuit("t-acme", "openai", 2, flat(0.005))
			open(&c, from(w), 1, 1, 6*scrape, 4)
			return c
		}},
		{"others, partly", "others", func(w *world) evidence.Circuit {
			// A tenth of the others' requests fails: no outage by half, but far more
			// than their own baseline.
			partly := func(t time.Time) float64 {
				if d := t.Sub(from(w)); d >= -2*scrape && d <= 10*scrape {
					return 0.15
				}
				return 0.005
			}
			w.ev.Others = append(w.ev.Others, w.circuit("t-other", "openai", 100, partly))
			c := w.circuit("t-acme", "openai", 2, flat(0.005))
			open(&c, from(w), 1, 1, 2*scrape, 0)
			return c
		}},
		{"others", "others", func(w *world) evidence.Circuit {
			// Too little traffic of its own to tell.
			w.ev.Others = append(w.ev.Others, w.circuit("t-other", "openai", 60, outage(0.01, from(w).Add(-scrape), 20*time.Minute)))
			c := w.circuit("t-acme", "openai", 2, flat(0.01))
			open(&c, from(w), 1, 1, 25*scrape, 0)
			return c
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(4)
			c := tt.build(w)
			w.tenant("t-acme", guide(), c)
			f := finding(w.ev, "no-unexpected-opens")
			if f.Verdict != criteria.Pass {
				t.Fatalf("want pass, got %s: %s %+v", f.Verdict, f.Summary, f.Evidence)
			}
			if got := f.Tenants[0].Episodes[0].Route; got != tt.route {
				t.Errorf("route %q, want %q: %s", got, tt.route, f.Tenants[0].Episodes[0].Reason)
			}
		})
	}
}

// An outage seen by other tenants on another provider explains nothing.
func TestOtherProvidersOutageIsNoExcuse(t *testing.T) {
	w := newWorld(4)
	at := w.since.Add(30 * time.Hour)
	w.ev.Others = append(w.ev.Others, w.circuit("t-other", "anthropic", 60, outage(0.01, at.Add(-scrape), 20*time.Minute)))
	c := w.circuit("t-acme", "openai", 2, flat(0.01))
	open(&c, at, 1, 1, 2*scrape, 0)
	w.tenant("t-acme", guide(), c)
	if f := finding(w.ev, "no-unexpected-opens"); f.Verdict != criteria.Fail {
		t.Fatalf("want fail, got %s", f.Verdict)
	}
}

func TestShadowOpenIsNotTheRollouts(t *testing.T) {
	w := newWorld(4)
	c := w.circuit("t-acme", "openai", 60, flat(0.01))
	add(&c, w.since.Add(-48*time.Hour), func(p point) { p.CO++; p.WindowRequests++; p.WindowFailures++ })
	add(&c, w.since.Add(2*scrape), func(p point) { p.OH++; p.HC++ })
	w.tenant("t-acme", guide(), c)
	f := finding(w.ev, "no-unexpected-opens")
	if f.Verdict != criteria.Pass {
		t.Fatalf("want pass, got %s: %s", f.Verdict, f.Summary)
	}
}

func TestNeverPassesWithoutEvidence(t *testing.T) {
	steady := func() *world {
		w := newWorld(4)
		w.tenant("t-acme", guide(), w.circuit("t-acme", "openai", 60, flat(0.01)))
		return w
	}
	tests := []struct {
		name  string
		want  criteria.Verdict
		spoil func(w *world)
	}{
		{"no circuits", criteria.Unmeasurable, func(w *world) { w.ev.Tenants[0].Circuits = nil }},
		{"no tenants", criteria.Inconclusive, func(w *world) { w.ev.Tenants = nil }},
		{"documented dialect", criteria.Unmeasurable, func(w *world) { w.ev.Dialect.Kind = evidence.Documented }},
		{"disabled", criteria.Inconclusive, func(w *world) { w.ev.Tenants[0].Config.Enabled = false }},
		{"one hour after enabling", criteria.Inconclusive, func(w *world) { w.ev.At = w.since.Add(time.Hour) }},
		{"two days of gaps", criteria.Inconclusive, func(w *world) {
			var kept []int64
			for _, s := range w.ev.Nodes[0].Scrapes {
				if s < w.since.Add(10*time.Hour).UnixMilli() || s > w.since.Add(58*time.Hour).UnixMilli() {
					kept = append(kept, s)
				}
			}
			w.ev.Nodes[0].Scrapes = kept
		}},
		{"hardly any traffic", criteria.Inconclusive, func(w *world) {
			w.ev.Tenants[0].Circuits = []evidence.Circuit{w.circuit("t-acme", "openai", 0.02, flat(0))}
		}},
		{"no nodes", criteria.Inconclusive, func(w *world) { w.ev.Nodes = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := steady()
			tt.spoil(w)
			for _, id := range []string{"no-unexpected-opens", "closes-after-recovery"} {
				if f := finding(w.ev, id); f.Verdict != tt.want {
					t.Errorf("%s: want %s, got %s: %s", id, tt.want, f.Verdict, f.Summary)
				}
			}
		})
	}
}

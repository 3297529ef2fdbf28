package criteria_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

func TestCloses(t *testing.T) {
	tests := []struct {
		name  string
		want  criteria.Verdict
		build func(w *world) evidence.Circuit
	}{
		{"closed after an outage", criteria.Pass, func(w *world) evidence.Circuit {
			at := w.since.Add(30 * time.Hour)
			c := w.circuit("t-acme", "openai", 60, outage(0.01, at, 11*scrape))
			open(&c, at, 60, 31, 12*scrape, 10)
			return c
		}},
		{"closed hours after the provider was back", criteria.Fail, func(w *world) evidence.Circuit {
			at := w.since.Add(30 * time.Hour)
			c := w.circuit("t-acme", "openai", 60, outage(0.01, at, 5*scrape))
			open(&c, at, 60, 31, 180*scrape, 0)
			return c
		}},
		{"half-open for ever", criteria.Fail, func(w *world) evidence.Circuit {
			at := w.since.Add(80 * time.Hour)
			c := w.circuit("t-acme", "openai", 60, flat(0.01))
			open(&c, at, 60, 31, 0, 0)
			add(&c, at.Add(scrape), func(p point) { p.OH++ })
			freeze(&c, at.Add(2*scrape))
			return c
		}},
		{"open and never asked while outcomes go on", criteria.Fail, func(w *world) evidence.Circuit {
			c := w.circuit("t-acme", "openai", 60, flat(0.01))
			open(&c, w.since.Add(40*time.Hour), 1, 1, 0, 0)
			return c
		}},
		{"open at the end, just now", criteria.Inconclusive, func(w *world) evidence.Circuit {
			c := w.circuit("t-acme", "openai", 60, outage(0.01, w.at.Add(-4*scrape), time.Hour))
			open(&c, w.at.Add(-3*scrape), 60, 31, 0, 0)
			return c
		}},
		{"tripped in shadow, never asked", criteria.Fail, func(w *world) evidence.Circuit {
			c := w.circuit("t-acme", "openai", 60, flat(0.01))
			open(&c, w.since.Add(-40*time.Hour), 1, 1, 0, 0)
			return c
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(4)
			c := tt.build(w)
			w.tenant("t-acme", guide(), c)
			f := finding(w.ev, "closes-after-recovery")
			if f.Verdict != tt.want {
				t.Fatalf("want %s, got %s: %s %+v", tt.want, f.Verdict, f.Summary, f.Tenants)
			}
			if wedge := tt.name == "half-open for ever"; wedge && !strings.Contains(f.Evidence[0].Text, "wedged") {
				t.Errorf("the wedge is not called one: %s", f.Evidence[0].Text)
			}
		})
	}
}

// freeze stops outcomes from t on; only denials are counted.
func freeze(c *evidence.Circuit, from time.Time) {
	var last *evidence.Outcome
	ff := 0.0
	for i := range c.Outcomes {
		p := &c.Outcomes[i]
		if p.At().Before(from) {
			last = p
			continue
		}
		ff += 10
		p.Success, p.Failure, p.FailFast = last.Success, last.Failure, last.FailFast+ff
	}
}

func TestNoEpisodeRestsOnTheTwin(t *testing.T) {
	w := newWorld(4)
	w.tenant("t-acme", guide(), w.circuit("t-acme", "openai", 60, flat(0.01)))
	f := finding(w.ev, "closes-after-recovery")
	if f.Verdict != criteria.Pass || f.Basis != criteria.Twin || !f.Proven {
		t.Fatalf("want a proven pass on the twin, got %s %s: %s", f.Verdict, f.Basis, f.Summary)
	}
	w.ev.Tenants[0].Config.HalfOpenMaxCalls, w.ev.Tenants[0].Config.SuccessThreshold = 2, 5
	if f := finding(w.ev, "closes-after-recovery"); f.Verdict != criteria.Fail {
		t.Fatalf("a config that can never close: want fail, got %s: %s", f.Verdict, f.Summary)
	}
}

func TestWorst(t *testing.T) {
	if got := criteria.Worst(); got != criteria.Inconclusive {
		t.Errorf("of nothing: %s", got)
	}
	if got := criteria.Worst(criteria.Pass, criteria.Unmeasurable, criteria.Inconclusive); got != criteria.Unmeasurable {
		t.Errorf("got %s", got)
	}
	if got := criteria.Worst(criteria.Fail, criteria.Unmeasurable); got != criteria.Fail {
		t.Errorf("got %s", got)
	}
	if got := criteria.Worst(criteria.Pass, "nonsense"); got == criteria.Pass {
		t.Errorf("an unknown verdict passed")
	}
}

// Judging by a subset can never be a phase pass, and criteria that this version
// does not judge never pass.
func TestPhaseCannotPassYet(t *testing.T) {
	w := newWorld(4)
	w.tenant("t-acme", guide(), w.circuit("t-acme", "openai", 60, flat(0.01)))
	if e := criteria.Evaluate(w.ev, params(), nil); e.Verdict != criteria.Inconclusive || e.Partial {
		t.Errorf("whole phase: %s, partial %v", e.Verdict, e.Partial)
	}
	e := criteria.Evaluate(w.ev, params(), []string{"no-unexpected-opens", "closes-after-recovery"})
	if e.Verdict != criteria.Pass || !e.Partial {
		t.Errorf("subset: %s, partial %v", e.Verdict, e.Partial)
	}
}

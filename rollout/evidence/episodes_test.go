package evidence_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/evidence"
)

// truth records what the twin really did.
type truth struct {
	now           time.Time
	o             evidence.Outcome
	x             evidence.Transition
	opens, closes []time.Time
}

// Emit implements breaker.Sink: the counters as the router would export them.
func (h *truth) Emit(_ breaker.Key, m breaker.Metric) {
	switch m.Name {
	case "router_circuit_breaker_state_transitions_total":
		switch m.Labels[0].Value + ">" + m.Labels[1].Value {
		case "closed>open":
			h.x.CO++
			h.opens = append(h.opens, h.now)
		case "open>half_open":
			h.x.OH++
		case "half_open>open":
			h.x.HO++
		case "half_open>closed":
			h.x.HC++
			h.closes = append(h.closes, h.now)
		}
	case "router_circuit_breaker_window_requests_total":
		h.x.WindowRequests += m.Value
	case "router_circuit_breaker_events_total":
		switch m.Labels[0].Value {
		case "success":
			h.o.Success += m.Value
		case "failure":
			h.o.Failure += m.Value
		case "fail_fast":
			h.o.FailFast += m.Value
		}
	}
}

// A random history of the twin, scraped at random intervals, is reconstructed:
// as many episodes as opens, and every bound contains the truth.
func TestEpisodesContainTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		h := &truth{now: start}
		reg := breaker.NewRegistry(breaker.Options{Sink: h})
		k := breaker.Key{Tenant: "t-acme", Provider: "openai"}
		cfg := breaker.PolicyDefaults()
		cfg.TimeoutMS, cfg.WindowSeconds = 5000, 20
		reg.Configure(k, cfg, start.UnixMilli())
		c := evidence.Circuit{}
		scrape := func() {
			h.o.T, h.x.T = h.now.UnixMilli(), h.now.UnixMilli()
			c.Outcomes = append(c.Outcomes, h.o)
			c.Transitions = append(c.Transitions, h.x)
		}
		scrape()
		for range rapid.IntRange(20, 300).Draw(t, "steps") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
			ms := h.now.UnixMilli()
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				reg.Failure(k, ms)
			case 1, 2:
				if reg.Allow(k, ms) {
					reg.Success(k, ms)
				}
			case 3:
				reg.Allow(k, ms)
			default:
				if last := c.Outcomes[len(c.Outcomes)-1].At(); h.now.After(last) {
					scrape()
				}
			}
		}
		h.now = h.now.Add(time.Millisecond)
		scrape()
		eps := evidence.Episodes(&c, start, h.now)
		if len(eps) != len(h.opens) {
			t.Fatalf("%d episodes, the twin opened %d times", len(eps), len(h.opens))
		}
		closed := 0
		for i, e := range eps {
			if o := h.opens[i]; !o.After(e.Opened.From) || o.After(e.Opened.To) {
				t.Fatalf("episode %d opened in %v, really at %s", i, e.Opened, o)
			}
			if e.Closed == nil {
				if !e.StillOpen {
					t.Fatalf("episode %d neither closed nor open: %+v", i, e)
				}
				continue
			}
			if cl := h.closes[closed]; !cl.After(e.Closed.From) || cl.After(e.Closed.To) {
				t.Fatalf("episode %d closed in %v, really at %s", i, e.Closed, cl)
			}
			closed++
		}
		if closed != len(h.closes) {
			t.Fatalf("%d closes found, the twin closed %d times", closed, len(h.closes))
		}
		if found := evidence.Contradictions(&c, evidence.Config{FailureThreshold: 5, SuccessThreshold: 2}, start, 4*time.Second); len(found) > 0 {
			t.Fatalf("the twin's own history contradicts itself: %+v", found)
		}
	})
}

func TestTail(t *testing.T) {
	b := evidence.Baseline{Outcomes: 1000, P: 0.01, PUp: 0.01}
	// Binomial(20, 0.01): P(X ≥ 1) = 1 − 0.99^20.
	if got, want := b.Tail(1, 20), 1-math.Pow(0.99, 20); math.Abs(got-want) > 1e-9 {
		t.Errorf("binomial tail %g, want %g", got, want)
	}
	if got := b.Tail(0, 20); got != 1 {
		t.Errorf("no failure is never improbable: %g", got)
	}
	if got := (evidence.Baseline{}).Tail(20, 20); got != 1 {
		t.Errorf("without a baseline nothing is improbable: %g", got)
	}
	clustered := b
	clustered.Rho = 0.2
	if clustered.Tail(10, 20) <= b.Tail(10, 20) {
		t.Error("errors that cluster make ten at once more probable, not less")
	}
	if got, want := b.RunProbability(3), 1e-6; math.Abs(got-want) > 1e-12 {
		t.Errorf("run of three %g, want %g", got, want)
	}
	if clustered.RunProbability(3) <= b.RunProbability(3) {
		t.Error("errors that cluster make runs more probable, not less")
	}
}

// An outage in the baseline must not explain the next one.
func TestBaselineDropsAnOutage(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := evidence.Circuit{}
	var s, f float64
	for i := range 2000 {
		if i >= 1000 && i < 1004 {
			f += 300
		} else {
			s, f = s+297, f+3
		}
		c.Outcomes = append(c.Outcomes, evidence.Outcome{T: start.Add(time.Duration(i) * 5 * time.Minute).UnixMilli(), Success: s, Failure: f})
	}
	b := evidence.BaselineOf(&c, evidence.Interval{From: start, To: start.Add(2000 * 5 * time.Minute)})
	if b.P > 0.011 || b.P < 0.009 || b.PUp <= b.P {
		t.Fatalf("baseline %+v", b)
	}
}

// totals builds a circuit from transition counts a minute.
func totals(ps ...evidence.Transition) (*evidence.Circuit, time.Time) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := &evidence.Circuit{Tenant: "t-acme", Provider: "openai"}
	for i, p := range ps {
		p.T = start.Add(time.Duration(i) * time.Minute).UnixMilli()
		c.Transitions = append(c.Transitions, p)
	}
	return c, start
}

// A reset by remote call emits no transition: it shows by the open after it, or is
// known.
func TestResets(t *testing.T) {
	at := func(m int) time.Time { return time.Date(2026, 3, 1, 0, m, 0, 0, time.UTC) }
	c, start := totals(evidence.Transition{}, evidence.Transition{CO: 1}, evidence.Transition{CO: 1}, evidence.Transition{CO: 2}, evidence.Transition{CO: 2, OH: 1, HC: 1})
	eps := evidence.Episodes(c, start, at(9))
	if len(eps) != 2 || !eps[0].Reset || eps[0].Closed != nil || !eps[0].Ended.To.Equal(at(3)) || eps[1].Closed == nil || eps[1].Reset {
		t.Errorf("an open after an open: %+v", eps)
	}
	c, start = totals(evidence.Transition{}, evidence.Transition{CO: 1, OH: 1}, evidence.Transition{CO: 1, OH: 1}, evidence.Transition{CO: 1, OH: 1})
	if eps := evidence.Episodes(c, start, at(9)); len(eps) != 1 || !eps[0].StillOpen || !eps[0].HalfOpen {
		t.Errorf("half-open, nobody knows of a reset: %+v", eps)
	}
	c.Resets = []int64{at(2).UnixMilli() - 1}
	if eps := evidence.Episodes(c, start, at(9)); len(eps) != 1 || !eps[0].Reset || eps[0].StillOpen || !eps[0].Ended.To.Equal(at(2)) {
		t.Errorf("half-open, and reset: %+v", eps)
	}
}

// Where a step holds the end of one episode and the begin of another, probes are not
// credited to either beyond what each must have had.
func TestSharedStepsAreNotCountedTwice(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 9, 0, 0, time.UTC)
	c, start := totals(evidence.Transition{}, evidence.Transition{CO: 1}, evidence.Transition{CO: 2, OH: 4, HO: 3, HC: 1}, evidence.Transition{CO: 2, OH: 5, HO: 3, HC: 2})
	eps := evidence.Episodes(c, start, at)
	if len(eps) != 2 || eps[0].Closed == nil || eps[1].Closed == nil {
		t.Fatalf("%+v", eps)
	}
	if n := eps[0].FailedProbes + eps[1].FailedProbes; n > 3 {
		t.Errorf("%d failed probes, 3 were counted", n)
	}
}

// A clock that is ahead moves nothing into the shadow that may be the rollout's.
func TestShadowAndClocks(t *testing.T) {
	c, start := totals(evidence.Transition{}, evidence.Transition{CO: 1}, evidence.Transition{CO: 1})
	tenant := evidence.Tenant{ID: "t-acme", Since: start.Add(3 * time.Minute)}
	if eps := tenant.Episodes(c, start.Add(time.Hour), 0); len(eps) != 1 || !eps[0].Shadow {
		t.Errorf("clocks agree: %+v", eps)
	}
	if eps := tenant.Episodes(c, start.Add(time.Hour), 5*time.Minute); len(eps) != 1 || eps[0].Shadow {
		t.Errorf("clocks differ by five minutes: %+v", eps)
	}
	for _, k := range []struct {
		s    evidence.Skew
		want time.Duration
	}{{evidence.Skew{Ahead: time.Hour}, 0}, {evidence.Skew{Measured: true, Ahead: 300 * time.Millisecond}, 0}, {evidence.Skew{Measured: true, Ahead: -time.Minute, Within: time.Second}, 61 * time.Second}, {evidence.Skew{Measured: true, Ahead: 24 * time.Hour}, 10 * time.Minute}} {
		if got := k.s.Slack(); got != k.want {
			t.Errorf("%+v: slack %s, want %s", k.s, got, k.want)
		}
	}
}

package criteria_test

import (
	"math"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// told is the story of that name, with its tenants changed.
func told(t *testing.T, name string, change func(x *history.Tenant)) history.Story {
	t.Helper()
	if history.Raced {
		t.Skip("attacks on the criteria: skipped with the race detector, since judging is not concurrent")
	}
	for _, s := range history.Stories() {
		if s.Name != name {
			continue
		}
		tenants := append([]history.Tenant{}, s.Options.Tenants...)
		for i := range tenants {
			change(&tenants[i])
		}
		s.Options.Tenants = tenants
		return s
	}
	t.Fatalf("no story %q", name)
	return history.Story{}
}

// verdicts judges a story straight from its history.
func verdicts(t *testing.T, s history.Story, spoil func(ev *evidence.Evidence)) map[string]criteria.Finding {
	t.Helper()
	ev, err := s.Direct()
	if err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		spoil(ev)
	}
	out := map[string]criteria.Finding{}
	for _, f := range criteria.Evaluate(ev, s.Request()).Criteria {
		out[f.ID] = f
	}
	return out
}

func want(t *testing.T, got map[string]criteria.Finding, id string, v criteria.Verdict) {
	t.Helper()
	if f := got[id]; f.Verdict != v {
		t.Errorf("%s: %s, want %s: %s", id, f.Verdict, v, f.Summary)
	}
}

// Two tenants that fail at most of their calls all the time are no witnesses: noise on
// a third stays noise.
func TestBrokenWitnessesExcuseNothing(t *testing.T) {
	inhouse := []history.Provider{{Name: "inhouse", Weight: 1}}
	s := told(t, "noise in one of five", func(x *history.Tenant) {
		switch x.ID {
		case "t-cove", "t-dune":
			x.Providers = inhouse
			x.Errors = func(string, time.Time) float64 { return 0.6 }
		case "t-05":
			x.Providers = inhouse
		}
	})
	got := verdicts(t, s, nil)
	for _, id := range []string{"no-unexpected-opens", "no-false-positives", "no-tenant-wide-open"} {
		want(t, got, id, criteria.Fail)
	}
}

// An outage that one tenant had alone, however long, compares nobody.
func TestAnOutageOfOneIsNotShared(t *testing.T) {
	from := history.Enabled().Add(60 * time.Hour)
	s := told(t, "five steady tenants", func(x *history.Tenant) {
		usual := x.Errors
		if x.ID == "t-03" {
			x.Errors = func(p string, at time.Time) float64 {
				if p == "openai" && !at.Before(from) && at.Before(from.Add(time.Hour)) {
					return 1
				}
				return usual(p, at)
			}
		}
	})
	want(t, verdicts(t, s, nil), "consistent-across-tenants", criteria.Inconclusive)
}

// A tenant with thousands of requests a minute has failures at every moment, and can
// be shown to pass all the same.
func TestBusyTenantsPass(t *testing.T) {
	s := told(t, "outage for all", func(x *history.Tenant) {
		if x.ID == "t-acme" {
			x.PerMinute = 3000
		}
	})
	for id, f := range verdicts(t, s, nil) {
		if f.Broken || f.Verdict != s.Want[id] {
			t.Errorf("%s: %s, broken %v: %s", id, f.Verdict, f.Broken, f.Summary)
		}
	}
}

// A breaker that never opens while its provider fails keeps nothing away.
func TestABreakerThatNeverOpens(t *testing.T) {
	cfg := history.GuideConfig()
	cfg.FailureThreshold, cfg.ErrorRateThreshold = 100, 1.01
	from := history.Enabled().Add(100 * time.Hour)
	s := told(t, "tuned tenants", func(x *history.Tenant) {
		if x.ID == "t-08" {
			x.Configs = []history.Loaded{{At: history.Enabled(), Enabled: true, Config: cfg}}
			x.Errors = func(p string, at time.Time) float64 {
				if p == "openai" && !at.Before(from) && at.Before(from.Add(30*time.Minute)) {
					return 0.7
				}
				return 0.004
			}
		}
	})
	want(t, verdicts(t, s, nil), "wasted-calls-reduced", criteria.Fail)
}

// An outage that begins in a busy evening and ends in a quiet night may take long to
// close: few requests ask.
func TestAnOutageIntoTheNight(t *testing.T) {
	from := history.Enabled().Add(34 * time.Hour)
	s := told(t, "outage for all", func(x *history.Tenant) {
		x.Errors = func(p string, at time.Time) float64 {
			if p == "openai" && !at.Before(from) && at.Before(from.Add(8*time.Hour)) {
				return 1
			}
			return 0.0005
		}
		if x.ID == "t-acme" {
			x.PerMinute = 40
			x.Traffic = func(at time.Time) float64 {
				if at.After(from.Add(4*time.Hour)) && at.Before(from.Add(14*time.Hour)) {
					return 0.004
				}
				return 1
			}
		}
	})
	want(t, verdicts(t, s, nil), "closes-after-recovery", criteria.Pass)
}

// A breaker that is off on disk fails nothing: it is not judged.
func TestABreakerThatIsOffOnDisk(t *testing.T) {
	s := told(t, "an inert breaker", func(*history.Tenant) {})
	for id, f := range verdicts(t, s, func(ev *evidence.Evidence) { ev.Tenants[0].Config.Enabled = false }) {
		if f.Verdict == criteria.Fail || f.Verdict == criteria.Pass && f.Basis != criteria.Attested {
			t.Errorf("%s: %s: %s", id, f.Verdict, f.Summary)
		}
	}
}

// A query of the tenant's error rate that cannot be used is no reason to pass.
func TestTenantErrorRateThatCannotBeUsed(t *testing.T) {
	wobble := func(at time.Time) float64 {
		h := float64(at.Unix()) / 3600
		return 0.004 + 0.0001*math.Sin(h*17.3) + 0.0001*math.Sin(h*5.1)
	}
	s := told(t, "steady", func(*history.Tenant) {})
	for name, v := range map[string]func(at time.Time) (float64, bool){
		"percent": func(at time.Time) (float64, bool) { return 100 * wobble(at) * 5, true },
		"it ends 30 hours after enabling": func(at time.Time) (float64, bool) {
			return wobble(at), at.Before(history.Enabled().Add(30 * time.Hour))
		},
		"it ends with the baseline":  func(at time.Time) (float64, bool) { return wobble(at), at.Before(history.Enabled()) },
		"a baseline of two hours":    func(at time.Time) (float64, bool) { return wobble(at), at.After(history.Enabled().Add(-2 * time.Hour)) },
		"it stands still once it is": func(at time.Time) (float64, bool) { return standing(at, wobble), true },
	} {
		t.Run(name, func(t *testing.T) {
			got := verdicts(t, s, func(ev *evidence.Evidence) { ev.Measures = []evidence.Measure{sampled(s, evidence.TenantErrorRate, v)} })
			want(t, got, "error-rate-not-increased", criteria.Inconclusive)
		})
	}
	good := verdicts(t, s, func(ev *evidence.Evidence) {
		ev.Measures = []evidence.Measure{sampled(s, evidence.TenantErrorRate, func(at time.Time) (float64, bool) { return wobble(at), true })}
	})
	want(t, good, "error-rate-not-increased", criteria.Pass)
}

// A latency that stands still from enabling on measures nothing.
func TestLatencyThatFreezes(t *testing.T) {
	s := told(t, "steady", func(*history.Tenant) {})
	s.Stated.Attestations = s.Stated.Attestations[:1]
	got := verdicts(t, s, func(ev *evidence.Evidence) {
		ev.Measures = []evidence.Measure{sampled(s, evidence.Latency, func(at time.Time) (float64, bool) {
			return standing(at, func(at time.Time) float64 { return 0.3 + 0.01*math.Sin(float64(at.Unix())/900) }), true
		})}
	})
	want(t, got, "latency-not-degraded", criteria.Unmeasurable)
}

// standing stands still from enabling on.
func standing(at time.Time, v func(time.Time) float64) float64 {
	if at.After(history.Enabled()) {
		at = history.Enabled()
	}
	return v(at)
}

// sampled is a measure of t-acme every five minutes.
func sampled(s history.Story, name string, v func(at time.Time) (float64, bool)) evidence.Measure {
	m := evidence.Measure{Name: name, Expr: "q", Step: 5 * time.Minute}
	x := evidence.MeasureSeries{Labels: "{}", Tenant: "t-acme"}
	for at := s.Options.Start; !at.After(s.At); at = at.Add(m.Step) {
		if y, ok := v(at); ok {
			x.Times, x.Values = append(x.Times, at.UnixMilli()), append(x.Values, y)
		}
	}
	m.Series = []evidence.MeasureSeries{x}
	return m
}

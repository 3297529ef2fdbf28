package scenario_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

func clock() time.Time { return time.Unix(0, 0) }

func run(t *testing.T, s scenario.Scenario) scenario.Result {
	t.Helper()
	return s.Run(t.Context(), scenario.Options{Now: clock, Seed: 1})
}

func failed(r scenario.Result) string {
	out := ""
	for _, c := range r.Checks {
		if c.Verdict != scenario.Pass && c.Verdict != scenario.Reports {
			out += fmt.Sprintf("\n  %s: %s: %s, expected %s (%s)", c.Circuit, c.Text, c.Actual, c.Expected, c.Verdict)
		}
	}
	return out
}

func names() []string {
	return []string{"error-spike", "normalization", "window-sizes", "concurrent-load", "stress", "long-window",
		"provider-faults", "metrics", "wedge", "config-swap", "low-traffic"}
}

// The gate has the scenarios that it is said to have, and the twin passes them
// with the guide's parameters.
func TestTheTwinPassesTheGate(t *testing.T) {
	var got []string
	for _, s := range scenario.Gate(scenario.Params{}) {
		got = append(got, s.Name)
		r := run(t, s)
		want := scenario.Pass
		if s.Name == "low-traffic" { // nobody's traffic: nothing to judge
			want = scenario.Reports
		}
		if r.Verdict != want || len(r.Checks) == 0 {
			t.Errorf("%s: %s%s", s.Name, r.Verdict, failed(r))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(names()) {
		t.Errorf("the gate is %v", got)
	}
}

// The same seed shows the same, also where goroutines take turns as they like.
func TestTheSameSeedShowsTheSame(t *testing.T) {
	for _, s := range scenario.Gate(scenario.Params{Length: time.Minute}) {
		if s.Name == "low-traffic" {
			s.Circuits = s.Circuits[:1]
		}
		first := run(t, s)
		for range 5 {
			if d := cmp.Diff(first, run(t, s), cmpopts.IgnoreUnexported(scenario.Bin{})); d != "" {
				t.Errorf("%s (-first +again):\n%s", s.Name, d)
			}
		}
		other := s.Run(t.Context(), scenario.Options{Now: clock, Seed: 2})
		if other.Seed = 1; s.Name == "low-traffic" && cmp.Equal(first, other, cmpopts.IgnoreUnexported(scenario.Bin{})) {
			t.Error("the seed changes nothing")
		}
	}
}

// What depends on the order of goroutines is not told, unless it went wrong.
func TestGoroutinesTellNoNumbers(t *testing.T) {
	load := scenario.Send{Verb: scenario.Requests, Count: 400, Workers: 20, Parallel: true, Outcomes: []scenario.Outcome{"success", "failure"}}
	s := scenario.Scenario{Circuits: []scenario.Circuit{{Config: breaker.PolicyDefaults(), Steps: []scenario.Step{load, scenario.Expect{Expectations: []scenario.Expectation{
		scenario.AtLeast("events", 1), scenario.Is("state", "open", "closed"), scenario.Reported("fail_fasts", ""), scenario.Equals("events", 400), scenario.AtLeast("events", 401),
	}}}}}}
	r := run(t, s)
	var got []string
	for _, c := range r.Checks {
		got = append(got, c.Actual)
	}
	want := []string{"at least 1", "open or closed", "depends on the order of the goroutines", "400", "400"}
	if d := cmp.Diff(want, got); d != "" || r.Circuits[0].Counted != nil || r.Circuits[0].Opened != nil {
		t.Errorf("(-want +got):\n%s%+v", d, r.Circuits[0])
	}
}

// configs that a tenant may have: each can open and close.
func configs() map[string]breaker.Config {
	c := breaker.PolicyDefaults()
	phase3 := breaker.Config{FailureThreshold: 10, SuccessThreshold: 2, TimeoutMS: 60_000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.6, WindowSeconds: 120}
	countOnly := phase3
	countOnly.ErrorRateThreshold, countOnly.FailureThreshold = 1.01, 20
	quick := breaker.Config{FailureThreshold: 1, SuccessThreshold: 1, TimeoutMS: 1000, HalfOpenMaxCalls: 1, ErrorRateThreshold: 1, WindowSeconds: 1}
	long := breaker.Config{FailureThreshold: 100, SuccessThreshold: 10, TimeoutMS: 300_000, HalfOpenMaxCalls: 100, ErrorRateThreshold: 0.01, WindowSeconds: 3600}
	return map[string]breaker.Config{"defaults": c, "phase 3": phase3, "count only": countOnly, "quick": quick, "long": long}
}

func TestAnyConfigThatCanCloseGoesThrough(t *testing.T) {
	for name, c := range configs() {
		for _, s := range scenario.Gate(scenario.Params{Config: &c}) {
			if r := run(t, s); r.Verdict != scenario.Pass && r.Verdict != scenario.Reports {
				t.Errorf("%s, %s: %s%s", name, s.Name, r.Verdict, failed(r))
			}
		}
	}
}

// Property: whatever numbers a policy holds, the gate ends soon and says something:
// the router validates none of them.
func TestTheGateTakesAnyConfig(t *testing.T) {
	any64 := rapid.OneOf(rapid.Int64Range(-2, 12), rapid.SampledFrom([]int64{100, 3600, 300_000, 1 << 31, 1 << 40, math.MaxInt64, math.MinInt64}))
	rapid.Check(t, func(t *rapid.T) {
		c := breaker.Config{
			FailureThreshold: any64.Draw(t, "failure_threshold"), SuccessThreshold: any64.Draw(t, "success_threshold"),
			TimeoutMS: any64.Draw(t, "timeout_ms"), HalfOpenMaxCalls: any64.Draw(t, "half_open_max_calls"),
			ErrorRateThreshold: rapid.SampledFrom([]float64{0.5, 0, -1, 1, 1.01, 1e300, 1e-300}).Draw(t, "error_rate_threshold"),
			WindowSeconds:      any64.Draw(t, "window"), LatencyThresholdMS: any64.Draw(t, "latency"),
		}
		for _, live := range []bool{false, true} {
			for _, s := range scenario.Gate(scenario.Params{Config: &c, Live: live, Length: time.Minute}) {
				n := 0
				for _, x := range s.Circuits {
					if x.Duration() < 0 {
						t.Fatalf("%s, %s takes %s", s.Name, x.Name, x.Duration())
					}
					n += x.Requests()
				}
				if n < 0 || n > 200_000 {
					t.Fatalf("%s makes %d requests", s.Name, n)
				}
				if live || n > 2_000 {
					continue
				}
				r := s.Run(context.Background(), scenario.Options{Now: clock, Seed: 1})
				wedged := c.SuccessThreshold > max(c.HalfOpenMaxCalls, 1)
				if s.Name == "wedge" && wedged && r.Verdict == scenario.Pass {
					t.Fatalf("%+v can never close, and passes", c)
				}
			}
		}
	})
}

// Every expectation of the gate can fail: for each there is a breaker, broken on
// purpose, on which it does.
func TestEveryExpectationOfTheGateCanFail(t *testing.T) {
	if testing.Short() {
		t.Skip("the gate on every broken breaker: skipped by -short")
	}
	quiet := &scenario.TenantTraffic{PerMinute: 10, Providers: 3, ErrorRate: 0.001, Trough: 0.5, For: 6 * time.Hour, MaxOpensPerDay: 100}
	params := map[string]scenario.Params{"guide": {Rate: quiet, Length: time.Minute}}
	for name, c := range configs() {
		params[name] = scenario.Params{Config: &c, Rate: quiet, Length: time.Minute}
	}
	for name, p := range params {
		for _, s := range scenario.Gate(p) {
			left, err := s.CannotFail(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range left {
				e := s.Expectations()[i]
				t.Errorf("%s, %s: expectation %d, %s %s, holds on every broken breaker", name, s.Name, i, e.Measure, e.Text)
			}
		}
	}
}

// Each sabotage is noticed by the gate; one that nothing notices shows nothing.
func TestEverySabotageIsCaught(t *testing.T) {
	for _, sab := range scenario.Sabotages() {
		caught := false
		for _, s := range scenario.Gate(scenario.Params{Length: time.Minute}) {
			if caught || s.Name == "low-traffic" {
				break
			}
			r := s.Run(context.Background(), scenario.Options{Open: sab.Open, Now: clock, Seed: 1})
			caught = r.Verdict == scenario.Fail
		}
		if !caught {
			t.Errorf("a breaker that %s passes the gate", sab.Name)
		}
	}
}

package scenario_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/internal/fault"
)

const head = "apiVersion: cbops/v1\nkind: Scenario\nname: ours\n"

func parse(s string) (scenario.Scenario, error) {
	return scenario.Parse("ours.yaml", []byte(s), breaker.PolicyDefaults())
}

// Every scenario of the gate can be written as a file, and the file does the same:
// the format can say all that the gate needs.
func TestFormatParsesBack(t *testing.T) {
	countOnly := configs()["count only"]
	for _, p := range []scenario.Params{
		{}, {Config: &countOnly},
		{Rate: &scenario.TenantTraffic{PerMinute: 6, Providers: 2, Weights: []float64{70, 30}, ErrorRate: 0.01, Trough: 0.3, For: 24 * time.Hour, MaxOpensPerDay: 50}},
	} {
		for _, s := range scenario.Gate(p) {
			text, err := scenario.Format(s)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "\n  - expect: ") { // low-traffic without a tenant judges nothing
				continue
			}
			got, err := parse(string(text))
			if err != nil {
				t.Fatalf("%s: %v\n%s", s.Name, err, text)
			}
			got.Path = ""
			if d := cmp.Diff(run(t, s), run(t, got), cmpopts.IgnoreFields(scenario.Result{}, "Title"), cmpopts.IgnoreFields(scenario.Check{}, "Place"), cmpopts.IgnoreUnexported(scenario.Bin{})); d != "" {
				t.Errorf("%s (-gate +file):\n%s\n%s", s.Name, d, text)
			}
		}
	}
}

func TestParseReadsATeamsScenario(t *testing.T) {
	s, err := parse(head + `title: our own
target: 2s
breaker: {failure_threshold: 3, timeout_ms: 2000}
steps:
  - record: {count: 20, outcome: success}
  - send: {count: 3, outcomes: [5xx, timeout], latency: 1s, every: 10ms}
  - wait: 2s
  - expect: {state: open, opens: {min: 1, max: 1}}
  - expect: {opened_at_failure: 3, text: opens at the third}
  - circuit: {name: swapped, breaker: {error_rate_threshold: 0.2}}
  - configure: {timeout_ms: 5000}
  - traffic: {per_minute: 60, for: 1h, failures: 0.5}
  - ask: 1
  - show: error_rate
  - expect: {opens: {min: 1}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Circuits) != 2 || s.Target != 2*time.Second || s.Circuits[0].Config.FailureThreshold != 3 || s.Circuits[0].Config.SuccessThreshold != 2 ||
		s.Circuits[1].Config.TimeoutMS != 2000 || s.Circuits[1].Config.ErrorRateThreshold != 0.2 || s.Circuits[1].Name != "swapped" {
		t.Errorf("%+v", s)
	}
	if r := run(t, s); r.Verdict != scenario.Pass {
		t.Errorf("%s%s", r.Verdict, failed(r))
	}
	if left, err := s.CannotFail(t.Context(), 1); err != nil || len(left) > 0 {
		t.Errorf("cannot fail: %v, %v", left, err)
	}
}

// Whatever is wrong is refused, with its place, as a usage error.
func TestParseRefuses(t *testing.T) {
	ok := "steps:\n  - record: {count: 1, outcome: failure}\n  - expect: {state: open}\n"
	steps := func(s string) string { return head + "steps:\n  - record: {count: 1, outcome: failure}\n" + s }
	for _, tt := range []struct{ name, file, place, says string }{
		{"empty", "", "1:1", "empty"},
		{"not YAML", "steps: [", "1:1", "not YAML"},
		{"a tab", head + "steps:\n\t- ask: 1\n", "5:1", "not YAML"},
		{"invalid UTF-8", head + "title: \xff\n", "4:8", "invalid UTF-8: byte 0xff"},
		{"two documents", head + ok + "---\nx: 1\n", "7:1", "more than one YAML document"},
		{"a list", "- 1\n", "1:1", "scenario is a list, want a mapping"},
		{"no version", "kind: Scenario\nname: x\n" + ok, "1:1", `apiVersion is ""`},
		{"another kind", strings.Replace(head, "Scenario", "Rollout", 1) + ok, "1:1", `kind is "Rollout"`},
		{"no name", strings.Replace(head, "name: ours\n", "", 1) + ok, "1:1", "no name"},
		{"a bad name", strings.Replace(head, "ours", "../x", 1) + ok, "3:7", "name is \"../x\""},
		{"no steps", head, "1:1", "no steps"},
		{"unknown key", head + "step: []\n" + ok, "4:1", `unknown key "step"`},
		{"unknown verb", steps("  - sned: {count: 1, outcome: failure}\n"), "6:5", `unknown key "sned"`},
		{"unknown field", steps("  - send: {cuont: 1, outcome: failure}\n"), "6:12", `unknown key "cuont"`},
		{"unknown config field", head + "breaker: {open_timeout_ms: 1}\n" + ok, "4:11", `unknown key "open_timeout_ms"`},
		{"unknown measure", steps("  - expect: {stat: open}\n"), "6:14", `unknown key "stat"`},
		{"duplicate key", head + "name: twice\n" + ok, "4:1", `duplicate key "name"`},
		{"an alias", head + "breaker: &b {timeout_ms: 1000}\nsteps:\n  - circuit: *b\n", "6:14", "an alias"},
		{"two verbs", steps("  - ask: 1\n    wait: 2s\n"), "6:5", "a step does one thing"},
		{"a wrong type", head + "breaker: {timeout_ms: \"2000\"}\n" + ok, "4:23", `timeout_ms is "2000", want a whole number`},
		{"a float for a count", steps("  - ask: 1.5\n"), "6:10", "want a whole number"},
		{"not a number", head + "breaker: {error_rate_threshold: .nan}\n" + ok, "4:33", "want a number"},
		{"a number that overflows", steps("  - ask: 99999999999999999999\n"), "6:10", "want a whole number"},
		{"a bad duration", steps("  - wait: 2000\n"), "6:11", "want a duration"},
		{"a negative duration", steps("  - wait: -1s\n"), "6:11", "out of bounds"},
		{"less than a millisecond", steps("  - wait: 1us\n"), "6:11", "milliseconds, no less"},
		{"too long", steps("  - wait: 400h\n  - wait: 400h\n  - expect: {state: open}\n"), "7:5", "more than 31 days"},
		{"too many requests", steps("  - record: {count: 2000000, outcome: success}\n  - expect: {state: open}\n"), "5:3", "at most 2000000"},
		{"too much traffic", steps("  - traffic: {per_minute: 2000000, for: 1h}\n  - expect: {opens: 1}\n"), "5:3", "at most 2000000"},
		{"no outcome", steps("  - send: {count: 1}\n"), "6:11", "want outcome, outcomes or failures"},
		{"outcome twice", steps("  - send: {count: 1, outcome: failure, failures: 0.5}\n"), "6:11", "only one of them"},
		{"unheard outcome", steps("  - send: {count: 1, outcome: 4xx}\n"), "6:31", `outcome is "4xx"`},
		{"record nothing", steps("  - record: {count: 1, outcome: none}\n"), "6:13", "cannot be recorded"},
		{"parallel alone", steps("  - send: {count: 1, outcome: failure, parallel: true}\n"), "6:11", "parallel needs workers"},
		{"parallel and late", steps("  - send: {count: 2, workers: 2, outcome: timeout, parallel: true}\n"), "6:11", "cannot come later"},
		{"more circuits than workers", steps("  - send: {count: 2, spread: 2, outcome: failure}\n"), "6:11", "more circuits than workers"},
		{"traffic of nothing", steps("  - traffic: {for: 1h}\n"), "6:14", "per_minute and for"},
		{"weightless", steps("  - traffic: {per_minute: 1, for: 1h, weights: [1, 0]}\n"), "6:52", "weight 0 is out of bounds"},
		{"expects nothing", steps(""), "5:3", "expects nothing, so it cannot fail"},
		{"only shows", steps("  - show: state\n"), "5:3", "expects nothing, so it cannot fail"},
		{"shows what there is not", steps("  - show: wind\n"), "6:11", "want a measure"},
		{"an empty expectation", steps("  - expect: {}\n"), "6:13", "names no measure, so it cannot fail"},
		{"no bound", steps("  - expect: {opens: {}}\n"), "6:14", "no bound"},
		{"any count", steps("  - expect: {opens: {min: 0}}\n"), "6:14", "cannot fail: opens is 0 or more anyway"},
		{"any rate", steps("  - expect: {error_rate: {min: 0, max: 1}}\n"), "6:14", "cannot fail: error_rate is 0 to 1 anyway"},
		{"any state", steps("  - expect: {state: [open, closed, half_open]}\n"), "6:14", "cannot fail: state is always one of these"},
		{"no state", steps("  - expect: {state: []}\n"), "6:14", "can never hold"},
		{"contradictory bounds", steps("  - expect: {opens: {min: 3, max: 2}}\n"), "6:14", "can never hold: its least, 3, is above its most, 2"},
		{"a rate above 1", steps("  - expect: {error_rate: {min: 1.1}}\n"), "6:14", "can never hold: error_rate is 0 to 1"},
		{"half an open", steps("  - expect: {opens: 0.5}\n"), "6:14", "whole number"},
		{"a state there is not", steps("  - expect: {state: ajar}\n"), "6:14", `state is never "ajar"`},
		{"asks without asking", steps("  - expect: {asks: denied}\n"), "6:5", "no step before it asks"},
		{"opens a day in no time", steps("  - expect: {opens_per_day: 1}\n"), "6:5", "no time has passed"},
		{"the state of several", steps("  - send: {count: 2, workers: 2, spread: 2, outcome: failure}\n  - expect: {state: open}\n"), "7:5", "several circuits"},
		{"a control character", head + "title: \"a\\x1b[31m\"\n" + ok, "4:8", "one line"},
		{"several problems", head + "titel: x\nbraeker: {}\n" + ok, "4:1", "(and 1 more)"},
		{"enormous", head + "# " + strings.Repeat("x", scenario.MaxBytes), "1:1", "larger than 1 MiB"},
		{"too many steps", head + "steps:\n" + strings.Repeat("  - ask: 1\n", 1001), "1005:5", "more than 1000"},
		{"deep", strings.Repeat("[", 50_000), "1:1", "not YAML"},
	} {
		_, err := parse(tt.file)
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, "ours.yaml:"+tt.place+": ") || !strings.Contains(got, tt.says) {
			t.Errorf("%s: %.200s\n want ours.yaml:%s: … %s", tt.name, got, tt.place, tt.says)
		}
		if fault.CodeOf(err) != fault.Usage || len(err.Error()) > 600 {
			t.Errorf("%s: code %d, %d bytes", tt.name, fault.CodeOf(err), len(err.Error()))
		}
	}
}

func TestParseSuggests(t *testing.T) {
	_, err := parse(head + "steps:\n  - exepct: {state: open}\n")
	if h := fault.HintsOf(err); len(h) != 1 || h[0] != `did you mean "expect"?` {
		t.Errorf("%v: hints %q", err, h)
	}
}

// An expectation can be well formed and still test nothing; running the scenario
// on broken breakers finds it.
func TestCannotFailFindsExpectationsThatTestNothing(t *testing.T) {
	s, err := parse(head + `steps:
  - record: {count: 10, outcome: success}
  - expect: {memory_bytes: {max: 1000000}}
  - expect: {successes: 10}
  - expect: {consecutive_failures: {max: 50}}
`)
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.CannotFail(t.Context(), 1)
	if err != nil || fmt.Sprint(left) != "[0 2]" {
		t.Errorf("%v, %v: want expectations 0 and 2", left, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range scenario.Gate(scenario.Params{}) {
		text, err := scenario.Format(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(head + "steps: &a [*a]\n"))
	f.Add([]byte(head + "breaker: {<<: {timeout_ms: 1}}\nsteps: []\n"))
	place := regexp.MustCompile(`^ours\.yaml:\d+:\d+: `)
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := scenario.Parse("ours.yaml", raw, breaker.PolicyDefaults())
		if err != nil {
			var fe *fault.Error
			if !place.MatchString(err.Error()) || !errors.As(err, &fe) || fault.CodeOf(err) != fault.Usage {
				t.Fatalf("an error without place or code: %v", err)
			}
			return
		}
		n := 0
		for _, c := range s.Circuits {
			if c.Duration() < 0 || c.Duration() > scenario.MaxDuration {
				t.Fatalf("accepted, and takes %s", c.Duration())
			}
			n += c.Requests()
		}
		if n > scenario.MaxRequests+1000 {
			t.Fatalf("accepted, and makes %d requests", n)
		}
		if n > 20_000 {
			return // no time for it here
		}
		r := run(t, s)
		again, err := scenario.Format(s)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parse(string(again))
		if err != nil {
			t.Fatalf("what Format writes is refused: %v\n%s", err, again)
		}
		b.Path = s.Path
		if d := cmp.Diff(r, run(t, b), cmpopts.IgnoreFields(scenario.Check{}, "Place"), cmpopts.IgnoreUnexported(scenario.Bin{})); d != "" && len(s.Deviations) < 2 {
			t.Fatalf("what Format writes does something else:\n%s\n%s", d, again)
		}
	})
}

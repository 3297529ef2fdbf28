package doctor

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

func practice(t testing.TB, opt PracticeOptions) *Practice {
	t.Helper()
	p, err := NewPractice(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func alert(name, expr string, hold time.Duration) ServerRule {
	return ServerRule{Group: "own", Rule: promlab.Rule{Alert: name, Expr: expr, For: hold}, Health: "ok"}
}

// emitted is the router's own dialect with the labels that scrapes add.
func emitted() Dialect {
	return Dialect{Extra: map[string]string{"cluster": "prod", "job": "llm-router"}}
}

func find(t *testing.T, r AlertReport, name string) AlertFinding {
	t.Helper()
	for _, f := range r.Alerts {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("nothing was found about %s", name)
	return AlertFinding{}
}

func report(t *testing.T, p *Practice, in AlertInput) AlertReport {
	t.Helper()
	r, err := p.Alerts(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verdicts are what is wrong with each documented alert.
func verdicts() map[string]string {
	return map[string]string{
		"RouterCircuitBreakerOpened":                "cannot fire: router_circuit_breaker_state_transitions_total has no label state, so {state=\"open\"} selects nothing",
		"RouterCircuitBreakerHighFailureRate":       "does not fire in the histories outage, probes: its denominator counts fail_fast",
		"RouterCircuitBreakerMultipleProvidersOpen": "cannot fire: router_circuit_breaker_state_transitions_total has no label state",
		"RouterCircuitBreakerHalfOpenProbesFailed":  "cannot fire: router_circuit_breaker_state_transitions_total has no label state",
		"CircuitBreakerLatencyThresholdExceeded":    `cannot fire: increase() is always 0: router_circuit_breaker_trigger_reason{reason="latency_threshold_exceeded"} is set once`,
		"CircuitBreakerFailureThresholdExceeded":    `cannot fire: increase() is always 0: router_circuit_breaker_trigger_reason{reason="failure_threshold_exceeded"} is set once`,
		"CircuitBreakerErrorRateExceeded":           `cannot fire: increase() is always 0: router_circuit_breaker_trigger_reason{reason="error_rate_threshold_exceeded"} is set once`,
		"CircuitBreakerHalfOpenFailures":            `cannot fire: rate() is always 0: router_circuit_breaker_trigger_reason{reason="half_open_failure"} is set once`,
		"CircuitBreakerMultipleCircuitBreakersOpen": `never resolves: router_circuit_breaker_state{state="open"} still reads 1, 2h10m after the fault was over`,
		"CircuitBreakerOpenTooLong":                 "cannot fire: nothing emits router_circuit_breaker_last_transition_timestamp",
		"CircuitBreakerFlapping":                    "",
	}
}

// The documented alerts on the dialect that the router emits, and their replacements:
// each fires where it must, is silent where it must be, and resolves.
func TestDocumentedAlerts(t *testing.T) {
	var in AlertInput
	for _, d := range (Dialect{}).catalogue() {
		r := alert(d.name, d.expr, d.hold)
		r.Labels = map[string]string{"severity": d.severity}
		in.Rules = append(in.Rules, r)
	}
	in.Known = true
	for name, opt := range map[string]PracticeOptions{
		"every minute":     {Dialect: emitted()},
		"every 15 seconds": {Dialect: emitted(), Scrape: 15 * time.Second, Evaluation: 30 * time.Second},
	} {
		r := report(t, practice(t, opt), in)
		if len(r.Alerts) != len(verdicts()) || r.Dialect != "emitted" {
			t.Fatalf("%s: %d alerts in the dialect %s", name, len(r.Alerts), r.Dialect)
		}
		for _, f := range r.Alerts {
			want, ok := verdicts()[f.Name]
			switch {
			case !ok || !f.Documented || f.Loaded != "yes" || f.Intent == "":
				t.Errorf("%s: %s is not known as documented and loaded: %+v", name, f.Name, f)
			case want == "" && f.Verdict != criteria.Pass:
				t.Errorf("%s: %s is %s: %s", name, f.Name, f.Verdict, f.Summary)
			case want != "" && (f.Verdict != criteria.Fail || !strings.HasPrefix(f.Summary, want)):
				t.Errorf("%s: %s is %s: %s\nwant %s", name, f.Name, f.Verdict, f.Summary, want)
			case want != "" && (f.Replacement == nil || !f.Replacement.Proven || f.Replacement.Note == ""):
				t.Errorf("%s: %s has no proven replacement: %+v", name, f.Name, f.Replacement)
			}
		}
	}
}

// A replacement that is loaded passes under its own name.
func TestReplacementsPass(t *testing.T) {
	p := practice(t, PracticeOptions{Dialect: emitted()})
	e, err := p.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, p, AlertInput{Rules: FromGroups(e.Groups), Known: true})
	for _, f := range r.Alerts {
		if f.Verdict != criteria.Pass || !f.Fires || !f.Silent || f.Resolves == nil || !*f.Resolves {
			t.Errorf("%s is %s: %s", f.Name, f.Verdict, f.Summary)
		}
	}
	for _, c := range r.Checks() {
		if c.Verdict != criteria.Pass || len(c.Next) > 0 {
			t.Errorf("%s is %s: %s, next %s", c.ID, c.Verdict, c.Summary, c.Next)
		}
	}
}

// To put the right label into the documented expressions is not enough.
func TestObviousCorrectionsAreNotEnough(t *testing.T) {
	p := practice(t, PracticeOptions{Dialect: emitted()})
	in := AlertInput{Known: true}
	for _, d := range p.opt.Dialect.catalogue() {
		if strings.Contains(d.expr, "state=") && d.required {
			in.Rules = append(in.Rules, alert(d.name, strings.ReplaceAll(d.expr, "state=", "to="), d.hold))
		}
	}
	r := report(t, p, in)
	for name, want := range map[string]string{
		"RouterCircuitBreakerOpened":                "does not fire in the history single-open: rate() is always 0",
		"RouterCircuitBreakerMultipleProvidersOpen": "fires in the history outage, where it must be silent",
		"RouterCircuitBreakerHalfOpenProbesFailed":  "does not fire in the histories outage, tenant, probes: it holds for",
	} {
		if f := find(t, r, name); f.Verdict != criteria.Fail || !strings.HasPrefix(f.Summary, want) {
			t.Errorf("%s is %s: %s\nwant %s", name, f.Verdict, f.Summary, want)
		}
	}
}

func TestNotLoadedAndNotKnown(t *testing.T) {
	p := practice(t, PracticeOptions{})
	r := report(t, p, AlertInput{Known: true})
	if f := find(t, r, "RouterCircuitBreakerOpened"); f.Loaded != "no" || f.Verdict != criteria.Fail || !strings.HasPrefix(f.Summary, "is not loaded; as documented it cannot fire") {
		t.Errorf("not loaded: %s %s: %s", f.Loaded, f.Verdict, f.Summary)
	}
	cs := r.Checks()
	if len(cs) != 4 {
		t.Errorf("%d checks of alerts that are not loaded, want the four that the guide names", len(cs))
	}
	for _, c := range cs {
		if c.Verdict != criteria.Fail || len(c.Next) != 1 || !strings.HasPrefix(c.Next[0], "replace its expression with: ") {
			t.Errorf("%s is %s, next %s", c.ID, c.Verdict, c.Next)
		}
	}
	for _, c := range report(t, p, AlertInput{}).Checks() {
		if c.Verdict != criteria.Unmeasurable || !strings.Contains(c.Summary, "the server's rules could not be read") {
			t.Errorf("unknown rules: %s is %s: %s", c.ID, c.Verdict, c.Summary)
		}
	}
}

func TestServerSaysARuleIsBroken(t *testing.T) {
	p := practice(t, PracticeOptions{})
	bad := alert("Own", mErrorRate+" > 0.5", 0)
	bad.Health, bad.LastError = "err", "many-to-many\x1b[31m matching\nnot allowed"
	f := find(t, report(t, p, AlertInput{Rules: []ServerRule{bad}, Known: true}), "Own")
	if f.Verdict != criteria.Fail || !strings.HasPrefix(f.Summary, "cannot fire: the server cannot evaluate it: many-to-many") {
		t.Errorf("%s: %s", f.Verdict, f.Summary)
	}
}

// Lists are [] in JSON, never null.
func TestReportsHaveNoNulls(t *testing.T) {
	p := practice(t, PracticeOptions{})
	r := report(t, p, AlertInput{Rules: []ServerRule{alert("Own", mErrorRate+" > ", 0), alert("Own2", mErrorRate+" > 0.5", 0)}, Known: true})
	for _, v := range []any{r, r.Checks(), AlertReport{}.Checks(), DashboardReport{}.Checks()} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "null") {
			t.Errorf("null in %.300s", b)
		}
	}
}

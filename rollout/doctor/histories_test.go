package doctor

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cbops/cbops/promquery/promlab"
)

// told is every story at a scrape interval, in the router's own names.
func told(t *testing.T, every time.Duration) map[string]history {
	t.Helper()
	hs, err := tellAll(t.Context(), every, shortest)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]history{}
	for _, h := range hs {
		out[h.name] = h
	}
	return out
}

// value is the sum of what an expression comes to at an instant; "" is no sample.
func value(t *testing.T, h history, expr string, at time.Time) string {
	t.Helper()
	v, err := promlab.NewEngine(time.Minute).Instant(t.Context(), h.store, expr, at)
	if err != nil {
		t.Fatal(err)
	}
	if len(v) == 0 {
		return ""
	}
	sum := 0.0
	for _, s := range v {
		sum += s.F
	}
	return fmt.Sprintf("%.4g", sum)
}

// Each history is what its story says, at the scrape intervals of real deployments. A
// story that does not come true would prove every alert wrong, or right, for nothing.
func TestStoriesComeTrue(t *testing.T) {
	const (
		opened   = `sum(router_circuit_breaker_state_transitions_total{from="closed",to="open"})`
		reopened = `sum(router_circuit_breaker_state_transitions_total{from="half_open",to="open"})`
		closed   = `sum(router_circuit_breaker_state_transitions_total{to="closed"})`
		denied   = `sum(router_circuit_breaker_events_total{event_type="fail_fast"})`
		failing  = `count(router_circuit_breaker_events_total{event_type="failure",tenant_id="t-acme"})`
		rate     = `max(router_circuit_breaker_error_rate{tenant_id="t-acme"})`
		reasons  = `count(router_circuit_breaker_trigger_reason{reason="latency_threshold_exceeded"})`
		requests = `sum(increase(router_circuit_breaker_events_total[1h]))`
		notShut  = opened + " - (" + closed + " or vector(0))"
	)
	for _, every := range []time.Duration{time.Minute, 15 * time.Second} {
		hs := told(t, every)
		for _, tt := range []struct {
			history string
			when    func(history) time.Time
			expr    string
			want    string
		}{
			{hHealthy, atEnd, opened, ""}, {hHealthy, atEnd, failing + " > bool 0", "1"},
			{hNoise, atEnd, opened + " > bool 5", "1"}, {hNoise, atEnd, `count(router_circuit_breaker_trigger_reason{reason="failure_threshold_exceeded"})`, ""},
			{hOutage, inFault, notShut, "3"}, {hOutage, atEnd, notShut, "0"}, {hOutage, atEnd, reopened + " > bool 50", "1"}, {hOutage, atEnd, denied + " > bool 100", "1"},
			{hTenant, inFault, `count(router_circuit_breaker_state{state="open",tenant_id="t-acme"})`, "3"}, {hTenant, inFault, notShut, "3"}, {hTenant, atEnd, notShut, "0"},
			{hProbes, inFault, notShut, "1"}, {hProbes, atEnd, reopened + " > bool 100", "1"}, {hProbes, atEnd, notShut, "0"},
			{hSingle, atEnd, opened, "1"}, {hSingle, atEnd, closed, ""}, {hSingle, atEnd, denied + " > bool 500", "1"},
			{hSingle, atEnd, `sum(increase(router_circuit_breaker_state_transitions_total[4h]))`, "0"},
			{hFlapping, atEnd, opened + " > bool 10", "1"}, {hFlapping, atEnd, notShut, "0"}, {hFlapping, atEnd, reopened, ""},
			{hFlapping, whileOpen, notShut, "1"}, {hFlapping, whileClosed, notShut, "0"},
			{hWedge, atEnd, notShut, "1"}, {hWedge, atEnd, `sum(increase(router_circuit_breaker_events_total{event_type="fail_fast"}[1h])) > bool 100`, "1"},
			{hWedge, atEnd, `sum(increase(router_circuit_breaker_state_transitions_total[1h]))`, "0"},
			{hNoOpen, atEnd, opened, ""}, {hNoOpen, inFault, rate + " > bool 0.6", "1"},
			{hShadow, atEnd, notShut, "1"}, {hShadow, atEnd, denied, ""}, {hShadow, atEnd, `count(router_circuit_breaker_state{state="open",tenant_id!="t-cove"})`, ""},
			{hLatency, atEnd, reasons + " > bool 0", "1"}, {hLatency, atEnd, notShut, "0"}, {hLatency, atEnd, `count(router_circuit_breaker_trigger_reason{reason="failure_threshold_exceeded"})`, ""},
			{hRestart, inFault, notShut, "3"}, {hRestart, atEnd, notShut, "0"}, {hRestart, atEnd, `sum(resets(router_circuit_breaker_events_total{event_type="success"}[3h])) > bool 0`, "1"},
			{hGap, func(h history) time.Time { return h.fault.Add(10 * time.Minute) }, opened, ""}, {hGap, func(h history) time.Time { return h.fault.Add(10 * time.Minute) }, "up", "0"},
			{hGap, func(h history) time.Time { return h.fault.Add(-time.Minute) }, notShut, "0"}, {hGap, atEnd, opened, "3"}, {hGap, atEnd, "up", "1"},
			{hSilence, atEnd, notShut, "0"}, {hSilence, atEnd, requests, "0"}, {hSilence, atEnd, rate + " > bool 0.01", "1"},
		} {
			h, ok := hs[tt.history]
			if !ok {
				t.Fatalf("no history %s", tt.history)
			}
			if got := value(t, h, tt.expr, tt.when(h)); got != tt.want {
				t.Errorf("scrapes every %s, history %s: %s is %q, want %q", every, tt.history, tt.expr, got, tt.want)
			}
		}
		for name, h := range hs {
			if h.lasting || h.dirty {
				continue
			}
			if got := value(t, h, opened, h.fault); got != "" {
				t.Errorf("history %s: %s opens before the fault", name, got)
			}
		}
	}
}

func lines(s *promlab.Store) []string {
	var out []string
	s.Each(func(lset map[string]string, samples func(func(time.Time, float64) bool)) {
		line := fmt.Sprint(lset)
		samples(func(t time.Time, v float64) bool { line += fmt.Sprintf(" %d:%g", t.Unix(), v); return true })
		out = append(out, line)
	})
	return out
}

func TestSameHistoriesEveryTime(t *testing.T) {
	a, b := told(t, time.Minute), told(t, time.Minute)
	for name := range a {
		if d := cmp.Diff(lines(a[name].store), lines(b[name].store)); d != "" {
			t.Errorf("history %s differs from run to run:\n%.2000s", name, d)
		}
	}
}

// A dialect renames what is stored, drops what does not exist there, and adds up what
// lost the label that told it apart.
func TestDialectStores(t *testing.T) {
	d := Dialect{Metrics: map[string]string{mEvents: "llm_breaker_events_total", mErrorRate: ""}, Labels: map[string]string{"tenant_id": "tenant", "from": ""},
		Extra: map[string]string{"cluster": "prod", "job": "llm-router"}}
	h := told(t, time.Minute)[hOutage]
	r, err := h.relabelled(d)
	if err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]string{
		mEvents:    "",
		mErrorRate: "",
		`count(llm_breaker_events_total{tenant="t-acme",cluster="prod",job="llm-router",tenant_id=""}) > bool 0`: "1",
		`count(router_circuit_breaker_state_transitions_total{from!=""})`:                                        "",
		`up{job="llm-router",cluster="prod"}`:                                                                    "1",
	} {
		if got := value(t, r, expr, r.to); got != want {
			t.Errorf("%s is %q, want %q", expr, got, want)
		}
	}
	const to = `sum(router_circuit_breaker_state_transitions_total{to="open"})`
	if a, b := value(t, h, to, h.to), value(t, r, to, r.to); a != b || a == "" {
		t.Errorf("opens with from %s, without it %s", a, b)
	}
}

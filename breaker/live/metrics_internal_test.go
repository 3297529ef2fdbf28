package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func observed(t *testing.T, e exposition, tenant, provider string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for k, v := range e.of(tenant, provider).observe() {
		if len(v.Words) > 0 {
			out[k] = strings.Join(v.Words, " ")
		}
	}
	return out
}

// The recorded answer of the router is read as it is, without its final newline,
// and also where HELP and TYPE come again.
func TestParseTheRecording(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "rollout", "lab", "testdata", "router.prom"))
	if err != nil {
		t.Fatal(err)
	}
	again := append(append(append([]byte{}, raw...), '\n'), raw...)
	for name, text := range map[string][]byte{"as recorded": raw, "twice over": again} {
		e, err := parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mid := observed(t, e, "t-mid", "openai")
		if mid["state"] != "closed" || mid["states"] != "open half_open open half_open closed" {
			t.Errorf("%s: t-mid is %v; state=\"open\" still reads 1, which must not count", name, mid)
		}
		if got := observed(t, e, "t-shadow", "openai")["state"]; got != "open" {
			t.Errorf("%s: t-shadow is %q", name, got)
		}
		o := e.of("t-low", "openai").observe()
		if o["opened_at_failure"].Number != 1 || o["opens"].Number != 1 {
			t.Errorf("%s: t-low: %v", name, o)
		}
		if n := len(e.of("t-nobody", "openai").series); n != 0 {
			t.Errorf("%s: %d series of a tenant that there is not", name, n)
		}
	}
}

func TestPathOf(t *testing.T) {
	for _, tt := range []struct {
		co, oh, ho, hc float64
		want           string
		ok             bool
	}{
		{0, 0, 0, 0, "", true},
		{1, 0, 0, 0, "open", true},
		{1, 2, 1, 1, "open half_open open half_open closed", true},
		{2, 2, 0, 2, "open half_open closed open half_open closed", true},
		{2, 3, 1, 2, "", false}, // in which episode did it reopen?
		{1, 0, 0, 1, "", false}, // closed without half-open
		{0, 1, 0, 0, "", false}, // half-open without open
		{0.5, 0, 0, 0, "", false},
		{-1, 0, 0, 0, "", false},
		{1e18, 0, 0, 0, "", false},
	} {
		got, ok := pathOf(tt.co, tt.oh, tt.ho, tt.hc)
		if ok != tt.ok || strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %v %v", tt, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# HELP a b\nrouter_circuit_breaker_events_total{tenant_id=\"t\",provider_id=\"p\",event_type=\"success\"} 3"))
	f.Add([]byte("router_circuit_breaker_state_transitions_total{tenant_id=\"t\",provider_id=\"p\",from=\"closed\",to=\"open\"} NaN\n"))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := parse(raw)
		if err != nil {
			return
		}
		for k, v := range e.of("t", "p").observe() {
			if k == "state" && len(v.Words) != 1 {
				t.Fatalf("state %v", v)
			}
		}
	})
}

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/router"
)

// labClock is a clock that stands until it is moved.
type labClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *labClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *labClock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

func served(t *testing.T, o Options) (*httptest.Server, *labClock) {
	t.Helper()
	c := &labClock{now: start()}
	o.Start = c.now
	w, err := NewWorld(o)
	check(t, err)
	s := httptest.NewServer(NewServer(w, 1, c.Now, c.sleep))
	t.Cleanup(s.Close)
	return s, c
}

func post(t *testing.T, s *httptest.Server, body string) (int, WireAnswer) {
	t.Helper()
	resp, err := http.Post(s.URL+RequestPath, "application/json", strings.NewReader(body))
	check(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	var a WireAnswer
	if resp.StatusCode != http.StatusBadRequest {
		check(t, json.Unmarshal(raw, &a))
	}
	return resp.StatusCode, a
}

func metricsOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	resp, err := http.Get(s.URL + MetricsPath)
	check(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(raw)
}

func want(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+text+"\n", "\n"+l+"\n") {
			t.Errorf("no line %s in\n%s", l, text)
		}
	}
}

// A life over HTTP: opens, denies, falls back, half-opens, closes; the metrics
// endpoint tells it as the router's does.
func TestServeALife(t *testing.T) {
	s, c := served(t, Options{Policies: files{{Tenant: "t-acme", Policy: "chat"}: enabledPolicy(60)}})
	openai := func(outcome string) (int, WireAnswer) {
		return post(t, s, fmt.Sprintf(`{"tenant_id":"t-acme","policy_id":"chat","provider_id":"openai","outcome":%q}`, outcome))
	}
	if e := metricsOf(t, s); e != "" {
		t.Errorf("metrics before the first request: %s", e)
	}
	if code, a := openai("5xx"); code != 502 || !a.Admitted || a.Outcome != "5xx" {
		t.Errorf("%d %+v", code, a)
	}
	// Open now: the request goes to the policy's other provider, which is not asked.
	if code, a := openai("failure"); code != 200 || a.Admitted || a.Provider != "anthropic" || a.Outcome != "success" {
		t.Errorf("%d %+v", code, a)
	}
	if code, a := post(t, s, `{"tenant_id":"t-acme","policy_id":"chat","provider_id":"openai","outcome":"failure","fallback_provider":"cohere"}`); code != 200 || a.Provider != "cohere" {
		t.Errorf("%d %+v", code, a)
	}
	// A request that does not ask is recorded all the same.
	if code, a := post(t, s, `{"tenant_id":"t-acme","policy_id":"chat","provider_id":"openai","outcome":"timeout","ask":false}`); code != 504 || !a.Admitted {
		t.Errorf("%d %+v", code, a)
	}
	_ = c.sleep(t.Context(), 30*time.Second)
	if code, a := openai("none"); code != 504 || !a.Admitted { // probe 1 never answers
		t.Errorf("%d %+v", code, a)
	}
	openai("slow")
	openai("success")
	e := metricsOf(t, s)
	want(t, e,
		`router_circuit_breaker_events_total{event_type="failure",provider_id="openai",tenant_id="t-acme"} 2`,
		`router_circuit_breaker_events_total{event_type="fail_fast",provider_id="openai",tenant_id="t-acme"} 2`,
		`router_circuit_breaker_events_total{event_type="success",provider_id="openai",tenant_id="t-acme"} 2`,
		`router_circuit_breaker_events_total{event_type="success",provider_id="cohere",tenant_id="t-acme"} 1`,
		`router_circuit_breaker_state_transitions_total{from="half_open",provider_id="openai",tenant_id="t-acme",to="closed"} 1`)
	if strings.HasSuffix(e, "\n") {
		t.Error("the router's text has no final newline, this has")
	}
}

func TestServeWithoutAPolicyNeverDenies(t *testing.T) {
	s, _ := served(t, Options{})
	for range 3 {
		if code, a := post(t, s, `{"tenant_id":"t-acme","provider_id":"openai","outcome":"failure"}`); code != 502 || !a.Admitted {
			t.Errorf("%d %+v", code, a)
		}
	}
	want(t, metricsOf(t, s), `router_circuit_breaker_state_transitions_total{from="closed",provider_id="openai",tenant_id="t-acme",to="open"} 1`)
}

func TestServeRejectsWhereNothingIsLeft(t *testing.T) {
	s, _ := served(t, Options{Policies: files{{Tenant: "t", Policy: "p"}: `{"circuit_breaker": {"enabled": true}}`}})
	post(t, s, `{"tenant_id":"t","policy_id":"p","provider_id":"x","outcome":"failure"}`)
	if code, a := post(t, s, `{"tenant_id":"t","policy_id":"p","provider_id":"x","outcome":"success"}`); code != 503 || a.Admitted || a.Outcome != "rejected" {
		t.Errorf("%d %+v", code, a)
	}
}

// Providers that fail by file decide what no request says.
func TestServeFaultsAndTraffic(t *testing.T) {
	file, err := ParseFile("lab.yaml", []byte(`apiVersion: cbops/v1
kind: Lab
tenants:
  - {id: t-auto, perMinute: 600, providers: [{name: openai, weight: 1}]}
faults:
  - {provider: openai, after: 1m, for: 1m}
  - {provider: cohere, for: 1h, tenant: t-one}
`), start())
	check(t, err)
	s, c := served(t, Options{Seed: 7, Tenants: file.Tenants, Faults: file.Faults})
	ask := func(tenant, provider string) string {
		_, a := post(t, s, fmt.Sprintf(`{"tenant_id":%q,"provider_id":%q}`, tenant, provider))
		return a.Outcome
	}
	if a, b, d := ask("t-x", "openai"), ask("t-one", "cohere"), ask("t-two", "cohere"); a != "success" || b != "failure" || d != "success" {
		t.Errorf("%s %s %s", a, b, d)
	}
	_ = c.sleep(t.Context(), 90*time.Second)
	if got := ask("t-x", "openai"); got != "failure" {
		t.Errorf("in the outage: %s", got)
	}
	e := metricsOf(t, s)
	if !strings.Contains(e, `event_type="success",provider_id="openai",tenant_id="t-auto"`) || !strings.Contains(e, `event_type="failure",provider_id="openai",tenant_id="t-auto"`) {
		t.Errorf("no traffic came by itself, or none failed:\n%s", e)
	}
}

func TestServeRefuses(t *testing.T) {
	s, _ := served(t, Options{})
	for name, body := range map[string]string{
		"not JSON": "{", "unknown key": `{"tenant":"t"}`, "path": `{"tenant_id":"../x","provider_id":"p"}`, "no provider": `{"tenant_id":"t"}`,
		"long provider": `{"tenant_id":"t","provider_id":"` + strings.Repeat("x", 256) + `"}`, "outcome": `{"tenant_id":"t","provider_id":"p","outcome":"4xx"}`,
		"latency": `{"tenant_id":"t","provider_id":"p","latency_ms":-1}`, "too slow": `{"tenant_id":"t","provider_id":"p","latency_ms":9999999999}`,
		"enormous": `{"tenant_id":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		if code, _ := post(t, s, body); code != 400 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if e := metricsOf(t, s); e != "" {
		t.Errorf("a refused request left %s", e)
	}
	for path, code := range map[string]int{"/metrics": 501, "/": 404, RequestPath: 405} {
		resp, err := http.Get(s.URL + path)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != code {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, code)
		}
	}
}

// A client that leaves before its slow provider answers leaves no outcome.
func TestServeCancelledIsNotCounted(t *testing.T) {
	w, err := NewWorld(Options{Start: time.Now()})
	check(t, err)
	asleep := make(chan struct{})
	h := NewServer(w, 1, time.Now, func(ctx context.Context, _ time.Duration) error {
		close(asleep)
		<-ctx.Done()
		return ctx.Err()
	})
	s := httptest.NewServer(h)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+RequestPath, strings.NewReader(`{"tenant_id":"t","provider_id":"p","outcome":"timeout","latency_ms":60000}`))
	check(t, err)
	done := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	<-asleep
	cancel()
	if err := <-done; err == nil {
		t.Error("an answer came")
	}
	if e := metricsOf(t, s); e != "" {
		t.Errorf("counted: %s", e)
	}
}

// Many clients at once, traffic of its own, reloads and scrapes between: every
// outcome is counted once.
func TestServeConcurrently(t *testing.T) {
	fs := files{{Tenant: "t", Policy: "p"}: enabledPolicy(60)}
	w, err := NewWorld(Options{Start: time.Now(), Policies: fs, Tenants: []Tenant{{ID: "t-auto", PerMinute: 60_000, Providers: []Provider{{"x", 1}}}}})
	check(t, err)
	h := NewServer(w, 1, time.Now, func(ctx context.Context, _ time.Duration) error { return ctx.Err() })
	s := httptest.NewServer(h)
	defer s.Close()
	const workers, each = 16, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				resp, err := http.Post(s.URL+RequestPath, "application/json", bytes.NewReader([]byte(`{"tenant_id":"t","policy_id":"p","provider_id":"y","outcome":"success"}`)))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				_ = h.Do(func(r *Router, _ int64) error { return r.ReloadAll() })
				r, err := http.Get(s.URL + MetricsPath)
				if err != nil {
					t.Error(err)
					return
				}
				r.Body.Close()
			}
		})
	}
	wg.Wait()
	want(t, metricsOf(t, s), fmt.Sprintf(`router_circuit_breaker_events_total{event_type="success",provider_id="y",tenant_id="t"} %d`, workers*each))
}

// Other handlers can be mounted beside it.
func TestServeHandle(t *testing.T) {
	w, err := NewWorld(Options{Start: time.Now(), Policies: files{{Tenant: "t", Policy: "p"}: enabledPolicy(60)}})
	check(t, err)
	h := NewServer(w, 1, time.Now, nil)
	h.Handle("GET /admin/loaded", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = h.Do(func(r *Router, _ int64) error {
			raw, _ := r.Loaded("t", "p")
			_, err := w.Write(raw)
			return err
		})
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/admin/loaded", nil))
	if rec.Body.String() != enabledPolicy(60) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestParseFileRefuses(t *testing.T) {
	head := "apiVersion: cbops/v1\nkind: Lab\n"
	for _, tt := range []struct{ file, place string }{
		{"", "1:1"},
		{"x: [", "1:1"},
		{"- 1\n", "1:1"},
		{"kind: Lab\n", "1:1"},
		{head + "tenant: []\n", "3:1"},
		{head + "kind: Lab\n", "3:1"},
		{head + "tenants: {}\n", "3:10"},
		{head + "tenants: [{id: ../x, perMinute: 1}]\n", "3:16"},
		{head + "tenants: [{id: t}]\n", "3:11"},
		{head + "tenants: [{id: t, perMinute: 1e9}]\n", "3:30"},
		{head + "tenants: [{id: t, perMinute: .nan}]\n", "3:30"},
		{head + "faults: [{provider: p}]\n", "3:10"},
		{head + "faults: [{provider: p, for: 1}]\n", "3:29"},
		{head + "faults: [{provider: p, for: 1h, share: 2}]\n", "3:40"},
		{head + "faults: &a [*a]\n", "3:13"},
	} {
		_, err := ParseFile("lab.yaml", []byte(tt.file), start())
		if err == nil || !strings.HasPrefix(err.Error(), "lab.yaml:"+tt.place+": ") || fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v, want lab.yaml:%s", tt.file, err, tt.place)
		}
	}
}

// The manual's example is read.
func TestParseFileReadsTheManual(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "lab.md"))
	check(t, err)
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(raw)
	if m == nil {
		t.Fatal("the manual has no example")
	}
	f, err := ParseFile("lab.yaml", m[1], start())
	check(t, err)
	if len(f.Tenants) != 1 || len(f.Faults) != 2 || f.Faults[1].To != start().Add(4*time.Minute) {
		t.Errorf("%+v", f)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("apiVersion: cbops/v1\nkind: Lab\ntenants:\n  - {id: t, perMinute: 60, providers: [{name: p, weight: 2}]}\nfaults:\n  - {provider: p, for: 1h}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := ParseFile("lab.yaml", raw, start())
		if err != nil {
			if !strings.HasPrefix(err.Error(), "lab.yaml:") {
				t.Fatal(err)
			}
			return
		}
		for _, x := range file.Tenants {
			if (router.Ref{Tenant: x.ID, Policy: "p"}).Valid() == false {
				t.Fatalf("accepted %+v", x)
			}
		}
	})
}

package doctor

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

func check(t *testing.T, d *Diagnosis, id string) Check {
	t.Helper()
	i := slices.IndexFunc(d.Checks, func(k Check) bool { return k.ID == id })
	if i < 0 {
		t.Fatalf("no check %q", id)
	}
	return d.Checks[i]
}

// The recorded answer of the router's own endpoint, scraped by a real Prometheus: the
// doctor is right about it.
func TestTheRecordedExposition(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	raw, err := os.ReadFile(filepath.Join("..", "lab", "testdata", "router.prom"))
	if err != nil {
		t.Fatal(err)
	}
	const path = "/metrics/router_metrics_http/metrics"
	router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(raw)
	}))
	defer router.Close()
	url := promtest.Scrape(t, strings.TrimPrefix(router.URL, "http://"), path)
	c, err := promquery.New(promquery.Options{URL: url, Transport: http.DefaultTransport, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Examine(t.Context(), c, Request{At: time.Now(), Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if d.Dialect != "emitted" || len(d.Names.Renames) != 0 || d.Verdict != criteria.Fail {
		t.Errorf("dialect %q, renames %q, verdict %s", d.Dialect, d.Names.Renames, d.Verdict)
	}
	for id, want := range map[string]struct {
		verdict criteria.Verdict
		words   string
	}{
		"reachability":                      {criteria.Pass, url},
		"clock":                             {criteria.Pass, "agree"},
		"dialect":                           {criteria.Pass, "emitted"},
		"series":                            {criteria.Pass, "9 of 9 metrics, 3 of 3 tenants"},
		"scrapes":                           {criteria.Fail, "every 1 s; 0 of 1 hours measured"}, // for seconds only
		"nodes":                             {criteria.Pass, "1 scraped: router/127.0.0.1"},
		"double-scrapes":                    {criteria.Pass, "no router is scraped twice"},
		"restarts":                          {criteria.Pass, "none seen"},
		"latched-gauges":                    {criteria.Pass, "says open for 3 circuits, 1 of them are closed"}, // t-mid on openai
		"containment":                       {criteria.Inconclusive, "not measured"},
		"retention":                         {criteria.Pass, "10y"},
		"alerts/RouterCircuitBreakerOpened": {criteria.Fail, "cannot fire"},
		"alerts/RouterCircuitBreakerHighFailureRate":       {criteria.Fail, "fail_fast"},
		"alerts/RouterCircuitBreakerMultipleProvidersOpen": {criteria.Fail, "cannot fire"},
		"alerts/RouterCircuitBreakerHalfOpenProbesFailed":  {criteria.Fail, "cannot fire"},
	} {
		if k := check(t, d, id); k.Verdict != want.verdict || !strings.Contains(k.Summary, want.words) {
			t.Errorf("%s: %s, %q; want %s with %q", id, k.Verdict, k.Summary, want.verdict, want.words)
		}
	}
	if k := check(t, d, "latched-gauges"); len(k.Evidence) != 1 || !strings.Contains(k.Evidence[0], "t-mid on openai") {
		t.Errorf("which gauge lies: %q", k.Evidence)
	}
	if k := check(t, d, "twin"); k.Verdict == criteria.Fail {
		t.Errorf("the router's own metrics contradict the twin: %+v", k)
	}
	if !slices.Contains(d.Next, "cbops export alerts > breaker-alerts.yml") {
		t.Errorf("next: %q", d.Next)
	}
}

// withoutAlerts looks at everything but alerts and dashboards, which take their time
// and have tests of their own.
func withoutAlerts(t *testing.T, c *promquery.Client, req Request) *Diagnosis {
	t.Helper()
	x := newExamination(c, req)
	for _, step := range []func(context.Context) error{x.server, x.names, x.circuits, x.retention} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	x.conclude()
	return x.out
}

// twisted serves a history as a Prometheus whose series are changed on their way.
func twisted(t *testing.T, p *Practice, name string, change func(l map[string]string, at time.Time, v float64) []series) (*promquery.Client, history) {
	t.Helper()
	h := p.histories[p.index(name)]
	store := promlab.NewStore()
	h.store.Each(func(l map[string]string, samples func(func(time.Time, float64) bool)) {
		samples(func(at time.Time, v float64) bool {
			for _, s := range change(maps.Clone(l), at, v) {
				if err := store.Append(s.labels, at.Add(s.late), s.v); err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
	})
	c, err := promquery.New(promquery.Options{URL: "http://prometheus.example", Now: func() time.Time { return h.to },
		Transport: promlab.Transport(promlab.NewServer(store, promlab.Options{Now: func() time.Time { return h.to }, Retention: "15d"}))})
	if err != nil {
		t.Fatal(err)
	}
	return c, h
}

type series struct {
	labels map[string]string
	late   time.Duration
	v      float64
}

func asItIs(l map[string]string, _ time.Time, v float64) []series { return []series{{labels: l, v: v}} }

// enabledTwo is what the policies say in the histories.
func enabledTwo() []Tenant {
	on := evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 30000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}
	return []Tenant{{ID: "t-acme", Enabled: true, Config: on}, {ID: "t-bolt", Enabled: true, Config: on}, {ID: "t-cove"}}
}

func TestExamine(t *testing.T) {
	p := practice(t, PracticeOptions{})
	for _, c := range []struct {
		name, history, id string
		change            func(l map[string]string, at time.Time, v float64) []series
		request           func(*Request)
		verdict           criteria.Verdict
		words             string
	}{
		{name: "a working breaker", history: hOutage, id: "containment", verdict: criteria.Pass, words: "% of what met an open circuit was kept away"},
		{name: "a breaker that fits", history: hOutage, id: "twin", verdict: criteria.Pass, words: "fits the twin"},
		{name: "no circuit moved", history: hHealthy, id: "containment", verdict: criteria.Inconclusive, words: "not measured"},
		{name: "an inert breaker", history: hShadow, id: "containment", verdict: criteria.Fail, words: "inert",
			request: func(r *Request) { r.Tenants = append(enabledTwo()[:2], Tenant{ID: "t-cove", Enabled: true}) }},
		{name: "the same circuits in shadow", history: hShadow, id: "containment", verdict: criteria.Inconclusive, words: "not measured"},
		{name: "opens dropped by relabelling", history: hOutage, id: "twin", verdict: criteria.Fail, words: "contradictions",
			change: func(l map[string]string, _ time.Time, v float64) []series {
				if l["from"] == "closed" {
					return nil
				}
				return []series{{labels: l, v: v}}
			}},
		{name: "a router scraped twice", history: hOutage, id: "double-scrapes", verdict: criteria.Fail, words: "counts twice",
			change: func(l map[string]string, _ time.Time, v float64) []series {
				again := maps.Clone(l)
				again["job"], again["instance"] = "pods", "10.0.0.7:9001"
				return []series{{labels: l, v: v}, {labels: again, late: 17 * time.Second, v: v}}
			}},
		{name: "once", history: hOutage, id: "double-scrapes", verdict: criteria.Pass, words: "no router"},
		{name: "documented names", history: hOutage, id: "dialect", verdict: criteria.Fail, words: "documented",
			change: func(l map[string]string, _ time.Time, v float64) []series {
				if to := l["to"]; to != "" && l["from"] != "half_open" {
					l["state"] = to
					delete(l, "to")
					delete(l, "from")
				} else if to != "" {
					return nil
				}
				return []series{{labels: l, v: v}}
			}},
		{name: "renamed", history: hOutage, id: "dialect", verdict: criteria.Pass, words: "names differ from the router's",
			change: func(l map[string]string, _ time.Time, v float64) []series {
				if id, ok := l["tenant_id"]; ok {
					l["tenant"] = id
					delete(l, "tenant_id")
				}
				return []series{{labels: l, v: v}}
			}},
		{name: "a restart", history: hRestart, id: "restarts", verdict: criteria.Pass, words: "1 seen"},
		{name: "no restart", history: hOutage, id: "restarts", verdict: criteria.Pass, words: "none"},
		{name: "a scrape gap", history: hGap, id: "scrapes", verdict: criteria.Inconclusive, words: "hours measured"},
		{name: "half a month kept", history: hHealthy, id: "retention", verdict: criteria.Fail, words: "15 days, phase 3 needs 21"},
		{name: "a tenant without series", history: hHealthy, id: "series", verdict: criteria.Inconclusive, words: "t-nobody has none",
			request: func(r *Request) { r.Tenants = append(r.Tenants, Tenant{ID: "t-nobody"}) }},
		{name: "nothing at all", history: hHealthy, id: "series", verdict: criteria.Fail, words: "not exported, or not scraped",
			change: func(l map[string]string, _ time.Time, v float64) []series {
				if l["__name__"] == "up" {
					return []series{{labels: l, v: v}}
				}
				return nil
			}},
		{name: "a node that the plan knows", history: hHealthy, id: "nodes", verdict: criteria.Inconclusive, words: "node-9 is not among them",
			request: func(r *Request) { r.Nodes = []string{"node-9"} }},
		{name: "a latched gauge", history: hOutage, id: "latched-gauges", verdict: criteria.Pass, words: "it latches, never read it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.change == nil {
				c.change = asItIs
			}
			client, h := twisted(t, p, c.history, c.change)
			// The newest scrape is left out, so the window ends with whole hours before it.
			req := Request{At: h.to, Window: h.to.Sub(h.from).Truncate(time.Hour), Tenants: enabledTwo()}
			if c.request != nil {
				c.request(&req)
			}
			d := withoutAlerts(t, client, req)
			if k := check(t, d, c.id); k.Verdict != c.verdict || !strings.Contains(k.Summary, c.words) {
				t.Errorf("%s: %s, %q %q; want %s with %q", c.id, k.Verdict, k.Summary, k.Evidence, c.verdict, c.words)
			}
			if want := criteria.Fail; c.verdict == want && d.Verdict != want {
				t.Errorf("a failed check, and the diagnosis says %s", d.Verdict)
			}
		})
	}
}

// Clocks that differ are found, and by how much.
func TestClock(t *testing.T) {
	for ahead, want := range map[time.Duration]criteria.Verdict{0: criteria.Pass, 10 * time.Second: criteria.Inconclusive, -3 * time.Minute: criteria.Fail} {
		now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
		c, err := promquery.New(promquery.Options{URL: "http://prometheus.example", Now: func() time.Time { return now },
			Transport: promlab.Transport(promlab.NewServer(promlab.NewStore(), promlab.Options{Now: func() time.Time { return now.Add(ahead) }}))})
		if err != nil {
			t.Fatal(err)
		}
		if k := check(t, withoutAlerts(t, c, Request{At: now, Window: time.Hour}), "clock"); k.Verdict != want {
			t.Errorf("%s ahead: %s, %s", ahead, k.Verdict, k.Summary)
		}
	}
}

// The rules that a real Prometheus has loaded are tried as they are.
func TestRulesOfARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	p := practice(t, PracticeOptions{})
	h := p.histories[p.index(hOutage)]
	backfill := promtest.NewHistory()
	h.store.Each(func(l map[string]string, samples func(func(time.Time, float64) bool)) {
		samples(func(at time.Time, v float64) bool {
			if err := backfill.Append(l, at, v); err != nil {
				t.Fatal(err)
			}
			return true
		})
	})
	rules := filepath.Join(t.TempDir(), "rules.yml")
	err := os.WriteFile(rules, []byte(`groups:
- name: breaker
  rules:
  - alert: RouterCircuitBreakerOpened
    expr: sum by (tenant_id, provider_id) (rate(router_circuit_breaker_state_transitions_total{state="open"}[5m])) > 0
    for: 10m
  - alert: OursThatWorks
    expr: sum by (tenant_id, provider_id) (increase(router_circuit_breaker_events_total{event_type="fail_fast"}[5m])) > 0
    for: 2m
  - alert: OursThatLatches
    expr: router_circuit_breaker_state{state="open"} == 1
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	url := promtest.StartWith(t, backfill, "scrape_configs: []\nrule_files: ["+rules+"]\n")
	c, err := promquery.New(promquery.Options{URL: url, Transport: http.DefaultTransport})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Examine(t.Context(), c, Request{At: h.to, Window: 3 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]struct {
		verdict criteria.Verdict
		words   string
	}{
		"alerts/RouterCircuitBreakerOpened":          {criteria.Fail, "cannot fire"},
		"alerts/RouterCircuitBreakerHighFailureRate": {criteria.Fail, "is not loaded"},
		"alerts/OursThatWorks":                       {criteria.Pass, "fires"},
		"alerts/OursThatLatches":                     {criteria.Fail, "never resolves"},
	} {
		if k := check(t, d, id); k.Verdict != want.verdict || !strings.Contains(k.Summary, want.words) {
			t.Errorf("%s: %s, %q; want %s with %q", id, k.Verdict, k.Summary, want.verdict, want.words)
		}
	}
}

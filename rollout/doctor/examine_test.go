package doctor

import (
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
	"github.com/cbops/cbops/rollout/criteria"
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
		"reachability":   {criteria.Pass, url},
		"clock":          {criteria.Pass, "agree"},
		"dialect":        {criteria.Pass, "emitted"},
		"series":         {criteria.Pass, "9 of 9 metrics, 3 of 3 tenants"},
		"scrapes":        {criteria.Fail, "every 1 s; 0 of 1 hours measured"}, // for seconds only
		"nodes":          {criteria.Pass, "1 scraped: router/127.0.0.1"},
		"double-scrapes": {criteria.Pass, "no router is scraped twice"},
		"restarts":       {criteria.Pass, "none seen"},
		"latched-gauges": {criteria.Pass, "says open for 3 circuits, 1 of them are closed"}, // t-mid on openai
		"containment":    {criteria.Inconclusive, "not measured"},
		"retention":      {criteria.Pass, "10y"},
		"alerts/RouterCircuitBreakerOpened":                {criteria.Fail, "cannot fire"},
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

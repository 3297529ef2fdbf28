package promtest_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/rollout/lab"
)

// A real server answers from the lab's history with the lab's own numbers: what
// it says of a counter is what the last scrape wrote.
func TestRealPrometheusAnswersFromTheLabsHistory(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(6 * time.Hour)
	h, last := promtest.NewHistory(), 0.0
	store := tee{h, &last}
	w, err := lab.NewWorld(lab.Options{Seed: 1, Start: start, Store: store, Tenants: []lab.Tenant{
		{ID: "t-acme", PerMinute: 30, ErrorRate: 0.01, Providers: []lab.Provider{{Name: "openai", Weight: 1}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Advance(end); err != nil {
		t.Fatal(err)
	}
	if last == 0 {
		t.Fatal("the lab made no successes")
	}
	server := promtest.Start(t, h)
	q := url.Values{"query": {`router_circuit_breaker_events_total{event_type="success",tenant_id="t-acme"}`}, "time": {end.Format(time.RFC3339)}}
	resp, err := http.Get(server + "/api/v1/query?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"` + strconv.FormatFloat(last, 'g', -1, 64) + `"`; !strings.Contains(string(body), want) {
		t.Errorf("the server does not say %s:\n%s", want, body)
	}
}

// tee keeps the newest success count beside the history.
type tee struct {
	h    *promtest.History
	last *float64
}

func (s tee) Append(labels map[string]string, at time.Time, v float64) error {
	if labels["event_type"] == "success" {
		*s.last = v
	}
	return s.h.Append(labels, at, v)
}

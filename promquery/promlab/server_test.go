package promlab_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery/promlab"
)

var start = time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)

type appender interface {
	Append(labels map[string]string, at time.Time, v float64) error
}

// fill writes the same small history into both servers.
func fill(t *testing.T, to ...appender) {
	t.Helper()
	for _, a := range to {
		for i := range 240 {
			at := start.Add(time.Duration(i) * time.Minute)
			for j, tenant := range []string{"t-acme", "t-bolt", "t-\"q\"\\n"} {
				if j == 1 && (i < 60 || i > 180) {
					continue // appears late and goes early
				}
				for k, kind := range []string{"success", "failure"} {
					l := map[string]string{"__name__": "events_total", "tenant_id": tenant, "event_type": kind, "job": "router", "instance": "n1"}
					if err := a.Append(l, at.Add(time.Duration(j)*time.Second+123*time.Millisecond), float64(i*(j+1)+k)/4); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := a.Append(map[string]string{"__name__": "up", "job": "router", "instance": "n1"}, at, float64(i%2)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// body asks and returns status and JSON, without what depends on the machine.
func body(t *testing.T, base, path string, form url.Values) (int, any) {
	t.Helper()
	method := http.MethodPost
	if strings.Contains(path, "/label/") || strings.Contains(path, "/status/") || strings.HasSuffix(path, "/rules") || strings.HasSuffix(path, "/metadata") {
		method = http.MethodGet
	}
	req, err := http.NewRequest(method, base+path, strings.NewReader(form.Encode()))
	if method == http.MethodGet {
		req, err = http.NewRequest(method, base+path+"?"+form.Encode(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v: %s", path, err, raw)
	}
	if m, ok := v.(map[string]any); ok {
		if d, ok := m["data"].(map[string]any); ok {
			if s, ok := d["stats"].(map[string]any); ok {
				delete(s, "timings")
			}
		}
	}
	return res.StatusCode, v
}

// TestEqualsPrometheus: the practice server and the real one give the same
// answers, errors included.
func TestEqualsPrometheus(t *testing.T) {
	store, history := promlab.NewStore(), promtest.NewHistory()
	fill(t, store, history)
	lab := httptest.NewServer(promlab.NewServer(store, promlab.Options{Now: func() time.Time { return start.Add(4 * time.Hour) }}))
	defer lab.Close()
	real := promtest.Start(t, history)
	at := func(d time.Duration) string { return start.Add(d).Format(time.RFC3339Nano) }
	for _, c := range []struct {
		path string
		form string // query=… with times filled in below
		code int
	}{
		{"query", `query=events_total&time={2h}`, 200},
		{"query", `query=events_total[10m]&time={2h}&stats=all`, 200},
		{"query", `query=events_total{tenant_id="t-bolt"}[600000ms]&time={1h}`, 200},
		{"query", `query=sum by (tenant_id) (rate(events_total[5m]))&time={90m}&stats=all`, 200},
		{"query", `query=rate(up[5m])&time={90m}`, 200},
		{"query", `query=up&time={10h}`, 200},
		{"query", `query=events_total&time={2h}&limit=2`, 200},
		{"query", `query=events_total&time={2h}&limit=-1`, 400},
		{"query", `query=events_total{&time={2h}`, 400},
		{"query", `query=up&time=tomorrow`, 400},
		{"query", `query=1+1&time={2h}`, 200},
		{"query", `query="x"&time={2h}`, 200},
		{"query", `query=events_total*on(job) up&time={2h}`, 422},
		{"query_range", `query=events_total&start={1h}&end={2h}&step=300&stats=all`, 200},
		{"query_range", `query=absent(events_total)&start={1h}&end={2h}&step=5m`, 200},
		{"query_range", `query=events_total&start={1h}&end={2h}&step=300&limit=1`, 200},
		{"query_range", `query=events_total&start={2h}&end={1h}&step=300`, 400},
		{"query_range", `query=events_total&start={1h}&end={2h}&step=0`, 400},
		{"query_range", `query=events_total&start={1h}&end={2h}&step=x`, 400},
		{"query_range", `query=events_total&start={1h}&end={2h}&step=0.001`, 400},
		{"query_range", `query=events_total&end={2h}&step=1`, 400},
		{"series", `match[]=events_total&start={0h}&end={4h}`, 200},
		{"series", `match[]=up&match[]=events_total{event_type="failure"}&start={0h}&end={4h}`, 200},
		{"series", `match[]={__name__=~".*_total",tenant_id!="t-acme"}&start={0h}&end={4h}&limit=2`, 200},
		{"series", ``, 400},
		{"series", `match[]={job=~".*"}`, 400},
		{"series", `match[]=events_total{`, 400},
		{"labels", ``, 200},
		{"labels", `match[]=up`, 200},
		{"labels", `match[]=events_total&limit=2`, 200},
		{"label/tenant_id/values", ``, 200},
		{"label/tenant_id/values", `match[]=events_total{tenant_id=~"t-[ab].*"}`, 200},
		{"label/__name__/values", `match[]={tenant_id!=""}`, 200},
		{"label/tenant_id/values", `limit=1`, 200},
		{"label/nothing/values", ``, 200},
		{"metadata", ``, 200},
		{"rules", ``, 200},
	} {
		form := c.form
		for d, name := range map[time.Duration]string{0: "0h", time.Hour: "1h", 90 * time.Minute: "90m", 2 * time.Hour: "2h", 4 * time.Hour: "4h", 10 * time.Hour: "10h"} {
			form = strings.ReplaceAll(form, "{"+name+"}", at(d))
		}
		values := url.Values{}
		for _, pair := range strings.Split(form, "&") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				values.Add(k, v)
			}
		}
		code, got := body(t, lab.URL, "/api/v1/"+c.path, values)
		wantCode, want := body(t, real, "/api/v1/"+c.path, values)
		if code != wantCode || code != c.code || !reflect.DeepEqual(got, want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Errorf("%s %s\nlab        %d %.600s\nprometheus %d %.600s", c.path, c.form, code, g, wantCode, w)
		}
	}
	// What a status page says is the server's own; the fields are there in both.
	for path, fields := range map[string][]string{
		"status/buildinfo": {"version"}, "status/runtimeinfo": {"storageRetention", "startTime"},
		"status/flags": {"storage.tsdb.retention.time", "query.max-samples", "query.lookback-delta"},
	} {
		for _, base := range []string{lab.URL, real} {
			_, v := body(t, base, "/api/v1/"+path, nil)
			for _, f := range fields {
				if _, ok := v.(map[string]any)["data"].(map[string]any)[f].(string); !ok {
					t.Errorf("%s%s has no %s: %v", base, path, f, v)
				}
			}
		}
	}
}

// A query that would load too many samples is refused in Prometheus' words.
func TestMaxSamples(t *testing.T) {
	store := promlab.NewStore()
	fill(t, store)
	lab := httptest.NewServer(promlab.NewServer(store, promlab.Options{Now: func() time.Time { return start }, MaxSamples: 100}))
	defer lab.Close()
	code, v := body(t, lab.URL, "/api/v1/query", url.Values{"query": {"events_total[1h]"}, "time": {start.Add(time.Hour).Format(time.RFC3339)}})
	m := v.(map[string]any)
	if code != 422 || m["errorType"] != "execution" || m["error"] != "query processing would load too many samples into memory in query execution" {
		t.Errorf("%d %v", code, m)
	}
}

// Rules are shown as Prometheus shows them: alerting ones with a state, recording
// ones without.
func TestRules(t *testing.T) {
	groups := []promlab.GroupStatus{{Name: "g", File: "f.yml", Interval: 30, Limit: 5, LastEvaluation: start, Rules: []promlab.RuleStatus{
		{Type: "alerting", Name: "A", Query: "up == 0", Duration: 600, KeepFiringFor: 60, State: "firing", Health: "ok", Labels: map[string]string{}, Annotations: map[string]string{}},
		{Type: "recording", Name: "r", Query: "sum(up)", Health: "err", LastError: "no", Labels: map[string]string{}},
	}}}
	lab := httptest.NewServer(promlab.NewServer(promlab.NewStore(), promlab.Options{Now: func() time.Time { return start }, Rules: func() []promlab.GroupStatus { return groups }}))
	defer lab.Close()
	_, v := body(t, lab.URL, "/api/v1/rules", nil)
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"duration":600`, `"keepFiringFor":60`, `"state":"firing"`, `"alerts":[]`, `"limit":5`, `"interval":30`, `"lastError":"no"`, `"type":"recording"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %s in %s", want, raw)
		}
	}
	if strings.Count(string(raw), `"state"`) != 1 {
		t.Errorf("a recording rule has a state: %s", raw)
	}
}

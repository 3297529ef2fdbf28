package promquery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

const ruleFile = `groups:
- name: breaker
  interval: 1s
  limit: 7
  rules:
  - alert: Down
    expr: up == 0
    for: 10m
    keep_firing_for: 5m
    labels: {severity: warning}
    annotations: {summary: it is down}
  - alert: Up
    expr: up == 1
  - record: job:up:sum
    expr: sum by (job) (up)
  - record: job:twice
    expr: label_replace({__name__=~"up|scrape_duration_seconds"}, "__name__", "x", "", "")
`

// realServer is a Prometheus that scrapes itself every second and has rules.
func realServer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	config := fmt.Sprintf("rule_files: [rules.yml]\nscrape_configs:\n- job_name: self\n  scrape_interval: 1s\n  static_configs: [{targets: [%q]}]\n", addr)
	for name, text := range map[string]string{"rules.yml": ruleFile, "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), promtest.Binary(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--storage.tsdb.retention.time=20d", "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the test's context has ended it
	return "http://" + addr
}

// TestFactsOfPrometheus: what the real server says of itself.
func TestFactsOfPrometheus(t *testing.T) {
	c := client(t, realServer(t), func(o *promquery.Options) { o.Now = time.Now })
	var groups []promquery.RuleGroup
	var targets []promquery.Target
	eventually(t, func() (err error) {
		if groups, err = c.Rules(t.Context()); err != nil || len(groups) == 0 {
			return fmt.Errorf("%d groups: %w", len(groups), err)
		}
		if targets, err = c.Targets(t.Context()); err != nil || len(targets) == 0 || targets[0].Health != "up" {
			return fmt.Errorf("targets %+v: %w", targets, err)
		}
		if r := groups[0].Rules; r[1].State != "firing" || r[3].Health == "unknown" {
			return fmt.Errorf("rules %+v", r)
		}
		return nil
	})
	g := groups[0]
	if g.Name != "breaker" || g.Interval != time.Second || g.Limit != 7 || g.LastEvaluation.IsZero() || len(g.Rules) != 4 {
		t.Errorf("group %+v", g)
	}
	down, up, sum, twice := g.Rules[0], g.Rules[1], g.Rules[2], g.Rules[3]
	if !down.Alerting || down.Name != "Down" || down.Query != "up == 0" || down.For != 10*time.Minute || down.KeepFiringFor != 5*time.Minute || down.State != "inactive" || down.Health != "ok" || down.Labels["severity"] != "warning" || down.Annotations["summary"] != "it is down" || down.Active != 0 {
		t.Errorf("%+v", down)
	}
	if up.Active != 1 || sum.Alerting || sum.State != "" || sum.Name != "job:up:sum" {
		t.Errorf("%+v %+v", up, sum)
	}
	if twice.Health != "err" || twice.LastError == "" {
		t.Errorf("%+v", twice)
	}
	if x := targets[0]; x.Pool != "self" || x.Interval != time.Second || x.Labels["job"] != "self" || x.Discovered["__address__"] == "" || !strings.HasSuffix(x.URL, "/metrics") || x.LastScrape.IsZero() {
		t.Errorf("%+v", x)
	}
	if r, err := c.Retention(t.Context()); err != nil || r.Time != 20*24*time.Hour || r.Text != "20d" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := c.BuildInfo(t.Context()); err != nil {
		t.Error(err)
	}
	if s, err := c.Skew(t.Context()); err != nil || s.Query.Abs() > time.Second || !s.HasDate || s.Date.Abs() > 2*time.Second || s.RoundTrip <= 0 {
		t.Errorf("%+v %v", s, err)
	}
	now := time.Now()
	sets, err := c.LabelSets(t.Context(), [][]promquery.Match{metric("up"), metric("scrape_samples_scraped")}, now.Add(-time.Hour), now, 10)
	if err != nil || len(sets.Sets) != 2 || sets.Truncated || sets.Sets[1]["__name__"] != "up" {
		t.Errorf("%+v %v", sets, err)
	}
	sets, err = c.LabelSets(t.Context(), [][]promquery.Match{metric("go_info"), metric("up")}, now.Add(-time.Hour), now, 1)
	if err != nil || len(sets.Sets) != 1 || !sets.Truncated || len(sets.Warnings) != 0 {
		t.Errorf("%+v %v", sets, err)
	}
	values, err := c.LabelValues(t.Context(), "__name__", [][]promquery.Match{metric("up")}, now.Add(-time.Hour), now, 10)
	if err != nil || fmt.Sprint(values.Values) != "[up]" {
		t.Errorf("%+v %v", values, err)
	}
	a, err := c.Instant(t.Context(), promquery.Query{Name: "up", Select: metric("up"), To: now}, data{}.visit)
	if err != nil || a.Cost != 1 {
		t.Errorf("the real server says what a query costs: %+v %v", a, err)
	}
}

// eventually waits for the real server.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// What a server does not have is said as such, and is no failure to answer.
func TestFactsNotAvailable(t *testing.T) {
	for _, code := range []int{403, 404, 405, 501} {
		c := client(t, server(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "404 page not found", code) }), func(o *promquery.Options) { o.Now = time.Now })
		for name, ask := range facts(c) {
			err := ask(t.Context())
			if !errors.Is(err, promquery.ErrNotAvailable) || promquery.IsUnavailable(err) || fault.CodeOf(err) != fault.Environment {
				t.Errorf("%d %s: %v", code, name, err)
			}
		}
	}
	c := client(t, server(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusServiceUnavailable) }), func(o *promquery.Options) { o.Now = time.Now })
	for name, ask := range facts(c) {
		if err := ask(t.Context()); errors.Is(err, promquery.ErrNotAvailable) || !promquery.IsUnavailable(err) {
			t.Errorf("503 %s: %v", name, err)
		}
	}
}

// Nor is anything else taken for a fact.
func TestFactsOfLiars(t *testing.T) {
	for _, text := range []string{"<html>", "", "null", "[]", `{"status":"success"}`, `{"status":"success","data":null}`, `{"status":"error","errorType":"x","error":"y"}`, `{"status":"success","data":"words"}`,
		`{"status":"success","data":{"groups":[{"rules":[{"type":"odd"}]}],"activeTargets":7,"resultType":"scalar","result":[1,"NaN"]}}`} {
		c := client(t, answers(t, text), func(o *promquery.Options) { o.Now = time.Now })
		for name, ask := range facts(c) {
			if name == "build" && strings.Contains(text, "odd") {
				continue // no version is a version that is not known
			}
			if err := ask(t.Context()); err == nil || fault.CodeOf(err) != fault.Environment {
				t.Errorf("%s of %s: %v", name, text, err)
			}
		}
	}
}

func facts(c *promquery.Client) map[string]func(context.Context) error {
	sel := [][]promquery.Match{metric("up")}
	return map[string]func(context.Context) error{
		"build":     func(ctx context.Context) error { _, err := c.BuildInfo(ctx); return err },
		"retention": func(ctx context.Context) error { _, err := c.Retention(ctx); return err },
		"rules":     func(ctx context.Context) error { _, err := c.Rules(ctx); return err },
		"targets":   func(ctx context.Context) error { _, err := c.Targets(ctx); return err },
		"sets":      func(ctx context.Context) error { _, err := c.LabelSets(ctx, sel, start, start, 1); return err },
		"values":    func(ctx context.Context) error { _, err := c.LabelValues(ctx, "x", sel, start, start, 1); return err },
		"skew":      func(ctx context.Context) error { _, err := c.Skew(ctx); return err },
	}
}

// Retention may be by size, by both, or on the page of flags alone.
func TestRetention(t *testing.T) {
	for _, c := range []struct {
		info, flags string
		time        time.Duration
		text        string
	}{
		{`"15d"`, ``, 15 * 24 * time.Hour, "15d"},
		{`"30d or 10GiB"`, ``, 30 * 24 * time.Hour, "30d or 10GiB"},
		{`"10GiB"`, ``, 0, "10GiB"},
		{``, `"90d"`, 90 * 24 * time.Hour, "90d"},
		{`""`, `"90d"`, 90 * 24 * time.Hour, "90d"},
	} {
		url := server(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/runtimeinfo") && c.info != "":
				fmt.Fprintf(w, `{"status":"success","data":{"storageRetention":%s}}`, c.info)
			case strings.HasSuffix(r.URL.Path, "/flags") && c.flags != "":
				fmt.Fprintf(w, `{"status":"success","data":{"storage.tsdb.retention.time":%s}}`, c.flags)
			default:
				http.NotFound(w, r)
			}
		})
		if r, err := client(t, url).Retention(t.Context()); err != nil || r.Time != c.time || r.Text != c.text {
			t.Errorf("%+v: %+v %v", c, r, err)
		}
	}
}

// A clock that is wrong is measured, with the round trip as what is not known.
func TestSkew(t *testing.T) {
	now := start
	c := client(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		now = now.Add(2 * time.Second) // on the way
		w.Header().Set("Date", start.Add(61*time.Second).Format(http.TimeFormat))
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%d,"%d.5"]}}`, start.Unix(), start.Unix()+61)
	}), func(o *promquery.Options) { o.Now = func() time.Time { return now } })
	s, err := c.Skew(t.Context())
	if err != nil || s.Query != 60500*time.Millisecond || s.Date != 60500*time.Millisecond || s.RoundTrip != 2*time.Second {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := client(t, "http://x").Skew(t.Context()); fault.CodeOf(err) != fault.Usage {
		t.Errorf("without a clock: %v", err)
	}
	lab := lab(t, promlab.NewStore(), func(o *promquery.Options) { o.Now = func() time.Time { return start.Add(-time.Hour) } })
	if s, err := lab.Skew(t.Context()); err != nil || s.Query != time.Hour || s.HasDate {
		t.Errorf("the lab's clock: %+v %v", s, err)
	}
}

// A server that says nothing of what it left out is asked for one more.
func TestTruncationIsNoticed(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("limit") != "2" {
			t.Errorf("limit %s", r.FormValue("limit"))
		}
		if strings.HasSuffix(r.URL.Path, "/values") {
			fmt.Fprint(w, `{"status":"success","data":["a","b"]}`)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":[{"a":"1"},{"a":"2"}]}`)
	})
	sel := [][]promquery.Match{metric("up")}
	sets, err := client(t, url).LabelSets(t.Context(), sel, start, start, 1)
	if err != nil || !sets.Truncated || len(sets.Sets) != 1 {
		t.Errorf("%+v %v", sets, err)
	}
	values, err := client(t, url).LabelValues(t.Context(), "a", sel, start, start, 1)
	if err != nil || !values.Truncated || len(values.Values) != 1 {
		t.Errorf("%+v %v", values, err)
	}
}

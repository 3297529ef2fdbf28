package doctor

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

// The exported rules are a file that the real promtool accepts, lint included, and that
// is read back.
func TestExportIsARuleFile(t *testing.T) {
	promtool := promtest.Binary(t, "promtool")
	e, err := practice(t, PracticeOptions{Dialect: emitted()}).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(e.Groups[0].Rules) + len(e.Groups[1].Rules); n != 11 || len(e.Left) != 0 {
		t.Fatalf("%d rules, left out: %q", n, e.Left)
	}
	text, err := promlab.FormatRules(e.Groups)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", "--lint=all", "--lint-fatal", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s\n%s", err, out, text)
	}
	groups, err := promlab.ParseRules("rules.yml", text)
	if err != nil || len(groups) != 2 || groups[0].Rules[0].Alert != "RouterCircuitBreakerOpened" {
		t.Errorf("read back: %v, %v", groups, err)
	}
}

// On the histories of the practice router, the real promtool comes to the same alerts as
// the doctor, for the documented rules and for the exported ones.
func TestPromtoolAgreesOnTheHistories(t *testing.T) {
	promtool := promtest.Binary(t, "promtool")
	p := practice(t, PracticeOptions{Dialect: emitted()})
	e, err := p.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	group := promlab.Group{Name: "all"}
	for _, g := range e.Groups {
		group.Rules = append(group.Rules, g.Rules...)
	}
	for _, d := range p.opt.Dialect.catalogue() {
		group.Rules = append(group.Rules, promlab.Rule{Alert: d.name + "Documented", Expr: d.expr, For: d.hold, Labels: map[string]string{"severity": d.severity}})
	}
	alerts := 0
	for _, name := range []string{hTenant, hSingle, hLatency, hGap} {
		h := p.histories[p.index(name)]
		ev, err := promlab.NewEvaluator(p.engine, h.store, promlab.NewStore(), group)
		if err != nil {
			t.Fatal(err)
		}
		// promtool begins at the first sample.
		var want []map[string]any
		err = ev.Run(t.Context(), h.from, h.to, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		for at := h.from; !at.After(h.to); at = at.Add(5 * time.Minute) {
			v, err := p.engine.Instant(t.Context(), ev.Queryable(), "ALERTS", at)
			if err != nil {
				t.Fatal(err)
			}
			alerts += len(v)
			samples := []map[string]any{}
			for _, s := range v {
				samples = append(samples, map[string]any{"labels": seriesText(s.Metric), "value": s.F})
			}
			want = append(want, map[string]any{"expr": "ALERTS", "eval_time": at.Sub(h.from).String(), "exp_samples": samples})
		}
		if out, err := promtoolSays(t, promtool, h, group, want); err != nil {
			t.Errorf("history %s: promtool does not agree: %v\n%.3000s", name, err, out)
		}
	}
	if alerts < 100 {
		t.Errorf("only %d alerts were compared", alerts)
	}
}

func seriesText(l labels.Labels) string {
	m := l.Map()
	name := m["__name__"]
	delete(m, "__name__")
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+strconv.Quote(m[k]))
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

// promtoolSays runs promtool's unit test of the rules on the series of a history.
func promtoolSays(t *testing.T, promtool string, h history, g promlab.Group, want []map[string]any) (string, error) {
	t.Helper()
	var series []map[string]string
	h.store.Each(func(lset map[string]string, samples func(func(time.Time, float64) bool)) {
		var values []string
		at := h.from
		samples(func(when time.Time, v float64) bool {
			for ; at.Before(when); at = at.Add(time.Minute) {
				values = append(values, "_")
			}
			values = append(values, strconv.FormatFloat(v, 'g', -1, 64))
			at = when.Add(time.Minute)
			return true
		})
		series = append(series, map[string]string{"series": seriesText(labels.FromMap(lset)), "values": strings.Join(values, " ")})
	})
	rules, err := promlab.FormatRules([]promlab.Group{g})
	if err != nil {
		t.Fatal(err)
	}
	test, err := yaml.Marshal(map[string]any{"rule_files": []string{"rules.yml"}, "evaluation_interval": "1m",
		"tests": []any{map[string]any{"interval": "1m", "start_timestamp": h.from.Unix(), "input_series": series, "promql_expr_test": want}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"rules.yml": rules, "test.yml": test} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(promtool, "test", "rules", filepath.Join(dir, "test.yml")).CombinedOutput()
	return string(out), err
}

// The documented dashboard on a real Prometheus with the history of an outage, asked in
// its middle: what the doctor says of each panel is what the server returns, and the
// replacements return something.
func TestDashboardOnARealPrometheus(t *testing.T) {
	p := practice(t, PracticeOptions{Dialect: emitted()})
	h := p.histories[p.index(hOutage)]
	backfill := promtest.NewHistory()
	h.store.Each(func(lset map[string]string, samples func(func(time.Time, float64) bool)) {
		samples(func(at time.Time, v float64) bool {
			if err := backfill.Append(lset, at, v); err != nil {
				t.Fatal(err)
			}
			return true
		})
	})
	client, err := promquery.New(promquery.Options{URL: promtest.Start(t, backfill), Transport: http.DefaultTransport})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Dashboard(t.Context(), fixture(t), client, inFault(h))
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, f := range r.Panels {
		if f.Returned == nil {
			t.Fatalf("panel %d %s: the server was not asked: %s", f.Panel, f.RefID, f.Summary)
		}
		if f.Empty != (*f.Returned == 0) && f.Panel != 9 {
			t.Errorf("panel %d %s: empty %v, and the server returned %d series", f.Panel, f.RefID, f.Empty, *f.Returned)
		}
		if f.Verdict == criteria.Fail {
			shown = append(shown, fmt.Sprint(f.Panel, f.RefID))
		}
		if !f.Proven {
			continue
		}
		q, err := p.fill(fixture(t), f.Replacement, inFault(h))
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := client.Count(t.Context(), q.x.String(), inFault(h))
		if err != nil || n == 0 {
			t.Errorf("panel %d %s: the replacement returns %d series: %v\n%s", f.Panel, f.RefID, n, err, q.x)
		}
	}
	if got := strings.Join(shown, " "); got != "1A 3A 5A 6A 6B 7A 8B" {
		t.Errorf("failed panels: %s", got)
	}
}

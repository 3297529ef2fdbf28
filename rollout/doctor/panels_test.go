package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

// source answers what it was told to; everything else is empty.
type source struct {
	series map[string]int
	err    error
	warn   []string
	asked  []string
}

func (s *source) Count(_ context.Context, expr string, _ time.Time) (int, []string, error) {
	s.asked = append(s.asked, expr)
	return s.series[expr], s.warn, s.err
}

func fixture(t testing.TB) *Dashboard {
	t.Helper()
	data, err := os.ReadFile("testdata/documented.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDashboard("documented.json", data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The nine panels of the guide's dashboard against what the router emits (ROUTER.md
// §7): 1, 3, 5, 6, 7 and the histogram of 8 show nothing or something false.
func TestDocumentedDashboard(t *testing.T) {
	r, err := practice(t, PracticeOptions{Dialect: emitted()}).Dashboard(t.Context(), fixture(t), nil, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		verdict criteria.Verdict
		summary string
		shows   string
		proven  bool
	}{
		"1A": {criteria.Fail, "shows something false: router_circuit_breaker_state: it keeps one series for every state", "1 for cluster=prod, provider_id=openai, state=open, tenant_id=", true},
		"2A": {criteria.Pass, "shows what is so as long as requests come", "", false},
		"3A": {criteria.Fail, "shows nothing: router_circuit_breaker_state_transitions_total has no label state", "", true},
		"4A": {criteria.Pass, "shows something, and nothing false was found in it", "", false},
		"5A": {criteria.Fail, "shows something false: rate() and increase() do not see a counter that appears at 1", "nothing in a history in which one circuit opens once", true},
		"6A": {criteria.Fail, "shows something false: router_circuit_breaker_window_requests_total: it adds up", "two hours after the last request", true},
		"6B": {criteria.Fail, "shows something false: router_circuit_breaker_window_failures_total: it adds up", "two hours after the last request", true},
		"7A": {criteria.Fail, "shows something false: router_circuit_breaker_timeout_remaining_ms: it is set when", "two hours after the last request", true},
		"8A": {criteria.Pass, "shows something, and nothing false was found in it", "", false},
		"8B": {criteria.Fail, "shows nothing: nothing emits router_provider_latency_ms_bucket: the router exports no histogram", "", false},
		"9A": {criteria.Pass, "shows alerts; whether they can fire is said of each", "", false},
	}
	if len(r.Panels) != len(want) {
		t.Errorf("%d queries, want %d", len(r.Panels), len(want))
	}
	for _, f := range r.Panels {
		w, ok := want[fmt.Sprint(f.Panel, f.RefID)]
		if !ok || f.Verdict != w.verdict || !strings.HasPrefix(f.Summary, w.summary) || f.Proven != w.proven {
			t.Errorf("panel %d %s is %s: %s (proven %v)\nwant %+v", f.Panel, f.RefID, f.Verdict, f.Summary, f.Proven, w)
		}
		if w.shows != "" && !strings.Contains(fmt.Sprint(f.Problems), w.shows) {
			t.Errorf("panel %d %s shows %v\nwant %s", f.Panel, f.RefID, f.Problems, w.shows)
		}
		if f.Proven && (!strings.Contains(f.Replacement, "$") || strings.Contains(f.Replacement, "cbopsvar") || strings.Contains(f.Replacement, "1ms")) {
			t.Errorf("panel %d %s: the replacement does not have the dashboard's variables: %s", f.Panel, f.RefID, f.Replacement)
		}
	}
	// The fifth groups by a label that does not exist, too.
	if s := fmt.Sprint(r.Panels[4].Problems); !strings.Contains(s, "it groups by state") {
		t.Errorf("panel 5: %s", s)
	}
	fails := 0
	for _, c := range r.Checks() {
		if c.Verdict == criteria.Fail {
			fails++
		}
		if !strings.HasPrefix(c.ID, "dashboards/cb-guide/panel-") {
			t.Errorf("check %s", c.ID)
		}
	}
	if fails != 7 {
		t.Errorf("%d failed checks, want 7", fails)
	}
}

// judged judges a single query of a stat panel.
func judged(t *testing.T, p *Practice, expr string, src Source) PanelFinding {
	t.Helper()
	d := &Dashboard{Variables: []Variable{{Name: "tenant_id", Many: true}}, Panels: []Panel{{ID: 1, Type: "stat", Targets: []Target{{RefID: "A", Expr: expr}}}}}
	r, err := p.Dashboard(t.Context(), d, src, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return r.Panels[0]
}

// What queries show, and what they are replaced by. Every replacement is judged again:
// it passes.
func TestFalsehoods(t *testing.T) {
	p := practice(t, PracticeOptions{})
	const T, E = mTransitions, mEvents
	for _, tt := range []struct{ name, expr, want, replacement string }{
		{"state is open", `router_circuit_breaker_state{state="open"} == 1`, "shows something false: router_circuit_breaker_state: it keeps", "* 0"},
		{"how many are open", `count(router_circuit_breaker_state{state="open"} == 1)`, "shows something false: router_circuit_breaker_state: it keeps", "count((sum by"},
		{"open ones among others", `rate(router_circuit_breaker_events_total[5m]) and on (tenant_id, provider_id) router_circuit_breaker_state{state="half_open"} == 2 or router_circuit_breaker_state{state="open"}`, "shows something false: router_circuit_breaker_state: it keeps", ""},
		{"closed circuits", `router_circuit_breaker_state{state="closed"}`, "shows something false: router_circuit_breaker_state: it keeps", "* 0"},
		{"reasons as they are", `sum by (reason) (router_circuit_breaker_trigger_reason)`, "shows something false: router_circuit_breaker_trigger_reason: it is set to 1", "offset 1h"},
		{"reasons counted", `sum by (reason) (increase(router_circuit_breaker_trigger_reason{tenant_id=~"$tenant_id"}[1h]))`, "shows something false: increase() is always 0: router_circuit_breaker_trigger_reason", `tenant_id=~"$tenant_id"`},
		{"the rate now", `max(router_circuit_breaker_error_rate) * 100`, "shows something false: router_circuit_breaker_error_rate: it is the rate at the last outcome", "* 100"},
		{"the rate, averaged", `avg_over_time(router_circuit_breaker_error_rate[5m])`, "shows something false: router_circuit_breaker_error_rate: it is the rate at the last outcome", `event_type=~"success|failure"`},
		{"windows as requests", `rate(router_circuit_breaker_window_requests_total[5m])`, "shows something false: router_circuit_breaker_window_requests_total: it adds up", "increase(" + E},
		{"windows as a rate", `router_circuit_breaker_window_failures_total / router_circuit_breaker_window_requests_total`, "shows something false: router_circuit_breaker_window_failures_total: it adds up", "increase(" + E},
		{"seconds to go", `router_circuit_breaker_timeout_remaining_ms / 1000`, "shows something false: router_circuit_breaker_timeout_remaining_ms: it is set when", "/ 1000"},
		{"denied as requests", `sum by (tenant_id) (rate(router_circuit_breaker_events_total{event_type="failure"}[5m])) / sum by (tenant_id) (rate(router_circuit_breaker_events_total[5m]))`, "shows something false: its denominator counts fail_fast", `event_type=~"success|failure"`},
		{"denied share", `sum(rate(router_circuit_breaker_events_total{event_type="fail_fast"}[5m])) / sum(rate(router_circuit_breaker_events_total[5m]))`, "shows something, and nothing false was found in it", ""},
		{"state of transitions", `sum(rate(` + T + `{state="open"}[5m]))`, "shows nothing: " + T + " has no label state", "/ 300"},
		{"opens", `sum by (tenant_id) (increase(` + T + `{to="open"}[1h]))`, "shows something false: rate() and increase() do not see", "offset 1h"},
		{"closes", `sum by (tenant_id) (increase(` + T + `{to="closed"}[1h]))`, "shows something, and nothing false was found in it", ""},
		{"transitions by state", `sum by (state) (` + T + `)`, "shows something false: it groups by state", "sum by (to)"},
		{"no buckets", `histogram_quantile(0.95, rate(router_circuit_breaker_latency_bucket[5m]))`, "shows nothing: nothing emits router_circuit_breaker_latency_bucket", ""},
		{"one tenant", `sum(rate(router_circuit_breaker_events_total{tenant_id="$tenant_id"}[5m]))`, "may show nothing: with All", `tenant_id=~"$tenant_id"`},
		{"no such variable", `sum(rate(router_circuit_breaker_events_total{tenant_id=~"$tenant"}[5m]))`, "may show nothing: the dashboard does not define the variable $tenant", ""},
		{"no PromQL", `sum(rate(`, "shows nothing: the query cannot be read", ""},
		{"requests", `sum by (tenant_id) (rate(router_circuit_breaker_events_total{event_type=~"success|failure"}[5m])) * 60`, "shows something, and nothing false was found in it", ""},
		{"too narrow", `rate(router_circuit_breaker_events_total[$__interval])`, "shows nothing: [59s999ms] holds fewer than two scrapes", ""},
	} {
		f := judged(t, p, tt.expr, nil)
		if !strings.HasPrefix(f.Summary, tt.want) {
			t.Errorf("%s: %s\nwant %s", tt.name, f.Summary, tt.want)
		}
		if f.Verdict == criteria.Pass != strings.HasPrefix(tt.want, "shows something, and nothing false was found in it") {
			t.Errorf("%s is %s", tt.name, f.Verdict)
		}
		if tt.replacement == "" {
			if f.Replacement != "" || f.Proven {
				t.Errorf("%s has a replacement: %s", tt.name, f.Replacement)
			}
			continue
		}
		if !f.Proven || !strings.Contains(f.Replacement, tt.replacement) {
			t.Errorf("%s: proven %v: %s\nwant %s in it", tt.name, f.Proven, f.Replacement, tt.replacement)
			continue
		}
		if again := judged(t, p, f.Replacement, nil); again.Verdict != criteria.Pass {
			t.Errorf("%s: the replacement is %s: %s\n%s", tt.name, again.Verdict, again.Summary, f.Replacement)
		}
	}
}

func TestPanelsAskTheServer(t *testing.T) {
	p := practice(t, PracticeOptions{})
	const open, cpu = `increase(` + mTransitions + `{to="closed"}[5m])`, `rate(node_cpu_seconds_total[5m])`
	dead := `sum(rate(` + mTransitions + `{state="open"}[5m]))`
	for _, tt := range []struct {
		name, expr string
		src        *source
		verdict    criteria.Verdict
		want       string
	}{
		{"the server shows it", open, &source{series: map[string]int{open: 2}}, criteria.Pass, "shows something, and nothing false was found in it"},
		{"nothing has happened yet", open, &source{}, criteria.Pass, "nothing to show now"},
		{"dead, and the server agrees", dead, &source{}, criteria.Fail, "shows nothing: " + mTransitions + " has no label state"},
		{"the server knows better", dead, &source{series: map[string]int{dead: 1}}, criteria.Pass, "shows something, and nothing false was found in it"},
		{"the server is down", open, &source{err: errors.New("connection\nrefused")}, criteria.Unmeasurable, "the server did not answer: connection refused"},
		{"a partial answer proves no absence", open, &source{warn: []string{"store timed out"}}, criteria.Unmeasurable, "the server did not answer: it may have answered in part: store timed out"},
		{"more than the histories have", `sum(rate(` + mEvents + `[5m])) > 1000`, &source{}, criteria.Inconclusive, "shows nothing in any history: in every history sum(rate("},
		{"and not asked", `sum(rate(` + mEvents + `[5m])) > 1000`, nil, criteria.Inconclusive, "shows nothing in any history: in every history sum(rate("},
		{"too long", cpu + strings.Repeat(" + "+cpu, 2000), &source{}, criteria.Unmeasurable, "was not tried: a query of"},
		{"too many parts", cpu + strings.Repeat(" + "+cpu, 200), &source{}, criteria.Unmeasurable, "was not tried: an expression of"},
		{"something else, one of two", cpu + ` or node_load1`, &source{series: map[string]int{"node_load1": 1}}, criteria.Pass, "nothing to show now"},
		{"something else, of a tenant", `x_total{tenant_id="a"} > 5`, &source{series: map[string]int{`x_total{tenant_id="a"}`: 1}}, criteria.Pass, "nothing to show now"},
		{"too many groups", strings.Repeat("sum by (tenant_id) (", 60) + mEvents + strings.Repeat(")", 60) + " / " + strings.Repeat("max by (tenant_id) (", 60) + mEvents + strings.Repeat(")", 60), &source{}, criteria.Unmeasurable, "was not tried: the query has too many parts"},
		{"a number", `scalar(sum(` + mEvents + `))`, &source{series: map[string]int{`vector(scalar(sum(` + mEvents + `)))`: 1}}, criteria.Pass, "shows something"},
		{"a range", mEvents + `[5m]`, &source{}, criteria.Unmeasurable, "was not tried: it is a range vector"},
		{"something else, there", cpu, &source{series: map[string]int{cpu: 4}}, criteria.Pass, "returns something"},
		{"something else, missing", cpu, &source{}, criteria.Fail, "shows nothing: the server has no series node_cpu_seconds_total"},
		{"something else, quiet now", cpu + " > 5", &source{series: map[string]int{"node_cpu_seconds_total": 4}}, criteria.Pass, "nothing to show now"},
		{"something else, not asked", cpu, nil, criteria.Unmeasurable, "it is not about the breaker, and no server was asked"},
		{"a histogram that somebody added", `histogram_quantile(0.9, router_x_bucket)`, &source{series: map[string]int{`histogram_quantile(0.9, router_x_bucket)`: 1}}, criteria.Pass, "returns something"},
	} {
		var src Source
		if tt.src != nil {
			src = tt.src
		}
		f := judged(t, p, tt.expr, src)
		if f.Verdict != tt.verdict || !strings.HasPrefix(f.Summary, tt.want) {
			t.Errorf("%s: %s: %s\nwant %s: %s", tt.name, f.Verdict, f.Summary, tt.verdict, tt.want)
		}
	}
	// Each query is asked once, and not more than so many.
	d := &Dashboard{}
	for i := range maxAsked + 50 {
		d.Panels = append(d.Panels, Panel{ID: i, Targets: []Target{{Expr: fmt.Sprintf("x_%d", i)}, {Expr: fmt.Sprintf("x_%d", i)}}})
	}
	src := &source{}
	r, err := p.Dashboard(t.Context(), d, src, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(src.asked) != maxAsked {
		t.Errorf("asked %d queries, want %d", len(src.asked), maxAsked)
	}
	if last := r.Panels[len(r.Panels)-1]; last.Verdict != criteria.Unmeasurable {
		t.Errorf("a query that was not asked is %s: %s", last.Verdict, last.Summary)
	}
}

func TestPanelsThatAreNotLookedAtAreSaid(t *testing.T) {
	d := parsedDashboard(t, `{"panels": [{"id": 1, "title": "A", "libraryPanel": {"name": "Shared"}}, {"id": 2, "type": "alertlist"}, {"id": 3, "type": "text"},
		{"id": 4, "title": "L", "targets": [{"datasource": {"type": "loki"}, "expr": "{a=\"b\"}"}]}, {"id": 5, "targets": [{"expr": "up", "hide": true}]}]}`)
	r, err := practice(t, PracticeOptions{}).Dashboard(t.Context(), d, nil, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`panel 1 "A" is the library panel "Shared": what is kept in the library was not followed`, `panel 2 (alertlist) has no PromQL query`, `panel 4 "L" asks loki, not Prometheus`}
	if strings.Join(r.Notes, "\n") != strings.Join(want, "\n") {
		t.Errorf("notes:\n%s\nwant:\n%s", strings.Join(r.Notes, "\n"), strings.Join(want, "\n"))
	}
	if len(r.Panels) != 1 || len(r.Panels[0].Notes) == 0 || r.Panels[0].Notes[0] != "the query is hidden" {
		t.Errorf("%+v", r.Panels)
	}
}

func TestEndedContextEndsTheDoctor(t *testing.T) {
	p := practice(t, PracticeOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewPractice(ctx, PracticeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("histories: %v", err)
	}
	if _, err := p.Alerts(ctx, AlertInput{}); !errors.Is(err, context.Canceled) {
		t.Errorf("alerts: %v", err)
	}
	if _, err := p.Dashboard(ctx, fixture(t), nil, time.Unix(0, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("dashboard: %v", err)
	}
}

// When a report has cost enough, what was not tried is not said to be right.
func TestAReportIsBounded(t *testing.T) {
	p := practice(t, PracticeOptions{})
	var stores []promlab.Queryable
	for _, h := range p.histories {
		stores = append(stores, h.store)
	}
	for left, want := range map[int]criteria.Verdict{0: criteria.Unmeasurable, 100: criteria.Pass} {
		f := PanelFinding{Query: "sum(rate(" + mEvents + "[5m]))"}
		if p.panel(p.inquest(t.Context(), &left, stores, nil), &f, &Dashboard{}, &asker{}); f.Verdict != want {
			t.Errorf("%s: %s", f.Verdict, f.Summary)
		}
	}
}

// A replacement that still shows something false is not proven.
func TestReplacementsThatAreNotEnough(t *testing.T) {
	p := practice(t, PracticeOptions{})
	f := judged(t, p, `sum(irate(`+mTransitions+`{state="open"}[5m]))`, nil)
	if f.Verdict != criteria.Fail || !strings.Contains(f.Replacement, `to="open"`) || f.Proven {
		t.Errorf("%s: %s, proven %v: %s", f.Verdict, f.Summary, f.Proven, f.Replacement)
	}
}

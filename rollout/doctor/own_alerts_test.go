package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

// Alerts of a server's own: what nobody told us the intent of is tried all the same.
func TestServersOwnAlerts(t *testing.T) {
	d := emitted()
	d.Varying, d.Present = []string{"pod"}, []string{"llm_circuit_breaker_budget"}
	p := practice(t, PracticeOptions{Dialect: d})
	for _, tt := range []struct {
		name, expr string
		hold       time.Duration
		verdict    criteria.Verdict
		want       string
	}{
		{"a name that nothing emits", `rate(router_circuit_breaker_transitions_total[5m]) > 0`, 0, criteria.Fail, "cannot fire: nothing emits router_circuit_breaker_transitions_total; did you mean router_circuit_breaker_state_transitions_total?"},
		{"a name that only looks like one", `llm_circuitbreaker_open > 0`, 0, criteria.Fail, "cannot fire: the server has no metric llm_circuitbreaker_open"},
		{"a name of the router's that nothing emits", `router_circuitbreaker_open > 0`, 0, criteria.Fail, "cannot fire: nothing emits router_circuitbreaker_open"},
		{"a name that the server has", `llm_circuit_breaker_budget > 1`, 0, criteria.Inconclusive, "fired in none of 14 histories: llm_circuit_breaker_budget exists on the server"},
		{"a label of another metric", `sum(router_circuit_breaker_events_total{reason="timeout"}) > 0`, 0, criteria.Fail, "cannot fire: router_circuit_breaker_events_total has no label reason"},
		{"a value that never is", `increase(router_circuit_breaker_events_total{event_type="timeout"}[5m]) > 0`, 0, criteria.Fail, `cannot fire: the label event_type of router_circuit_breaker_events_total is never "timeout"`},
		{"values that never meet", `increase(router_circuit_breaker_state_transitions_total{from="open",to="closed"}[5m]) > 0`, 0, criteria.Fail, "cannot fire: router_circuit_breaker_state_transitions_total{from=\"open\",to=\"closed\"} selects nothing: no series"},
		{"another cluster", `router_circuit_breaker_error_rate{cluster="dev"} > 0.5`, 0, criteria.Fail, `cannot fire: the label cluster of router_circuit_breaker_error_rate is never "dev", so {cluster="dev"} selects nothing; it is "prod"`},
		{"what the help text says", `router_circuit_breaker_state == 0.5`, 0, criteria.Fail, "cannot fire: router_circuit_breaker_state is only ever 0, 1, 2"},
		{"more than all", `max by (tenant_id) (router_circuit_breaker_error_rate) > 1`, 0, criteria.Fail, "cannot fire: max by (tenant_id) (router_circuit_breaker_error_rate) is a share, from 0 to 1"},
		{"a window too short", `rate(router_circuit_breaker_events_total{event_type="failure"}[1m]) > 0`, 0, criteria.Fail, "cannot fire: [1m] holds fewer than two scrapes, which come every 1m"},
		{"labels that never meet", `sum by (tenant) (rate(router_circuit_breaker_events_total{event_type="failure"}[5m])) / on (tenant_id) sum by (tenant_id) (rate(router_circuit_breaker_events_total[5m])) > 0.5`, 0, criteria.Fail, "cannot fire: the two sides never have the same labels: the left one has none, the right one tenant_id"},
		{"buckets", `histogram_quantile(0.9, rate(router_circuit_breaker_latency_ms_bucket[5m])) > 1`, 0, criteria.Fail, "cannot fire: nothing emits router_circuit_breaker_latency_ms_bucket: the router exports no histogram"},
		{"either of two dead ones", `router_circuit_breaker_opened > 0 or router_circuit_breaker_state{state="broken"} == 1`, 0, criteria.Fail, "cannot fire: nothing emits router_circuit_breaker_opened"},
		{"a dead one or a living one", `router_circuit_breaker_opened > 0 or router_circuit_breaker_error_rate > 0.5`, 0, criteria.Pass, "fires"},
		{"a recording rule of nothing", `job:breaker_opens:rate5m > 0`, 0, criteria.Fail, "cannot fire: job:breaker_opens:rate5m is recorded from what comes to nothing: router_circuit_breaker_state_transitions_total has no label state"},
		{"a recording rule of something", `job:breaker_failures:rate5m / job:breaker_reached:rate5m > 0.5`, 5 * time.Minute, criteria.Pass, "fires, is silent when all is well, and resolves"},
		{"a recording rule of recording rules", `job:breaker_share:rate5m > 0.5`, 5 * time.Minute, criteria.Pass, "fires, is silent when all is well, and resolves"},
		{"no expression", `router_circuit_breaker_error_rate >`, 0, criteria.Fail, "cannot fire: the expression cannot be read: 1:36: parse error"},
		{"always", `sum(rate(router_circuit_breaker_events_total[5m])) > 0`, 0, criteria.Fail, "fires always: in the history healthy nothing was wrong"},
		{"before anything is wrong", `count(count by (tenant_id) (router_circuit_breaker_events_total)) < 4`, 0, criteria.Fail, "fires always: in the history outage nothing was wrong"},
		{"latched", `router_circuit_breaker_state{state="open"} == 1`, time.Minute, criteria.Fail, `never resolves: router_circuit_breaker_state{state="open"} still reads 1`},
		{"a counter as it is", `router_circuit_breaker_state_transitions_total{from="closed",to="open"} > 0`, 0, criteria.Fail, "never resolves: router_circuit_breaker_state_transitions_total"},
		{"more than the histories have", `sum(rate(router_circuit_breaker_events_total{event_type="failure"}[5m])) > 1000`, 0, criteria.Inconclusive, "fired in none of 14 histories: in every history sum(rate("},
		{"for longer than it holds", `changes(router_circuit_breaker_state_transitions_total{to="closed"}[5m]) > 0`, 45 * time.Minute, criteria.Pass, "fires"},
		{"for longer than any outage", `router_circuit_breaker_error_rate > 0.5`, 13 * time.Hour, criteria.Inconclusive, "fired in none of 14 histories: `for` asks for 13h, and the longest outage tried is 1h"},
		{"last week", `router_circuit_breaker_error_rate > 2 * router_circuit_breaker_error_rate offset 1w`, 0, criteria.Inconclusive, "fired in none of 14 histories: router_circuit_breaker_error_rate offset 1w looks back further"},
		{"other series", `router_circuit_breaker_error_rate > 0.5 and on () (deploys_running > 0)`, 0, criteria.Inconclusive, "fired in none of 14 histories: deploys_running is not a metric of the breaker"},
		{"missing series", `absent(router_circuit_breaker_events_total)`, 10 * time.Minute, criteria.Pass, "fires"},
		{"one tenant, one provider", `router_circuit_breaker_error_rate{tenant_id="t-x",provider_id="mistral",pod="a",instance="b:1"} > 0.5`, 0, criteria.Pass, "fires"},
		{"two providers", `sum(rate(router_circuit_breaker_events_total{event_type="failure",provider_id="x"}[5m])) > 0.1 + sum(rate(router_circuit_breaker_events_total{event_type="failure",provider_id="y"}[5m]))`, 5 * time.Minute, criteria.Pass, "fires"},
		{"names by a pattern", `router_circuit_breaker_error_rate{tenant_id=~"prod-.*"} > 0.5`, 0, criteria.Pass, "fires"},
		{"a metric by a pattern", `{__name__=~"router_circuit_breaker_err.*"} > 0.5`, 0, criteria.Pass, "fires"},
	} {
		in := AlertInput{Known: true, Rules: []ServerRule{alert("Own", tt.expr, tt.hold),
			{Rule: promlab.Rule{Record: "job:breaker_opens:rate5m", Expr: `sum(rate(router_circuit_breaker_state_transitions_total{state="open"}[5m]))`}},
			{Rule: promlab.Rule{Record: "job:breaker_share:rate5m", Expr: `job:breaker_failures:rate5m / job:breaker_reached:rate5m`}},
			{Rule: promlab.Rule{Record: "job:breaker_failures:rate5m", Expr: `sum by (provider_id) (rate(router_circuit_breaker_events_total{event_type="failure"}[5m]))`}},
			{Rule: promlab.Rule{Record: "job:breaker_reached:rate5m", Expr: `sum by (provider_id) (rate(router_circuit_breaker_events_total{event_type=~"success|failure"}[5m]))`}},
		}}
		f := ownAlert(t, p, in)
		if f.Verdict != tt.verdict || !strings.HasPrefix(f.Summary, tt.want) || f.Documented {
			t.Errorf("%s: %s: %s\nwant %s: %s", tt.name, f.Verdict, f.Summary, tt.verdict, tt.want)
		}
	}
}

// A label that shows the value makes a new alert with every value.
func TestLabelsThatShowTheValue(t *testing.T) {
	r := alert("Own", `sum(rate(router_circuit_breaker_events_total{event_type="failure"}[5m])) + 1e-12 * time() > 0.2`, 5*time.Minute)
	p := practice(t, PracticeOptions{})
	if f := ownAlert(t, p, AlertInput{Rules: []ServerRule{r}}); f.Verdict != criteria.Pass {
		t.Errorf("without the label: %s", f.Summary)
	}
	r.Labels = map[string]string{"failing": "{{ $value }}"}
	if f := ownAlert(t, p, AlertInput{Rules: []ServerRule{r}}); f.Verdict != criteria.Inconclusive || !strings.Contains(f.Summary, "the label failing shows the value") {
		t.Errorf("with the label: %s: %s", f.Verdict, f.Summary)
	}
}

// An alert that costs more than this process gives is no alert that cannot be evaluated.
func TestCostIsNoFault(t *testing.T) {
	p := practice(t, PracticeOptions{})
	for costly, want := range map[bool]criteria.Verdict{true: criteria.Unmeasurable, false: criteria.Fail} {
		r := alert("Own", mErrorRate+" > 0.5", 0).Rule
		tr, err := p.try(t.Context(), promlab.Group{Rules: []promlab.Rule{r}}, intent{})
		if err != nil {
			t.Fatal(err)
		}
		tr.trials[3].Error, tr.trials[3].costly = "too many samples", costly
		var f AlertFinding
		left := maxAllParts
		if p.judge(t.Context(), &left, &f, tr, nil, intent{}); f.Verdict != want {
			t.Errorf("costly %v: %s: %s", costly, f.Verdict, f.Summary)
		}
	}
}

// Another system's breaker is not ours to call dead, unless somebody looked.
func TestOtherBreakers(t *testing.T) {
	in := AlertInput{Rules: []ServerRule{alert("Own", "envoy_cluster_circuit_breakers_default_cx_open == 1", 0)}}
	if f := ownAlert(t, practice(t, PracticeOptions{}), in); f.Verdict != criteria.Inconclusive || strings.Contains(f.Summary, "cannot fire") {
		t.Errorf("nobody looked: %s: %s", f.Verdict, f.Summary)
	}
	if f := ownAlert(t, practice(t, PracticeOptions{Dialect: Dialect{Present: []string{}}}), in); f.Verdict != criteria.Fail || !strings.HasPrefix(f.Summary, "cannot fire: the server has no metric envoy_") {
		t.Errorf("the server has none: %s: %s", f.Verdict, f.Summary)
	}
	for name, want := range map[string]bool{"error_rate": false, "state": false, "events_total": false, "http_requests_total": false, "router_requests_total": false,
		"router_circuit_breaker_opened": true, "Router_circuit_breaker_state": true, "router_circut_breaker_state": true} {
		if got := (Dialect{}).ours(name); got != want {
			t.Errorf("%s is taken for the router's: %v", name, got)
		}
	}
	own := Dialect{Metrics: map[string]string{}}
	for _, m := range metricNames() {
		own.Metrics[m] = "llm_cb:" + strings.TrimPrefix(m, prefix)
	}
	if !own.ours("llm_cb:opened") || own.ours("llm_requests_total") {
		t.Error("the names of a dialect begin with llm_cb:")
	}
}

// ownAlert tries the first rule only: the documented ones take their time.
func ownAlert(t *testing.T, p *Practice, in AlertInput) AlertFinding {
	t.Helper()
	rs := p.recordings(in)
	if !p.concerns(rs, in.Rules[0]) {
		t.Fatalf("%s is not taken for an alert about the breaker", in.Rules[0].Expr)
	}
	f, err := p.alert(t.Context(), rs, in.Rules[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAlertsAboutOtherThingsAreLeftAlone(t *testing.T) {
	p := practice(t, PracticeOptions{})
	r := report(t, p, AlertInput{Known: true, Rules: []ServerRule{
		alert("Down", "up == 0", 0), alert("Disk", "node_filesystem_avail_bytes < 1", 0),
		{Rule: promlab.Rule{Record: "x", Expr: "rate(router_circuit_breaker_events_total[5m])"}}, alert("Recorded", "x > 1", 0),
	}})
	var own []string
	for _, f := range r.Alerts {
		if !f.Documented {
			own = append(own, f.Name)
		}
	}
	if len(own) != 1 || own[0] != "Recorded" {
		t.Errorf("tried %s, want the one that reads the breaker's metrics through a recording rule", own)
	}
}

func TestAdapt(t *testing.T) {
	d := emitted()
	d.Varying = []string{"pod"}
	p := practice(t, PracticeOptions{Dialect: d})
	for _, tt := range []struct{ expr, want, note string }{
		{`x{tenant_id="a"}`, `x{tenant_id="t-acme"}`, `tenant_id="a" was tried as "t-acme"`},
		{`x{tenant_id="a"} / x{tenant_id="b"} + x{tenant_id="a"}`, `x{tenant_id="t-acme"} / x{tenant_id="t-bolt"} + x{tenant_id="t-acme"}`, `tenant_id="b" was tried as "t-bolt"`},
		{`x{provider_id!="a"}`, `x{provider_id!="openai"}`, ""},
		{`x{provider_id=~"a|b"}`, `x{provider_id=~".+"}`, `provider_id=~"a|b" was tried as any name`},
		{`x{provider_id=~"open.*"}`, `x{provider_id=~"open.*"}`, ""},
		{`x{provider_id!~"a|b"}`, `x{provider_id!~"a|b"}`, ""},
		{`x{tenant_id=""}`, `x{tenant_id=""}`, ""},
		{`x{pod="p",instance=~"i.*",a="b"}`, `x{a="b"}`, `pod="p" was not compared`},
		{`x{job="llm-router"}`, `x{job="llm-router"}`, ""},
		{`{pod="p"}`, `{pod="p"}`, ""},
		{`x{provider_id="a"} + x{provider_id="b"} + x{provider_id="c"} + x{provider_id="d"}`, `x{provider_id="openai"} + x{provider_id="anthropic"} + x{provider_id="cohere"} + x`, `provider_id="d" was not compared: the histories have too few names`},
	} {
		x, notes, err := p.adapt(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		if x.String() != tt.want || tt.note != "" && !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, tt.note) }) {
			t.Errorf("%s: %s, notes %q\nwant %s, %q", tt.expr, x, notes, tt.want, tt.note)
		}
	}
	if p := practice(t, PracticeOptions{}); true { // nobody told the job
		if x, _, err := p.adapt(`x{job="llm-router"}`); err != nil || x.String() != "x" {
			t.Errorf("%v %v", x, err)
		}
	}
}

// What costs too much is not tried, and said so; it is never a verdict about the alert.
func TestCostlyAlertsAreBounded(t *testing.T) {
	p := practice(t, PracticeOptions{})
	for name, expr := range map[string]string{
		"parts":  "router_circuit_breaker_error_rate" + strings.Repeat(" + router_circuit_breaker_error_rate", 400) + " > 1000",
		"long":   "router_circuit_breaker_error_rate" + strings.Repeat(" + router_circuit_breaker_error_rate", 2000) + " > 1000",
		"nested": strings.Repeat("(", 150) + "router_circuit_breaker_error_rate" + strings.Repeat(")", 150),
		"inner":  "max_over_time(router_circuit_breaker_error_rate[1y:1s]) > 1",
	} {
		begin := time.Now()
		f := ownAlert(t, p, AlertInput{Rules: []ServerRule{alert("Own", expr, 0)}})
		if f.Verdict != criteria.Unmeasurable || !strings.HasPrefix(f.Summary, "was not tried: ") {
			t.Errorf("%s: %s: %.300s", name, f.Verdict, f.Summary)
		}
		t.Logf("%s: %s", name, time.Since(begin))
	}
	deep := strings.Repeat("-(", 95) + "router_circuit_breaker_error_rate > 2" + strings.Repeat(")", 95)
	if f := ownAlert(t, p, AlertInput{Rules: []ServerRule{alert("Own", deep, 0)}}); f.Verdict != criteria.Inconclusive || !strings.Contains(f.Summary, "too many parts") {
		t.Errorf("many parts that come to nothing: %s: %.300s", f.Verdict, f.Summary)
	}
	dead := "router_circuit_breaker_x" + strings.Repeat(" + router_circuit_breaker_x", 140) + " > 0"
	if f := ownAlert(t, p, AlertInput{Rules: []ServerRule{alert("Own", dead, 0)}}); f.Verdict == criteria.Pass {
		t.Errorf("many parts: %s: %.300s", f.Verdict, f.Summary)
	}
	var many AlertInput
	for range maxAlerts + 5 {
		many.Rules = append(many.Rules, alert("Own", mErrorRate+" >", 0))
	}
	if r := report(t, p, many); len(r.Notes) != 5 || !strings.Contains(r.Notes[0], "was not tried") {
		t.Errorf("notes: %q", r.Notes)
	}
}

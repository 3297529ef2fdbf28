package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/plan"
)

const head = "apiVersion: cbops/v1\nkind: Rollout\nprometheus:\n"

func TestPrometheus(t *testing.T) {
	p, problems, err := plan.Parse("cbops.yaml", []byte(head+`  url: https://prometheus.example/prom?dedup=true
  urls: [http://second:9090]
  httpConfig: http.yml
  matchers: ['cluster="prod"', 'region=~"eu-.*"']
  tenantHeader: {name: X-Scope-OrgID, value: team-a}
  dialect:
    metrics: {events_total: acme_events, router_circuit_breaker_state: acme_state}
    labels: {tenant_id: tenant, instance: pod}
  limits: {queries: 100, concurrency: 2, series: 1000, tries: 3, bytes: 64MiB, timeout: 90s}
`))
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	got := p.Prometheus
	if fmt.Sprint(got.URLs) != "[https://prometheus.example/prom?dedup=true http://second:9090]" || got.HTTPConfig != "http.yml" {
		t.Errorf("%+v", got)
	}
	if fmt.Sprint(got.Matchers) != `[cluster="prod" region=~"eu-.*"]` || got.TenantHeader != (promquery.Header{Name: "X-Scope-OrgID", Value: "team-a"}) {
		t.Errorf("%+v", got)
	}
	if fmt.Sprint(got.Dialect) != "{map[events_total:acme_events router_circuit_breaker_state:acme_state] map[instance:pod tenant_id:tenant]}" {
		t.Errorf("%+v", got.Dialect)
	}
	if got.Limits != (plan.Limits{Queries: 100, Concurrency: 2, Series: 1000, Tries: 3, Bytes: 64 << 20, Timeout: 90 * time.Second}) {
		t.Errorf("%+v", got.Limits)
	}
}

// What is wrong has its place, and mostly a way on.
func TestPrometheusProblems(t *testing.T) {
	for _, c := range []struct{ text, place, says string }{
		{"  uri: http://x\n", "4:3", `unknown key "uri"; did you mean "url"?`},
		{"  url: prometheus:9090\n", "4:8", "not the URL"},
		{"  urls: http://x\n", "4:9", "want a list"},
		{"  urls: [ftp://x]\n", "4:10", "not the URL"},
		{"  url: http://op:secret@x\n", "4:8", "credentials in a plan"},
		{"  matchers: [cluster=prod]\n", "4:14", "double quotes"},
		{"  matchers: ['a=~\"(\"']\n", "4:14", "regular expression"},
		{"  tenantHeader: {name: Authorization, value: x}\n", "4:17", "another purpose"},
		{"  tenantHeader: {nam: X}\n", "4:18", `did you mean "name"?`},
		{"  tenantHeader: {name: X}\n", "4:17", "not the name and value"},
		{"  dialect: {metrics: {event_total: x}}\n", "4:23", `did you mean "events_total"?`},
		{"  dialect: {metrics: {events_total: a-b}}\n", "4:12", "not the name of a metric"},
		{"  dialect: {labels: {tenant: x}}\n", "4:22", `unknown key "tenant"`},
		{"  dialect: {labels: {tenant_id: a b}}\n", "4:12", "not the name of a label"},
		{"  dialect: {label: {}}\n", "4:13", `did you mean "labels"?`},
		{"  limits: {query: 3}\n", "4:12", `unknown key "query"`},
		{"  limits: {queries: 0}\n", "4:21", "above 0"},
		{"  limits: {bytes: many}\n", "4:19", "like 128MiB"},
		{"  limits: {bytes: -1MiB}\n", "4:19", "like 128MiB"},
		{"  limits: {bytes: 99999999999GiB}\n", "4:19", "like 128MiB"},
		{"  limits: {timeout: 5ms}\n", "4:21", "a second or more"},
		{"  limits: {timeout: [1]}\n", "4:21", "a second or more"},
	} {
		_, problems, err := plan.Parse("cbops.yaml", []byte(head+c.text))
		if err != nil || len(problems) == 0 {
			t.Errorf("%s: taken: %v", c.text, err)
			continue
		}
		p := problems[0]
		said := p.Message
		if p.Hint != "" {
			said += "; " + p.Hint
		}
		if place := fmt.Sprintf("%d:%d", p.Line, p.Column); place != c.place || !strings.Contains(said, c.says) || strings.Contains(said, "secret") {
			t.Errorf("%s: %s %s", c.text, place, said)
		}
	}
}

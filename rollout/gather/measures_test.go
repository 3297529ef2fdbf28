package gather_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// measured gathers with one query of the deployment's own.
func (f *fixture) measured(name, expr string) evidence.Measure {
	f.t.Helper()
	c, err := promquery.New(promquery.Options{URL: "http://prometheus.example",
		Transport: promlab.Transport(promlab.NewServer(f.store, promlab.Options{Now: func() time.Time { return f.at }}))})
	if err != nil {
		f.t.Fatal(err)
	}
	ev, err := gather.Gather(context.Background(), c, gather.Request{At: f.at, Baseline: 23 * time.Hour, Dialect: emitted(),
		Tenants:  []gather.TenantRequest{{ID: "t-acme", Since: f.since, Config: evidence.Config{Enabled: true, FailureThreshold: 5}}},
		Measures: []gather.MeasureQuery{{Name: name, Expr: expr}}})
	if err != nil {
		f.t.Fatal(err)
	}
	m := ev.Measure(name)
	if m == nil {
		f.t.Fatal("the query was not asked")
	}
	return *m
}

// What a query answers is kept as it is, whatever it is; what cannot be evaluated is
// kept with the reason, and the rest of the evidence all the same.
func TestMeasures(t *testing.T) {
	f := newFixture(t)
	f.node("n1")
	level := func(m int) float64 { return 0.2 + float64(m%60)/1000 }
	f.scrapes(on("n1", "__name__", "latency_seconds", "tenant_id", "t-acme"), f.start, f.at, level)
	f.scrapes(on("n1", "__name__", "latency_seconds", "tenant_id", "t-bolt"), f.start, f.at, level)
	f.scrapes(on("n1", "__name__", "mostly_nothing"), f.start, f.at, func(m int) float64 {
		if m%10 == 0 {
			return 1
		}
		return math.NaN()
	})
	tests := []struct {
		name, expr string
		series     int
		refused    string
		check      func(m evidence.Measure) bool
	}{
		{"one a tenant", `avg by (tenant_id) (latency_seconds)`, 2, "", func(m evidence.Measure) bool {
			return m.Series[0].Tenant == "t-acme" && len(m.Series[0].Values) > 300 && m.Series[0].Values[5] > 0.1
		}},
		{"one", `avg(latency_seconds)`, 1, "", func(m evidence.Measure) bool { return m.Series[0].Tenant == "" }},
		{"a scalar", `0.5`, 1, "", func(m evidence.Measure) bool { return m.Series[0].Values[0] == 0.5 }},
		{"nothing", `latency_minutes`, 0, "", nil},
		{"not numbers", `mostly_nothing`, 1, "", func(m evidence.Measure) bool { return m.Series[0].NotNumbers > len(m.Series[0].Values)/2 }},
		{"infinite", `latency_seconds / 0`, 2, "", func(m evidence.Measure) bool { return len(m.Series[0].Values) == 0 && m.Series[0].NotNumbers > 300 }},
		{"no PromQL", `avg(latency_seconds`, 0, "parse error", nil},
		{"a string", `"fast"`, 0, "invalid expression type", nil},
		{"a range", `latency_seconds[5m]`, 0, "invalid expression type", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := f.measured("latency", tt.expr)
			if len(m.Series) != tt.series || tt.refused == "" != (m.Refused == "") || !strings.Contains(m.Refused, tt.refused) {
				t.Fatalf("%d series, refused %q; want %d and %q", len(m.Series), m.Refused, tt.series, tt.refused)
			}
			if tt.check != nil && !tt.check(m) {
				t.Errorf("not what was stored: %+v", m.Series)
			}
		})
	}
}

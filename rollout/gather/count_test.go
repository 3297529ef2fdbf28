package gather_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// The same questions are asked about three tenants and about sixty, and requests are
// bounded whatever happened.
func TestQuestionsDoNotGrowWithTenants(t *testing.T) {
	ask := func(tenants int) (names []string, requests int) {
		f := newFixture(t)
		f.scrapes(on("n1", "__name__", "up"), f.start, f.at, one)
		req := gather.Request{At: f.at, Baseline: 23 * time.Hour, Dialect: emitted()}
		for i := range tenants + 5 {
			id := fmt.Sprintf("t-%03d", i)
			l := func(name string, more ...string) map[string]string {
				return on("n1", append([]string{"__name__", "router_circuit_breaker_" + name, "tenant_id", id, "provider_id", "openai"}, more...)...)
			}
			f.scrapes(l("events_total", "event_type", "success"), f.start, f.at, func(m int) float64 { return float64(10 * m) })
			// Each opens at moments of its own, all day long.
			f.scrapes(l("state_transitions_total", "from", "closed", "to", "open"), f.since.Add(time.Duration(i)*time.Minute), f.at, func(m int) float64 { return float64(1 + (m+7*i)/90) })
			f.scrapes(l("state_transitions_total", "from", "half_open", "to", "closed"), f.since.Add(time.Duration(i)*time.Minute), f.at, func(m int) float64 { return float64(1 + (m+7*i)/90) })
			if i < tenants {
				req.Tenants = append(req.Tenants, gather.TenantRequest{ID: id, Since: f.since, Config: evidence.Config{Enabled: true}})
			}
		}
		c, err := promquery.New(promquery.Options{URL: "http://prometheus.example",
			Transport: promlab.Transport(promlab.NewServer(f.store, promlab.Options{Now: func() time.Time { return f.at }}))})
		if err != nil {
			t.Fatal(err)
		}
		req.Limits.Windows = 8
		ev, err := gather.Gather(t.Context(), c, req)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(ev.Tenants); n != tenants || len(ev.Others) != 5 {
			t.Fatalf("%d tenants, %d others", n, len(ev.Others))
		}
		for _, q := range ev.Queries {
			names = append(names, q.Name)
			requests += q.Requests
		}
		slices.Sort(names)
		return slices.Compact(names), requests
	}
	few, fewRequests := ask(3)
	many, manyRequests := ask(60)
	if !slices.Equal(few, many) || len(few) < 8 {
		t.Errorf("about 3 tenants %q, about 60 %q", few, many)
	}
	if manyRequests > fewRequests+8 {
		t.Errorf("%d requests about 3 tenants, %d about 60", fewRequests, manyRequests)
	}
}

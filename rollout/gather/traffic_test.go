package gather_test

import (
	"math"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

func TestTraffic(t *testing.T) {
	f := newFixture(t)
	f.at = f.start.Add(8 * 24 * time.Hour)
	series := func(node, tenant, provider, kind string) map[string]string {
		return on(node, "__name__", "router_circuit_breaker_events_total", "event_type", kind, "tenant_id", tenant, "provider_id", provider)
	}
	// 120 requests a minute by day, 12 from 0 to 4 at night; n1 restarts on day 3.
	night := func(m int) bool { return m%1440 < 240 }
	busy := func(m int) float64 {
		v := 0.0
		for i := m / 1440 * 1440; i < m; i++ {
			if night(i) {
				v += 12
			} else {
				v += 120
			}
		}
		return v + float64(m/1440)*(240*12+1200*120)
	}
	restart := 3*1440 + 300
	f.scrapes(series("n1", "t-acme", "openai", "success"), f.start, f.at, func(m int) float64 {
		if m >= restart {
			return busy(m) - busy(restart)
		}
		return busy(m)
	})
	// The same router behind a second target, and a second router with a tenth of it.
	f.scrapes(series("again", "t-acme", "openai", "success"), f.start, f.at, func(m int) float64 {
		if m >= restart {
			return busy(m) - busy(restart)
		}
		return busy(m)
	})
	f.scrapes(series("n2", "t-acme", "openai", "success"), f.start, f.at, func(m int) float64 { return math.Floor(busy(m) / 10) })
	// The failure counter appears on the second day with its first failures.
	f.scrapes(series("n2", "t-acme", "openai", "failure"), f.start.Add(30*time.Hour), f.at, func(int) float64 { return 500 })
	for _, n := range []string{"n1", "again"} {
		f.scrapes(series(n, "t-bolt", "openai", "success"), f.start, f.at, func(m int) float64 { return float64(m) * 2 })
		// An open that was there before, and another on day 5; below, a first one on day 4.
		f.scrapes(on(n, "__name__", "router_circuit_breaker_state_transitions_total", "from", "closed", "to", "open", "tenant_id", "t-bolt", "provider_id", "openai"),
			f.start, f.at, func(m int) float64 { return 1 + math.Floor(float64(m)/(5*1440)) })
	}
	f.scrapes(on("n2", "__name__", "router_circuit_breaker_state_transitions_total", "from", "closed", "to", "open", "tenant_id", "t-bolt", "provider_id", "openai"),
		f.start.Add(4*24*time.Hour), f.at, one)

	c, err := promquery.New(promquery.Options{URL: "http://prometheus.example",
		Transport: promlab.Transport(promlab.NewServer(f.store, promlab.Options{Now: func() time.Time { return f.at }}))})
	if err != nil {
		t.Fatal(err)
	}
	a, err := gather.Traffic(t.Context(), c, gather.TrafficRequest{At: f.at, Window: 7 * 24 * time.Hour, Dialect: emitted()})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Tenants) != 2 || len(a.Queries) != 2 {
		t.Fatalf("%d tenants by %d queries", len(a.Tenants), len(a.Queries))
	}
	acme, bolt := a.Tenants[0], a.Tenants[1]
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want/100+0.01 {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	near("median", acme.Median, 132)
	near("peak", acme.Peak, 132+500.0/60)
	near("trough", acme.Trough, 13.2)
	near("failures", acme.Failures, 500)
	if acme.Tier != evidence.MediumTier || bolt.Tier != evidence.LowTier || acme.Hours != 7*24 {
		t.Errorf("tiers %s and %s, %d hours", acme.Tier, bolt.Tier, acme.Hours)
	}
	near("median of t-bolt", bolt.Median, 2)
	if acme.ErrorRate == nil || *acme.ErrorRate < 0.0003 || bolt.ErrorRate == nil || *bolt.ErrorRate != 0 {
		t.Errorf("error rates %v and %v", acme.ErrorRate, bolt.ErrorRate)
	}
	if bolt.Opens != 2 || len(bolt.Circuits) != 1 || bolt.Circuits[0].Opens != 2 {
		t.Errorf("opens of t-bolt: %+v", bolt)
	}
}

package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/evidence"
)

func TestSpeed(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	cfg := breaker.PolicyDefaults()
	cfg.TimeoutMS = 30000
	o := history.Options{Seed: 1, Start: start, End: start.AddDate(0, 0, 60)}
	for i := range 20 {
		o.Tenants = append(o.Tenants, history.Tenant{ID: fmt.Sprintf("t-%02d", i), PerMinute: 90, Providers: []history.Provider{{"openai", 1}, {"anthropic", 1}},
			Configs: []history.Loaded{{start.AddDate(0, 0, 10), true, cfg}},
			Errors: func(p string, at time.Time) float64 {
				if d := at.Sub(start.AddDate(0, 0, 20)); p == "openai" && d >= 0 && d < 20*time.Minute {
					return 0.95
				}
				return 0.004
			}})
	}
	b := time.Now()
	w, err := history.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(b))
	b = time.Now()
	ev := w.Evidence(start.AddDate(0, 0, 27), 7*24*time.Hour, history.Judged{"t-00", start.AddDate(0, 0, 17)})
	t.Log(time.Since(b), len(ev.Others), len(ev.Tenants[0].Circuits[0].Outcomes), len(ev.Tenants[0].Circuits[0].Transitions))
	for i := range ev.Tenants[0].Circuits {
		c := &ev.Tenants[0].Circuits[i]
		t.Log(c.Provider, ev.Tenants[0].Episodes(c, ev.At, 0), evidence.Contradictions(c, ev.Tenants[0].Config, ev.Tenants[0].Since, time.Minute))
	}
}

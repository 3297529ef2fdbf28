package criteria_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
)

func TestExplore(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	cfg := breaker.PolicyDefaults()
	cfg.TimeoutMS = 30000
	since := start.AddDate(0, 0, 8)
	for phase := 1; phase <= 4; phase++ {
		days := criteria.MinDays(phase)
		end := since.AddDate(0, 0, days)
		o := history.Options{Seed: 1, Start: start, End: end}
		for i := range 14 {
			x := history.Tenant{ID: fmt.Sprintf("t-%02d", i), PerMinute: 60, Providers: []history.Provider{{"openai", 1}, {"anthropic", 1}},
				Errors: func(p string, at time.Time) float64 {
					for _, on := range []time.Time{start.AddDate(0, 0, 4), since.Add(50 * time.Hour)} {
						if d := at.Sub(on); p == "openai" && d >= 0 && d < 25*time.Minute {
							return 0.95
						}
					}
					return 0.004
				}}
			if i < 10 {
				x.Configs = []history.Loaded{{since, true, cfg}}
			}
			o.Tenants = append(o.Tenants, x)
		}
		w, err := history.Run(o)
		if err != nil {
			t.Fatal(err)
		}
		var js []history.Judged
		n := 10
		if phase == 1 {
			n = 1
		}
		for i := range n {
			js = append(js, history.Judged{fmt.Sprintf("t-%02d", i), since})
		}
		ev := w.Evidence(end, 7*24*time.Hour, js...)
		r := criteria.NewRequest(phase)
		for i := range 14 {
			r.Policies = append(r.Policies, criteria.Policy{Tenant: fmt.Sprintf("t-%02d", i), Policy: "chat", Enabled: i < 10})
		}
		b := time.Now()
		e := criteria.Evaluate(ev, r)
		t.Logf("phase %d: %s in %v", phase, e.Verdict, time.Since(b))
		for _, f := range e.Criteria {
			t.Logf("  %-28s %-12s %-8s proven %v fragile %v: %s", f.ID, f.Verdict, f.State, f.Proven, f.Fragile, f.Summary)
		}
	}
}

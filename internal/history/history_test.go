package history_test

import (
	"math"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/evidence"
)

// past is a week of a tenant, with its breaker on from the fourth day and an outage of
// openai on the sixth.
func past(t *testing.T, seed uint64) (*evidence.Evidence, time.Time) {
	t.Helper()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	bad := start.AddDate(0, 0, 5).Add(7 * time.Hour)
	x := history.Tenant{ID: "t-acme", PerMinute: 80, Providers: history.Two(),
		Configs: []history.Loaded{{At: start.AddDate(0, 0, 3), Enabled: true, Config: history.GuideConfig()}},
		Errors: func(p string, at time.Time) float64 {
			if p == "openai" && !at.Before(bad) && at.Before(bad.Add(20*time.Minute)) {
				return 1
			}
			return 0.004
		}}
	w, err := history.Run(history.Options{Seed: seed, Start: start, End: start.AddDate(0, 0, 7), Tenants: []history.Tenant{x}})
	if err != nil {
		t.Fatal(err)
	}
	return w.Evidence(start.AddDate(0, 0, 7), 3*24*time.Hour, history.Judged{ID: "t-acme", Since: start.AddDate(0, 0, 3)}), bad
}

// What was planted is what was counted: traffic, everyday failures, and an episode in
// the outage alone; and the counters are the breaker's own, so that they contradict
// nothing.
func TestWhatIsPlantedIsCounted(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		ev, bad := past(t, seed)
		tenant := &ev.Tenants[0]
		if len(tenant.Circuits) != 2 {
			t.Fatalf("seed %d: %d circuits", seed, len(tenant.Circuits))
		}
		for i := range tenant.Circuits {
			c := &tenant.Circuits[i]
			if wrong := evidence.Contradictions(c, tenant.Config, tenant.Since, history.Every); len(wrong) > 0 {
				t.Errorf("seed %d, %s: %s", seed, c.Provider, wrong[0].Text)
			}
			quiet := c.Delta(tenant.Since.Add(time.Hour), tenant.Since.Add(25*time.Hour))
			n, want := quiet.Success+quiet.Failure, 40.0*60*24
			if !quiet.OK || math.Abs(n-want) > 6*math.Sqrt(want) {
				t.Errorf("seed %d, %s: %.0f outcomes in a quiet day, planted %.0f", seed, c.Provider, n, want)
			}
			if f := 0.004 * n; math.Abs(quiet.Failure-f) > 6*math.Sqrt(f) {
				t.Errorf("seed %d, %s: %.0f failures in a quiet day, planted %.0f", seed, c.Provider, quiet.Failure, f)
			}
			var bake []evidence.Episode
			for _, ep := range tenant.Episodes(c, ev.At, 0) {
				if !ep.Shadow {
					bake = append(bake, ep)
				}
			}
			switch {
			case c.Provider == "anthropic" && len(bake) > 0:
				t.Errorf("seed %d: anthropic opened at %s, and nothing was planted", seed, bake[0].Opened.To)
			case c.Provider == "openai" && len(bake) == 0:
				t.Errorf("seed %d: openai never opened", seed)
			case c.Provider == "openai":
				first, last := bake[0], bake[len(bake)-1]
				if first.Opened.To.Before(bad) || first.Opened.From.After(bad.Add(2*time.Minute)) {
					t.Errorf("seed %d: openai opened between %s and %s, the outage began at %s", seed, first.Opened.From, first.Opened.To, bad)
				}
				if end := bad.Add(20 * time.Minute); last.Closed == nil || last.Closed.To.Before(end) || last.Closed.From.After(end.Add(3*time.Minute)) {
					t.Errorf("seed %d: openai's last close is %v, the outage ended at %s", seed, last.Closed, end)
				}
			}
		}
	}
}

// The same seed makes the same past, and another one another.
func TestASeedIsAPast(t *testing.T) {
	sum := func(seed uint64) (n float64) {
		ev, _ := past(t, seed)
		for _, c := range ev.Tenants[0].Circuits {
			for _, o := range c.Outcomes {
				n += o.Success + 3*o.Failure
			}
		}
		return n
	}
	if a := sum(1); a != sum(1) || a == sum(2) {
		t.Error("a seed does not decide what happens")
	}
}

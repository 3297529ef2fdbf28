package criteria_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// frozen judges three days whose baseline the server has lost, with what was kept when
// the breaker was enabled; errors is the share of failed calls since.
func frozen(t *testing.T, errors float64, kept func(w *history.World) *evidence.Evidence) criteria.Finding {
	t.Helper()
	since := history.Enabled()
	o := history.Options{Seed: 4, Start: since.Add(-history.Before), End: since.AddDate(0, 0, 3)}
	for _, id := range []string{"t-acme", "t-cove"} {
		x := history.Tenant{ID: id, PerMinute: 80, Providers: history.Two(), Errors: func(_ string, at time.Time) float64 {
			if id == "t-acme" && at.After(since) {
				return errors
			}
			return 0.004
		}}
		if id == "t-acme" {
			x.Configs = []history.Loaded{{At: since, Enabled: true, Config: history.GuideConfig()}}
		}
		o.Tenants = append(o.Tenants, x)
	}
	w, err := history.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	acme := history.Judged{ID: "t-acme", Since: since}
	ev := w.Evidence(o.End, time.Hour, acme) // retention reaches back to an hour before
	ev.Tenants[0].Baseline.From = since.AddDate(0, 0, -7)
	if kept != nil {
		ev.Graft(kept(w))
	}
	r := criteria.NewRequest(1)
	r.Only = []string{"error-rate-not-increased"}
	return criteria.Judge(ev, r)[0]
}

// A baseline that was kept stands in for one that the server lost: without it nothing
// can be said, with it a pass and a fail are what they would have been; and that of
// another tenant helps nobody.
func TestAKeptBaselineStandsIn(t *testing.T) {
	kept := func(id string) func(w *history.World) *evidence.Evidence {
		return func(w *history.World) *evidence.Evidence {
			since := history.Enabled()
			return w.Evidence(since.Add(30*time.Minute), 7*24*time.Hour, history.Judged{ID: id, Since: since})
		}
	}
	for _, c := range []struct {
		name   string
		errors float64
		kept   func(w *history.World) *evidence.Evidence
		want   criteria.Verdict
	}{
		{"lost", 0.004, nil, criteria.Inconclusive},
		{"kept", 0.004, kept("t-acme"), criteria.Pass},
		{"kept, and errors are up", 0.02, kept("t-acme"), criteria.Fail},
		{"kept of another tenant", 0.004, kept("t-cove"), criteria.Inconclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			if f := frozen(t, c.errors, c.kept); f.Verdict != c.want {
				t.Errorf("%s, want %s: %s", f.Verdict, c.want, f.Summary)
			}
		})
	}
}

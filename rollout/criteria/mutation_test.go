package criteria_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// subject is an evaluation that passes.
type subject struct {
	phase int
	ev    *evidence.Evidence
	r     criteria.Request
}

// subjects are passing evaluations of every phase, with an outage in each.
func subjects(t *testing.T) []subject {
	t.Helper()
	var out []subject
	last := 4
	if history.Raced {
		last = 1 // making and judging the others takes minutes
	}
	for phase := 1; phase <= last; phase++ {
		ev, r := passing(t, phase)
		if e := criteria.Evaluate(ev, r); e.Verdict != criteria.Pass {
			for _, f := range e.Criteria {
				t.Logf("%s: %s: %s", f.ID, f.Verdict, f.Summary)
			}
			t.Fatalf("phase %d: %s: there is nothing to mutate", phase, e.Verdict)
		}
		out = append(out, subject{phase, ev, r})
	}
	return out
}

// passing is evidence of a phase that passes, and the request that it passes.
func passing(t *testing.T, phase int) (*evidence.Evidence, criteria.Request) {
	t.Helper()
	at := history.Enabled().AddDate(0, 0, criteria.MinDays(phase))
	since := history.Enabled()
	bad := []time.Time{since.AddDate(0, 0, -2), since.Add(50 * time.Hour)}
	o := history.Options{Seed: uint64(30 + phase), Start: since.Add(-history.Before), End: at}
	n, rest := map[int]int{1: 1, 2: 4, 3: 5, 4: 6}[phase], 4
	if phase == 4 {
		rest = 0
	}
	var js []history.Judged
	r := criteria.NewRequest(phase)
	for i := range n + rest {
		x := history.Tenant{ID: fmt.Sprintf("t-%02d", i+1), PerMinute: 80, Providers: history.Two(), Errors: func(p string, at time.Time) float64 {
			for _, b := range bad {
				if d := at.Sub(b); p == "openai" && d >= 0 && d < 25*time.Minute {
					return 1
				}
			}
			return 0.004
		}}
		if i < n {
			x.Configs = []history.Loaded{{At: since, Enabled: true, Config: history.GuideConfig()}}
			js = append(js, history.Judged{ID: x.ID, Since: since})
		}
		o.Tenants = append(o.Tenants, x)
		r.Policies = append(r.Policies, criteria.Policy{Tenant: x.ID, Policy: "chat", Enabled: i < n})
	}
	w, err := history.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	ev := w.Evidence(at, 7*24*time.Hour, js...)
	for _, q := range []struct {
		name  string
		level float64
	}{{evidence.Latency, 0.3}, {"stability/uptime", 0.9}} {
		ev.Measures = append(ev.Measures, evidence.Measure{Name: q.name, Expr: q.name, Step: 5 * time.Minute, Series: []evidence.MeasureSeries{level(ev, q.level)}})
	}
	r.Stability = []criteria.Stability{{Name: "uptime", Higher: true, Margin: criteria.DefaultStability}}
	for _, id := range []string{"logs-useful", "docs-updated", "team-trained", "no-customer-reports"} {
		a := statement.Attestation{ID: id, By: "on-call", Reason: "looked", From: since.Add(time.Hour), Until: at.AddDate(0, 0, 30)}
		if id == "no-customer-reports" {
			three := 3
			a.BaselineCount, a.WindowCount = &three, &three
		}
		r.Statements.Attestations = append(r.Statements.Attestations, a)
	}
	return ev, r
}

// level is a measure that goes up and down with the day, and is a trifle better after
// enabling than before.
func level(ev *evidence.Evidence, v float64) evidence.MeasureSeries {
	s := evidence.MeasureSeries{Labels: "{}"}
	t := ev.Tenants[0]
	for at := t.Baseline.From; !at.After(ev.At); at = at.Add(5 * time.Minute) {
		h := float64(at.Unix()) / 3600
		x := v * (1 + 0.1*math.Sin(2*math.Pi*h/24) + 0.01*math.Sin(h*17.3))
		if at.After(t.Since) {
			x *= 1.001
		}
		s.Times, s.Values = append(s.Times, at.UnixMilli()), append(s.Values, x)
	}
	return s
}

// Evidence that passes is spoilt at random, in many ways; each way matters by
// construction. None may pass.
func TestNoMutationSurvives(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("CBOPS_SOAK")); err == nil && n > 0 {
		rounds = 5 * n
	}
	all := mutations()
	if len(all) <= 30 {
		t.Fatalf("only %d kinds of mutations", len(all))
	}
	var mu sync.Mutex
	tried, survivors := map[string]int{}, 0
	t.Run("phases", func(t *testing.T) {
		for _, s := range subjects(t) {
			t.Run(fmt.Sprint(s.phase), func(t *testing.T) {
				t.Parallel()
				for round := range rounds {
					for i, kind := range all {
						if history.Raced && i%4 != round%4 {
							continue
						}
						spoilt, passed := s.spoil(kind, i, round)
						mu.Lock()
						if spoilt {
							tried[kind.name]++
						}
						survivors += len(passed)
						mu.Unlock()
						for _, what := range passed {
							t.Error(what)
						}
					}
				}
			})
		}
	})
	for _, kind := range all {
		if tried[kind.name] == 0 && !history.Raced {
			t.Errorf("%s was never tried", kind.name)
		}
	}
	t.Logf("%d kinds, %d survivors", len(all), survivors)
}

// spoil mutates a copy of the subject in one way and returns what passes although it
// cannot be true any more; spoilt is false where that way does not apply.
func (s subject) spoil(kind mutation, i, round int) (spoilt bool, passed []string) {
	ids := criteria.IDs(s.phase)
	hurts := slices.DeleteFunc(slices.Clone(kind.hurts), func(id string) bool { return !slices.Contains(ids, id) })
	m := newMutant(rand.New(rand.NewPCG(uint64(100*s.phase+round), uint64(i))), s.ev, s.r)
	if len(hurts) == 0 || !kind.spoil(m) {
		return false, nil
	}
	for _, f := range criteria.Evaluate(m.ev, m.r).Criteria {
		if slices.Contains(hurts, f.ID) && f.Verdict == criteria.Pass {
			passed = append(passed, fmt.Sprintf("phase %d, round %d, %s (%s): %s passes: %s", s.phase, round, kind.name, m.ev.Tenants[min(m.k, len(m.ev.Tenants)-1)].ID, f.ID, f.Summary))
		}
	}
	return true, passed
}

package criteria_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// gathered is what a gatherer reads of a story from the practice Prometheus.
func gathered(t *testing.T, s history.Story) *evidence.Evidence {
	t.Helper()
	store := promlab.NewStore()
	if err := s.Emit(store.Series); err != nil {
		t.Fatal(err)
	}
	c, err := promquery.New(promquery.Options{URL: "http://prometheus.example",
		Transport: promlab.Transport(promlab.NewServer(store, promlab.Options{Now: func() time.Time { return s.At }}))})
	if err != nil {
		t.Fatal(err)
	}
	req := gather.Request{At: s.At, Baseline: 7 * 24 * time.Hour}
	if s.Baseline > 0 {
		req.Baseline = s.Baseline
	}
	hints := promquery.Hints{At: s.At, Window: s.At.Sub(s.Options.Start), Providers: []string{"openai", "anthropic"}}
	for _, j := range s.Judged {
		hints.Tenants = append(hints.Tenants, j.ID)
		x := gather.TenantRequest{ID: j.ID, Since: j.Since}
		for _, o := range s.Options.Tenants {
			for _, l := range o.Configs {
				if o.ID == j.ID && !l.At.After(s.At) {
					x.Config = history.Config(l.Enabled, l.Config)
				}
			}
		}
		req.Tenants = append(req.Tenants, x)
	}
	for name, expr := range s.Measures {
		req.Measures = append(req.Measures, gather.MeasureQuery{Name: name, Expr: expr})
	}
	if req.Dialect, req.DialectProblems, err = promquery.Detect(context.Background(), c, hints); err != nil {
		t.Fatal(err)
	}
	ev, err := gather.Gather(context.Background(), c, req)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// some are all stories, or with the race detector every n-th: judging is not
// concurrent, and takes eight times as long there.
func some(t *testing.T, n int) []history.Story {
	t.Helper()
	all := history.Stories()
	if !history.Raced {
		return all
	}
	var few []history.Story
	for i := 0; i < len(all); i += n {
		few = append(few, all[i])
	}
	t.Logf("with the race detector only %d of %d stories are told", len(few), len(all))
	return few
}

// Each story has its right verdict, criterion by criterion.
func TestStories(t *testing.T) {
	for _, s := range some(t, 9) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			e := criteria.Evaluate(gathered(t, s), s.Request())
			checkStory(t, s, e)
		})
	}
}

// The evidence that other tests take straight from a history is judged like what a
// gatherer reads of it: where nothing happened to the series on the way, verdict by
// verdict.
func TestEvidenceStraightFromAHistory(t *testing.T) {
	told := 0
	for _, s := range some(t, 7) {
		if s.Relabel != nil || s.Again != nil || s.Lost != nil || len(s.Extra)+len(s.Measures) > 0 || s.Phase > 2 || s.Options.Blind != nil || len(s.Judged) > 1 {
			continue
		}
		told++
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			ev, err := s.Direct()
			if err != nil {
				t.Fatal(err)
			}
			checkStory(t, s, criteria.Evaluate(ev, s.Request()))
		})
	}
	if told < 20 && !history.Raced {
		t.Errorf("only %d stories", told)
	}
}

func checkStory(t *testing.T, s history.Story, e criteria.Evaluation) {
	t.Helper()
	t.Logf("%s", s.Planted)
	if e.Verdict != s.Verdict {
		t.Errorf("the phase: %s, want %s", e.Verdict, s.Verdict)
	}
	ids := criteria.IDs(s.Phase)
	for id := range s.Want {
		if !slices.Contains(ids, id) {
			t.Errorf("the story wants %s, which phase %d has not", id, s.Phase)
		}
	}
	for _, f := range e.Criteria {
		want, ok := s.Want[f.ID]
		if !ok {
			t.Errorf("%s: the story does not say", f.ID)
		}
		if f.Verdict != want {
			t.Errorf("%s: %s, want %s: %s", f.ID, f.Verdict, want, f.Summary)
		}
		if f.Verdict == criteria.Pass && !f.Proven {
			t.Errorf("%s passes without a proof", f.ID)
		}
	}
}

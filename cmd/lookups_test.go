package cmd

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/lab"
)

// TestLookupsOnARealPrometheus pastes the queries that findings name into a real
// Prometheus: each is PromQL, and gives the figure that the finding gives.
func TestLookupsOnARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	renamed := storyOf(t, "noise on low traffic")
	renamed.Name, renamed.Relabel = "noise in another dialect", storyOf(t, "another dialect").Relabel
	none := math.NaN()
	tests := []struct {
		story history.Story
		id    string
		// sums are what each lookup answers, all its series added up; NaN for no series.
		sums []float64
		// within is how far an answer may be off, of its value.
		within float64
	}{
		{storyOf(t, "noise on low traffic"), "no-unexpected-opens", []float64{59}, 0},
		{renamed, "no-unexpected-opens", []float64{59}, 0},
		{storyOf(t, "a single first open"), "no-unexpected-opens", []float64{1}, 0},
		{storyOf(t, "errors up by 2 points"), "error-rate-not-increased", []float64{0.024, 0.004}, 0.05},
		{storyOf(t, "scrape gaps"), "no-unexpected-opens", []float64{52}, 0.01},
		{storyOf(t, "latency up by a tenth"), "latency-not-degraded", []float64{0.33, 0.3}, 0.01},
		{storyOf(t, "a latency query of several series"), "latency-not-degraded", []float64{0.6}, 0.2},
		{storyOf(t, "no series"), "metrics-accurate", []float64{none, none}, 0},
	}
	blocks := promtest.NewBlocks(t)
	for i := range tests {
		if err := tests[i].story.Emit(labelled(blocks, storyLabel(i))); err != nil {
			t.Fatal(err)
		}
	}
	server := blocks.Serve()
	for i, tt := range tests {
		t.Run(tt.story.Name, func(t *testing.T) {
			clock, err := lab.NewWorld(lab.Options{Start: tt.story.At})
			if err != nil {
				t.Fatal(err)
			}
			code, out, stderr := drive(t, clock, http.DefaultTransport, t.TempDir(), storyArgs(t, tt.story, storyLabel(i), server)...)
			var e criteria.Evaluation
			if err := json.Unmarshal([]byte(out), &e); err != nil {
				t.Fatalf("exit %d: %v\n%s", code, err, stderr)
			}
			for _, f := range e.Criteria {
				for k, l := range f.Lookups {
					sum, n := pasted(t, server, l.Query, tt.story.At)
					if f.ID != tt.id {
						continue
					}
					if k >= len(tt.sums) {
						t.Errorf("more lookups than stated: %s", l.Query)
						continue
					}
					switch want := tt.sums[k]; {
					case math.IsNaN(want):
						if n != 0 {
							t.Errorf("%s: %d series, want none: %s", l.Shows, n, l.Query)
						}
					case n == 0 || math.Abs(sum-want) > tt.within*want:
						t.Errorf("%s: %g in %d series, want %g: %s", l.Shows, sum, n, want, l.Query)
					}
				}
				if f.ID == tt.id && len(f.Lookups) != len(tt.sums) {
					t.Errorf("%d lookups, want %d", len(f.Lookups), len(tt.sums))
				}
				if f.Verdict == criteria.Pass && len(f.Lookups) > 0 {
					t.Errorf("%s passes, and has lookups", f.ID)
				}
			}
		})
	}
}

// pasted puts an instant query, and adds up the series that come back.
func pasted(t *testing.T, server, query string, at time.Time) (sum float64, n int) {
	t.Helper()
	res, err := http.Get(server + "/api/v1/query?time=" + strconv.FormatInt(at.AddDate(0, 0, 3).Unix(), 10) + "&query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var a struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.Status != "success" {
		t.Errorf("%v, %s: %s", err, a.Error, query)
		return 0, 0
	}
	for _, r := range a.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum, len(a.Data.Result)
}

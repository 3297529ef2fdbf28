package criteria_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
)

// A healthy fleet gets through all four phases in the guide's minimum time: twenty
// tenants, sixty days, ordinary noise, three real outages.
func TestHealthyFleetPassesInMinimumTime(t *testing.T) {
	if history.Raced {
		t.Skip("sixty days of twenty tenants: skipped with the race detector")
	}
	stories := history.Healthy(5)
	w, err := history.Run(stories[0].Options)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stories {
		t.Run(s.Name, func(t *testing.T) {
			e := criteria.Evaluate(w.Evidence(s.At, 7*24*time.Hour, s.Judged...), s.Request())
			checkStory(t, s, e)
		})
	}
}

package evidence_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// point is what a circuit had counted at a minute.
type point struct {
	Success, Failure, FailFast     float64
	CO, OH, HO, HC, WindowRequests float64
}

// minutes builds a circuit from a point a minute.
func minutes(ps ...point) (*evidence.Circuit, time.Time) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := &evidence.Circuit{}
	for i, p := range ps {
		t := start.Add(time.Duration(i) * time.Minute).UnixMilli()
		c.Outcomes = append(c.Outcomes, evidence.Outcome{T: t, Success: p.Success, Failure: p.Failure, FailFast: p.FailFast})
		c.Transitions = append(c.Transitions, evidence.Transition{T: t, CO: p.CO, OH: p.OH, HO: p.HO, HC: p.HC, WindowRequests: p.WindowRequests})
	}
	return c, start
}

func TestContradictions(t *testing.T) {
	cfg := evidence.Config{FailureThreshold: 5, SuccessThreshold: 2}
	tests := []struct {
		name   string
		points []point
		want   bool
	}{
		{"open, then closed", []point{{}, {CO: 1, WindowRequests: 9, Failure: 5}, {CO: 1, OH: 1, HC: 1, WindowRequests: 9, Failure: 5, Success: 2}, {CO: 1, OH: 1, HC: 1, WindowRequests: 9, Failure: 5, Success: 9}}, false},
		{"half-open out of nowhere", []point{{}, {OH: 1}, {OH: 1}, {OH: 1}}, true},
		{"a close without an open", []point{{}, {HC: 1}, {HC: 1}, {HC: 1}}, true},
		{"fail_fast while closed", []point{{}, {}, {FailFast: 3}, {FailFast: 6}, {FailFast: 9}}, true},
		{"failures that must open", []point{{}, {}, {Failure: 60}, {Failure: 60}, {Failure: 60}}, true},
		{"an open without a window", []point{{WindowRequests: 7}, {CO: 1, WindowRequests: 7}, {CO: 1, WindowRequests: 7}, {CO: 1, WindowRequests: 7}}, true},
		{"a window one scrape late", []point{{WindowRequests: 7}, {CO: 1, WindowRequests: 7}, {CO: 1, WindowRequests: 16}, {CO: 1, WindowRequests: 16}}, false},
		{"one scrape of slack in the chain", []point{{}, {OH: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1}}, false},
		{"an open without a failure", []point{{}, {}, {CO: 1, WindowRequests: 1}, {CO: 1, WindowRequests: 1}, {CO: 1, WindowRequests: 1}}, true},
		{"a close without a success", []point{{}, {CO: 1, WindowRequests: 9, Failure: 5}, {CO: 1, OH: 1, HC: 1, WindowRequests: 19, Failure: 5}, {CO: 1, OH: 1, HC: 1, WindowRequests: 19, Failure: 5}, {CO: 1, OH: 1, HC: 1, WindowRequests: 19, Failure: 5}}, true},
		{"half-open survives a failure", []point{{}, {CO: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 3}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 3}}, true},
		{"half-open with successes enough", []point{{}, {CO: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1, Success: 9}, {CO: 1, OH: 1, WindowRequests: 1, Failure: 1, Success: 9}}, true},
		{"an open after an open: a reset by remote call", []point{{}, {CO: 1, WindowRequests: 1, Failure: 1}, {CO: 1, WindowRequests: 1, Failure: 1, Success: 9}, {CO: 2, WindowRequests: 9, Failure: 6, Success: 9}, {CO: 2, WindowRequests: 9, Failure: 6, Success: 9}, {CO: 2, WindowRequests: 9, Failure: 6, Success: 9}}, false},
		{"an open after an open without a failure", []point{{}, {CO: 1, WindowRequests: 1, Failure: 1}, {CO: 1, WindowRequests: 1, Failure: 1, Success: 9}, {CO: 1, WindowRequests: 1, Failure: 1, Success: 9}, {CO: 2, WindowRequests: 9, Failure: 1, Success: 9}, {CO: 2, WindowRequests: 9, Failure: 1, Success: 9}, {CO: 2, WindowRequests: 9, Failure: 1, Success: 9}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, start := minutes(tt.points...)
			got := evidence.Contradictions(c, cfg, start, time.Minute)
			if (len(got) > 0) != tt.want {
				t.Errorf("got %+v, want a contradiction: %v", got, tt.want)
			}
		})
	}
}

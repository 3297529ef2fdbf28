package evidence_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// minutes builds a circuit from a point a minute.
func minutes(ps ...evidence.Point) (*evidence.Circuit, time.Time) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := &evidence.Circuit{}
	for i, p := range ps {
		p.T, p.HasOutcomes, p.HasTransitions = start.Add(time.Duration(i)*time.Minute), true, true
		c.Points = append(c.Points, p)
	}
	return c, start
}

func TestContradictions(t *testing.T) {
	cfg := evidence.Config{FailureThreshold: 5}
	tests := []struct {
		name   string
		points []evidence.Point
		want   bool
	}{
		{"open, then closed", []evidence.Point{{}, {CO: 1, WindowRequests: 9, Failure: 5}, {CO: 1, OH: 1, HC: 1, WindowRequests: 9, Failure: 5, Success: 2}, {CO: 1, OH: 1, HC: 1, WindowRequests: 9, Failure: 5, Success: 9}}, false},
		{"half-open out of nowhere", []evidence.Point{{}, {OH: 1}, {OH: 1}, {OH: 1}}, true},
		{"a close without an open", []evidence.Point{{}, {HC: 1}, {HC: 1}, {HC: 1}}, true},
		{"fail_fast while closed", []evidence.Point{{}, {}, {FailFast: 3}, {FailFast: 6}, {FailFast: 9}}, true},
		{"failures that must open", []evidence.Point{{}, {}, {Failure: 60}, {Failure: 60}, {Failure: 60}}, true},
		{"an open without a window", []evidence.Point{{WindowRequests: 7}, {CO: 1, WindowRequests: 7}, {CO: 1, WindowRequests: 7}, {CO: 1, WindowRequests: 7}}, true},
		{"a window one scrape late", []evidence.Point{{WindowRequests: 7}, {CO: 1, WindowRequests: 7}, {CO: 1, WindowRequests: 16}, {CO: 1, WindowRequests: 16}}, false},
		{"one scrape of slack in the chain", []evidence.Point{{}, {OH: 1}, {CO: 1, OH: 1, WindowRequests: 1}, {CO: 1, OH: 1, WindowRequests: 1}}, false},
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

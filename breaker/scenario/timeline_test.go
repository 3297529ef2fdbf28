package scenario_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

// A timeline loses no request and no transition, however long the run: it only
// gets coarser.
func TestTimelineKeepsEverything(t *testing.T) {
	for _, length := range []time.Duration{0, 100 * time.Millisecond, time.Hour, 30 * 24 * time.Hour} {
		c := breaker.PolicyDefaults()
		c.TimeoutMS = 2000
		every := (length / 300).Truncate(time.Millisecond)
		s := scenario.Scenario{Circuits: []scenario.Circuit{{Config: c, Steps: []scenario.Step{
			scenario.Send{Verb: scenario.Requests, Count: 300, Every: every, Outcomes: []scenario.Outcome{"failure", "failure", "success", "none"}},
		}}}}
		r := run(t, s)
		got := r.Circuits[0]
		line := got.Timeline
		if len(line.Bins) > 240 || line.LengthMS != 300*every.Milliseconds() {
			t.Errorf("%s: %d bins, %d ms", length, len(line.Bins), line.LengthMS)
		}
		var sum scenario.Bin
		for _, b := range line.Bins {
			sum.Successes += b.Successes
			sum.Failures += b.Failures
			sum.Denied += b.Denied
			sum.Unanswered += b.Unanswered
			sum.Opens += b.Opens
		}
		n := got.Counted
		if sum.Successes+sum.Failures+sum.Denied+sum.Unanswered != 300 || int64(sum.Successes) != n.Successes || int64(sum.Failures) != n.Failures || int64(sum.Denied) != n.FailFasts {
			t.Errorf("%s: the bins have %+v, the circuit counted %+v", length, sum, n)
		}
		opens := 0
		for _, m := range line.Moves {
			if m.To == breaker.Open {
				opens++
			}
		}
		last := line.Bins[len(line.Bins)-1]
		if opens == 0 || sum.Opens != opens || string(last.State) != got.FinalState || last.ErrorRate < n.ErrorRate-1e-6 || last.ErrorRate > n.ErrorRate+1e-6 {
			t.Errorf("%s: %d opens of %d, ends %s at %g; the circuit ends %s at %g", length, sum.Opens, opens, last.State, last.ErrorRate, got.FinalState, n.ErrorRate)
		}
	}
}

package scenario_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

func twin() scenario.Breaker { return breaker.NewRegistry(breaker.Options{}) }

func clock() time.Time { return time.Unix(0, 0) }

func TestScenariosPassOnTheTwin(t *testing.T) {
	for _, s := range scenario.All() {
		r := s.Run(twin, clock)
		if r.Verdict != "pass" || len(r.Checks) < 3 {
			t.Errorf("%s: %+v", s.Name, r)
		}
	}
}

// broken is the twin with one rule broken on purpose.
type broken struct {
	scenario.Breaker
	neverDenies, dropsFailures, dropsSuccesses, neverOpens, neverTrims, neverCloses, wrongRate bool
}

func (b broken) Allow(k breaker.Key, now int64) bool {
	if b.neverTrims {
		now -= 1 << 30
	}
	return b.Breaker.Allow(k, now) || b.neverDenies
}

func (b broken) Success(k breaker.Key, now int64) {
	if !b.dropsSuccesses {
		b.Breaker.Success(k, now)
	}
}

func (b broken) Failure(k breaker.Key, now int64) {
	if !b.dropsFailures {
		b.Breaker.Failure(k, now)
	}
}

func (b broken) Configure(k breaker.Key, c breaker.Config, now int64) {
	if b.neverCloses {
		c.SuccessThreshold = 1 << 40
	}
	if b.neverOpens {
		c.FailureThreshold, c.ErrorRateThreshold = 1<<40, 2
	}
	b.Breaker.Configure(k, c, now)
}

func (b broken) Status(k breaker.Key) (breaker.Status, bool) {
	s, ok := b.Breaker.Status(k)
	if b.wrongRate {
		s.ErrorRate /= 2
	}
	return s, ok
}

// Every scenario can fail: a twin that is broken in the way the scenario is about
// must not pass it.
func TestEachScenarioCanFail(t *testing.T) {
	sabotage := map[string][]broken{
		"error-spike":     {{neverDenies: true}, {neverOpens: true}, {dropsFailures: true}},
		"normalization":   {{neverOpens: true}, {dropsSuccesses: true}, {neverDenies: true}, {neverCloses: true}},
		"window-sizes":    {{dropsFailures: true}, {dropsSuccesses: true}, {neverTrims: true}, {wrongRate: true}},
		"concurrent-load": {{dropsSuccesses: true}, {dropsFailures: true}, {neverOpens: true}, {wrongRate: true}},
	}
	for _, s := range scenario.All() {
		if len(sabotage[s.Name]) == 0 {
			t.Errorf("%s: nothing shows that it can fail", s.Name)
		}
		for _, b := range sabotage[s.Name] {
			r := s.Run(func() scenario.Breaker { x := b; x.Breaker = twin(); return x }, clock)
			if r.Verdict != "fail" {
				t.Errorf("%s passes on a broken twin %+v", s.Name, b)
			}
		}
	}
}

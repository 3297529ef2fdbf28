package cmd

import (
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/internal/fault"
)

// forgetful is a twin that loses every failure.
type forgetful struct{ scenario.Breaker }

func (forgetful) Failure(breaker.Key, int64) {}

func TestLoadtestFailsOnABrokenTwin(t *testing.T) {
	clock := func() time.Time { return time.Unix(0, 0) }
	r, err := loadtest(nil, func() scenario.Breaker { return forgetful{twin()} }, clock)
	if err != nil || loadtestCode(r) != fault.Failed {
		t.Fatalf("code %d, err %v", loadtestCode(r), err)
	}
	for _, s := range r.Scenarios {
		if s.Verdict != "fail" {
			t.Errorf("%s passes without any failure recorded", s.Name)
		}
	}
	if r, err := loadtest(nil, twin, clock); err != nil || loadtestCode(r) != fault.OK {
		t.Fatalf("the twin itself: code %d, err %v", loadtestCode(r), err)
	}
}

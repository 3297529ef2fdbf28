package cmd

import (
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

// forgetful is a twin that loses every failure.
type forgetful struct{ scenario.Breaker }

func (forgetful) Failure(breaker.Key, int64) {}

func TestLoadtestFailsOnABrokenTwin(t *testing.T) {
	a := &app{State: State{Now: func() time.Time { return time.Unix(0, 0) }}, format: "text"}
	run := func(open scenario.Opener) render.LoadTest {
		o := loadtestOptions{seed: 1, open: open}
		all, err := a.scenarios(t.Context(), o, testSubject{})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := a.runScenarios(t.Context(), o, testSubject{}, all)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	r := run(func(sink breaker.Sink, latency func() int64) scenario.Breaker {
		return forgetful{scenario.Twin(sink, latency)}
	})
	if loadtestCode(r) != fault.Failed {
		t.Fatalf("code %d", loadtestCode(r))
	}
	for _, s := range r.Scenarios {
		if s.Verdict != scenario.Fail && s.Name != "low-traffic" {
			t.Errorf("%s passes without any failure recorded", s.Name)
		}
	}
	if r := run(nil); loadtestCode(r) != fault.OK {
		t.Fatalf("the twin itself: code %d", loadtestCode(r))
	}
}

package criteria

import (
	"testing"

	"github.com/cbops/cbops/rollout/evidence"
)

// blind passes whatever it is shown; with examples it can be found out.
type blind struct{ examples []Counterexample }

func (blind) ID() string { return "blind" }

func (blind) JudgeTenant(_ *evidence.Evidence, t *evidence.Tenant, _ Params) TenantFinding {
	return TenantFinding{Tenant: t.ID, Verdict: Pass}
}

func (b blind) Counterexamples(*evidence.Evidence, *evidence.Tenant, Params) []Counterexample {
	return b.examples
}

// A gate that cannot fail does not pass: it is unmeasurable, and says so.
func TestAGateThatCannotFailIsBroken(t *testing.T) {
	ev := &evidence.Evidence{Tenants: []evidence.Tenant{{ID: "t-acme"}}}
	spoil := Counterexample{"no series at all", func(ev *evidence.Evidence, k int) { ev.Tenants[k].Circuits = nil }}
	for name, c := range map[string]Criterion{
		"passes on its counterexample": blind{[]Counterexample{spoil}},
		"has no counterexample":        blind{},
	} {
		if f := judgeOne(c, ev, Params{Phase: 1, MinDays: 3}); f.Verdict != Unmeasurable || !f.Broken || f.Proven {
			t.Errorf("a gate that %s: %+v", name, f)
		}
	}
}

// Counterexamples get a copy: the evidence that was judged stays as it was read.
func TestCounterexamplesDoNotTouchTheEvidence(t *testing.T) {
	ev := &evidence.Evidence{Tenants: []evidence.Tenant{{ID: "t-acme", Circuits: []evidence.Circuit{{Outcomes: []evidence.Outcome{{Success: 1}}, Transitions: []evidence.Transition{{CO: 1}}}}}}}
	spoil := Counterexample{"spoilt", func(ev *evidence.Evidence, k int) {
		ev.Tenants[k].Circuits[0].Outcomes[0].Success = 9
		ev.Tenants[k].Circuits[0].Transitions[0].CO = 9
	}}
	judgeOne(blind{[]Counterexample{spoil}}, ev, Params{Phase: 1, MinDays: 3})
	if c := ev.Tenants[0].Circuits[0]; c.Outcomes[0].Success != 1 || c.Transitions[0].CO != 1 {
		t.Errorf("the evidence was changed: %+v", c)
	}
}

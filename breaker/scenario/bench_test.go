package scenario_test

import (
	"testing"

	"github.com/cbops/cbops/breaker/scenario"
)

// BenchmarkGate is the whole gate with the guide's parameters.
func BenchmarkGate(b *testing.B) {
	for b.Loop() {
		for _, s := range scenario.Gate(scenario.Params{}) {
			s.Run(b.Context(), scenario.Options{Now: clock, Seed: 1})
		}
	}
}

package evidence_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/cbops/cbops/rollout/evidence"
)

// naive sums every term of a tail by itself.
func naive(b evidence.Baseline, f, n float64) float64 {
	lg := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	sum := 0.0
	for k := math.Ceil(f); k <= n; k++ {
		lp := lg(n+1) - lg(k+1) - lg(n-k+1)
		if b.Rho < 1e-9 {
			lp += k*math.Log(b.PUp) + (n-k)*math.Log1p(-b.PUp)
		} else {
			x, y := b.PUp*(1/b.Rho-1), (1-b.PUp)*(1/b.Rho-1)
			lp += lg(k+x) + lg(n-k+y) - lg(n+x+y) - lg(x) - lg(y) + lg(x+y)
		}
		sum += math.Exp(lp)
	}
	return min(1, sum)
}

// Terms that follow from each other sum to what they sum to one by one, and a tail
// below a level is known to be below it without all of them.
func TestTailTermByTerm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := evidence.Baseline{PUp: rapid.Float64Range(0.0005, 0.6).Draw(t, "p"), Rho: rapid.SampledFrom([]float64{0, 0.001, 0.05, 0.3}).Draw(t, "rho"), Outcomes: 1}
		n := float64(rapid.IntRange(1, 3000).Draw(t, "n"))
		f := float64(rapid.IntRange(1, int(n)).Draw(t, "f"))
		got, want := b.Tail(f, n), naive(b, f, n)
		if math.Abs(got-want) > 1e-9+1e-6*want {
			t.Fatalf("%v of %v at %+v: %v, term by term %v", f, n, b, got, want)
		}
		alpha := rapid.SampledFrom([]float64{1e-9, 1e-6, 0.01}).Draw(t, "alpha")
		s := evidence.Share{Tenants: 1, Outcomes: n, Failed: f, Before: b}
		if math.Abs(want-alpha) > 1e-3*alpha && f/n < 0.5 && n >= evidence.MinOutcomes && f >= evidence.MinFailures && s.Failing(alpha) != (want < alpha) {
			t.Fatalf("%v of %v at %+v: failing %v at %v, the tail is %v", f, n, b, s.Failing(alpha), alpha, want)
		}
	})
}

// What all but one saw is the same as a difference as summed by itself.
func TestCrowdWithoutOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "tenants")
		var all []evidence.Tally
		for i := range n {
			o := rapid.IntRange(1, 40).Draw(t, "outcomes")
			all = append(all, evidence.Tally{Tenant: string(rune('a' + 2*i)), Outcomes: float64(o), Failed: float64(rapid.IntRange(0, o).Draw(t, "failed"))})
		}
		crowd := evidence.NewCrowd(all, nil)
		for i := range 2*n + 1 {
			except := string(rune('a' + i)) // every second is nobody
			var rest []evidence.Tally
			for _, x := range all {
				if x.Tenant != except {
					rest = append(rest, x)
				}
			}
			got, want := crowd.Without(except), evidence.NewCrowd(rest, nil).Without("")
			if got != want {
				t.Fatalf("without %s: %+v, by itself %+v", except, got, want)
			}
		}
	})
}

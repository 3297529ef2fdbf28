package criteria_test

import (
	"math/rand/v2"
	"testing"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/criteria"
)

// Many tenants are many chances to fail one wrongly: the share of fleets in which any
// tenant fails is what is held to 5 %, over daily looks. Tenants whose errors are up by
// exactly the margin are the hardest case; of them bounds of a single look and a single
// tenant fail some in most fleets.
func TestFamilyWiseError(t *testing.T) {
	type fleet struct{ tenants, fleets int }
	fleets, ups := []fleet{{20, 3}}, []bool{true}
	if n := soak(); n > 0 {
		fleets, ups = []fleet{{20, 25 * n}, {200, 3 * n}}, []bool{false, true}
	}
	if history.Raced {
		t.Skip("too slow with the race detector")
	}
	sc := scenes()
	for _, f := range fleets {
		for _, up := range ups {
			var wrong, naive cell
			for i := range f.fleets {
				rng := rand.New(rand.NewPCG(uint64(f.tenants), uint64(i)))
				s := sc[rng.IntN(len(sc))]
				p := process{name: "fleet", perMinute: 6, p: 0.01, seasonal: true, tenants: f.tenants}
				ev, r := p.draw(rng, s, up)
				first, last := looks(1)
				failed, would := false, false
				for day := first; day <= last; day++ {
					study := criteria.NewStudy(ev.AsOf(s.since.AddDate(0, 0, day)), r)
					for k := range f.tenants {
						tf := criteria.ErrorRate{}.Judge(study, k)
						failed = failed || tf.Verdict == criteria.Fail
						for _, x := range tf.Statistics {
							se := (x.Rise - x.Lower) / stat.Always(float64(24*day), 0.05/float64(f.tenants))
							would = would || x.Rise-1.645*se > x.Margin
						}
					}
				}
				wrong.count(failed)
				naive.count(would)
			}
			t.Logf("%d fleets of %d tenants, errors up by the margin: %v: any tenant fails in %s %%, with naive bounds in %s %%", f.fleets, f.tenants, up, wrong, naive)
			if lo, _ := wrong.bounds(); lo > goalWrong {
				t.Errorf("%d tenants: some fail wrongly in %s %% of fleets", f.tenants, wrong)
			}
			if lo, _ := naive.bounds(); up && lo <= goalWrong {
				t.Errorf("%d tenants: naive bounds fail some in %s %% of fleets only: the simulation sees nothing", f.tenants, naive)
			}
		}
	}
}

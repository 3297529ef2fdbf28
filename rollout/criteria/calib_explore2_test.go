package criteria_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cbops/cbops/rollout/criteria"
)

func TestVolumes(t *testing.T) {
	if os.Getenv("VOL") == "" {
		t.Skip()
	}
	sc := scenes()
	for _, x := range []struct{ perDay, p float64 }{{5000, .004}, {7000, .004}, {9000, .004}, {2000, .01}, {3000, .01}, {4000, .01}, {10000, .05}, {14000, .05}, {20000, .05}} {
		for _, seas := range []bool{false, true} {
			pr := process{perMinute: x.perDay / 1440, p: x.p, seasonal: seas}
			n7, n14, u7, e7 := 0, 0, 0, 0
			const runs = 150
			for i := range runs {
				rng := rand.New(rand.NewPCG(uint64(i), 7))
				s := sc[rng.IntN(7)]
				ev, r := pr.evidence(rng, s, 0)
				r.MinDays = 7
				if criteria.Judge(ev.AsOf(s.since.AddDate(0, 0, 7)), r)[0].Verdict == criteria.Pass {
					n7++
				}
				if (criteria.ErrorRate{}).Judge(criteria.NewStudy(ev.AsOf(s.since.AddDate(0, 0, 7)), r), 0).Verdict == criteria.Pass {
					u7++
				}
				st := (criteria.ErrorRate{}).Judge(criteria.NewStudy(ev.AsOf(s.since.AddDate(0, 0, 7)), r), 0).Statistics[0]
				if st.Upper < criteria.DefaultMargins().ErrorRate.Of(x.p) {
					e7++
				}
				if criteria.Judge(ev, r)[0].Verdict == criteria.Pass {
					n14++
				}
			}
			fmt.Printf("%v seasonal %v: pass7 %.0f unfragile %.0f with true margin %.0f pass14 %.0f\n", x, seas, 100*float64(n7)/runs, 100*float64(u7)/runs, 100*float64(e7)/runs, 100*float64(n14)/runs)
		}
	}
}

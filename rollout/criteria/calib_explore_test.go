package criteria_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
)

func TestExplore(t *testing.T) {
	runs, _ := strconv.Atoi(os.Getenv("RUNS"))
	if runs == 0 {
		t.Skip()
	}
	sc := scenes()
	t0 := time.Now()
	for _, pm := range []float64{6, 60, 600} {
		for _, p := range []float64{0.0001, 0.004, 0.01, 0.05} {
			for _, x := range []process{{name: "plain"}, {name: "bursty", burstEvery: 12 * time.Hour}, {name: "rare", burstEvery: 48 * time.Hour, even: true}, {name: "burstyeven", burstEvery: 12 * time.Hour, even: true}, {name: "season", seasonal: true}, {name: "outages+controls", outages: 2, controls: 3}, {name: "outages alone", outages: 2}} {
				if s := os.Getenv("ONLY"); s != "" && s != x.name {
					continue
				}
				if s := os.Getenv("P"); s != "" && s != fmt.Sprint(p) {
					continue
				}
				x.perMinute, x.p = pm, p
				var fp1, fp2, ff, pass3, pass7, pass14 int
				m := criteria.DefaultMargins().ErrorRate.Of(p)
				for i := range runs {
					rng := rand.New(rand.NewPCG(uint64(i), 7))
					s := sc[rng.IntN(7)]
					ev, r := x.evidence(rng, s, m)
					p1, p2 := false, false
					for d := 3; d <= 14; d++ {
						r.MinDays = 3
						if d > 7 {
							r.MinDays = 7
						}
						at := s.since.AddDate(0, 0, d)
						c := criteria.Judge(ev.AsOf(at), r)[0].Tenants[0]
						if c.Verdict == criteria.Pass {
							p1 = p1 || d <= 10
							p2 = p2 || d >= 7
						}
					}
					if p1 {
						fp1++
					}
					if p2 {
						fp2++
					}
					if os.Getenv("FP") != "" {
						continue
					}
					ev, r = x.evidence(rng, s, 0)
					f := false
					for d := 3; d <= 14; d++ {
						r.MinDays = 3
						at := s.since.AddDate(0, 0, d)
						st := criteria.NewStudy(ev.AsOf(at), r)
						tf := criteria.ErrorRate{}.Judge(st, 0)
						if tf.Verdict == criteria.Fail {
							f = true
						}
						if i == 0 && os.Getenv("V") != "" {
							fmt.Println(d, tf.Verdict, tf.Summary)
						}
						if d == 3 || d == 7 || d == 14 {
							if fd := criteria.Judge(ev.AsOf(at), r)[0]; fd.Verdict == criteria.Pass {
								switch d {
								case 3:
									pass3++
								case 7:
									pass7++
								case 14:
									pass14++
								}
							} else if tf.Verdict == criteria.Pass && os.Getenv("V") != "" {
								fmt.Println(d, fd.Verdict, fd.Summary)
							}
						}
					}
					if f {
						ff++
					}
				}
				k := 100 / float64(runs)
				fmt.Printf("%4.0f/min %.4f %-18s FP1 %4.1f FP2 %4.1f FF %4.1f pass3 %3.0f pass7 %3.0f pass14 %3.0f  %v\n", pm, p, x.name, float64(fp1)*k, float64(fp2)*k, float64(ff)*k, float64(pass3)*k, float64(pass7)*k, float64(pass14)*k, time.Since(t0).Round(time.Second))
			}
		}
	}
}

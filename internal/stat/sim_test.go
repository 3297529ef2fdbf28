package stat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

type proc struct {
	perMin float64
	p      float64
	burst  bool
	week   bool
}

func (c proc) hours(rng *rand.Rand, from, n int, rise float64) []Hour {
	out := make([]Hour, n)
	// bursts: 1 in 2 days, length exp(30min), share .3
	extra := make([]float64, n)
	if c.burst {
		for x := rng.ExpFloat64() * 12; x < float64(n); x += rng.ExpFloat64() * 12 {
			l := rng.ExpFloat64() * 0.5
			for h := int(x); float64(h) < x+l && h < n; h++ {
				ov := math.Min(x+l, float64(h+1)) - math.Max(x, float64(h))
				extra[h] += ov
			}
		}
	}
	for i := range out {
		slot := from + i
		day := 1 + 0.5*math.Sin(2*math.Pi*float64(slot%24)/24)
		p := c.p
		if c.week {
			p *= 1 + 0.5*math.Cos(2*math.Pi*float64(slot%24)/24)
			if d := (((slot/24)%7 + 7) % 7); d >= 5 {
				p *= 2
			}
		}
		nn := distuv.Poisson{Lambda: c.perMin * 60 * day, Src: rng}.Rand()
		q := p + rise
		if c.burst {
			q = q*0.7 + 0.3*0.1*0 + math.Min(extra[i], 1)*c.p*7*1.03
		}
		q = min(q, 1)
		f := distuv.Binomial{N: nn, P: q, Src: rng}.Rand()
		out[i] = Hour{slot, nn, f}
	}
	return out
}

func margin(p float64) float64 { return max(0.001, 0.1*p, min(0.005, 0.5*p)) }

func TestSim(t *testing.T) {
	for _, pm := range []float64{6, 600} {
		for _, p := range []float64{0.004, 0.05} {
			for _, kind := range []proc{{}, {burst: true}, {week: true}, {burst: true, week: true}} {
				c := kind
				c.perMin, c.p = pm, p
				const runs = 300
				var falsePass, falseFail, pass7, pass3 int
				truth := 0.0
				// true mean
				{
					rng := rand.New(rand.NewPCG(1, 1))
					var n, f float64
					for range 20 {
						for _, h := range c.hours(rng, 0, 168, 0) {
							n += h.N
							f += h.F
						}
					}
					truth = f / n
				}
				for i := range runs {
					rng := rand.New(rand.NewPCG(uint64(i), 7))
					start := rng.IntN(7)*24 + 7*24
					before := c.hours(rng, start-168, 168, 0)
					after := c.hours(rng, start, 14*24, 0)
					bad := c.hours(rng, start, 14*24, margin(truth)*func() float64 {
						if c.burst {
							return 1 / 0.7
						}
						return 1
					}())
					ff, fp := false, false
					for d := 3; d <= 14; d++ {
						r, ok := RiseOf(before, after[:d*24])
						if !ok {
							continue
						}
						m := margin(r.Sure0())
						lo, hi := r.Bounds(0.05, 0.05)
						if lo > m {
							ff = true
						}
						if d == 7 && hi < m {
							pass7++
						}
						if d == 3 && hi < m {
							pass3++
						}
						m0 := m
						_ = m0
						r, _ = RiseOf(before, bad[:d*24])
						_, hi = r.Bounds(0.05, 0.05)
						if hi < m {
							fp = true
						}
					}
					if ff {
						falseFail++
					}
					if fp {
						falsePass++
					}
				}
				fmt.Printf("%4.0f/min p %.4f (%.4f) burst %v week %v: falsePass %.3f falseFail %.3f pass3 %.2f pass7 %.2f\n", pm, p, truth, c.burst, c.week,
					float64(falsePass)/runs, float64(falseFail)/runs, float64(pass3)/runs, float64(pass7)/runs)
			}
		}
	}
}

func TestShiftSim(t *testing.T) {
	for _, rho := range []float64{0, 0.5, 0.8, 0.9, 0.95} {
		for _, days := range []int{3, 7, 14} {
			const runs = 2000
			ff, fp, one := 0, 0, 0
			for i := range runs {
				rng := rand.New(rand.NewPCG(uint64(i), 9))
				gen := func(n int, lift float64) []Level {
					out := make([]Level, n)
					x := rng.NormFloat64()
					for k := range out {
						x = rho*x + math.Sqrt(1-rho*rho)*rng.NormFloat64()
						out[k] = Level{k, lift + 1 + 0.3*math.Sin(float64(k%24)/24*2*math.Pi) + 0.05*x}
					}
					return out
				}
				b := gen(168, 0)
				a := gen(21*24, 0)
				f, p := false, false
				for d := days; d <= days+7; d++ {
					s, ok := ShiftOf(b, a[:d*24])
					if !ok {
						continue
					}
					lo, hi := s.Bounds(0.05, 0.05)
					if lo > 0 {
						f = true
					}
					if hi < 0 {
						p = true
					}
					if d == days && (s.D-1.645*s.SE > 0) {
						one++
					}
				}
				if f {
					ff++
				}
				if p {
					fp++
				}
			}
			fmt.Printf("rho %.2f days %d: lo>0 %.3f hi<0 %.3f one look 1.645: %.3f\n", rho, days, float64(ff)/runs, float64(fp)/runs, float64(one)/runs)
		}
	}
}

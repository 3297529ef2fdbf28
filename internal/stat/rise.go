package stat

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Hour is what was counted in an hour: N outcomes, F of them failed. Slot is its
// place in the week, counted from any fixed instant.
type Hour struct {
	Slot int
	N, F float64
}

// Rise is how much a failure share rose from a baseline to a bake.
type Rise struct {
	// N0, F0, N1, F1 are the totals before and after.
	N0, F0, N1, F1 float64
	// P0 is the share before in the hours of the week that the bake had, weighted
	// as the bake's traffic; P1 the share after; D = P1 − P0.
	P0, P1, D float64
	// SE is the standard error of D, clustered. Phi is how much larger its square
	// is than chance alone makes it.
	SE, Phi float64
	// Skew is the skewness of the bake's sum, at least 0: of errors that come in few
	// bursts, a bake that had few of them looks better and surer than it is.
	Skew float64
	// Hours of the bake with outcomes; Matched is the share of its outcomes for which
	// the same hour of the week was there before.
	Hours   int
	Matched float64
	// eff0 and eff1 are the sample sizes that chance alone would need for SE.
	eff0, eff1 float64
	// v0 is the part of SE² that is the baseline's.
	v0 float64
	// df are the degrees of freedom of SE²: few where few blocks hold most of it.
	df float64
}

// clusters are the block lengths, in hours, over which errors are taken to belong
// together; the one that gives the largest error counts.
func clusters() []int { return []int{1, 4} }

// plenty of degrees of freedom make a normal distribution of Student's.
const plenty = 1000

// fewest is how many blocks an error can be estimated from.
const fewest = 12

// week is the baseline by hour of the week, with what stands in for hours that it
// lacks: the same hour of other days, or all of it.
type week struct {
	n, f [Week]float64
	dayN [24]float64
	dayF [24]float64
	allN float64
	allF float64
}

func weekOf(before []Hour) *week {
	w := &week{}
	for _, h := range before {
		s := place(h.Slot)
		w.n[s] += h.N
		w.f[s] += h.F
		w.dayN[s%24] += h.N
		w.dayF[s%24] += h.F
		w.allN += h.N
		w.allF += h.F
	}
	return w
}

func place(slot int) int { return ((slot % Week) + Week) % Week }

// at is the share before at a slot, its sample size, and which pool it is from: the
// slot itself, 200 and above for an hour of the day, 300 for all. need is the
// least size by which a slot may stand for itself.
func (w *week) at(slot int, need float64) (p, n float64, pool int) {
	s := place(slot)
	switch {
	case w.n[s] > 0 && w.n[s] >= need:
		return w.f[s] / w.n[s], w.n[s], s
	case w.dayN[s%24] > 0 && w.dayN[s%24] >= need:
		return w.dayF[s%24] / w.dayN[s%24], w.dayN[s%24], 200 + s%24
	case w.allN > 0:
		return w.allF / w.allN, w.allN, 300
	}
	return 0, 0, 300
}

// thin is how much of the bake's outcomes in an hour of the week the baseline must
// have had for that hour to be compared with itself: less would weigh a few
// outcomes as if they were many.
const thin = 0.2

// RiseOf compares the hours after with those before. ok is false where there is
// nothing to compare, or too little to know its error.
func RiseOf(before, after []Hour) (r Rise, ok bool) {
	w := weekOf(before)
	r.N0, r.F0 = w.allN, w.allF
	var slotN [Week]float64
	for _, h := range after {
		if h.N > 0 {
			r.Hours++
			r.N1 += h.N
			r.F1 += h.F
			slotN[place(h.Slot)] += h.N
		}
	}
	if r.N1 <= 0 || r.N0 <= 0 || r.Hours < fewest {
		return r, false
	}
	weight := map[int]float64{} // of a pool's outcomes in the bake
	size := map[int]float64{}
	share := map[int]float64{}
	for _, h := range after {
		if h.N <= 0 {
			continue
		}
		p, n, pool := w.at(h.Slot, thin*slotN[place(h.Slot)])
		weight[pool] += h.N
		size[pool], share[pool] = n, p
		r.P0 += h.N * p / r.N1
		if pool < Week {
			r.Matched += h.N / r.N1
		}
	}
	r.P1 = r.F1 / r.N1
	r.D = r.P1 - r.P0
	var pure, pooled float64 // Σ W²/n, of all and of shared pools
	for _, pool := range sortedKeys(weight) {
		x := weight[pool] / r.N1
		pure += x * x / size[pool]
		if pool >= Week {
			pooled += x * x / size[pool]
		}
	}
	p0 := min(max(r.P0, 0), 1)
	chance0, chance1 := max(p0*(1-p0), 0)*pure, max(r.P1*(1-r.P1), 0)/r.N1
	// Clustered: the residuals of an hour, and of neighbouring hours, belong together,
	// and so do the weeks that share a baseline hour.
	var v float64
	r.df = plenty
	for _, b := range clusters() {
		sums := map[int]float64{}
		for _, h := range after {
			if h.N > 0 {
				p, _, _ := w.at(h.Slot, thin*slotN[place(h.Slot)])
				sums[place(h.Slot)/b] += h.F - h.N*(p+r.D)
			}
		}
		g := float64(len(sums))
		if g < fewest {
			continue
		}
		sq, cube, quart := 0.0, 0.0, 0.0
		for _, k := range sortedKeys(sums) {
			sq += sums[k] * sums[k]
			cube += sums[k] * sums[k] * sums[k]
			quart += sums[k] * sums[k] * sums[k] * sums[k]
		}
		if sq > 0 {
			r.Skew = max(r.Skew, cube/math.Pow(sq, 1.5))
			if df := 2 * sq * sq / max(quart-sq*sq/g, 1e-12*sq*sq); df < r.df {
				r.df = max(df, 1) // Satterthwaite 1946, with the blocks' own fourth moment
			}
		}
		v = max(v, sq/(r.N1*r.N1)*g/(g-1))
	}
	r.Phi = 1
	if c := chance0 + chance1; c > 0 {
		v += p0 * (1 - p0) * pooled * max(1, v/c) // shared pools are no part of the residuals
		r.Phi = max(1, v/c)
		r.v0 = chance0 * r.Phi
	}
	r.SE = math.Sqrt(max(v, chance0+chance1))
	r.eff1 = r.N1 / r.Phi
	r.eff0 = r.N0 / r.Phi
	if pure > 0 {
		r.eff0 = 1 / pure / r.Phi
	}
	return r, true
}

// Sure0 is a share that the baseline's own is not below: one standard error less
// than the smaller of the matched share and that of all of the baseline. A margin
// that is a part of the baseline is taken of it, so that a baseline that came out
// high by chance, or a bake of bad days, does not widen the margin.
func (r Rise) Sure0() float64 {
	return max(0, min(r.P0, r.F0/r.N0)-math.Sqrt(r.v0))
}

// Most0 is the other end: a share that the baseline's own is not above. A rise beyond the
// margin of it is beyond the margin whatever the baseline.
func (r Rise) Most0() float64 {
	return min(1, max(r.P0, r.F0/r.N0)+math.Sqrt(r.v0))
}

// studentized is the factor that has under Student's distribution the tail that c has
// under the normal one.
func studentized(c, df float64) float64 {
	if df >= plenty {
		return c
	}
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(distuv.UnitNormal.CDF(c))
}

// skewed is by how many standard errors more an upper bound must reach for a skewed
// sum (Johnson 1978, first order).
func skewed(skew, c float64) float64 { return skew * (1 + 2*c*c) / 6 }

// Bounds are one-sided bounds of the true rise, each with error alpha over all looks:
// the wider of one on the clustered error and, for rare failures, Newcombe's score
// interval (1998, method 10) on the effective sample sizes. The lower bound holds at
// looks from the first hour on, the upper one at those after `first` hours: earlier
// ones cannot pass. The factor of those few looks is corrected for few and skewed
// clusters, up to that of all looks: one outage is one cluster, and should not keep a
// tenant for ever.
func (r Rise) Bounds(alphaLower, alphaUpper, first float64) (lo, hi float64) {
	always := Always(float64(r.Hours), alphaUpper)
	bound := func(c float64) (lo, hi float64) {
		p0, p1 := min(max(r.P0, 0), 1), min(max(r.P1, 0), 1)
		l0, u0 := Wilson(p0, r.eff0, c)
		l1, u1 := Wilson(p1, r.eff1, c)
		ct := min(always, studentized(c, r.df)+skewed(r.Skew, c))
		hi = r.D + max(ct*r.SE, math.Hypot(u1-p1, p0-l0))
		lo = r.D - max(c*r.SE, math.Hypot(p1-l1, u0-p0))
		return lo, hi
	}
	lo, _ = bound(Always(float64(r.Hours), alphaLower))
	_, hi = bound(r.factor(float64(r.Hours), first, alphaUpper))
	return lo, hi
}

// Needed is after how many hours in all, at the present traffic and noise, the
// upper bound may be expected below margin; ok is false where it will not within
// a hundred days.
func (r Rise) Needed(margin, alpha, first float64) (hours int, ok bool) {
	t := float64(r.Hours)
	v0 := min(r.v0, 0.7*r.SE*r.SE)
	v1 := r.SE*r.SE - v0
	few := r.looks(first, alpha)
	for h := r.Hours; h <= longest; h += 6 {
		x := float64(h)
		always := Always(x, alpha)
		c := always
		if x >= first {
			c = min(always, few)
		}
		se := math.Sqrt(v1*t/x + v0*min(t, Week)/min(x, Week))
		l0, _ := Wilson(min(max(r.P0, 0), 1), r.eff0*min(x, Week)/min(t, Week), c)
		_, u1 := Wilson(min(max(r.P1, 0), 1), r.eff1*x/t, c)
		skew := skewed(r.Skew*math.Sqrt(t/x), c)
		if r.D+max(min(always, c+skew)*se, math.Hypot(u1-r.P1, r.P0-l0)) >= margin {
			continue // not even without Student's correction, which is slow
		}
		if r.D+min(always, studentized(c, r.df*x/t)+skew)*se < margin {
			return h, true
		}
	}
	return 0, false
}

// factor is how many standard errors wide a bound must be at t hours that is looked at
// from `first` hours on. The rise at a later look is the earlier one with noise taken
// away, down to that of the baseline, which all looks share: a Brownian motion in the
// variance, backwards.
func (r Rise) factor(t, first, alpha float64) float64 {
	if first <= 0 || t < first {
		return Always(t, alpha)
	}
	return min(Always(t, alpha), r.looks(first, alpha))
}

// looks is the factor of the looks after `first` hours; it is the same at each.
func (r Rise) looks(first, alpha float64) float64 {
	now := float64(r.Hours)
	v1 := max(r.SE*r.SE-r.v0, 0) * now
	v0 := r.v0 * min(now, Week)
	last := v0/Week + v1/longest
	if first <= 0 || last <= 0 {
		return math.Inf(1)
	}
	return Looks((v1/first+v0/min(first, Week))/last, alpha)
}

// longest is for how many hours a bake is looked at.
const longest = 2400

func sortedKeys(m map[int]float64) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

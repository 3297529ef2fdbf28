// Package stat holds the estimates that a verdict may rest on: the rise of a
// failure share or of a level against the hours of a week before, with bounds that
// hold at every look, and rates of rare events. Sources and simulations stand in
// docs/statistics.md. It knows no circuits, no margins and no verdicts.
package stat

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Week is the number of hours that baseline and bake are matched by.
const Week = 168

// rho2 tunes Always to be tightest at some days of hourly increments.
const rho2 = 0.099

// Always is how many standard errors wide a one-sided bound must be to hold at
// every look from the first hour on, with error alpha in all, after t hours: the
// asymptotic confidence sequence of Waudby-Smith et al., "Time-uniform central limit
// theory and asymptotic confidence sequences", one-sided normal mixture.
func Always(t, alpha float64) float64 {
	if t <= 0 || alpha <= 0 {
		return math.Inf(1)
	}
	v := t * rho2
	return math.Sqrt(2 * (v + 1) / v * math.Log1p(math.Sqrt(v+1)/(2*alpha)))
}

// Looks is how many standard errors wide a one-sided bound must be to hold at every
// look, with error alpha in all, while the variance of what is looked at falls by the
// given ratio: the tail of the maximum of a standardized Brownian motion (Miller and
// Siegmund 1982), half of it for one side.
func Looks(ratio, alpha float64) float64 {
	if alpha <= 0 {
		return math.Inf(1)
	}
	l := math.Log(max(ratio, 1))
	lo, hi := 1.0, 40.0
	for range 60 {
		c := (lo + hi) / 2
		if distuv.UnitNormal.Prob(c)*((c-1/c)*l/2+2/c) > alpha {
			lo = c
		} else {
			hi = c
		}
	}
	return hi
}

// Wilson bounds a share of n by z standard errors (Wilson 1927).
func Wilson(p, n, z float64) (lo, hi float64) {
	if n <= 0 {
		return 0, 1
	}
	z2 := z * z
	mid := (p + z2/(2*n)) / (1 + z2/n)
	half := z / (1 + z2/n) * math.Sqrt(max(0, p*(1-p))/n+z2/(4*n*n))
	return max(0, mid-half), min(1, mid+half)
}

// RateUpper and RateLower bound the mean of a Poisson count x, one-sided (Garwood
// 1936).
func RateUpper(x, alpha float64) float64 {
	return distuv.Gamma{Alpha: x + 1, Beta: 1}.Quantile(1 - alpha)
}

// RateLower is the other bound; 0 for none counted.
func RateLower(x, alpha float64) float64 {
	if x <= 0 {
		return 0
	}
	return distuv.Gamma{Alpha: x, Beta: 1}.Quantile(alpha)
}

// NormalQuantile is the z of a one-sided bound.
func NormalQuantile(alpha float64) float64 { return distuv.UnitNormal.Quantile(1 - alpha) }

// ChiSquaredLower is the quantile by which a variance estimate on df degrees of
// freedom is divided for an upper bound.
func ChiSquaredLower(alpha, df float64) float64 {
	if df <= 0 {
		return 0
	}
	return distuv.ChiSquared{K: df}.Quantile(alpha)
}

package evidence

import (
	"math"
	"time"
)

// Baseline is the everyday error behaviour of a circuit (JUDGING.md, "Baseline
// of a circuit"): its rate, how much it clusters, and an upper bound.
type Baseline struct {
	Outcomes, Failures float64
	// P is the failure share; PUp its Wilson 95 % upper bound, widened by √Phi.
	P, PUp float64
	// Phi is Pearson χ²/(k−1) over 5-minute bins; Rho the intra-class correlation.
	Phi, Rho float64
	Bins     int
}

const (
	baselineBin = 5 * time.Minute
	outlier     = 8.0   // σ above the rate: dropped once, an outage would explain everything
	z95         = 1.645 // one-sided
)

// BaselineOf computes the baseline of a circuit over an interval, from bins of
// five minutes, or of the circuit's step where that is wider.
func BaselineOf(c *Circuit, i Interval) Baseline {
	bins := c.Bins(i.From, i.To, baselineBin)
	b := baselineOf(bins)
	if b.Outcomes == 0 {
		return b
	}
	kept := bins[:0:0]
	for _, x := range bins {
		n := x.Success + x.Failure
		if n > 0 && x.Failure > n*b.P+outlier*math.Sqrt(n*b.P*(1-b.P)) && x.Failure > 1 {
			continue
		}
		kept = append(kept, x)
	}
	return baselineOf(kept)
}

func baselineOf(bins []Bin) Baseline {
	var b Baseline
	for _, x := range bins {
		if n := x.Success + x.Failure; n > 0 {
			b.Outcomes += n
			b.Failures += x.Failure
			b.Bins++
		}
	}
	if b.Outcomes == 0 {
		return b
	}
	b.P = b.Failures / b.Outcomes
	b.Phi = 1
	if b.Bins > 1 && b.P > 0 && b.P < 1 {
		chi := 0.0
		for _, x := range bins {
			if n := x.Success + x.Failure; n > 0 {
				chi += (x.Failure - n*b.P) * (x.Failure - n*b.P) / (n * b.P * (1 - b.P))
			}
		}
		b.Phi = max(1, chi/float64(b.Bins-1))
	}
	if mean := b.Outcomes / float64(b.Bins); mean > 1 {
		b.Rho = min(max(0, (b.Phi-1)/(mean-1)), 0.99)
	}
	b.PUp = wilson(b.P, b.Outcomes, z95*math.Sqrt(b.Phi))
	return b
}

// wilson is the upper Wilson bound of a share p of n with z standard errors.
func wilson(p, n, z float64) float64 {
	z2 := z * z
	return min(1, (p+z2/(2*n)+z*math.Sqrt(p*(1-p)/n+z2/(4*n*n)))/(1+z2/n))
}

// shape returns the beta parameters of the baseline; ok is false where the
// errors do not cluster and a binomial serves.
func (b Baseline) shape() (alpha, beta float64, ok bool) {
	if b.Rho < 1e-9 {
		return 0, 0, false
	}
	k := 1/b.Rho - 1
	return b.PUp * k, (1 - b.PUp) * k, true
}

// Tail is the probability of f or more failures in n outcomes at the baseline's
// upper bound: beta-binomial, or binomial where errors do not cluster. Without a
// baseline it is 1: nothing can be improbable.
func (b Baseline) Tail(f, n float64) float64 { return b.tail(f, n, 1) }

// tail is Tail, or anything of enough and more where it reaches that.
func (b Baseline) tail(f, n, enough float64) float64 {
	switch {
	case b.PUp <= 0 || b.PUp >= 1 || n <= 0 || f > n:
		return 1
	case f <= 0:
		return 1
	}
	alpha, beta, clustered := b.shape()
	term := func(k float64) float64 {
		if clustered {
			return math.Exp(lchoose(n, k) + lbeta(k+alpha, n-k+beta) - lbeta(alpha, beta))
		}
		return math.Exp(lchoose(n, k) + k*math.Log(b.PUp) + (n-k)*math.Log1p(-b.PUp))
	}
	// Beyond the mean terms follow from each other; below it the first may be too small
	// for a number while later ones are not.
	follow := f > n*b.PUp
	sum, p := 0.0, 0.0
	for k := math.Ceil(f); k <= n; k++ {
		switch {
		case !follow || sum == 0:
			p = term(k)
		case clustered:
			p *= (n - k + 1) / k * (k - 1 + alpha) / (n - k + beta)
		default:
			p *= (n - k + 1) / k * b.PUp / (1 - b.PUp)
		}
		sum += p
		if sum >= enough || k > n*b.PUp && p <= sum*1e-12 {
			break // it is enough, or the rest is smaller still
		}
	}
	return min(1, sum)
}

// RunProbability is the probability that k outcomes in a row fail:
// Π (a+j)/(a+b+j), or p^k where errors do not cluster.
func (b Baseline) RunProbability(k int) float64 {
	alpha, beta, clustered := b.shape()
	if !clustered {
		return math.Pow(b.PUp, float64(k))
	}
	p := 1.0
	for j := range k {
		p *= (alpha + float64(j)) / (alpha + beta + float64(j))
	}
	return p
}

func lchoose(n, k float64) float64 { return lgamma(n+1) - lgamma(k+1) - lgamma(n-k+1) }

func lbeta(a, b float64) float64 { return lgamma(a) + lgamma(b) - lgamma(a+b) }

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}

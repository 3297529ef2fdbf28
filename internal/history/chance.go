package history

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// split spreads requests over the providers.
func (s *source) split(n int) []int {
	out := make([]int, len(s.t.Providers))
	var left float64
	for _, p := range s.t.Providers {
		left += p.Weight
	}
	for i, p := range s.t.Providers {
		if i == len(out)-1 {
			out[i] = n
			break
		}
		out[i] = s.binomial(n, p.Weight/left)
		n -= out[i]
		left -= p.Weight
	}
	return out
}

func (s *source) poisson(mean float64) int {
	switch {
	case mean <= 0:
		return 0
	case mean > 20:
		return int(distuv.Poisson{Lambda: mean, Src: s.rng}.Rand())
	}
	n := 0
	for x := s.rng.ExpFloat64(); x < mean; x += s.rng.ExpFloat64() {
		n++
	}
	return n
}

// binomial counts the hits among n by the gaps between them where they are rare.
func (s *source) binomial(n int, p float64) int {
	switch {
	case n == 0 || p <= 0:
		return 0
	case p >= 1:
		return n
	case p > 0.25:
		k := 0
		for range n {
			if s.rng.Float64() < p {
				k++
			}
		}
		return k
	}
	k, log := 0, math.Log1p(-p)
	for i := int(math.Log(1-s.rng.Float64()) / log); i < n; i += 1 + int(math.Log(1-s.rng.Float64())/log) {
		k++
	}
	return k
}

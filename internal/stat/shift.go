package stat

import (
	"math"
	"slices"
)

// Level is the mean of a measure over an hour.
type Level struct {
	Slot int
	V    float64
}

// Shift is how much the mean of a measure moved from a baseline to a bake.
type Shift struct {
	// Before is the mean in the hours of the week that the bake had, After that of
	// the bake, D = After − Before.
	Before, After, D float64
	// SE is the standard error of D; measures drift, so that neighbouring hours say
	// less than their number.
	SE    float64
	Hours int
	// Autocorrelation of neighbouring hours, as far as the week before does not
	// explain them.
	Autocorrelation float64
}

// fewestLevels is how many hours of the week a shift must be seen in.
const fewestLevels = 24

// ShiftOf compares hours after with the same hours of the week before.
func ShiftOf(before, after []Level) (s Shift, ok bool) {
	var hours []Hour
	for _, l := range before {
		hours = append(hours, Hour{l.Slot, 1, l.V})
	}
	w := weekOf(hours)
	s.Hours = len(after)
	if w.allN == 0 || len(after) == 0 {
		return s, false
	}
	sum, count := map[int]float64{}, map[int]float64{}
	for _, l := range after {
		p, _, _ := w.at(l.Slot, 1)
		s.Before += p / float64(len(after))
		s.After += l.V / float64(len(after))
		sum[place(l.Slot)] += l.V - p
		count[place(l.Slot)]++
	}
	s.D = s.After - s.Before
	slots := sortedKeys(sum)
	if len(slots) < fewestLevels {
		return s, false
	}
	// The weeks that share a baseline hour are one residual.
	resid := make([]float64, len(slots))
	for i, k := range slots {
		resid[i] = (sum[k] - count[k]*s.D) / float64(len(after))
	}
	s.SE, s.Autocorrelation = drifting(slots, resid)
	return s, true
}

// drifting is the standard error of the sum of residuals of the given slots, and
// their autocorrelation: the larger of an AR(1) estimate, with its bias in short
// series corrected (Marriott and Pope 1954), and sums over blocks of four hours.
func drifting(slots []int, resid []float64) (se, rho float64) {
	n := float64(len(resid))
	var sq, lag, pairs, paired float64
	for i, e := range resid {
		sq += e * e
		if i > 0 && slots[i] == slots[i-1]+1 {
			lag += e * resid[i-1]
			paired += (e*e + resid[i-1]*resid[i-1]) / 2
			pairs++
		}
	}
	if paired > 0 {
		rho = lag / paired
		rho += (1 + 3*rho) / pairs
		// What a short series cannot tell from a longer memory is taken for one.
		rho += 2 * math.Sqrt(max(0, 1-rho*rho)/pairs)
	}
	rho = min(max(rho, 0), 0.98)
	v := sq * n / (n - 1) * (1 + rho) / (1 - rho)
	blocks := map[int]float64{}
	for i, e := range resid {
		blocks[slots[i]/4] += e
	}
	if g := float64(len(blocks)); g >= fewest {
		b := 0.0
		for _, x := range blocks {
			b += x * x
		}
		v = max(v, b*g/(g-1))
	}
	return math.Sqrt(v), rho
}

// Bounds are one-sided bounds of the true shift, each with error alpha over all
// looks.
func (s Shift) Bounds(alphaLower, alphaUpper float64) (lo, hi float64) {
	t := float64(s.Hours)
	return s.D - Always(t, alphaLower)*s.SE, s.D + Always(t, alphaUpper)*s.SE
}

// Needed is after how many hours in all the upper bound may be expected below
// margin, at the present noise.
func (s Shift) Needed(margin, alpha float64) (hours int, ok bool) {
	for h := s.Hours; h <= 2400; h += 6 {
		x := float64(h)
		if s.D+Always(x, alpha)*s.SE*math.Sqrt(float64(s.Hours)/x) < margin {
			return h, true
		}
	}
	return 0, false
}

// Mean is the arithmetic mean; 0 of nothing.
func Mean(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// Median is the middle value; 0 of nothing.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

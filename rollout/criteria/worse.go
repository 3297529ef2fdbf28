package criteria

import "math"

// worse makes values that are no worse than before worse by twice a share of what was
// before: what they gained is taken from them first, or a query that fares much better
// could not be shown able to fail. Latency is scaled, since it is compared by ratios.
func worse(st Statistic, share float64, higher, scaled bool) func(float64) float64 {
	if scaled {
		factor := (1 + 2*share) * max(1, st.Before/st.After)
		return func(v float64) float64 { return v * factor }
	}
	sign := 1.0
	if higher {
		sign = -1
	}
	gained := max(0, sign*(st.Before-st.After))
	shift := sign * (gained + 2*share*math.Abs(st.Before))
	return func(v float64) float64 { return v + shift }
}

// otherUnit reports a change by so much that another unit is likelier than an effect.
// No unit makes a value 0.
func otherUnit(st Statistic) bool {
	before, after := math.Abs(st.Before), math.Abs(st.After)
	return before != 0 && after != 0 && max(before/after, after/before) > 20
}

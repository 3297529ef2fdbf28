package stat

import (
	"math"
	"testing"
)

// waves are a week of hours of 100 outcomes, half of them failed, but for a swing that
// changes its sign every `every` hours; 0 is none.
func waves(from int, swing float64, every int) []Hour {
	out := make([]Hour, Week)
	for i := range out {
		out[i] = Hour{Slot: from + i, N: 100, F: 50}
		if every > 0 && i/every%2 == 0 {
			out[i].F += swing
		} else if every > 0 {
			out[i].F -= swing
		}
	}
	return out
}

// Standard errors worked out by hand: of chance alone, of hours, and of blocks of four.
func TestStandardErrorByHand(t *testing.T) {
	const n = 100 * Week
	chance := math.Sqrt(2 * 0.25 / n)
	for _, x := range []struct {
		name  string
		after []Hour
		want  float64
	}{
		{"nothing but chance: no residual at all is no certainty", waves(Week, 0, 0), chance},
		{"hour by hour: a block of four cancels it", waves(Week, 10, 1), math.Sqrt(Week * 10 * 10 * Week / (Week - 1.0) / (n * n))},
		{"four hours together", waves(Week, 10, 4), math.Sqrt(42 * 40 * 40 * 42 / 41.0 / (n * n))},
	} {
		r, ok := RiseOf(waves(0, 0, 0), x.after)
		if !ok {
			t.Fatal("nothing to compare")
		}
		near(t, x.name, r.SE, x.want, 1e-9)
		near(t, x.name+", phi", r.Phi, max(1, x.want*x.want/(chance*chance)), 1e-9)
		near(t, x.name+", degrees of freedom", math.Min(r.df, plenty), plenty, 1e-9)
	}
}

// Hours of the week that the baseline lacks share those of other days: their error is no
// part of the residuals, and is added.
func TestSharedBaselineAddsItsError(t *testing.T) {
	short := waves(0, 0, 0)[:120]
	r, ok := RiseOf(short, waves(Week, 10, 1))
	if !ok {
		t.Fatal("nothing to compare")
	}
	const n = 100.0 * Week
	near(t, "matched", r.Matched, 120.0/Week, 1e-9)
	within := Week * 10 * 10 * Week / (Week - 1.0) / (n * n)
	// 120 slots by themselves; 24 hours of the day with two each of the other 48, from
	// five days.
	alone := 120 * (100 / n) * (100 / n) / 100
	pooled := 24 * (200 / n) * (200 / n) / 500
	chance := 0.25*(alone+pooled) + 0.25/n
	near(t, "standard error", r.SE, math.Sqrt(within+0.25*pooled*max(1, within/chance)), 1e-9)
}

// large is a rise whose score bounds are narrower than those of its clusters.
func large(with func(*Rise)) Rise {
	r := Rise{N0: 1e9, F0: 1e7, P0: 0.01, P1: 0.012, D: 0.002, SE: 0.0005, Hours: 96, eff0: 1e9, eff1: 1e9, df: plenty}
	if with != nil {
		with(&r)
	}
	return r
}

// The parts of a bound, one by one.
func TestPartsOfABound(t *testing.T) {
	half := func(r *Rise) { r.v0 = r.SE * r.SE / 2 }
	c := Looks((96/69.0+96/69.0)/(96.0/Week+96.0/longest), 0.05)
	always := Always(96, 0.05)
	for _, x := range []struct {
		name   string
		r      Rise
		factor float64
	}{
		{"the looks that can pass", large(nil), Looks(longest/69.0, 0.05)},
		{"half of it the baseline's", large(half), c},
		{"skewed", large(func(r *Rise) { half(r); r.Skew = 0.1 }), c + 0.1*(1+2*c*c)/6},
		{"few degrees of freedom", large(func(r *Rise) { half(r); r.df = 60 }), studentized(c, 60)},
		{"never wider than for all looks", large(func(r *Rise) { r.df, r.Skew = 3, 1 }), always},
		{"a baseline that all looks share", large(func(r *Rise) { r.v0 = r.SE * r.SE }), Looks(Week/69.0, 0.05)},
		{"before the first look", large(func(r *Rise) { r.Hours = 60 }), Always(60, 0.05)},
	} {
		lo, hi := x.r.Bounds(0.05/20, 0.05, 69)
		near(t, x.name+", upper", (hi-x.r.D)/x.r.SE, x.factor, 1e-6)
		near(t, x.name+", lower, of 20 tenants", (x.r.D-lo)/x.r.SE, Always(float64(x.r.Hours), 0.05/20), 1e-6)
	}
	if s := studentized(c, 60); s <= c || s >= always {
		t.Errorf("Student's with 60 degrees of freedom: %.3f, normal %.3f, for ever %.3f", s, c, always)
	}
}

// Newcombe 1998b, table II, example (a): 56 of 70 against 48 of 80 differ by 0.0524 to
// 0.3339 (method 10). It is the bound where clusters say nothing.
func TestScoreBoundAsPublished(t *testing.T) {
	r := Rise{N0: 80, F0: 48, P0: 48.0 / 80, P1: 56.0 / 70, D: 56.0/70 - 48.0/80, SE: 1e-9, Hours: 96, eff0: 80, eff1: 70, df: plenty}
	alpha := alphaFor(t, 96, 1.959964)
	lo, hi := r.Bounds(alpha, alpha, 0)
	near(t, "lower", lo, 0.0524, 6e-5)
	near(t, "upper", hi, 0.3339, 6e-5)
}

// alphaFor is the error at which the factor of all looks is c.
func alphaFor(t *testing.T, hours, c float64) float64 {
	t.Helper()
	lo, hi := 1e-9, 0.9
	for range 200 {
		mid := (lo + hi) / 2
		if Always(hours, mid) > c {
			lo = mid
		} else {
			hi = mid
		}
	}
	near(t, "factor", Always(hours, hi), c, 1e-6)
	return hi
}

// The baseline's ends are an error away from the smaller and the larger of its shares.
func TestEndsOfTheBaseline(t *testing.T) {
	r := large(func(r *Rise) { r.v0 = 1e-6; r.P0 = 0.012 })
	near(t, "least", r.Sure0(), 0.009, 1e-9)
	near(t, "most", r.Most0(), 0.013, 1e-9)
	r.v0 = 1
	near(t, "least of all", r.Sure0(), 0, 0)
	near(t, "most of all", r.Most0(), 1, 0)
}

// What is the bake's noise goes down with time; the baseline's ends with its week.
func TestNeededHours(t *testing.T) {
	bake := large(func(r *Rise) { r.D = 0 })
	margin := 2 * bake.SE
	h, ok := bake.Needed(margin, 0.05, 69)
	if !ok {
		t.Fatal("not decided")
	}
	width := func(h int) float64 {
		return Looks(longest/69.0, 0.05) * bake.SE * math.Sqrt(96/float64(h))
	}
	if width(h) >= margin || width(h-6) < margin {
		t.Errorf("%d hours: %.5f, six earlier %.5f, margin %.5f", h, width(h), width(h-6), margin)
	}
	// With half the error the baseline's, a week of which three days were matched.
	half := large(func(r *Rise) { r.D, r.v0, r.Hours = 0, r.SE*r.SE/2, 72 })
	margin = 1.8 * half.SE
	if h, ok = half.Needed(margin, 0.05, 69); !ok {
		t.Fatal("not decided")
	}
	width = func(h int) float64 {
		x := float64(h)
		c := Looks((72/69.0+72/69.0)/(72.0/Week+72.0/longest), 0.05)
		return c * half.SE * math.Sqrt((72/x+72/min(x, Week))/2)
	}
	if width(h) >= margin || width(h-6) < margin {
		t.Errorf("%d hours: %.5f, six earlier %.5f, margin %.5f", h, width(h), width(h-6), margin)
	}
	shared := large(func(r *Rise) { r.D, r.v0, r.Hours = 0, 0.7*r.SE*r.SE, 2*Week })
	if _, ok := shared.Needed(shared.SE, 0.05, 69); ok {
		t.Error("more weeks of bake do not make the one of the baseline longer")
	}
}

// A shift's bounds are those of all looks, and of tenants.
func TestBoundsOfAShift(t *testing.T) {
	s := Shift{D: 0.01, SE: 0.002, Hours: 96}
	lo, hi := s.Bounds(0.05/20, 0.05)
	near(t, "lower", (s.D-lo)/s.SE, Always(96, 0.05/20), 1e-9)
	near(t, "upper", (hi-s.D)/s.SE, Always(96, 0.05), 1e-9)
	s.D = 0
	h, ok := s.Needed(2*s.SE, 0.05)
	if !ok {
		t.Fatal("not decided")
	}
	width := func(h int) float64 { return Always(float64(h), 0.05) * s.SE * math.Sqrt(96/float64(h)) }
	if width(h) >= 2*s.SE || width(h-6) < 2*s.SE {
		t.Errorf("%d hours: %.5f, six earlier %.5f, margin %.5f", h, width(h), width(h-6), 2*s.SE)
	}
}

// Levels that go together for four hours, without neighbours that tell: the blocks do.
func TestLevelsInBlocks(t *testing.T) {
	var slots []int
	var resid []float64
	for i := range 40 {
		e := 1.0
		if i%2 == 1 {
			e = -1
		}
		slots = append(slots, 4*i, 4*i+2)
		resid = append(resid, e, e)
	}
	se, _ := drifting(slots, resid)
	near(t, "standard error", se, math.Sqrt(40*2*2*40/39.0), 1e-9)
}

// The correlation is not below the truth in the mean, short as a week is: its own
// estimate is (Marriott and Pope), and two errors are added.
func TestMemoryIsNotUnderrated(t *testing.T) {
	alternate := make([]float64, Week)
	slots := make([]int, Week)
	for i := range alternate {
		slots[i] = i
		alternate[i] = 1
		if i/2%2 == 1 {
			alternate[i] = -1 // pairs: +1 and −1 in turn, no correlation at all
		}
	}
	_, rho := drifting(slots, alternate)
	// 84 pairs agree and 83 do not.
	raw := 1.0 / 167
	biased := raw + (1+3*raw)/167
	near(t, "correlation", rho, biased+2*math.Sqrt((1-biased*biased)/167), 1e-9)
}

func TestTooFewHoursOfTheWeek(t *testing.T) {
	level := func(n, from int) []Level {
		out := make([]Level, n)
		for i := range out {
			out[i] = Level{from + i, float64(i % 3)}
		}
		return out
	}
	if _, ok := ShiftOf(level(Week, 0), level(fewestLevels-1, Week)); ok {
		t.Error("less than a day and night")
	}
	if _, ok := ShiftOf(level(Week, 0), level(fewestLevels, Week)); !ok {
		t.Error("a day and night")
	}
}

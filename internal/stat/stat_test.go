package stat

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("%s: %.5f, want %.5f", what, got, want)
	}
}

// Newcombe 1998a, table I: the score interval (method 3) of four shares.
func TestWilsonAsPublished(t *testing.T) {
	for _, x := range []struct{ r, n, lo, hi float64 }{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
	} {
		lo, hi := Wilson(x.r/x.n, x.n, 1.959964)
		near(t, "lower", lo, x.lo, 6e-5)
		near(t, "upper", hi, x.hi, 6e-5)
	}
}

// Exact bounds of a Poisson count as tables print them: none counted is below 3.00 with
// 95 %, and ten are 4.80 to 18.39 on both sides.
func TestPoissonBoundsAsPublished(t *testing.T) {
	near(t, "0, upper", RateUpper(0, 0.05), 2.9957, 1e-4)
	near(t, "0, lower", RateLower(0, 0.05), 0, 0)
	near(t, "10, lower", RateLower(10, 0.025), 4.7954, 1e-4)
	near(t, "10, upper", RateUpper(10, 0.025), 18.3904, 1e-4)
}

func TestQuantilesAsPublished(t *testing.T) {
	near(t, "normal", NormalQuantile(0.05), 1.6449, 1e-4)
	near(t, "chi squared, 10", ChiSquaredLower(0.05, 10), 3.9403, 1e-4)
	near(t, "chi squared, none", ChiSquaredLower(0.05, 0), 0, 0)
	near(t, "Student, 10", studentized(1.644854, 10), 1.8125, 1e-4)
	near(t, "Student, plenty", studentized(1.644854, plenty), 1.6449, 1e-4)
}

// The factor of JUDGING's formula at four days, and how it goes with time and error.
func TestAlwaysValue(t *testing.T) {
	v := 96 * rho2
	near(t, "96 h", Always(96, 0.05), math.Sqrt(2*(v+1)/v*math.Log(1+math.Sqrt(v+1)/0.1)), 1e-9)
	if c := Always(96, 0.05); c < 2.7 || c > 2.9 {
		t.Errorf("96 h: %.3f", c)
	}
	if Always(96, 0.01) <= Always(96, 0.05) {
		t.Error("a smaller error needs a wider bound")
	}
	if !math.IsInf(Always(0, 0.05), 1) || !math.IsInf(Always(96, 0), 1) || !math.IsInf(Looks(2, 0), 1) {
		t.Error("nothing seen, or no error allowed: no bound")
	}
}

// crossing is how often standardized sums of noise are ever above their bound at hourly
// looks from one hour to another.
func crossing(runs, first, last int, bound func(t float64) float64) float64 {
	rng := rand.New(rand.NewPCG(5, 5))
	crossed := 0
	for range runs {
		sum := 0.0
		for t := 1; t <= last; t++ {
			sum += rng.NormFloat64()
			if t >= first && sum/math.Sqrt(float64(t)) > bound(float64(t)) {
				crossed++
				break
			}
		}
	}
	return float64(crossed) / float64(runs)
}

// Waudby-Smith's bound holds at every hour of six weeks; a bound of one look does not.
func TestAlwaysHoldsAtEveryLook(t *testing.T) {
	const runs = 4000
	if got := crossing(runs, 1, 1000, func(t float64) float64 { return Always(t, 0.05) }); got > 0.05 {
		t.Errorf("crossed in %.3f", got)
	}
	if got := crossing(runs, 1, 1000, func(float64) float64 { return NormalQuantile(0.05) }); got < 0.2 {
		t.Errorf("a bound of one look crossed in %.3f only: the simulation sees nothing", got)
	}
}

// The bound for looks from a first one on holds, and is not much wider than it must be.
func TestLooksHold(t *testing.T) {
	for _, x := range []struct{ first, last int }{{72, 240}, {72, 720}, {168, 336}} {
		c := Looks(float64(x.last)/float64(x.first), 0.05)
		got := crossing(8000, x.first, x.last, func(float64) float64 { return c })
		if got > 0.056 || got < 0.02 {
			t.Errorf("from %d to %d hours: %.2f standard errors crossed in %.3f", x.first, x.last, c, got)
		}
		if c >= Always(float64(x.last), 0.05) {
			t.Errorf("from %d to %d hours: %.2f is no better than a bound for ever", x.first, x.last, c)
		}
	}
}

func hours(n, from int, per, p float64, rng *rand.Rand) []Hour {
	out := make([]Hour, n)
	for i := range out {
		out[i] = Hour{Slot: from + i, N: per, F: distuv.Binomial{N: per, P: p, Src: rng}.Rand()}
	}
	return out
}

// A rise of plain noise has the standard error of the textbook.
func TestRiseOfPlainNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r, ok := RiseOf(hours(Week, 0, 400, 0.01, rng), hours(Week, Week, 400, 0.02, rng))
	if !ok {
		t.Fatal("nothing to compare")
	}
	n := 400.0 * Week
	near(t, "rise", r.D, 0.01, 0.0025)
	near(t, "matched", r.Matched, 1, 1e-9)
	textbook := math.Sqrt(0.01*0.99/n + 0.02*0.98/n)
	if r.SE < 0.95*textbook || r.SE > 1.3*textbook {
		t.Errorf("standard error %.6f, textbook %.6f", r.SE, textbook)
	}
	if r.Sure0() >= r.P0 || r.Most0() <= r.P0 {
		t.Errorf("baseline %.5f is to lie within %.5f and %.5f", r.P0, r.Sure0(), r.Most0())
	}
	lo, hi := r.Bounds(0.05, 0.05, 72)
	if lo >= r.D || hi <= r.D {
		t.Errorf("%.5f is to lie within %.5f and %.5f", r.D, lo, hi)
	}
	if _, wide := r.Bounds(0.05, 0.05, 0); wide <= hi {
		t.Error("looks from the first hour on need a wider bound than those after three days")
	}
}

// Hours are compared with the same hours of the week: what goes with the day is no rise.
func TestRiseMatchesHoursOfTheWeek(t *testing.T) {
	wave := func(n, from int) []Hour {
		out := make([]Hour, n)
		for i := range out {
			p := 0.01
			if (from+i)%24 < 8 {
				p = 0.05
			}
			out[i] = Hour{from + i, 100, 100 * p}
		}
		return out
	}
	bake := wave(Week, Week)
	kept := bake[:0]
	for _, h := range bake { // traffic by night alone
		if h.Slot%24 < 8 {
			kept = append(kept, h)
		}
	}
	r, ok := RiseOf(wave(Week, 0), kept)
	if !ok {
		t.Fatal("nothing to compare")
	}
	near(t, "rise", r.D, 0, 1e-12)
	near(t, "before", r.P0, 0.05, 1e-12)
	// An hour of the week of which the baseline has next to nothing is not compared with
	// itself.
	thinned := wave(Week, 0)
	thinned[30] = Hour{30, 1, 1}
	if r, _ = RiseOf(thinned, wave(Week, Week)); r.Matched > 1-0.5/Week {
		t.Errorf("matched %.4f: an hour with one outcome stands for itself", r.Matched)
	}
}

// Errors that come together make the error larger, few clusters the bound wider still.
func TestRiseOfBursts(t *testing.T) {
	even, burst := make([]Hour, Week), make([]Hour, Week)
	for i := range even {
		even[i], burst[i] = Hour{Week + i, 100, 2}, Hour{Week + i, 100, 0}
		if i%56 == 0 {
			burst[i].F = 100
		}
	}
	before := make([]Hour, Week)
	for i := range before {
		before[i] = Hour{i, 100, 2}
	}
	a, _ := RiseOf(before, even)
	b, _ := RiseOf(before, burst)
	if b.Phi < 20*a.Phi || b.Skew <= a.Skew || b.df > 10 {
		t.Errorf("three bursts: phi %.1f (without %.1f), skew %.2f, degrees of freedom %.1f", b.Phi, a.Phi, b.Skew, b.df)
	}
	_, hi := b.Bounds(0.05, 0.05, 72)
	if (hi-b.D)/b.SE < Looks(3, 0.05) {
		t.Errorf("a bound of %.2f standard errors from three bursts", (hi-b.D)/b.SE)
	}
}

func TestNothingToCompare(t *testing.T) {
	full := make([]Hour, Week)
	for i := range full {
		full[i] = Hour{i, 10, 0}
	}
	for name, x := range map[string][2][]Hour{"no baseline": {nil, full}, "no bake": {full, nil}, "too short": {full, full[:fewest-1]}} {
		if _, ok := RiseOf(x[0], x[1]); ok {
			t.Error(name)
		}
	}
	if _, ok := ShiftOf(nil, nil); ok {
		t.Error("no levels")
	}
}

// No failure at all on either side still leaves a bound: some three failures might have
// been (the rule of three).
func TestNoFailuresAreNoCertainty(t *testing.T) {
	zero := func(from int) []Hour {
		out := make([]Hour, Week)
		for i := range out {
			out[i] = Hour{from + i, 10, 0}
		}
		return out
	}
	r, ok := RiseOf(zero(0), zero(Week))
	if !ok {
		t.Fatal("nothing to compare")
	}
	if _, hi := r.Bounds(0.05, 0.05, 72); hi < 3.0/(10*Week) {
		t.Errorf("bound %.5f", hi)
	}
	if _, ok := r.Needed(0.05, 0.05, 72); !ok {
		t.Error("a wide margin needs no hundred days")
	}
	if _, ok := r.Needed(0, 0.05, 72); ok {
		t.Error("no margin is never undercut")
	}
}

// Levels that wander are told by far fewer than their hours.
func TestShiftOfDriftingLevels(t *testing.T) {
	se := func(rho float64) (mean, wrong float64) {
		const runs = 300
		for i := range runs {
			rng := rand.New(rand.NewPCG(uint64(i), 9))
			x := rng.NormFloat64()
			series := func(n, from int) []Level {
				out := make([]Level, n)
				for k := range out {
					x = rho*x + math.Sqrt(1-rho*rho)*rng.NormFloat64()
					out[k] = Level{from + k, x}
				}
				return out
			}
			s, ok := ShiftOf(series(Week, 0), series(Week, Week))
			if !ok {
				t.Fatal("nothing to compare")
			}
			mean += s.SE / runs
			if lo, hi := s.Bounds(0.05, 0.05); lo > 0 || hi < 0 {
				wrong += 1.0 / runs
			}
		}
		return mean, wrong
	}
	plain, wrong := se(0)
	// The truth is √(2/168) = 0.109; memory that a week cannot exclude is taken for some.
	if plain < 0.105 || plain > 0.16 || wrong > 0.05 {
		t.Errorf("no memory: standard error %.3f, wrong in %.3f", plain, wrong)
	}
	if drifting, wrong := se(0.8); drifting < 2.5*plain || wrong > 0.06 {
		t.Errorf("rho 0.8: standard error %.3f (without memory %.3f), wrong in %.3f", drifting, plain, wrong)
	}
}

func TestMeanAndMedian(t *testing.T) {
	near(t, "mean", Mean([]float64{1, 2, 6}), 3, 0)
	near(t, "median", Median([]float64{6, 1, 2}), 2, 0)
	near(t, "median of four", Median([]float64{6, 1, 2, 3}), 2.5, 0)
	near(t, "nothing", Mean(nil)+Median(nil), 0, 0)
}

package criteria_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/internal/stat"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// The calibration of docs/statistics.md: histories with a known truth, drawn by a seed,
// go through the criteria as a gate asks them, once a day. CBOPS_SOAK=1 draws the whole
// table, higher numbers more of each row.

// drawn is a kind of history that can be drawn.
type drawn interface {
	// draw makes a history with nothing changed, or with what is measured up by exactly
	// the margin from enabling on.
	draw(rng *rand.Rand, s scene, up bool) (*evidence.Evidence, criteria.Request)
	// cells are the first columns of its row.
	cells() []string
}

// cell is how many of how many.
type cell struct{ n, of int }

// bounds are Wilson's, 95 %.
func (c cell) bounds() (lo, hi float64) {
	return stat.Wilson(float64(c.n)/float64(max(c.of, 1)), float64(c.of), 1.96)
}

func (c cell) String() string {
	if c.of == 0 {
		return ""
	}
	lo, hi := c.bounds()
	return fmt.Sprintf("%.1f (%.1f-%.1f)", 100*float64(c.n)/float64(max(c.of, 1)), 100*lo, 100*hi)
}

// short is the share alone; empty where nothing was measured.
func (c cell) short() string {
	if c.of == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", 100*float64(c.n)/float64(c.of))
}

func (c *cell) count(hit bool) {
	c.of++
	if hit {
		c.n++
	}
}

// tally is what became of a row: by phase, 1 and 2, at any of the daily looks from its
// minimum to a week later, or at the first and last of them.
type tally struct {
	falsePass, falseFail, passFirst, passLast [2]cell
	// naive: an upper bound of 1.645 standard errors, phase 1.
	naive cell
}

// cells are its columns.
func (t tally) cells() []string {
	var out []string
	for _, c := range []cell{t.falsePass[0], t.falsePass[1], t.falseFail[0], t.falseFail[1]} {
		out = append(out, c.String())
	}
	for _, c := range []cell{t.passFirst[0], t.passLast[0], t.passFirst[1], t.passLast[1], t.naive} {
		out = append(out, c.short())
	}
	return out
}

// looks are the days after enabling of a phase's looks.
func looks(phase int) (first, last int) {
	first = criteria.MinDays(phase)
	return first, first + 7
}

const errorRate, latency = "error-rate-not-increased", "latency-not-degraded"

// measure draws histories of a row and judges them by the phases up to one. Everything
// is decided by the seed.
func measure(d drawn, scenes []scene, seed uint64, runs, phases int) tally {
	var t tally
	for i := range runs {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		s := scenes[rng.IntN(len(scenes))]
		ev, r := d.draw(rng, s, true)
		naive := false
		for phase := 1; phase <= phases; phase++ {
			r.Phase, r.MinDays = phase, criteria.MinDays(phase)
			first, last := looks(phase)
			passed := false
			for day := first; day <= last; day++ {
				f := criteria.Judge(ev.AsOf(s.since.AddDate(0, 0, day)), r)[0]
				passed = passed || f.Verdict == criteria.Pass
				naive = naive || phase == 1 && naivePass(f.Tenants[0], day)
			}
			t.falsePass[phase-1].count(passed)
		}
		t.naive.count(naive)
		ev, r = d.draw(rng, s, false)
		for phase := 1; phase <= phases; phase++ {
			r.Phase, r.MinDays = phase, criteria.MinDays(phase)
			first, last := looks(phase)
			failed := false
			for day := first; day <= last; day++ {
				at := ev.AsOf(s.since.AddDate(0, 0, day))
				if day > first && day < last { // a fail needs no proof
					failed = failed || judgeOnly(at, r) == criteria.Fail
					continue
				}
				f := criteria.Judge(at, r)[0]
				failed = failed || f.Verdict == criteria.Fail
				if day == first {
					t.passFirst[phase-1].count(f.Verdict == criteria.Pass)
				} else {
					t.passLast[phase-1].count(f.Verdict == criteria.Pass)
				}
			}
			t.falseFail[phase-1].count(failed)
		}
	}
	return t
}

// judgeOnly is the verdict before a pass is proven and looked at again.
func judgeOnly(ev *evidence.Evidence, r criteria.Request) criteria.Verdict {
	var c criteria.Criterion = criteria.ErrorRate{}
	if r.Only[0] == latency {
		c = criteria.Latency{}
	}
	return c.Judge(criteria.NewStudy(ev, r), 0).Verdict
}

// naivePass judges the published statistics as a gate in plain PromQL might: the
// estimate and 1.645 standard errors against the margin of the baseline as measured. The
// standard error is got back from the lower bound.
func naivePass(tf criteria.TenantFinding, day int) bool {
	for _, x := range tf.Statistics {
		se := (x.Rise - x.Lower) / stat.Always(float64(24*day), 0.05)
		margin := x.Margin
		if x.Unit == "share" {
			margin = criteria.DefaultMargins().ErrorRate.Of(x.Before)
		}
		if x.Rise+1.645*se >= margin {
			return false
		}
	}
	return len(tf.Statistics) > 0
}

// row is a kind of history and what must hold of it.
type row struct {
	drawn
	// mayPass is the share of false passes that is known and said for it; 0 is the goal
	// of 5 %.
	mayPass float64
	// passes: an unchanged tenant must pass phase 2 at its minimum in 90 % of histories.
	passes bool
}

const (
	goalWrong = 0.05
	goalPass  = 0.90
)

// soak is how many times as long as in `make soak` to draw; 0 for a short run.
func soak() int {
	n, err := strconv.Atoi(os.Getenv("CBOPS_SOAK"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// calibrate measures rows side by side, prints them in order and holds them against the
// goals: as far as the number of histories can tell.
func calibrate(t *testing.T, head []string, rows []row, runs, phases int) {
	t.Helper()
	sc := scenes()
	out := make([]tally, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i := range rows {
			t.Run(strings.Join(rows[i].cells(), " "), func(t *testing.T) {
				t.Parallel()
				out[i] = measure(rows[i], sc, uint64(i+1), runs, phases)
				t.Logf("| %s |", strings.Join(append(rows[i].cells(), out[i].cells()...), " | ")) // a long run shows how far it is
			})
		}
	})
	var b strings.Builder
	head = append(head, "false pass 1", "false pass 2", "false fail 1", "false fail 2", "passes 3 d", "10 d", "7 d", "14 d", "naive")
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	var all [4]cell
	for i, x := range out {
		for j, c := range []cell{x.falsePass[0], x.falsePass[1], x.falseFail[0], x.falseFail[1]} {
			if j < 2 && rows[i].mayPass > 0 {
				continue
			}
			all[j].n, all[j].of = all[j].n+c.n, all[j].of+c.of
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(append(rows[i].cells(), x.cells()...), " | "))
		for p := range 2 {
			what := strings.Join(rows[i].cells(), " ")
			if lo, _ := x.falsePass[p].bounds(); lo > max(goalWrong, rows[i].mayPass) {
				t.Errorf("%s: phase %d passes wrongly in %s %%", what, p+1, x.falsePass[p])
			}
			if lo, _ := x.falseFail[p].bounds(); lo > goalWrong {
				t.Errorf("%s: phase %d fails wrongly in %s %%", what, p+1, x.falseFail[p])
			}
		}
		if _, hi := x.passFirst[1].bounds(); rows[i].passes && phases > 1 && hi < goalPass {
			t.Errorf("%s: unchanged, passes phase 2 in %s %% only", strings.Join(rows[i].cells(), " "), x.passFirst[1])
		}
	}
	for j, what := range []string{"phase 1 passes", "phase 2 passes", "phase 1 fails", "phase 2 fails"} {
		if lo, _ := all[j].bounds(); lo > goalWrong {
			t.Errorf("over all rows %s wrongly in %s %%", what, all[j])
		}
	}
	t.Logf("%d histories a row, in %%, with 95 %% bounds; over all rows false pass %s and %s, false fail %s and %s\n%s", runs, all[0], all[1], all[2], all[3], b.String())
}

// draw implements drawn.
func (p process) draw(rng *rand.Rand, s scene, up bool) (*evidence.Evidence, criteria.Request) {
	rise := 0.0
	if up {
		rise = criteria.DefaultMargins().ErrorRate.Of(p.p)
	}
	return p.evidence(rng, s, rise)
}

// cells implements drawn.
func (p process) cells() []string {
	return []string{strconv.FormatFloat(p.perMinute, 'g', 3, 64), fmt.Sprintf("%g %%", 100*p.p), p.name}
}

// kinds are the processes of the table.
func kinds() []process {
	return []process{
		{name: "plain"},
		{name: "bursts", burstEvery: 12 * time.Hour},
		{name: "rare bursts", burstEvery: 48 * time.Hour, even: true},
		{name: "day and week", seasonal: true},
		{name: "outages, controls", outages: 2, controls: 3},
		{name: "outages, none", outages: 2},
		{name: "all together", burstEvery: 12 * time.Hour, seasonal: true, outages: 2, controls: 3},
	}
}

// volume is a tenant's outcomes a day, its errors, and the share of histories in which
// it must pass phase 2 at its minimum when nothing changed.
type volume struct{ perDay, p, least float64 }

func (v volume) process() process {
	return process{name: fmt.Sprintf("plain, %.0f a day", v.perDay), perMinute: v.perDay / 1440, p: v.p}
}

// stated are the volumes of docs/statistics.md: those that reach the goal, and two that
// were hoped for and do not.
func stated() []volume {
	return []volume{{5000, 0.004, 0.8}, {6500, 0.004, goalPass}, {2000, 0.01, 0.8}, {2500, 0.01, goalPass}, {10000, 0.05, goalPass}}
}

// inNewBursts: a rise that comes in bursts a tenant without errors never had; a bake of
// a few days sees few of them (docs/statistics.md, "What it cannot see").
const inNewBursts = 0.3

func rateRows() []row {
	var rows []row
	for _, perMinute := range []float64{6, 60, 600} {
		for _, p := range []float64{0.0001, 0.004, 0.01, 0.05} {
			for _, k := range kinds() {
				k.perMinute, k.p = perMinute, p
				r := row{drawn: k}
				if p < 0.001 && k.burstEvery > 0 && !k.even {
					r.mayPass = inNewBursts
				}
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// No gate passes a rise at its margin, and none fails an unchanged tenant, in more than
// 5 % of histories, however often it is asked.
func TestCalibration(t *testing.T) {
	head := []string{"req/min", "errors", "process"}
	if n := soak(); n > 0 {
		calibrate(t, head, rateRows(), 25*n, 2)
		return
	}
	runs := 5
	if history.Raced {
		runs = 1
	}
	kind := kinds()
	var rows []row
	for i, x := range []struct{ perMinute, p float64 }{{60, 0.01}, {60, 0.004}, {600, 0.004}, {6, 0.05}, {60, 0.01}, {60, 0.01}, {6, 0.01}} {
		k := kind[i]
		k.perMinute, k.p = x.perMinute, x.p
		rows = append(rows, row{drawn: k})
	}
	calibrate(t, head, rows, runs, 1)
}

// An unchanged tenant of the volumes that docs/statistics.md states passes phase 2 at
// its minimum.
func TestStatedVolumesPass(t *testing.T) {
	runs := 20 * max(soak(), 1)
	if history.Raced {
		t.Skip("too slow with the race detector")
	}
	sc := scenes()
	for _, v := range stated() {
		x := v.process()
		var pass cell
		for i := range runs {
			rng := rand.New(rand.NewPCG(77, uint64(i)))
			s := sc[rng.IntN(len(sc))]
			ev, r := x.draw(rng, s, false)
			r.Phase, r.MinDays = 2, criteria.MinDays(2)
			pass.count(criteria.Judge(ev.AsOf(s.since.AddDate(0, 0, r.MinDays)), r)[0].Verdict == criteria.Pass)
		}
		t.Logf("%s: %s %% pass", strings.Join(x.cells(), " "), pass)
		if _, hi := pass.bounds(); hi < v.least {
			t.Errorf("%s: unchanged, %s %% pass, want %.0f", strings.Join(x.cells(), " "), pass, 100*v.least)
		}
	}
}

// The simulation can see what it is for: bounds of a single look are too narrow for
// daily ones, and it says so.
func TestCalibrationSeesNaiveBounds(t *testing.T) {
	runs := 40 * max(soak(), 1)
	if history.Raced {
		t.Skip("too slow with the race detector")
	}
	sc := scenes()
	k := process{name: "bursts", perMinute: 60, p: 0.01, burstEvery: 12 * time.Hour}
	var naive cell
	for i := range runs {
		rng := rand.New(rand.NewPCG(99, uint64(i)))
		s := sc[rng.IntN(len(sc))]
		ev, r := k.draw(rng, s, true)
		first, last := looks(1)
		wrong := false
		for day := first; day <= last; day++ {
			tf := criteria.ErrorRate{}.Judge(criteria.NewStudy(ev.AsOf(s.since.AddDate(0, 0, day)), r), 0)
			wrong = wrong || naivePass(tf, day)
		}
		naive.count(wrong)
	}
	t.Logf("at the margin 1.645 standard errors pass in %s %% over daily looks", naive)
	if lo, _ := naive.bounds(); lo <= goalWrong {
		t.Errorf("naive bounds pass wrongly in %s %% only: the simulation sees nothing", naive)
	}
}

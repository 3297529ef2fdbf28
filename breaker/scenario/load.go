package scenario

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// parallel sends from goroutines, all at one instant of virtual time: their order
// is the scheduler's, so only what does not depend on it can be expected.
func (w *world) parallel(s Send, workers int) {
	outcomes := make([]Outcome, s.Count)
	for i := range outcomes {
		outcomes[i] = w.outcome(s, i)
	}
	w.unordered = true
	onMove := w.totals.onMove
	w.totals.onMove = nil // the timeline has one hand
	var asked, refused, sent atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			k := w.keys[worker%max(s.Spread, 1)]
			for i := worker; i < s.Count; i += workers {
				if w.stopped(i / workers) {
					return
				}
				sent.Add(1)
				if s.Verb != Record {
					asked.Add(1)
					if !w.b.Allow(k, w.now) {
						refused.Add(1)
						continue
					}
				}
				failed, counted := outcomes[i].Failed()
				switch {
				case s.Verb == Ask || !counted:
				case failed:
					w.b.Failure(k, w.now)
				default:
					w.b.Success(k, w.now)
				}
			}
		})
	}
	wg.Wait()
	w.requests += int(sent.Load())
	w.asked, w.denied = int(asked.Load()), int(refused.Load())
	w.totals.onMove = onMove
	w.line.bin(w.now - start).AtOnce += int(sent.Load())
	w.wait(s.Every.Milliseconds())
}

const day = 24 * time.Hour

// traffic sends random requests; see Traffic.
func (w *world) traffic(t Traffic) {
	w.asked, w.denied = 0, 0
	s := Send{Verb: Requests, Spread: t.Spread}
	begin, end := float64(w.now), float64(w.now+t.For.Milliseconds())
	trough := begin + float64(min(t.For, day).Milliseconds())/2
	const dayMS = float64(24 * 60 * 60 * 1000)
	at := begin
	for i := 0; !w.stopped(i); i++ {
		perMS := t.PerMinute / 60_000 * (1 - (1-t.Trough)*math.Cos(2*math.Pi*(at-trough)/dayMS))
		// The rate changes on the way; a gap is exponential for a minute at most, and
		// then drawn anew.
		gap := math.Inf(1)
		if perMS > 0 {
			gap = w.rng.ExpFloat64() / perMS
		}
		const redraw = 60_000
		if at+min(gap, redraw) > end {
			break
		}
		at += min(gap, redraw)
		if gap > redraw {
			continue
		}
		w.wait(int64(at) - w.now)
		o := Success
		k := w.keys[t.pick(w.rng)]
		if w.rng.Float64() < t.FailureShare {
			o = Failure
		}
		w.request(s, k, o)
	}
	if w.ctx.Err() == nil {
		w.wait(int64(end) - w.now)
	}
}

// pick chooses the circuit of a request.
func (t Traffic) pick(rng *rand.Rand) int {
	if len(t.Weights) == 0 {
		return rng.IntN(max(t.Spread, 1))
	}
	var sum float64
	for _, w := range t.Weights {
		sum += w
	}
	x := rng.Float64() * sum
	for i, w := range t.Weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(t.Weights) - 1
}

// poisson are the exact two-sided 95 % bounds of the mean of a Poisson count.
func poisson(k float64) (low, high float64) {
	if k > 0 {
		low = distuv.ChiSquared{K: 2 * k}.Quantile(0.025) / 2
	}
	return low, distuv.ChiSquared{K: 2*k + 2}.Quantile(0.975) / 2
}

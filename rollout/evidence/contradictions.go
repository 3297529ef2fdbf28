package evidence

import (
	"fmt"
	"math"
	"time"
)

// Contradiction is something that the router cannot have done: either the
// metrics are wrong, or the router is not the one that the twin is a twin of.
type Contradiction struct {
	At   time.Time
	Text string
}

// Contradictions holds a circuit's counters since an instant against each other
// and against the rules of the breaker (JUDGING.md, "Are the metrics accurate?"),
// with one scrape of slack. It is sound: what a router with this config did, and a
// scraper saw at whatever times, contradicts nothing. It is not complete: every
// failure halved, or a fail_fast that is never exported, goes unseen.
func Contradictions(c *Circuit, cfg Config, since time.Time, interval time.Duration) []Contradiction {
	k := checker{c: c, cfg: cfg, since: since, interval: max(interval, time.Second)}
	k.chain()
	k.opens()
	k.flows()
	return k.out
}

type checker struct {
	c        *Circuit
	cfg      Config
	since    time.Time
	interval time.Duration
	out      []Contradiction
}

func (k *checker) found(at int64, format string, args ...any) {
	k.out = append(k.out, Contradiction{Instant(at), fmt.Sprintf(format, args...)})
}

// chain: the totals give exactly one state at every scrape; a scrape may fall
// between two emissions, so it takes two in a row. An open that follows an open is
// a reset by remote call, which emits nothing: from there on the totals are off.
func (k *checker) chain() {
	bad, epoch, shift := 0, 0, 0.0
	for i := range k.c.Transitions {
		x := &k.c.Transitions[i]
		if x.Epoch != epoch {
			epoch, bad, shift = x.Epoch, 0, 0
		}
		if x.CO-x.HC-shift > 1.5 && k.afterReset(i) {
			shift = math.Round(x.CO - x.HC - 1)
		}
		if x.At().Before(k.since) {
			continue
		}
		if sane(x, shift) {
			bad = 0
			continue
		}
		if bad++; bad == 2 {
			k.found(x.T, "the transitions do not chain: %s", totals(x))
		}
	}
}

func totals(x *Transition) string {
	return fmt.Sprintf("closed to open %.0f, open to half-open %.0f, half-open to open %.0f, half-open to closed %.0f", x.CO, x.OH, x.HO, x.HC)
}

// afterReset: an open was counted on a circuit that was open, and a failure with
// it: a reset lies between. Without a failure it would be a miscount.
func (k *checker) afterReset(i int) bool {
	if i == 0 {
		return true // before reading began
	}
	d := k.c.Delta(k.c.Transitions[i-1].At().Add(-k.interval), k.c.Transitions[i].At().Add(k.interval))
	return !d.OK || d.Failure > 0
}

// sane: exactly one of C, O, H is 1 and each is 0 or 1. shift closes were not
// counted, from open or from half-open: either may be that much too high.
func sane(x *Transition, shift float64) bool {
	o, h := x.CO+x.HO-x.OH, x.OH-x.HO-x.HC
	cl := 1 - x.CO + x.HC + shift
	if shift != 0 {
		return o+h-shift > -0.5 && o+h-shift < 1.5 && cl > -0.5 && cl < 1.5
	}
	one := func(v float64) bool { return v > -0.5 && v < 1.5 }
	return one(o) && one(h) && one(cl) && math.Abs(o+h+cl-1) < 0.5
}

// opens: a closed to open lets the window totals grow, takes a failure, and a close
// takes a success.
func (k *checker) opens() {
	exportsWindow := len(k.c.Transitions) > 0 && k.c.Transitions[len(k.c.Transitions)-1].WindowRequests > 0
	for i := 1; i < len(k.c.Transitions); i++ {
		a, b := &k.c.Transitions[i-1], &k.c.Transitions[i]
		if a.At().Before(k.since) || a.Epoch != b.Epoch {
			continue
		}
		opened, reopened, closed := b.CO-a.CO, b.HO-a.HO, b.HC-a.HC
		if opened > 0 && exportsWindow && !k.windowGrows(i, a.WindowRequests) {
			k.found(b.T, "a closed to open transition without growth of window_requests_total")
		}
		if wr, wf, bad := k.madeByAnother(i); bad {
			k.found(b.T, "opened at %.0f failed of %.0f in its window, which this config does not: another config, or a changed router", wf, wr)
		}
		if opened+reopened+closed <= 0 {
			continue
		}
		_, most := k.c.Between(a.At().Add(-k.interval), b.At().Add(k.interval))
		if !most.OK {
			continue
		}
		if opened+reopened > most.Failure+0.5 {
			k.found(b.T, "%.0f opens and only %.0f failures around them", opened+reopened, most.Failure)
		}
		if closed <= 0 {
			continue
		}
		if most.Success < 0.5 {
			k.found(b.T, "a half-open to closed transition without a success")
		} else if n, bad := k.closedTooSoon(i, closed); bad {
			k.found(b.T, "closed %.0f times on at most %.0f successes: success_threshold is %d", closed, n, k.cfg.SuccessThreshold)
		}
	}
}

// windowGrows: window_requests_total grew at transition i or at the one after it,
// since a scrape may fall between the two emissions.
func (k *checker) windowGrows(i int, before float64) bool {
	for j := i; j <= i+1; j++ {
		if j >= len(k.c.Transitions) {
			return true // not read yet
		}
		x := &k.c.Transitions[j]
		if x.Epoch != k.c.Transitions[i].Epoch || x.WindowRequests > before {
			return true
		}
	}
	return false
}

// flows: fail_fast is counted only while not closed; more failures than a closed
// circuit can take open it; a half-open circuit neither survives a failure nor
// stays half-open with enough successes.
func (k *checker) flows() {
	quiet := false
	for i := 1; i < len(k.c.Outcomes); i++ {
		a, b := &k.c.Outcomes[i-1], &k.c.Outcomes[i]
		if a.At().Before(k.since) || a.Epoch != b.Epoch {
			continue
		}
		from, to := a.At().Add(-k.interval), b.At().Add(k.interval)
		st, ok := k.steady(from, to)
		if !ok {
			continue
		}
		f, s, ff := b.Failure-a.Failure, b.Success-a.Success, b.FailFast-a.FailFast
		switch {
		case st == closedState && ff > 0 && !quiet:
			quiet = true
			k.found(b.T, "fail_fast was counted while the transitions say closed")
		case st == closedState && k.mustOpen(a, b):
			k.found(b.T, "%.0f failures and %.0f successes on a closed circuit from %s to %s UTC, and no open: the breaker opens on that", f, s,
				a.At().Format("15:04:05"), b.At().Format("15:04:05"))
		case st == openState && ff > 0 && k.overdue(a):
			k.found(b.T, "open, asked and denied for longer than timeout_ms of %d and two scrapes, and no probe: the router runs another timeout", k.cfg.TimeoutMS)
			return
		case st == halfOpenState && f > 0:
			k.found(b.T, "half-open, a failure was counted, and it did not open")
		case st == halfOpenState && k.cfg.SuccessThreshold > 0 && s >= float64(k.cfg.SuccessThreshold):
			k.found(b.T, "half-open, %.0f successes were counted, and it did not close: success_threshold is %d", s, k.cfg.SuccessThreshold)
		}
	}
}

// The router's own config of a circuit that was never configured (ROUTER.md §1). A
// circuit that no request has asked since enabling still has it, so that a rule
// must hold under both.
const (
	defaultFailures = 5
	defaultRate     = 0.5
	defaultWindow   = time.Minute
)

// mustOpen: what was counted between two scrapes cannot have left a closed circuit
// closed, under its config and under the router's own. Either some failure_threshold
// failures followed each other: s successes part at most s+1 runs. Or the share in
// some window reached error_rate_threshold: all failures lie in windows that end at
// a failure and do not overlap, and the first of them reaches back by one window.
func (k *checker) mustOpen(a, b *Outcome) bool {
	f, s := b.Failure-a.Failure, b.Success-a.Success
	if f < 1 {
		return false
	}
	if run := float64(max(k.cfg.FailureThreshold, defaultFailures)); f > (run-1)*(s+1) {
		return true
	}
	rate := max(k.cfg.ErrorRateThreshold, defaultRate)
	if rate > 1 {
		return false
	}
	window := max(time.Duration(k.cfg.WindowSeconds)*time.Second, defaultWindow)
	_, before := k.c.Between(a.At().Add(-window), a.At())
	return before.OK && f >= rate*(f+s+before.Outcomes())
}

// possible: an open of exactly these window totals is one that the config makes. A
// run of failures is in the window, or the window holds nothing but failures.
func (k *checker) possible(wr, wf float64) bool {
	if k.cfg.LatencyThresholdMS > 0 || wr <= 0 || wf >= wr {
		return true
	}
	return wf >= float64(k.cfg.FailureThreshold) || wf/wr >= k.cfg.ErrorRateThreshold-1e-9
}

// madeByAnother: a single open between two scrapes has window totals that the config
// cannot have opened on, though the circuit was asked since enabling, so that it has
// that config.
func (k *checker) madeByAnother(i int) (wr, wf float64, bad bool) {
	a, b := &k.c.Transitions[i-1], &k.c.Transitions[i]
	if k.cfg.FailureThreshold <= 0 || b.CO-a.CO != 1 || b.HC != a.HC || i+1 >= len(k.c.Transitions) {
		return 0, 0, false
	}
	next := &k.c.Transitions[i+1] // totals may come a scrape late
	if next.Epoch != b.Epoch || next.CO != b.CO || next.HC != b.HC {
		return 0, 0, false
	}
	wr, wf = next.WindowRequests-a.WindowRequests, next.WindowFailures-a.WindowFailures
	if k.possible(wr, wf) {
		return 0, 0, false
	}
	asked := k.c.Delta(k.since, a.At())
	return wr, wf, asked.OK && asked.Restarts == 0 && asked.OH+asked.FailFast > 0
}

// closedTooSoon: at transition i the circuit closed, and since it was last seen not
// half-open fewer successes were counted than success_threshold asks for, for each
// close. One may come from before: the success that makes a circuit counts until a
// transition uses it. It was half-open, so that a request had asked it, and it has the
// config.
func (k *checker) closedTooSoon(i int, closed float64) (n float64, bad bool) {
	xs := k.c.Transitions
	j := i - 1
	for j > 0 && xs[j].Epoch == xs[i].Epoch && halfOpen(&xs[j]) {
		j--
	}
	if xs[j].Epoch != xs[i].Epoch || xs[j].At().Before(k.since) {
		return 0, false
	}
	_, most := k.c.Between(xs[j].At().Add(-k.interval), xs[i].At().Add(k.interval))
	return most.Success, most.OK && most.Success < closed*float64(k.cfg.SuccessThreshold)-1.5
}

// overdue: at outcome a the circuit had been open for longer than its timeout and two
// scrapes, so that the next request is a probe. A denied request asks it, so that it has
// the config.
func (k *checker) overdue(a *Outcome) bool {
	xs := k.c.Transitions
	i := k.c.transitionUpto(a.T)
	if i < 0 || k.cfg.TimeoutMS <= 0 { // a config that is not known
		return false
	}
	now := &xs[i]
	for i > 0 && xs[i-1].Epoch == now.Epoch && xs[i-1].CO == now.CO && xs[i-1].OH == now.OH && xs[i-1].HO == now.HO && xs[i-1].HC == now.HC {
		i--
	}
	since := xs[i].At()
	if since.Before(k.since) {
		since = k.since
	}
	return a.At().Sub(since) > time.Duration(k.cfg.TimeoutMS)*time.Millisecond+2*k.interval
}

type circuitState int

const (
	closedState circuitState = iota
	openState
	halfOpenState
)

// steady is the state of the circuit over [from, to] if no transition was counted
// from the last scrape at or before from to the first at or after to, and the
// totals give a state.
func (k *checker) steady(from, to time.Time) (circuitState, bool) {
	c := k.c
	if len(c.Transitions) == 0 {
		return closedState, true // none was ever exported: closed since the start
	}
	i, j := c.transitionUpto(from.UnixMilli()), c.transitionFrom(to.UnixMilli())
	if i < 0 || j >= len(c.Transitions) || c.Transitions[i].Epoch != c.Transitions[j].Epoch {
		return 0, false
	}
	a, b := &c.Transitions[i], &c.Transitions[j]
	if a.CO != b.CO || a.OH != b.OH || a.HO != b.HO || a.HC != b.HC || !sane(a, 0) {
		return 0, false
	}
	switch {
	case a.CO-a.HC < 0.5:
		return closedState, true
	case halfOpen(a):
		return halfOpenState, true
	}
	return openState, true
}

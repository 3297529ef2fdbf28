package scenario

import (
	"math"
	"time"

	"github.com/cbops/cbops/breaker"
)

// Gate returns the scenarios of the guide's first gate, in order: the guide's four
// (ROUTER.md §6), then those that go beyond them. With no config of one's own they
// run with the guide's parameters; with one, they tell what that config does, and
// what is expected of it follows from ROUTER.md §4.
func Gate(p Params) []Scenario {
	p = p.filled()
	return []Scenario{
		errorSpike(p), normalization(p), windowSizes(p), concurrentLoad(p),
		stress(p), longWindow(p), providerFaults(p), metricsScenario(p), wedge(p), configSwap(p), lowTraffic(p),
	}
}

// Params adapt the gate.
type Params struct {
	// Config is the config to test; nil for the guide's.
	Config *breaker.Config
	// Length is the virtual time of long-window; 0 for what it needs.
	Length time.Duration
	// Live is for a router in real time: waits keep clear of the timeouts, and what
	// takes long or many requests is shortened.
	Live bool
	// Rate is the traffic of the tenant for low-traffic; nil where it is not known:
	// then low-traffic reports and does not judge.
	Rate *TenantTraffic
}

// TenantTraffic is a tenant's traffic, as low-traffic needs it.
type TenantTraffic struct {
	PerMinute float64 // of all providers together
	Providers int
	Weights   []float64 // of the providers; none is evenly
	ErrorRate float64   // on a good day, 0 to 1
	Trough    float64   // rate of the quietest hour as a share of the mean
	// For is how much of it is simulated; 0 for as much as is quick.
	For time.Duration
	// MaxOpensPerDay is how many false opens a day are accepted, of all providers
	// together.
	MaxOpensPerDay float64
}

func (p Params) filled() Params {
	if p.Length == 0 {
		p.Length = 2 * time.Hour
	}
	return p
}

// guide are the settings that ROUTER.md §6 gives all scenarios.
func guide(threshold int64) breaker.Config {
	c := breaker.PolicyDefaults()
	c.FailureThreshold, c.ErrorRateThreshold, c.SuccessThreshold = threshold, 0.5, 2
	c.WindowSeconds, c.TimeoutMS = 60, 30_000
	return c
}

// config is the one to test: the own one, else the guide's with its threshold,
// and with the short timeout of scenario 2 where one is given.
func (p Params) config(threshold, timeoutMS int64) breaker.Config {
	if p.Config != nil {
		return *p.Config
	}
	c := guide(threshold)
	if timeoutMS > 0 {
		c.TimeoutMS = timeoutMS
	}
	return c
}

func (p Params) own() bool { return p.Config != nil }

// slack is how far a wait keeps from a timeout: a millisecond is enough for a
// virtual clock, and nothing for a network.
func (p Params) slack() time.Duration {
	if p.Live {
		return 250 * time.Millisecond
	}
	return 0
}

// target is how long a scenario beyond the guide's should take: nothing in real
// time, which is spent on waiting.
func (p Params) target(d time.Duration) time.Duration {
	if p.Live {
		return 0
	}
	return d
}

// early is how long before a timeout a circuit is asked: over a network the
// failures that opened it took a while too.
func (p Params) early(timeout time.Duration) time.Duration {
	if p.Live {
		return timeout / 2
	}
	return time.Millisecond
}

// after waits until a timeout is over.
func (p Params) after(timeout time.Duration) Wait { return wait(timeout + p.slack()) }

// many is a number of timeouts that stands for a long time.
func (p Params) many() time.Duration {
	if p.Live {
		return 3
	}
	return 10
}

// patience is how many failures in a row, or probes, a scenario is ready to spend
// on a config; the documented ranges end at 100 and 10.
const patience = 1000

// failuresToOpen are enough to open any config that opens at all.
func failuresToOpen(c breaker.Config) int {
	return int(min(max(c.FailureThreshold, 10), patience))
}

// successesToClose are enough to close any config that closes at all.
func successesToClose(c breaker.Config) int { return int(min(max(c.SuccessThreshold, 1), patience)) }

// timeout is how long a circuit stays open. Nobody waits longer than ten years: a
// config that does has no way to close.
func timeout(c breaker.Config) time.Duration {
	const tenYears = 10 * 365 * 24 * time.Hour
	return min(time.Duration(min(max(c.TimeoutMS, 0), math.MaxInt64/int64(time.Millisecond)))*time.Millisecond, tenYears)
}

// openingFailure is the failure at which a closed circuit opens that has seen so
// many successes in the same instant and nothing else, and the reason: the first
// k with k ≥ failure_threshold, or k/(k+successes) ≥ error_rate_threshold
// (ROUTER.md §4). 0 if none of the first most does.
func openingFailure(c breaker.Config, successes, most int) (int, string) {
	for k := 1; k <= most; k++ {
		if int64(k) >= c.FailureThreshold {
			return k, "failure_threshold_exceeded"
		}
		if float64(k)/float64(k+successes) >= c.ErrorRateThreshold {
			return k, "error_rate_threshold_exceeded"
		}
	}
	return 0, ""
}

// Some steps that are often needed.

func fail(n int) Send    { return Send{Verb: Record, Count: n, Outcomes: []Outcome{Failure}} }
func succeed(n int) Send { return Send{Verb: Record, Count: n, Outcomes: []Outcome{Success}} }
func ask(n int) Send     { return Send{Verb: Ask, Count: n, Outcomes: []Outcome{NoAnswer}} }

// requests ask and then record.
func requests(n int, o ...Outcome) Send { return Send{Verb: Requests, Count: n, Outcomes: o} }

func (s Send) each(d time.Duration) Send {
	s.Every = d
	return s
}

func expect(e ...Expectation) Expect { return Expect{Expectations: e} }

func wait(d time.Duration) Wait { return Wait{For: d} }

func isState(s breaker.State) Expectation { return Is("state", string(s)) }

// eventsIn is how many events, step apart and the last of n at the end, are at
// most window old: the edge is inclusive.
func eventsIn(window, step time.Duration, n int) int {
	return min(n, int(window/step)+1)
}

// windowOf is a config's window.
func windowOf(c breaker.Config) time.Duration {
	return time.Duration(min(max(c.WindowSeconds, 0), math.MaxInt32)) * time.Second
}

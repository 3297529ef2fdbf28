// Package scenario is the load tests of a circuit breaker: what is done to it,
// step by step, and what must be seen. The gate (Gate) holds the guide's four
// (ROUTER.md §6) and what goes beyond them; a team's own are read from YAML
// (Parse). Run plays a scenario on a breaker in virtual time, and with goroutines
// where a step says so; Prove plays it on breakers that are broken on purpose, to
// show that each expectation can fail. Package live plays the same scenarios on a
// router over HTTP.
//
// It does no I/O, prints nothing and reads no clock.
package scenario

import (
	"time"

	"github.com/cbops/cbops/breaker"
)

// Scenario is one load test: some circuits, each new when its turn comes.
type Scenario struct {
	Name, Title string
	// Target is how long it should take by the wall clock; 0 for none. It is
	// printed, and decides no verdict: a slow machine is no broken breaker.
	Target   time.Duration
	Circuits []Circuit
	// Deviations are where the router is known to differ from what the guide says.
	Deviations []string
	// Path is the file that it was read from, "" for one of the gate.
	Path string
}

// Circuit is a new circuit and what happens to it, step after step.
type Circuit struct {
	// Name tells it from the scenario's others; "" where there is only one.
	Name string
	// Config is its configuration; Unconfigured leaves it to the router's defaults,
	// as for a tenant whose policy never enabled the breaker.
	Config       breaker.Config
	Unconfigured bool
	Steps        []Step
}

// Step is one thing that is done, or looked at: Send, Wait, Configure, Publish,
// Traffic or Expect.
type Step interface{ isStep() }

// Verb says how a request meets the breaker.
type Verb string

// The verbs. A router consults the breaker only for a request that already names
// its provider (ROUTER.md §3), so each of the three occurs.
const (
	// Ask: the request asks, and no outcome is ever recorded.
	Ask Verb = "ask"
	// Record: the outcome is recorded, and nobody asked.
	Record Verb = "record"
	// Requests: the request asks, and where it is admitted its outcome is recorded.
	Requests Verb = "send"
)

// Outcome is how a provider answers.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
	// Timeout is a failure, and Slow a success, that is known only after Latency.
	Timeout Outcome = "timeout"
	Slow    Outcome = "slow"
	// ServerError is a failure that is known at once.
	ServerError Outcome = "5xx"
	// NoAnswer never comes back: nothing is recorded.
	NoAnswer Outcome = "none"
)

// Failed reports whether the outcome counts as a failure; counted is false where
// it does not count at all.
func (o Outcome) Failed() (failed, counted bool) {
	switch o {
	case Success, Slow:
		return false, true
	case NoAnswer:
		return false, false
	}
	return true, true
}

// Delay is how long an outcome of the step takes to be known.
func (s Send) Delay(o Outcome) time.Duration {
	if s.Latency > 0 {
		return s.Latency
	}
	switch o {
	case Timeout:
		return 10 * time.Second
	case Slow:
		return 5 * time.Second
	}
	return 0
}

// Send is a number of requests.
type Send struct {
	Verb  Verb
	Count int
	// Every is the time from one request to the next, or from one round of the
	// workers to the next.
	Every time.Duration
	// Outcomes are taken in turns: the k-th request of worker w takes number
	// (w + k) modulo their length.
	Outcomes []Outcome
	// FailureShare of the requests fails at random (seeded), where there are no
	// Outcomes.
	FailureShare float64
	// Latency is the time until an outcome is known; requests go on meanwhile.
	Latency time.Duration
	// Workers send in turns, or at once where Parallel says so; less than 1 is 1.
	Workers  int
	Parallel bool
	// Spread is the number of circuits that the workers are dealt out to; less than
	// 1 is 1.
	Spread int
}

// Wait lets time pass.
type Wait struct{ For time.Duration }

// Configure swaps the config under the live circuit.
type Configure struct{ Config breaker.Config }

// Publish sets the router's global publish latency, which the latency trigger
// compares: it is not the provider's.
type Publish struct{ Latency time.Duration }

// Traffic is random requests, as from many independent users: exponential gaps,
// independent failures, a rate that swings over the day.
type Traffic struct {
	// PerMinute is the mean rate of all circuits together.
	PerMinute float64
	// Trough is the rate of the quietest hour as a share of the mean; 1 is no swing.
	// The traffic begins half its length, half a day at most, before that hour.
	Trough float64
	// FailureShare of the requests fails.
	FailureShare float64
	For          time.Duration
	// Spread is the number of circuits (providers) that share the rate, evenly or in
	// the proportion of Weights, where there are as many.
	Spread  int
	Weights []float64
}

// Expect looks, and says what must be seen.
type Expect struct{ Expectations []Expectation }

func (Send) isStep()      {}
func (Wait) isStep()      {}
func (Configure) isStep() {}
func (Publish) isStep()   {}
func (Traffic) isStep()   {}
func (Expect) isStep()    {}

// Outcome returns how the i-th request of the step ends.
func (s Send) Outcome(i int) Outcome {
	w := max(s.Workers, 1)
	return s.Outcomes[(i%w+i/w)%len(s.Outcomes)]
}

// Duration is how much time the steps take, in the time that they run in.
func (c Circuit) Duration() time.Duration {
	var d time.Duration
	for _, s := range c.Steps {
		switch s := s.(type) {
		case Send:
			d += s.Every * time.Duration(s.Count/max(s.Workers, 1))
		case Wait:
			d += s.For
		case Traffic:
			d += s.For
		}
	}
	return d
}

// Requests is how many requests a circuit gets, random ones on average.
func (c Circuit) Requests() int {
	n := 0
	for _, s := range c.Steps {
		switch s := s.(type) {
		case Send:
			n += s.Count
		case Traffic:
			n += int(s.PerMinute * s.For.Minutes())
		}
	}
	return n
}

// Expectations returns all expectations of the scenario, in the order in which
// they are looked at.
func (s Scenario) Expectations() []Expectation {
	var all []Expectation
	for _, c := range s.Circuits {
		for _, st := range c.Steps {
			if e, ok := st.(Expect); ok {
				all = append(all, e.Expectations...)
			}
		}
	}
	return all
}

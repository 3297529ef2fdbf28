// Package breaker is the exact twin of the router's circuit breaker: the same
// operations at the same times give the same answers, states, counters and
// metrics (ROUTER.md §4; the traces in testdata are the proof). It uses the
// standard library only, reads no clock (time is a parameter, in milliseconds)
// and is safe for concurrent use.
//
// It does not decide which provider a request goes to, loads no policy, and
// keeps no metrics: it tells a Sink what the router would have emitted.
package breaker

import "math"

// State of a circuit.
type State string

// The states, as the router names them.
const (
	Closed   State = "closed"
	Open     State = "open"
	HalfOpen State = "half_open"
)

// Config is a circuit's configuration (ROUTER.md §1). Any number is taken as it
// is: the router validates none of them, so the twin does not either.
type Config struct {
	FailureThreshold   int64   // consecutive failures
	SuccessThreshold   int64   // successes in half-open
	TimeoutMS          int64   // open → half-open, milliseconds
	HalfOpenMaxCalls   int64   // probes admitted in half-open
	ErrorRateThreshold float64 // share of failures in the window; above 1 is off
	WindowSeconds      int64   // length of the window, seconds
	LatencyThresholdMS int64   // global publish latency that opens; 0 is off
}

// DefaultConfig is what the router uses for a circuit that was never configured,
// and for fields that a policy leaves out (but for the latency threshold, which
// is then off: see PolicyDefaults).
func DefaultConfig() Config {
	c := PolicyDefaults()
	c.LatencyThresholdMS = 5000
	return c
}

// PolicyDefaults are the values of fields that a policy's circuit_breaker object
// leaves out.
func PolicyDefaults() Config {
	return Config{FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 60_000,
		HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}
}

// edge is the time of the oldest outcome that is still in the window at now, ms.
func (c *Config) edge(now int64) int64 {
	const most = math.MaxInt64 / 4000 // seconds; no clock gets further back
	return now - 1000*min(max(c.WindowSeconds, -most), most)
}

// Status is what can be seen of a circuit.
type Status struct {
	State               State
	ConsecutiveFailures int
	Successes           int // counted towards closing
	Probes              int // admitted in half-open
	Window              int // outcomes held after the last operation that touched it
	ErrorRate           float64
	SinceMS             int64 // when the state last changed
	Config              Config
	// Bytes is the memory that the window takes. The router has no such number.
	Bytes int
}

// circuit is the state of one circuit; its owner holds the lock.
type circuit struct {
	cfg       Config
	state     State
	failures  int
	successes int
	probes    int
	errorRate share
	since     int64 // of the current state
	openedAt  int64
	win       window
}

// record takes one success or failure. It is the only place that opens or
// closes a circuit on an outcome.
func (c *circuit) record(now int64, failed bool, latency int64, e emitter) {
	c.win.trim(c.cfg.edge(now))
	c.win.push(now, failed)
	if failed {
		c.failure(now, latency, e)
		e.failure()
		return
	}
	c.success(now, e)
	e.success()
}

func (c *circuit) failure(now, latency int64, e emitter) {
	c.failures++
	c.successes = 0
	c.errorRate = c.win.share
	switch c.state {
	case HalfOpen:
		c.openAt(now)
		e.transition(halfOpenToOpen)
		e.trigger(halfOpenFailure)
		e.errorRate(c.errorRate)
	case Open:
		e.errorRate(c.errorRate)
	default:
		e.errorRate(c.errorRate)
		if r := c.trips(latency); r != none {
			c.opens(now, r, e)
		}
	}
}

// trips returns the reason to open, in the router's order of priority.
func (c *circuit) trips(latency int64) reason {
	switch {
	case c.cfg.LatencyThresholdMS > 0 && latency > c.cfg.LatencyThresholdMS:
		return latencyExceeded
	case int64(c.failures) >= c.cfg.FailureThreshold:
		return failuresExceeded
	case c.errorRate.rate() >= c.cfg.ErrorRateThreshold:
		return errorRateExceeded
	}
	return none
}

// opens takes a closed circuit to open.
func (c *circuit) opens(now int64, r reason, e emitter) {
	c.openAt(now)
	e.transition(closedToOpen)
	e.trigger(r)
	e.errorRate(c.errorRate)
	e.window(c.win.share)
}

func (c *circuit) openAt(now int64) {
	c.state, c.since, c.openedAt = Open, now, now
	c.probes = 0
}

func (c *circuit) success(now int64, e emitter) {
	c.failures = 0
	c.errorRate = c.win.share
	if c.state == HalfOpen {
		c.successes++
		if int64(c.successes) >= c.cfg.SuccessThreshold {
			c.state, c.since = Closed, now
			c.successes, c.probes = 0, 0
			e.transition(halfOpenToClosed)
			e.errorRate(c.errorRate)
			e.window(c.win.share)
			return
		}
	}
	e.errorRate(c.errorRate)
}

// allow decides whether a request may go to the provider; asking an open circuit
// after its timeout is what makes it half-open.
func (c *circuit) allow(now int64, e emitter) bool {
	c.win.trim(c.cfg.edge(now))
	switch c.state {
	case Open:
		if waited := now - c.openedAt; waited < c.cfg.TimeoutMS {
			e.remaining(c.cfg.TimeoutMS - waited)
			e.failFast()
			return false
		}
		c.state, c.since = HalfOpen, now
		c.failures, c.probes = 0, 1
		e.transition(openToHalfOpen)
		e.trigger(timeoutElapsed)
		e.timeoutTransition()
		return true
	case HalfOpen:
		if int64(c.probes) >= c.cfg.HalfOpenMaxCalls {
			e.failFast()
			return false
		}
		c.probes++
		return true
	}
	return true
}

// createdBySuccess is the router's path for a first outcome that is a success:
// it counts towards closing until a transition uses it, and no error rate is
// stored.
func (c *circuit) createdBySuccess(now int64, e emitter) {
	c.win.push(now, false)
	c.successes = 1
	e.success()
	e.state(Closed)
}

// createdByFailure is the router's path for a first outcome that is a failure:
// it may emit state{open} before state{closed}.
func (c *circuit) createdByFailure(now, latency int64, e emitter) {
	c.win.push(now, true)
	c.failures = 1
	c.errorRate = c.win.share
	if r := c.trips(latency); r != none {
		c.opens(now, r, e)
	}
	e.failure()
	e.state(Closed)
}

func (c *circuit) status() Status {
	return Status{State: c.state, ConsecutiveFailures: c.failures, Successes: c.successes, Probes: c.probes,
		Window: c.win.of, ErrorRate: c.errorRate.rate(), SinceMS: c.since, Config: c.cfg, Bytes: c.win.bytes}
}

// Package breaker is the exact twin of the router's circuit breaker: the same
// operations at the same times give the same answers, states, counters and
// metrics (ROUTER.md §4; the traces in testdata are the proof). It uses the
// standard library only, reads no clock (time is a parameter, in milliseconds)
// and is safe for concurrent use.
//
// It does not decide which provider a request goes to, loads no policy, and
// keeps no metrics: it tells a Sink what the router would have emitted.
package breaker

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

// Status is what can be seen of a circuit.
type Status struct {
	State               State
	ConsecutiveFailures int
	Successes           int // counted towards closing
	Probes              int // admitted in half-open
	Window              int // events held after the last operation that touched it
	ErrorRate           float64
	SinceMS             int64 // when the state last changed
	Config              Config
}

// circuit is one circuit; its owner holds the lock.
type circuit struct {
	cfg       Config
	state     State
	failures  int
	successes int
	probes    int
	errorRate float64
	since     int64 // of the current state
	openedAt  int64
	win       window
}

// record takes one success or failure. It is the only place that opens or
// closes a circuit on an outcome.
func (c *circuit) record(now int64, failed bool, latency int64, e emitter) {
	c.win.trim(now - c.cfg.WindowSeconds*1000)
	c.win.push(now, failed)
	if failed {
		c.failure(now, latency, e)
		e.event("failure")
		return
	}
	c.success(now, e)
	e.event("success")
}

func (c *circuit) failure(now, latency int64, e emitter) {
	c.failures++
	c.successes = 0
	switch c.state {
	case HalfOpen:
		c.errorRate = c.win.rate()
		c.openAt(now)
		e.transition(HalfOpen, Open)
		e.trigger("half_open_failure")
		e.errorRate(c.errorRate)
	case Open:
		c.errorRate = c.win.rate()
		e.errorRate(c.errorRate)
	default:
		c.errorRate = c.win.rate()
		e.errorRate(c.errorRate)
		if reason := c.trips(latency); reason != "" {
			c.openAt(now)
			e.transition(Closed, Open)
			e.trigger(reason)
			e.errorRate(c.errorRate)
			e.window(c.win.len(), c.win.failures)
		}
	}
}

// trips returns the reason to open, in the router's order of priority, or "".
func (c *circuit) trips(latency int64) string {
	switch {
	case c.cfg.LatencyThresholdMS > 0 && latency > c.cfg.LatencyThresholdMS:
		return "latency_threshold_exceeded"
	case int64(c.failures) >= c.cfg.FailureThreshold:
		return "failure_threshold_exceeded"
	case c.errorRate >= c.cfg.ErrorRateThreshold:
		return "error_rate_threshold_exceeded"
	}
	return ""
}

func (c *circuit) openAt(now int64) {
	c.state, c.since, c.openedAt = Open, now, now
	c.probes = 0
}

func (c *circuit) success(now int64, e emitter) {
	c.failures = 0
	c.errorRate = c.win.rate()
	if c.state == HalfOpen {
		c.successes++
		if int64(c.successes) >= c.cfg.SuccessThreshold {
			c.state, c.since = Closed, now
			c.successes, c.probes = 0, 0
			e.transition(HalfOpen, Closed)
			e.errorRate(c.errorRate)
			e.window(c.win.len(), c.win.failures)
			return
		}
	}
	e.errorRate(c.errorRate)
}

// allow decides whether a request may go to the provider; asking an open circuit
// after its timeout is what makes it half-open.
func (c *circuit) allow(now int64, e emitter) bool {
	c.win.trim(now - c.cfg.WindowSeconds*1000)
	switch c.state {
	case Open:
		if waited := now - c.openedAt; waited < c.cfg.TimeoutMS {
			e.remaining(c.cfg.TimeoutMS - waited)
			e.event("fail_fast")
			return false
		}
		c.state, c.since = HalfOpen, now
		c.failures, c.probes = 0, 1
		e.halfOpened()
		return true
	case HalfOpen:
		if int64(c.probes) >= c.cfg.HalfOpenMaxCalls {
			e.event("fail_fast")
			return false
		}
		c.probes++
		return true
	}
	return true
}

func (c *circuit) status() Status {
	return Status{State: c.state, ConsecutiveFailures: c.failures, Successes: c.successes, Probes: c.probes,
		Window: c.win.len(), ErrorRate: c.errorRate, SinceMS: c.since, Config: c.cfg}
}

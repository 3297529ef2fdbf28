package breaker_test

import (
	"fmt"
	"math"

	"github.com/cbops/cbops/breaker"
)

// naive is the breaker of ROUTER.md §4 written a second time, as plainly as the
// page allows and without a look at the twin: a list of outcomes that is counted
// anew each time, and a line of text for each metric. It is slow on purpose.
type naive struct {
	exists      bool
	cfg         breaker.Config
	state       string
	consecutive int
	successes   int
	probes      int
	rate        float64
	since       int64
	opened      int64
	latency     int64
	outcomes    []naiveOutcome
	out         []string
}

// naiveDefaults are the router's own, for a circuit that nobody configured.
func naiveDefaults() breaker.Config {
	return breaker.Config{FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 60000, HalfOpenMaxCalls: 3,
		ErrorRateThreshold: 0.5, WindowSeconds: 60, LatencyThresholdMS: 5000}
}

type naiveOutcome struct {
	at     int64
	failed bool
}

func (n *naive) say(format string, args ...any) {
	n.out = append(n.out, "router_circuit_breaker_"+fmt.Sprintf(format, args...))
}

// clean drops what is older than the window, from the old end; an outcome at
// exactly now - window stays.
func (n *naive) clean(now int64) {
	edge := now - n.cfg.WindowSeconds*1000
	for len(n.outcomes) > 0 && n.outcomes[0].at < edge {
		n.outcomes = n.outcomes[1:]
	}
}

func (n *naive) failed() int {
	f := 0
	for _, o := range n.outcomes {
		if o.failed {
			f++
		}
	}
	return f
}

func (n *naive) share() float64 {
	if len(n.outcomes) == 0 {
		return 0
	}
	return float64(n.failed()) / float64(len(n.outcomes))
}

func (n *naive) sayRate() { n.say("error_rate{}=%.6f", n.rate) }

func (n *naive) sayWindow() {
	n.say("window_requests_total{}=+%d", len(n.outcomes))
	n.say("window_failures_total{}=+%d", n.failed())
}

func (n *naive) become(state string, gauge float64) {
	n.say("state_transitions_total{from=%s,to=%s}=+1", n.state, state)
	n.say("state{state=%s}=%.6f", state, gauge)
	n.state = state
}

func (n *naive) configure(c breaker.Config, now int64) {
	if !n.exists {
		n.exists, n.state, n.since = true, "closed", now
	}
	n.cfg = c
}

func (n *naive) allow(now int64) bool {
	if !n.exists {
		return true
	}
	n.clean(now)
	if n.state == "open" {
		if now-n.opened < n.cfg.TimeoutMS {
			n.say("timeout_remaining_ms{}=%d", n.cfg.TimeoutMS-(now-n.opened))
			n.say("events_total{event_type=fail_fast}=+1")
			return false
		}
		n.become("half_open", 2)
		n.say("trigger_reason{reason=timeout_elapsed}=1")
		n.say("timeout_transitions_total{transition_type=open_to_half_open}=+1")
		n.since, n.consecutive, n.probes = now, 0, 1
		return true
	}
	if n.state == "half_open" {
		if int64(n.probes) >= n.cfg.HalfOpenMaxCalls {
			n.say("events_total{event_type=fail_fast}=+1")
			return false
		}
		n.probes++
	}
	return true
}

func (n *naive) success(now int64) {
	if !n.exists {
		n.configure(naiveDefaults(), now)
		n.outcomes = append(n.outcomes, naiveOutcome{now, false})
		n.successes = 1
		n.say("events_total{event_type=success}=+1")
		n.say("state{state=closed}=0.000000")
		return
	}
	n.clean(now)
	n.outcomes = append(n.outcomes, naiveOutcome{now, false})
	n.consecutive = 0
	n.rate = n.share()
	if n.state == "half_open" {
		n.successes++
	}
	if n.state == "half_open" && int64(n.successes) >= n.cfg.SuccessThreshold {
		n.become("closed", 0)
		n.since, n.successes, n.probes = now, 0, 0
		n.sayRate()
		n.sayWindow()
	} else {
		n.sayRate()
	}
	n.say("events_total{event_type=success}=+1")
}

func (n *naive) failure(now int64) {
	if !n.exists {
		n.configure(naiveDefaults(), now)
		n.outcomes = append(n.outcomes, naiveOutcome{now, true})
		n.consecutive, n.rate = 1, 1
		n.maybeOpen(now)
		n.say("events_total{event_type=failure}=+1")
		n.say("state{state=closed}=0.000000")
		return
	}
	n.clean(now)
	n.outcomes = append(n.outcomes, naiveOutcome{now, true})
	n.consecutive++
	n.successes = 0
	n.rate = n.share()
	if n.state == "half_open" {
		n.become("open", 1)
		n.since, n.opened, n.probes = now, now, 0
		n.say("trigger_reason{reason=half_open_failure}=1")
		n.sayRate()
	} else {
		n.sayRate()
		if n.state == "closed" {
			n.maybeOpen(now)
		}
	}
	n.say("events_total{event_type=failure}=+1")
}

// maybeOpen opens a closed circuit: latency, then failures in a row, then rate.
func (n *naive) maybeOpen(now int64) {
	why := ""
	if n.rate >= n.cfg.ErrorRateThreshold {
		why = "error_rate_threshold_exceeded"
	}
	if int64(n.consecutive) >= n.cfg.FailureThreshold {
		why = "failure_threshold_exceeded"
	}
	if n.cfg.LatencyThresholdMS > 0 && n.latency > n.cfg.LatencyThresholdMS {
		why = "latency_threshold_exceeded"
	}
	if why == "" {
		return
	}
	n.become("open", 1)
	n.since, n.opened, n.probes = now, now, 0
	n.say("trigger_reason{reason=%s}=1", why)
	n.sayRate()
	n.sayWindow()
}

func (n *naive) reset() {
	if n.exists {
		*n = naive{exists: true, cfg: n.cfg, state: "closed", since: n.since, latency: n.latency, out: n.out}
	}
}

// seen is everything that can be observed of the circuit, as a line.
func (n *naive) seen() string {
	if !n.exists {
		return "none"
	}
	return fmt.Sprintf("%s f=%d s=%d h=%d w=%d er=%x since=%d %+v", n.state, n.consecutive, n.successes, n.probes,
		len(n.outcomes), math.Float64bits(n.rate), n.since, n.cfg)
}

func seenOf(s breaker.Status, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprintf("%s f=%d s=%d h=%d w=%d er=%x since=%d %+v", s.State, s.ConsecutiveFailures, s.Successes, s.Probes,
		s.Window, math.Float64bits(s.ErrorRate), s.SinceMS, s.Config)
}

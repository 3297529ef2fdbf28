package scenario

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/cbops/cbops/breaker"
)

// oracle stands between a scenario and a breaker and says, from the state before
// and after each operation, what must have been emitted (ROUTER.md §5), no more
// and no less. It knows nothing of how the breaker comes to emit it.
type oracle struct {
	Breaker
	next    breaker.Sink
	latency func() int64

	mu      sync.Mutex
	emitted []string
	wrong   int
	first   string
}

// Emit implements breaker.Sink. It is called from within an operation, whose lock
// is held.
func (o *oracle) Emit(k breaker.Key, m breaker.Metric) {
	var labels []string
	for _, l := range m.Labels {
		labels = append(labels, l.Name+"="+l.Value)
	}
	o.emitted = append(o.emitted, line(strings.TrimPrefix(m.Name, metricPrefix), strings.Join(labels, ","), m.Add, m.Value))
	o.next.Emit(k, m)
}

// line is one emission as text.
func line(name, labels string, add bool, v float64) string {
	op := "="
	if add {
		op = "+="
	}
	return fmt.Sprintf("%s{%s}%s%.6f", name, labels, op, v)
}

// watch runs one operation and compares.
func (o *oracle) watch(what string, k breaker.Key, op func() (want func(before, after breaker.Status) []string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, _ := o.Status(k)
	o.emitted = nil
	want := op()
	after, _ := o.Status(k)
	got, expected := o.emitted, want(before, after)
	slices.Sort(got)
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		if o.wrong++; o.wrong == 1 {
			o.first = fmt.Sprintf("%s while %s emitted [%s], not [%s]", what, before.State, strings.Join(got, " "), strings.Join(expected, " "))
		}
	}
}

func event(kind string) string { return line("events_total", "event_type="+kind, true, 1) }

func stateGauge(s breaker.State) string {
	v := map[breaker.State]float64{breaker.Closed: 0, breaker.Open: 1, breaker.HalfOpen: 2}[s]
	return line("state", "state="+string(s), false, v)
}

func moved(from, to breaker.State) []string {
	return []string{line("state_transitions_total", fmt.Sprintf("from=%s,to=%s", from, to), true, 1), stateGauge(to)}
}

func trigger(reason string) string { return line("trigger_reason", "reason="+reason, false, 1) }

func errorRate(s breaker.Status) string { return line("error_rate", "", false, s.ErrorRate) }

func windowCounts(s breaker.Status) []string {
	failures := math.Round(s.ErrorRate * float64(s.Window))
	return []string{line("window_requests_total", "", true, float64(s.Window)), line("window_failures_total", "", true, failures)}
}

// Configure implements Breaker: a config emits nothing.
func (o *oracle) Configure(k breaker.Key, c breaker.Config, now int64) {
	o.watch("a new config", k, func() func(_, _ breaker.Status) []string {
		o.Breaker.Configure(k, c, now)
		return func(_, _ breaker.Status) []string { return nil }
	})
}

// Allow implements Breaker.
func (o *oracle) Allow(k breaker.Key, now int64) (ok bool) {
	o.watch("an ask", k, func() func(before, after breaker.Status) []string {
		ok = o.Breaker.Allow(k, now)
		return func(before, _ breaker.Status) []string {
			switch {
			case before.State == breaker.Open && ok:
				return append(moved(breaker.Open, breaker.HalfOpen), trigger("timeout_elapsed"),
					line("timeout_transitions_total", "transition_type=open_to_half_open", true, 1))
			case before.State == breaker.Open:
				left := before.Config.TimeoutMS - (now - before.SinceMS)
				return []string{event("fail_fast"), line("timeout_remaining_ms", "", false, float64(left))}
			case !ok:
				return []string{event("fail_fast")}
			}
			return nil
		}
	})
	return ok
}

// Success implements Breaker.
func (o *oracle) Success(k breaker.Key, now int64) {
	o.watch("a success", k, func() func(before, after breaker.Status) []string {
		o.Breaker.Success(k, now)
		return func(before, after breaker.Status) []string {
			if before.State == "" { // this success made the circuit
				return []string{event("success"), stateGauge(breaker.Closed)}
			}
			out := []string{event("success"), errorRate(after)}
			if before.State == breaker.HalfOpen && after.State == breaker.Closed {
				out = append(append(out, moved(breaker.HalfOpen, breaker.Closed)...), windowCounts(after)...)
			}
			return out
		}
	})
}

// Failure implements Breaker.
func (o *oracle) Failure(k breaker.Key, now int64) {
	o.watch("a failure", k, func() func(before, after breaker.Status) []string {
		o.Breaker.Failure(k, now)
		return o.failed
	})
}

func (o *oracle) failed(before, after breaker.Status) []string {
	out := []string{event("failure")}
	if before.State == "" { // this failure made the circuit
		out = append(out, stateGauge(breaker.Closed))
		before.State, before.Config = breaker.Closed, after.Config
	} else {
		out = append(out, errorRate(after))
	}
	switch {
	case before.State == breaker.Closed && after.State == breaker.Open:
		reason := "error_rate_threshold_exceeded"
		if int64(before.ConsecutiveFailures)+1 >= before.Config.FailureThreshold {
			reason = "failure_threshold_exceeded"
		}
		if t := before.Config.LatencyThresholdMS; t > 0 && o.latency() > t {
			reason = "latency_threshold_exceeded"
		}
		out = append(append(out, moved(breaker.Closed, breaker.Open)...), windowCounts(after)...)
		return append(out, trigger(reason), errorRate(after))
	case before.State == breaker.HalfOpen && after.State == breaker.Open:
		return append(append(out, moved(breaker.HalfOpen, breaker.Open)...), trigger("half_open_failure"))
	}
	return out
}

package breaker

const prefix = "router_circuit_breaker_"

// Label is an extra label of a metric, beside tenant and provider.
type Label struct{ Name, Value string }

// Metric is one emission: Add counts Value onto a counter, otherwise Value is
// what the series is set to.
type Metric struct {
	Name   string
	Labels []Label
	Add    bool
	Value  float64
}

// Sink receives what the router would have emitted, in order. It is called with
// the circuit's lock held and must not call back.
type Sink interface {
	Emit(Key, Metric)
}

// emitter emits for one circuit; without a sink it does nothing and allocates nothing.
type emitter struct {
	sink Sink
	key  Key
}

func (e emitter) emit(name string, add bool, v float64, labels ...Label) {
	e.sink.Emit(e.key, Metric{Name: prefix + name, Labels: append([]Label(nil), labels...), Add: add, Value: v})
}

func (e emitter) event(kind string) {
	if e.sink != nil {
		e.emit("events_total", true, 1, Label{"event_type", kind})
	}
}

func (e emitter) errorRate(r float64) {
	if e.sink != nil {
		e.emit("error_rate", false, r)
	}
}

// stateValue is what the state gauge is set to. Its HELP text says otherwise.
func stateValue(s State) float64 {
	switch s {
	case Open:
		return 1
	case HalfOpen:
		return 2
	}
	return 0
}

func (e emitter) state(s State) {
	if e.sink != nil {
		e.emit("state", false, stateValue(s), Label{"state", string(s)})
	}
}

func (e emitter) transition(from, to State) {
	if e.sink != nil {
		e.emit("state_transitions_total", true, 1, Label{"from", string(from)}, Label{"to", string(to)})
		e.state(to)
	}
}

func (e emitter) trigger(reason string) {
	if e.sink != nil {
		e.emit("trigger_reason", false, 1, Label{"reason", reason})
	}
}

func (e emitter) window(requests, failures int) {
	if e.sink != nil {
		e.emit("window_requests_total", true, float64(requests))
		e.emit("window_failures_total", true, float64(failures))
	}
}

func (e emitter) halfOpened() {
	e.transition(Open, HalfOpen)
	e.trigger("timeout_elapsed")
	if e.sink != nil {
		e.emit("timeout_transitions_total", true, 1, Label{"transition_type", "open_to_half_open"})
	}
}

func (e emitter) remaining(ms int64) {
	if e.sink != nil {
		e.emit("timeout_remaining_ms", false, float64(ms))
	}
}

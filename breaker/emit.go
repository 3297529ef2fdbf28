package breaker

const prefix = "router_circuit_breaker_"

// Label is an extra label of a metric, beside tenant and provider.
type Label struct{ Name, Value string }

// Metric is one emission: Add counts Value onto a counter, otherwise Value is
// what the series is set to. Labels are shared between emissions: a Sink may keep
// them, and must not change them.
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

// move is a transition that the router counts.
type move int

const (
	closedToOpen move = iota
	openToHalfOpen
	halfOpenToOpen
	halfOpenToClosed
	moves
)

// ends are the two ends of a move.
func (m move) ends() (from, to State) {
	switch m {
	case closedToOpen:
		return Closed, Open
	case openToHalfOpen:
		return Open, HalfOpen
	case halfOpenToOpen:
		return HalfOpen, Open
	}
	return HalfOpen, Closed
}

// reason is why a circuit moved.
type reason int

const (
	none reason = iota
	latencyExceeded
	failuresExceeded
	errorRateExceeded
	halfOpenFailure
	timeoutElapsed
	reasons
)

// String is the value of the reason label.
func (r reason) String() string {
	return [...]string{none: "", latencyExceeded: "latency_threshold_exceeded", failuresExceeded: "failure_threshold_exceeded",
		errorRateExceeded: "error_rate_threshold_exceeded", halfOpenFailure: "half_open_failure", timeoutElapsed: "timeout_elapsed"}[r]
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

// output is a registry's sink with every set of labels that is ever emitted, made
// once, so that an emission allocates nothing.
type output struct {
	sink                                Sink
	success, failure, failFast, timeout []Label
	closed, open, halfOpen              []Label
	moves                               [moves][]Label
	reasons                             [reasons][]Label
}

// newOutput returns nil where there is no sink.
func newOutput(sink Sink) *output {
	if sink == nil {
		return nil
	}
	one := func(name, value string) []Label { return []Label{{name, value}} }
	o := &output{
		sink:    sink,
		success: one("event_type", "success"), failure: one("event_type", "failure"), failFast: one("event_type", "fail_fast"),
		timeout: one("transition_type", "open_to_half_open"),
		closed:  one("state", string(Closed)), open: one("state", string(Open)), halfOpen: one("state", string(HalfOpen)),
	}
	for m := range moves {
		from, to := m.ends()
		o.moves[m] = []Label{{"from", string(from)}, {"to", string(to)}}
	}
	for r := range reasons {
		o.reasons[r] = one("reason", r.String())
	}
	return o
}

// emitter emits for one circuit; without an output it does nothing.
type emitter struct {
	out *output
	key *Key
}

func (e emitter) add(name string, labels []Label, n int) {
	e.out.sink.Emit(*e.key, Metric{Name: name, Labels: labels, Add: true, Value: float64(n)})
}

func (e emitter) set(name string, labels []Label, v float64) {
	e.out.sink.Emit(*e.key, Metric{Name: name, Labels: labels, Value: v})
}

func (e emitter) success() {
	if e.out != nil {
		e.add(prefix+"events_total", e.out.success, 1)
	}
}

func (e emitter) failure() {
	if e.out != nil {
		e.add(prefix+"events_total", e.out.failure, 1)
	}
}

func (e emitter) failFast() {
	if e.out != nil {
		e.add(prefix+"events_total", e.out.failFast, 1)
	}
}

func (e emitter) errorRate(s share) {
	if e.out != nil {
		e.set(prefix+"error_rate", nil, s.rate())
	}
}

func (e emitter) state(s State) {
	if e.out == nil {
		return
	}
	labels := e.out.closed
	switch s {
	case Open:
		labels = e.out.open
	case HalfOpen:
		labels = e.out.halfOpen
	}
	e.set(prefix+"state", labels, stateValue(s))
}

func (e emitter) transition(m move) {
	if e.out != nil {
		e.add(prefix+"state_transitions_total", e.out.moves[m], 1)
		_, to := m.ends()
		e.state(to)
	}
}

func (e emitter) trigger(r reason) {
	if e.out != nil {
		e.set(prefix+"trigger_reason", e.out.reasons[r], 1)
	}
}

func (e emitter) window(s share) {
	if e.out != nil {
		e.add(prefix+"window_requests_total", nil, s.of)
		e.add(prefix+"window_failures_total", nil, s.failures)
	}
}

func (e emitter) timeoutTransition() {
	if e.out != nil {
		e.add(prefix+"timeout_transitions_total", e.out.timeout, 1)
	}
}

func (e emitter) remaining(ms int64) {
	if e.out != nil {
		e.set(prefix+"timeout_remaining_ms", nil, float64(ms))
	}
}

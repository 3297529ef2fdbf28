package scenario

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cbops/cbops/breaker"
)

const metricPrefix = "router_circuit_breaker_"

// totals adds up what one scenario's circuit emits: the sink of its breaker. All
// counts of an observation come from here, as a router's come from its metrics
// endpoint; a breaker that counts right and tells wrong is found out. Outcomes are
// counted without a lock, because workers emit at once.
type totals struct {
	successes, failures, failFasts atomic.Int64
	errorRate                      atomic.Uint64 // bits
	seen                           atomic.Uint32 // by index in metricNames
	windowRequests, windowFailures atomic.Int64

	mu      sync.Mutex
	state   breaker.State
	path    []string
	moves   map[string]int64
	reasons []string
	// opened is the first open.
	opened Opening
	// onMove is told each transition; nil for nobody.
	onMove func(to breaker.State)
	// also receives everything; nil for nobody.
	also breaker.Sink
	// names are metricNames, which are looked up for each emission.
	names []string
}

// Opening is a circuit's first open, as its metrics tell it.
type Opening struct {
	// AtFailure is the number of the failure that opened it, counted from 1.
	AtFailure int64 `json:"atFailure"`
	// WindowRequests and WindowFailures are what the window held then.
	WindowRequests int64  `json:"windowRequests"`
	WindowFailures int64  `json:"windowFailures"`
	Reason         string `json:"reason"`
}

// maxPath bounds the transitions that are kept word by word.
const maxPath = 64

func newTotals() *totals {
	return &totals{state: breaker.Closed, moves: map[string]int64{}, names: metricNames()}
}

// Emit implements breaker.Sink.
func (t *totals) Emit(k breaker.Key, m breaker.Metric) {
	if t.also != nil {
		t.also.Emit(k, m)
	}
	name := strings.TrimPrefix(m.Name, metricPrefix)
	n := int64(m.Value)
	switch name {
	case "events_total":
		t.mark(name)
		switch label(m, "event_type") {
		case "success":
			t.successes.Add(n)
		case "failure":
			t.failures.Add(n)
		case "fail_fast":
			t.failFasts.Add(n)
		}
	case "error_rate":
		t.mark(name)
		t.errorRate.Store(math.Float64bits(m.Value))
	case "window_requests_total":
		t.mark(name)
		t.windowRequests.Add(n)
	case "window_failures_total":
		t.mark(name)
		t.windowFailures.Add(n)
		t.atFirstOpen()
	case "state_transitions_total":
		t.mark(name)
		t.move(label(m, "from"), label(m, "to"), n)
	case "trigger_reason":
		t.mark(name)
		t.reason(label(m, "reason"))
	default:
		t.mark(name)
	}
}

func (t *totals) mark(name string) {
	if i := slices.Index(t.names, name); i >= 0 && t.seen.Load()&(1<<i) == 0 {
		t.seen.Or(1 << i)
	}
}

func label(m breaker.Metric, name string) string {
	for _, l := range m.Labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func (t *totals) move(from, to string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moves[from+">"+to] += n
	if t.opened.AtFailure == 0 && from == "closed" && to == "open" {
		// The failure itself is counted after the transition that it makes.
		t.opened.AtFailure = t.failures.Load() + 1
	}
	t.state = breaker.State(to)
	if len(t.path) < maxPath {
		t.path = append(t.path, to)
	}
	if t.onMove != nil {
		t.onMove(t.state)
	}
}

func (t *totals) reason(r string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.reasons, r) {
		t.reasons = append(t.reasons, r)
	}
	if t.opened.AtFailure > 0 && t.opened.Reason == "" {
		t.opened.Reason = r
	}
}

// atFirstOpen keeps what the first open added to the window counters.
func (t *totals) atFirstOpen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened.AtFailure > 0 && t.opened.WindowRequests == 0 {
		t.opened.WindowRequests, t.opened.WindowFailures = t.windowRequests.Load(), t.windowFailures.Load()
	}
}

func (t *totals) rate() float64 { return math.Float64frombits(t.errorRate.Load()) }

// observe is what the metrics tell of the circuit.
func (t *totals) observe() Observation {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := Observation{
		"states":            {Words: slices.Clone(t.path)},
		"reasons":           {Words: slices.Clone(t.reasons)},
		"opens":             {Number: float64(t.moves["closed>open"])},
		"reopens":           {Number: float64(t.moves["half_open>open"])},
		"half_opens":        {Number: float64(t.moves["open>half_open"])},
		"closes":            {Number: float64(t.moves["half_open>closed"])},
		"opened_at_failure": {Number: float64(t.opened.AtFailure)},
		"successes":         {Number: float64(t.successes.Load())},
		"failures":          {Number: float64(t.failures.Load())},
		"fail_fasts":        {Number: float64(t.failFasts.Load())},
		"events":            {Number: float64(t.successes.Load() + t.failures.Load() + t.failFasts.Load())},
		"error_rate":        {Number: t.rate()},
		"window_requests":   {Number: float64(t.windowRequests.Load())},
		"window_failures":   {Number: float64(t.windowFailures.Load())},
	}
	var seen []string
	for i, n := range t.names {
		if t.seen.Load()&(1<<i) != 0 {
			seen = append(seen, n)
		}
	}
	o["series"] = Value{Words: seen}
	return o
}

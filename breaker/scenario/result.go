package scenario

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/breaker"
)

// Result is what one scenario showed.
type Result struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Verdict string `json:"verdict"`
	// Source is the file of a scenario that is not of the gate.
	Source string `json:"source,omitempty"`
	// Requests processed, and the last circuit's state at the end.
	Requests   int    `json:"requests"`
	FinalState string `json:"finalState"`
	// VirtualMS is how much virtual time passed; DurationMS is what the scenario
	// took by the caller's clock, 0 where that stood still. TargetMet holds it
	// against the TargetMS; nil where one of them is missing. It decides no verdict.
	VirtualMS  int64           `json:"virtualMs"`
	DurationMS float64         `json:"durationMs"`
	TargetMS   int64           `json:"targetMs,omitempty"`
	TargetMet  *bool           `json:"targetMet,omitempty"`
	Seed       uint64          `json:"seed"`
	Checks     []Check         `json:"checks"`
	Circuits   []CircuitResult `json:"circuits"`
	// Deviations are where the router is known to differ from what the guide says.
	Deviations []string `json:"deviations"`
	// Tells are what the config does, in words.
	Tells []string `json:"tells"`
	// Skipped is what of the scenario was not run, and why.
	Skipped []Skip `json:"skipped"`
}

// Skip is a circuit, or some expectations of one, that was left out.
type Skip struct {
	Circuit string `json:"circuit,omitempty"`
	Why     string `json:"why"`
}

// CircuitResult is what one circuit showed.
type CircuitResult struct {
	Name     string `json:"name"`
	Config   Config `json:"config"`
	Requests int    `json:"requests"`
	// Counted is nil where it depends on the order in which goroutines came.
	Counted *Counts `json:"counted,omitempty"`
	// FinalState is the state at the end, "" where it depends on that order or the
	// requests were spread over several circuits.
	FinalState string    `json:"finalState,omitempty"`
	Opened     *Opening  `json:"opened,omitempty"`
	VirtualMS  int64     `json:"virtualMs"`
	Timeline   *Timeline `json:"timeline,omitempty"`
}

// Counts are what the metrics counted, and the window at the end.
type Counts struct {
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
	FailFasts int64 `json:"failFasts"`
	// ErrorRate is the one last stored.
	ErrorRate float64 `json:"errorRate"`
	// Held is how many outcomes the window holds; nil where that cannot be seen.
	Held *int64 `json:"held,omitempty"`
}

// Config is a breaker's config as a policy writes it.
type Config struct {
	FailureThreshold   int64   `json:"failure_threshold"`
	SuccessThreshold   int64   `json:"success_threshold"`
	TimeoutMS          int64   `json:"timeout_ms"`
	HalfOpenMaxCalls   int64   `json:"half_open_max_calls"`
	ErrorRateThreshold float64 `json:"error_rate_threshold"`
	WindowSeconds      int64   `json:"error_rate_window_seconds"`
	LatencyThresholdMS int64   `json:"latency_threshold_ms,omitempty"`
}

// NewResult begins the result of a scenario.
func NewResult(s Scenario, seed uint64) Result {
	return Result{Name: s.Name, Title: s.Title, Source: s.Path, TargetMS: s.Target.Milliseconds(), Seed: seed, Checks: []Check{},
		Circuits: []CircuitResult{}, Deviations: append([]string{}, s.Deviations...), Tells: []string{}, Skipped: []Skip{}}
}

// Add adds what a circuit showed.
func (r *Result) Add(c CircuitResult, checks []Check) {
	r.Checks = append(r.Checks, checks...)
	if c.Opened != nil {
		r.Tells = append(r.Tells, c.tell())
	}
	r.Circuits = append(r.Circuits, c)
	r.Requests += c.Requests
	r.VirtualMS += c.VirtualMS
	r.FinalState = c.FinalState
}

// Finish ends the result: how long it took, and its verdict.
func (r *Result) Finish(d time.Duration) {
	r.DurationMS = float64(d.Microseconds()) / 1000
	if met := d < time.Duration(r.TargetMS)*time.Millisecond; r.TargetMS > 0 && d > 0 {
		r.TargetMet = &met
	}
	r.Verdict = r.worst()
}

// worst is the verdict of all checks; nothing judged is no pass.
func (r *Result) worst() string {
	has := func(v string) bool {
		return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Verdict == v })
	}
	switch {
	case has(Fail):
		return Fail
	case has(Inconclusive):
		return Inconclusive
	case has(Pass):
		return Pass
	case has(Reports):
		return Reports
	}
	return Inconclusive
}

func (w *world) result(c Circuit) (CircuitResult, []Check) {
	o := w.totals.observe()
	res := CircuitResult{Name: c.Name, Config: Config(c.Config), Requests: w.requests, VirtualMS: w.now - start}
	if c.Unconfigured {
		res.Config = Config(breaker.DefaultConfig())
	}
	w.line.End(w.now - start)
	res.Timeline = &w.line
	if w.unordered && w.ctx.Err() == nil {
		// Only what was expected is certain.
		res.FinalState = w.stateExpected
	}
	if w.unordered {
		return res, w.checks
	}
	counted := Counts{Successes: int64(o["successes"].Number), Failures: int64(o["failures"].Number), FailFasts: int64(o["fail_fasts"].Number),
		ErrorRate: math.Round(o["error_rate"].Number*1e6) / 1e6}
	if s, ok := w.b.Status(key(0)); ok && w.spread == 1 {
		held := int64(s.Window)
		res.FinalState, counted.Held = string(s.State), &held
	}
	res.Counted = &counted
	if w.totals.opened.AtFailure > 0 {
		first := w.totals.opened
		res.Opened = &first
	}
	return res, w.checks
}

// tell says at which failure the circuit opened, and why.
func (c CircuitResult) tell() string {
	o := c.Opened
	text := fmt.Sprintf("opened at failure %d: %s, %d of %d outcomes in the window had failed", o.AtFailure, o.Reason, o.WindowFailures, o.WindowRequests)
	if o.WindowRequests == 1 {
		text += " (the window was empty before)"
	}
	if c.Name != "" {
		text = c.Name + ": " + text
	}
	return text
}

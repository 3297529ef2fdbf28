// Package scenario runs the guide's four load tests (ROUTER.md §6) against a
// breaker: in virtual time, so that they take milliseconds, and the fourth with
// goroutines too. Each scenario is a list of expectations with actual values. It
// prints nothing, and it reads no clock.
package scenario

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cbops/cbops/breaker"
)

// Breaker is what a scenario drives; *breaker.Registry is one.
type Breaker interface {
	Configure(k breaker.Key, c breaker.Config, nowMS int64)
	Allow(k breaker.Key, nowMS int64) bool
	Success(k breaker.Key, nowMS int64)
	Failure(k breaker.Key, nowMS int64)
	Status(k breaker.Key) (breaker.Status, bool)
}

// Check is one expectation with what was seen.
type Check struct {
	Text     string `json:"text"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
	OK       bool   `json:"ok"`
}

// Result is what one scenario showed.
type Result struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Verdict string `json:"verdict"` // "pass" or "fail"
	// Requests processed, and the state at the end.
	Requests   int    `json:"requests"`
	FinalState string `json:"finalState"`
	// VirtualMS is how much virtual time passed, TargetMS the guide's target.
	VirtualMS int64   `json:"virtualMs"`
	TargetMS  int64   `json:"targetMs"`
	Checks    []Check `json:"checks"`
	// Deviations are where the router is known to differ from what the guide says.
	Deviations []string `json:"deviations"`
}

// Scenario is one of the guide's load tests.
type Scenario struct {
	Name, Title string
	TargetMS    int64
	run         func(*run)
}

// All returns the four scenarios in the guide's order.
func All() []Scenario {
	return []Scenario{
		{"error-spike", "error spike opens the circuit", 1000, errorSpike},
		{"normalization", "traffic normalization closes the circuit", 5000, normalization},
		{"window-sizes", "different window sizes", 10000, windowSizes},
		{"concurrent-load", "concurrent requests under load", 5000, concurrent},
	}
}

// Run runs a scenario. open makes a new breaker without circuits.
func (s Scenario) Run(open func() Breaker) Result {
	r := &run{open: open, start: 1_000_000_000, res: Result{Name: s.Name, Title: s.Title, TargetMS: s.TargetMS,
		Checks: []Check{}, Deviations: []string{}}}
	r.now = r.start
	r.fresh(breaker.PolicyDefaults())
	s.run(r)
	r.res.VirtualMS = r.now - r.start
	r.check(fmt.Sprintf("takes less than %d ms", s.TargetMS), "true", fmt.Sprint(r.res.VirtualMS < s.TargetMS))
	r.res.FinalState = r.state()
	r.res.Verdict = "pass"
	if slices.ContainsFunc(r.res.Checks, func(c Check) bool { return !c.OK }) {
		r.res.Verdict = "fail"
	}
	return r.res
}

// run is a scenario under way.
type run struct {
	open       func() Breaker
	b          Breaker
	start, now int64
	res        Result
}

func key() breaker.Key { return breaker.Key{Tenant: "load-test", Provider: "provider"} }

// common are the settings of ROUTER.md §6.
func common(threshold int64) breaker.Config {
	c := breaker.PolicyDefaults()
	c.FailureThreshold, c.ErrorRateThreshold, c.SuccessThreshold = threshold, 0.5, 2
	c.WindowSeconds, c.TimeoutMS = 60, 30_000
	return c
}

func (r *run) fresh(c breaker.Config) {
	r.b = r.open()
	r.b.Configure(key(), c, r.now)
}

func (r *run) wait(ms int64) { r.now += ms }

func (r *run) record(success bool) {
	r.res.Requests++
	if success {
		r.b.Success(key(), r.now)
	} else {
		r.b.Failure(key(), r.now)
	}
}

func (r *run) status() breaker.Status {
	s, _ := r.b.Status(key())
	return s
}

func (r *run) state() string { return string(r.status().State) }

func (r *run) check(text, expected, actual string) {
	r.res.Checks = append(r.res.Checks, Check{text, expected, actual, expected == actual})
}

func errorSpike(r *run) {
	r.fresh(common(5))
	opened := 0
	for i := 1; i <= 10; i++ {
		r.record(false)
		if opened == 0 && r.state() == "open" {
			opened = i
		}
		r.wait(10)
	}
	r.check("ends open", "open", r.state())
	r.check("should_allow denies", "false", fmt.Sprint(r.b.Allow(key(), r.now)))
	r.check("opened at failure", "1", fmt.Sprint(opened))
	r.res.Deviations = append(r.res.Deviations,
		"the guide expects an open after 5 failures; the router has no minimum volume, so failure 1 on an empty window (100 %) opens it")
	// With enough successes in the window failure_threshold is what counts.
	r.fresh(common(5))
	for range 20 {
		r.record(true)
	}
	opened = 0
	for i := 1; i <= 10 && opened == 0; i++ {
		r.record(false)
		if r.state() == "open" {
			opened = i
		}
	}
	r.check("with 20 successes in the window, opened at failure", "5", fmt.Sprint(opened))
}

func normalization(r *run) {
	c := common(3)
	c.TimeoutMS = 2000
	r.fresh(c)
	states := []string{}
	see := func() {
		if s := r.state(); len(states) == 0 || states[len(states)-1] != s {
			states = append(states, s)
		}
	}
	for range 5 {
		r.record(false)
	}
	see()
	r.check("before the timeout should_allow denies", "false", fmt.Sprint(r.b.Allow(key(), r.now+1999)))
	r.wait(2100)
	r.check("after the timeout should_allow admits a probe", "true", fmt.Sprint(r.b.Allow(key(), r.now)))
	see()
	for range 3 {
		r.record(true)
		see()
	}
	r.check("states in order", "open, half_open, closed", strings.Join(states, ", "))
	r.check("should_allow admits again", "true", fmt.Sprint(r.b.Allow(key(), r.now)))
}

func windowSizes(r *run) {
	for _, w := range []int64{30, 60, 120} {
		c := common(10)
		c.WindowSeconds = w
		// The rate trigger is reached by the first failure: watch the window itself.
		c.ErrorRateThreshold = 1.01
		begin := r.now
		r.fresh(c)
		for i := range 50 {
			r.record(i%2 == 1)
			r.wait(100)
		}
		s := r.status()
		r.check(fmt.Sprintf("window %d s: error rate", w), "0.50", fmt.Sprintf("%.2f", s.ErrorRate))
		r.check(fmt.Sprintf("window %d s: events held", w), "50", fmt.Sprint(s.Window))
		// Asking trims: at exactly the window's length the first event is still in.
		r.b.Allow(key(), begin+w*1000)
		r.check(fmt.Sprintf("window %d s: held after %d ms", w, w*1000), "50", fmt.Sprint(r.status().Window))
		r.b.Allow(key(), begin+w*1000+1)
		r.check(fmt.Sprintf("window %d s: held after %d ms", w, w*1000+1), "49", fmt.Sprint(r.status().Window))
		r.now = begin + 3000 // the three windows share the target, each with its own clock
	}
	r.res.Deviations = append(r.res.Deviations,
		"run with error_rate_threshold 1.01: at the guide's 0.5 the first failure opens the circuit and there is no window to watch")
}

const workers, perWorker = 20, 10

func concurrent(r *run) {
	c := common(10)
	c.ErrorRateThreshold = 1.01
	r.fresh(c)
	var wg sync.WaitGroup
	now := r.now
	for w := range workers {
		wg.Go(func() {
			for i := range perWorker {
				r.b.Allow(key(), now)
				if (w+i)%3 == 0 {
					r.b.Success(key(), now)
				} else {
					r.b.Failure(key(), now)
				}
			}
		})
	}
	wg.Wait()
	r.res.Requests += workers * perWorker
	r.wait(100)
	s := r.status()
	r.check("requests counted", "200", fmt.Sprint(s.Window))
	valid := slices.Contains([]breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen}, s.State)
	r.check("valid state", "true", fmt.Sprint(valid))
	want := 0.0
	for w := range workers {
		for i := range perWorker {
			if (w+i)%3 != 0 {
				want++
			}
		}
	}
	r.check("error rate", fmt.Sprintf("%.3f", want/(workers*perWorker)), fmt.Sprintf("%.3f", s.ErrorRate))
}

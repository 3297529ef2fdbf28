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
	"time"

	"github.com/cbops/cbops/breaker"
)

// Breaker is what a scenario drives; *breaker.Registry is one.
type Breaker interface {
	Configure(k breaker.Key, c breaker.Config, nowMS int64)
	Allow(k breaker.Key, nowMS int64) bool
	Success(k breaker.Key, nowMS int64)
	Failure(k breaker.Key, nowMS int64)
	Status(k breaker.Key) (breaker.Status, bool)
	ForEach(f func(breaker.Key, breaker.Status))
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
	// VirtualMS is how much virtual time passed; DurationMS is what the scenario
	// took by the caller's clock, and TargetMet holds it against the guide's
	// TargetMS. It decides no verdict: a slow machine is no broken breaker.
	VirtualMS  int64   `json:"virtualMs"`
	DurationMS float64 `json:"durationMs"`
	TargetMS   int64   `json:"targetMs"`
	TargetMet  bool    `json:"targetMet"`
	Checks     []Check `json:"checks"`
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

// Run runs a scenario. open makes a new breaker without circuits; now is the
// clock that its duration is measured with.
func (s Scenario) Run(open func() Breaker, now func() time.Time) Result {
	began := now()
	r := &run{open: open, start: 1_000_000_000, res: Result{Name: s.Name, Title: s.Title, TargetMS: s.TargetMS,
		Checks: []Check{}, Deviations: []string{}}}
	r.now = r.start
	r.fresh(breaker.PolicyDefaults())
	s.run(r)
	r.res.VirtualMS = r.now - r.start
	took := now().Sub(began)
	r.res.DurationMS = float64(took.Microseconds()) / 1000
	r.res.TargetMet = took < time.Duration(s.TargetMS)*time.Millisecond
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
	}
	r.res.Deviations = append(r.res.Deviations,
		"the first failure opens the circuit; the window goes on counting while it is open")
}

const workers, perWorker = 20, 10

// concurrent runs the same requests one after the other in virtual time, and then
// from goroutines, where the order is the scheduler's and only counts are certain.
func concurrent(r *run) {
	r.fresh(common(10))
	for i := range perWorker {
		for w := range workers {
			r.b.Allow(key(), r.now)
			r.record((w+i)%3 == 0)
		}
		r.wait(10)
	}
	r.counted("in virtual time")
	r.fresh(common(10))
	now := r.now
	var wg sync.WaitGroup
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
	r.counted("with 20 goroutines")
}

// counted checks what must hold whatever the order.
func (r *run) counted(how string) {
	s := r.status()
	r.check(how+", requests counted", "200", fmt.Sprint(s.Window))
	// A window of which most failed cannot have left the circuit closed.
	r.check(how+", state", "open", string(s.State))
	successes := 0
	for w := range workers {
		for i := range perWorker {
			if (w+i)%3 == 0 {
				successes++
			}
		}
	}
	r.check(how+", error rate", fmt.Sprintf("%.3f", 1-float64(successes)/(workers*perWorker)), fmt.Sprintf("%.3f", s.ErrorRate))
	circuits := 0
	r.b.ForEach(func(breaker.Key, breaker.Status) { circuits++ })
	r.check(how+", circuits", "1", fmt.Sprint(circuits))
}

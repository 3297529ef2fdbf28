package scenario

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/breaker"
)

// errorSpike is scenario 1: an error spike opens the circuit.
func errorSpike(p Params) Scenario {
	c := p.config(5, 0)
	n := failuresToOpen(c)
	every := 10 * time.Millisecond
	if time.Duration(n)*every >= timeout(c) {
		every = 0 // it must still be open when it is asked
	}
	first, why := openingFailure(c, 0, n)
	later, whyLater := openingFailure(c, 20, n)
	return Scenario{
		Name: "error-spike", Title: "error spike opens the circuit", Target: time.Second,
		Circuits: []Circuit{
			{Name: "empty window", Config: c, Steps: []Step{
				fail(n).each(every),
				ask(1),
				expect(isState(breaker.Open).named("ends open"), Is("asks", "denied").named("should_allow denies"),
					Equals("opened_at_failure", float64(first)).insteadOf(fmt.Sprint(c.FailureThreshold)), Is("reasons", reasonWords(why)...).named("because")),
			}},
			{Name: "20 successes in the window", Config: c, Steps: []Step{
				succeed(20), fail(n),
				expect(isState(breaker.Open).named("ends open"), Equals("opened_at_failure", float64(later)), Is("reasons", reasonWords(whyLater)...).named("because")),
			}},
		},
		Deviations: []string{
			"the guide expects an open after failure_threshold failures; the router has no minimum volume, so one failure in an empty window is 100 % and opens at any error_rate_threshold up to 1.0",
		},
	}
}

func reasonWords(r string) []string {
	if r == "" {
		return nil
	}
	return []string{r}
}

// normalization is scenario 2: normal traffic closes the circuit. The guide's form
// records the successes without asking; the second form is what a router does,
// where each probe asks first, and alone shows a config that can never close.
func normalization(p Params) Scenario {
	c := p.config(3, 2000)
	closes := []Expectation{Is("states", "open", "half_open", "closed"), isState(breaker.Closed).named("ends closed")}
	const apart = 100 * time.Millisecond // of the probes
	var circuits []Circuit
	if !p.own() {
		circuits = append(circuits, Circuit{Name: "as in the guide", Config: c, Steps: []Step{
			fail(5),
			wait(timeout(c) - p.early(timeout(c))), ask(1), expect(Is("asks", "denied").named("before the timeout should_allow denies")),
			wait(p.early(timeout(c)) + 100*time.Millisecond + p.slack()), ask(1), expect(Is("asks", "allowed").named("after 2100 ms should_allow admits")),
			succeed(3).each(apart), expect(closes...),
			ask(1), expect(Is("asks", "allowed").named("should_allow admits again")),
		}})
	}
	steps := []Step{fail(failuresToOpen(c))}
	if early := p.early(timeout(c)); c.TimeoutMS > 0 {
		steps = append(steps, wait(timeout(c)-early), ask(1),
			expect(Is("asks", "denied").named(fmt.Sprintf("%s before the timeout should_allow denies", early))), wait(early+p.slack()))
	}
	steps = append(steps, requests(successesToClose(c), Success).each(apart), expect(closes...),
		fail(1), expect(Reported("state", "after one more failure")))
	circuits = append(circuits, Circuit{Name: "each probe asks", Config: c, Steps: steps})
	return Scenario{
		Name: "normalization", Title: "traffic normalization closes the circuit", Target: 5 * time.Second, Circuits: circuits,
		Deviations: []string{
			"the guide takes a closed circuit for a fresh one; the router keeps the window when it closes, so a failure or two right after may open it again",
		},
	}
}

// windowSizes is scenario 3: windows of different lengths, or the own one.
func windowSizes(p Params) Scenario {
	windows := []int64{30, 60, 120}
	if p.own() {
		windows = []int64{p.Config.WindowSeconds}
	}
	s := Scenario{Name: "window-sizes", Title: "different window sizes", Target: 10 * time.Second,
		Deviations: []string{"the guide takes the window for that of a closed circuit; the first failure opens it, and the router goes on counting while it is open"}}
	for _, sec := range windows {
		c := p.config(10, 0)
		c.WindowSeconds = sec
		window := windowOf(c)
		const n = 50
		every := 100 * time.Millisecond
		if window < n*every {
			every = window / n
		}
		steps := []Step{Send{Verb: Record, Count: n, Every: every, Outcomes: []Outcome{Failure, Success}},
			expect(Equals("error_rate", 0.5), Equals("held", n))}
		// Asking trims. It is n×every after the first event, and every after the last.
		retained := window - n*every
		steps = append(steps, wait(retained), ask(1), expect(Equals("held", n).named(fmt.Sprintf("held %s after the first", window))),
			wait(time.Millisecond), ask(1), expect(Equals("held", n-1).named(fmt.Sprintf("held %s after the first", window+time.Millisecond))))
		s.Circuits = append(s.Circuits, Circuit{Name: fmt.Sprintf("window %d s", sec), Config: c, Steps: steps})
	}
	return s
}

// mixed are the outcomes of scenario 4: a success when worker + request is a
// multiple of 3.
func mixed() []Outcome { return []Outcome{Success, Failure, Failure} }

// concurrentLoad is scenario 4: in turns in virtual time, and from goroutines,
// where the order is the scheduler's and only counts are certain.
func concurrentLoad(p Params) Scenario {
	const workers, n = 20, 200
	c := p.config(10, 0)
	load := Send{Count: n, Workers: workers, Outcomes: mixed()}
	at := func(v Verb, parallel bool) Send {
		s := load
		s.Verb, s.Parallel = v, parallel
		return s
	}
	asked := []Expectation{Equals("events", n).named("requests counted"), Equals("circuits", 1)}
	if !p.own() {
		asked = append(asked, AtLeast("fail_fasts", 1).named("denied once it is open"))
	}
	recorded := append([]Expectation{Equals("events", n).named("requests counted"), Equals("held", n),
		Equals("error_rate", failureShare(load)), Equals("circuits", 1)}, endsOpen(c, load)...)
	return Scenario{
		Name: "concurrent-load", Title: "concurrent requests under load", Target: 5 * time.Second,
		Circuits: []Circuit{
			{Name: "20 workers in turns", Config: c, Steps: []Step{at(Record, false), expect(recorded...)}},
			{Name: "20 goroutines", Config: c, Steps: []Step{at(Record, true), expect(recorded...)}},
			{Name: "20 goroutines that ask", Config: c, Steps: []Step{at(Requests, true),
				expect(append(asked, endsOpen(c, load)...)...)}},
		},
	}
}

// failureShare is the share of a step's requests that fail.
func failureShare(s Send) float64 {
	failures := 0
	for i := range s.Count {
		if f, _ := s.Outcome(i).Failed(); f {
			failures++
		}
	}
	return float64(failures) / float64(s.Count)
}

// endsOpen expects open where it is certain whatever the order: at the last
// failure the rate is at least that of the whole.
func endsOpen(c breaker.Config, load Send) []Expectation {
	if failureShare(load) >= c.ErrorRateThreshold {
		return []Expectation{isState(breaker.Open).named("ends open")}
	}
	return nil
}

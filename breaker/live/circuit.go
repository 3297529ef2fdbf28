package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

// maxDrawn bounds what one look adds to the picture.
const maxDrawn = 100_000

// maxInFlight bounds the requests of a circuit whose answer is not there yet.
const maxInFlight = 256

// circuit is one circuit being driven.
type circuit struct {
	*driver
	part
	checks   []scenario.Check
	began    time.Time
	requests int
	lost     int // of its requests, without an answer
	line     scenario.Timeline
	last     totals
	// asked are the requests that asked in the last step that did, deniedBefore the
	// fail-fasts before it.
	asked        int
	deniedBefore float64

	mu     sync.Mutex
	err    error
	flight sync.WaitGroup
	slots  chan struct{}
}

func (c *circuit) run(ctx context.Context) error {
	c.began, c.slots = c.Now(), make(chan struct{}, maxInFlight)
	defer c.flight.Wait()
	if err := c.look(ctx); err != nil {
		return err
	}
	if len(c.last.series) > 0 {
		c.inconclusive("is new", fmt.Sprintf("the router has %d metrics of provider %s already", len(c.last.series), c.provider))
		return nil
	}
	for i, s := range c.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		switch s := s.(type) {
		case scenario.Send:
			err = c.send1(ctx, s, i)
			if err == nil && c.Watch {
				err = c.look(ctx)
			}
		case scenario.Wait:
			err = c.wait(ctx, s.For)
		case scenario.Expect:
			err = c.expect(ctx, s)
		}
		if errors.Is(err, errOver) {
			c.inconclusive("ends in time", err.Error())
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wait lets time pass, and watches where that is wanted. The waits of a scenario
// are exact; looking takes time of theirs, not more.
func (c *circuit) wait(ctx context.Context, d time.Duration) error {
	const every = 250 * time.Millisecond
	end := c.Now().Add(d)
	for c.Watch && end.Sub(c.Now()) > 2*every {
		if err := c.Sleep(ctx, every); err != nil {
			return err
		}
		if err := c.look(ctx); err != nil {
			return err
		}
	}
	return c.Sleep(ctx, end.Sub(c.Now()))
}

// errOver ends a circuit, and not the run.
var errOver = errors.New("the time limit came first")

// inconclusive adds a check that could not be made.
func (c *circuit) inconclusive(text, why string) {
	c.checks = append(c.checks, scenario.Check{Circuit: c.name, Text: text, Expected: "yes", Actual: why, Verdict: scenario.Inconclusive})
}

// at is the time since the circuit began, ms.
func (c *circuit) at() int64 { return c.Now().Sub(c.began).Milliseconds() }

// send1 sends the requests of a step: in turns, or at once from its workers.
func (c *circuit) send1(ctx context.Context, s scenario.Send, step int) error {
	if s.Verb != scenario.Record {
		c.asked, c.deniedBefore = s.Count, 0
		if step > 0 { // before the first step nothing was denied
			if err := c.look(ctx); err != nil {
				return err
			}
			c.deniedBefore = c.last.failFasts()
		}
	}
	if workers := max(s.Workers, 1); workers > 1 {
		return c.workers(ctx, s, workers)
	}
	next := c.Now()
	for i := range s.Count {
		if err := c.request(ctx, s, i); err != nil {
			return err
		}
		next = next.Add(s.Every)
		if d := next.Sub(c.Now()); d > time.Millisecond {
			if err := c.Sleep(ctx, d); err != nil {
				return err
			}
		}
	}
	return c.trouble()
}

func (c *circuit) workers(ctx context.Context, s scenario.Send, workers int) error {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < s.Count && ctx.Err() == nil; i += workers {
				if err := c.request(ctx, s, i); err != nil {
					c.note(err)
					return
				}
				if s.Every > 0 && c.Sleep(ctx, s.Every) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return c.trouble()
}

// request sends the i-th request of a step. One whose outcome takes time does not
// hold up the next.
func (c *circuit) request(ctx context.Context, s scenario.Send, i int) error {
	o := scenario.Success
	if len(s.Outcomes) > 0 {
		o = s.Outcome(i)
	} else if share := s.FailureShare; float64(i+1)*share-float64(int(float64(i)*share)) >= 1 {
		o = scenario.Failure // evenly, in place of at random
	}
	if c.left() <= 0 {
		return errOver
	}
	latency := s.Delay(o)
	c.mu.Lock()
	c.requests++
	c.mu.Unlock()
	do := func() error {
		ok, err := c.send(ctx, c.part, s.Verb != scenario.Record, o, latency)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !ok && err == nil {
			c.lost++
		}
		if _, counted := o.Failed(); !counted || !ok {
			c.line.Add(c.at(), scenario.Unanswered)
		}
		return err
	}
	if latency == 0 {
		return do()
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.flight.Go(func() {
		defer func() { <-c.slots }()
		if err := do(); err != nil {
			c.note(err)
		}
	})
	return nil
}

func (c *circuit) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *circuit) trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// look reads the metrics of this circuit.
func (c *circuit) look(ctx context.Context) error {
	e, err := c.scrape(ctx)
	if err != nil {
		return err
	}
	before := c.last
	c.last = e.of(c.tenant, c.provider)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.at()
	// The picture is the endpoint's too: what it has counted since the last look.
	for _, lane := range []struct {
		event string
		d     scenario.Decision
	}{{"success", scenario.Succeeded}, {"failure", scenario.Failed}, {"fail_fast", scenario.Denied}} {
		key := "events_total," + lane.event
		for range min(int(c.last.get(key)-before.get(key)), maxDrawn) {
			c.line.Add(now, lane.d)
		}
	}
	if s := c.last.observe()["state"].Words; len(s) == 1 {
		if old := before.observe()["state"].Words; len(old) == 0 || old[0] != s[0] {
			c.line.Move(now, breaker.State(s[0]))
		}
	}
	c.line.Rate(now, c.last.get("error_rate"))
	return nil
}

// expect judges from the metrics, once every answer is there.
func (c *circuit) expect(ctx context.Context, s scenario.Expect) error {
	c.flight.Wait()
	if err := c.trouble(); err != nil {
		return err
	}
	if err := c.look(ctx); err != nil {
		return err
	}
	o := c.last.observe()
	if c.asked > 0 {
		word := "mixed"
		switch denied := c.last.failFasts() - c.deniedBefore; {
		case denied == 0:
			word = "allowed"
		case denied == float64(c.asked):
			word = "denied"
		}
		o["asks"] = scenario.Value{Words: []string{word}}
	}
	for _, e := range s.Expectations {
		check := e.Judge(o)
		check.Circuit = c.name
		switch {
		case c.lost > 0:
			check.Verdict, check.Actual = scenario.Inconclusive, fmt.Sprintf("%s; %d of %d requests got no answer", check.Actual, c.lost, c.requests)
		case len(c.last.series) == 0 && !e.Report:
			check.Verdict, check.Actual = scenario.Inconclusive, "the router shows no metric of this circuit"
		}
		c.checks = append(c.checks, check)
	}
	return nil
}

// result is what the circuit showed.
func (c *circuit) result() scenario.CircuitResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.last.observe()
	res := scenario.CircuitResult{Name: c.name, Config: scenario.Config(c.config), Requests: c.requests, VirtualMS: c.at(), Timeline: &c.line}
	res.Counted = &scenario.Counts{Successes: int64(o["successes"].Number), Failures: int64(o["failures"].Number),
		FailFasts: int64(o["fail_fasts"].Number), ErrorRate: o["error_rate"].Number}
	if s := o["state"].Words; len(s) == 1 {
		res.FinalState = s[0]
	}
	if at, ok := o["opened_at_failure"]; ok && at.Number > 0 {
		res.Opened = &scenario.Opening{AtFailure: int64(at.Number), WindowRequests: int64(o["window_requests"].Number),
			WindowFailures: int64(o["window_failures"].Number), Reason: first(c.last.reasons(), "timeout_elapsed", "half_open_failure")}
	}
	c.line.End(c.at())
	return res
}

// first is the first word that is none of the others.
func first(words []string, but ...string) string {
	for _, w := range words {
		other := false
		for _, b := range but {
			other = other || w == b
		}
		if !other {
			return w
		}
	}
	return ""
}

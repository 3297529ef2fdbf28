package scenario

import (
	"container/heap"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cbops/cbops/breaker"
)

// Breaker is what a scenario is run on; *breaker.Registry is one.
type Breaker interface {
	Configure(k breaker.Key, c breaker.Config, nowMS int64)
	Allow(k breaker.Key, nowMS int64) bool
	Success(k breaker.Key, nowMS int64)
	Failure(k breaker.Key, nowMS int64)
	Status(k breaker.Key) (breaker.Status, bool)
	ForEach(f func(breaker.Key, breaker.Status))
}

// Opener makes a breaker without circuits, which emits to sink and compares the
// latency trigger with what latency returns (ms).
type Opener func(sink breaker.Sink, latency func() int64) Breaker

// Twin opens the exact twin of the router's breaker.
func Twin(sink breaker.Sink, latency func() int64) Breaker {
	return breaker.NewRegistry(breaker.Options{Sink: sink, Latency: latency})
}

// Options of a run.
type Options struct {
	// Open makes the breaker; nil is Twin.
	Open Opener
	// Now is the clock that durations are measured with.
	Now func() time.Time
	// Seed decides every random choice.
	Seed uint64
}

// Run runs the scenario in virtual time. Where ctx ends first, the result holds
// what was seen until then, and its verdict is Interrupted.
func (s Scenario) Run(ctx context.Context, o Options) Result {
	if o.Open == nil {
		o.Open = Twin
	}
	began := o.Now()
	res := NewResult(s, o.Seed)
	for i, c := range s.Circuits {
		w := newWorld(ctx, s, i, o)
		w.play(c)
		res.Add(w.result(c))
	}
	res.Finish(o.Now().Sub(began))
	if ctx.Err() != nil {
		res.Verdict = Interrupted
	}
	return res
}

// start is the virtual time at which each circuit begins, ms.
const start = 1_000_000_000

// world is one circuit of a scenario under its virtual clock.
type world struct {
	ctx     context.Context
	b       Breaker
	totals  *totals
	oracle  *oracle
	rng     *rand.Rand
	now     int64
	latency int64
	pending answers
	spread  int
	keys    []breaker.Key // of the spread
	checks  []Check
	line    Timeline
	// requests counts all of them; asked and denied those of the last step that
	// asked.
	requests, asked, denied int
	// unordered: goroutines were at work, so what is not expected is not certain;
	// stateExpected is the last state that an expectation was right about.
	unordered     bool
	stateExpected string
}

// answer is an outcome that is not known yet.
type answer struct {
	due    int64
	seq    int // of the request, from 1 on
	key    breaker.Key
	failed bool
}

// answers is a heap by due time; of two at the same time the one that was asked
// for first comes first.
type answers []answer

func (a answers) Len() int { return len(a) }
func (a answers) Less(i, j int) bool {
	return a[i].due < a[j].due || a[i].due == a[j].due && a[i].seq < a[j].seq
}
func (a answers) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *answers) Push(x any)   { *a = append(*a, x.(answer)) }
func (a *answers) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func newWorld(ctx context.Context, s Scenario, circuit int, o Options) *world {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", s.Name, circuit) // a hash never fails
	w := &world{ctx: ctx, totals: newTotals(), rng: rand.New(rand.NewPCG(o.Seed, h.Sum64())), now: start, spread: 1}
	w.totals.onMove = func(to breaker.State) { w.line.Move(w.now-start, to) }
	var sink breaker.Sink = w.totals
	if slices.ContainsFunc(s.Circuits[circuit].expectations(), func(e Expectation) bool { return e.Measure == "metrics" }) {
		w.oracle = &oracle{next: w.totals}
		sink = w.oracle
	}
	w.b = o.Open(sink, func() int64 { return w.latency })
	if w.oracle != nil {
		w.oracle.Breaker, w.oracle.latency = w.b, func() int64 { return w.latency }
		w.b = w.oracle
	}
	return w
}

func (c Circuit) expectations() []Expectation {
	return Scenario{Circuits: []Circuit{c}}.Expectations()
}

func key(i int) breaker.Key {
	if i == 0 {
		return breaker.Key{Tenant: "load-test", Provider: "provider"}
	}
	return breaker.Key{Tenant: "load-test", Provider: fmt.Sprintf("provider-%d", i)}
}

func (w *world) play(c Circuit) {
	for _, s := range c.Steps {
		switch s := s.(type) {
		case Send:
			w.spread = max(w.spread, s.Spread)
		case Traffic:
			w.spread = max(w.spread, s.Spread)
		}
	}
	for i := range w.spread {
		w.keys = append(w.keys, key(i))
	}
	if !c.Unconfigured {
		w.configure(c.Config)
	}
	for _, s := range c.Steps {
		if w.ctx.Err() != nil {
			return
		}
		switch s := s.(type) {
		case Send:
			w.send(s)
		case Wait:
			w.wait(s.For.Milliseconds())
		case Configure:
			w.configure(s.Config)
		case Publish:
			w.latency = s.Latency.Milliseconds()
		case Traffic:
			w.traffic(s)
		case Expect:
			o := w.observe()
			for _, e := range s.Expectations {
				check := e.Judge(o)
				check.Circuit = c.Name
				if e.Measure == "state" && check.Verdict == Pass && len(e.Words) == 1 {
					w.stateExpected = check.Actual
				}
				if w.unordered {
					check = e.whateverTheOrder(check)
				}
				w.checks = append(w.checks, check)
			}
		}
	}
}

func (w *world) configure(c breaker.Config) {
	for _, k := range w.keys {
		w.b.Configure(k, c, w.now)
	}
}

// stopped looks at the context, not at every request.
func (w *world) stopped(i int) bool { return i%1024 == 0 && w.ctx.Err() != nil }

func (w *world) send(s Send) {
	if s.Verb != Record {
		w.asked, w.denied = 0, 0
	}
	workers := max(s.Workers, 1)
	if s.Parallel {
		w.parallel(s, workers)
		return
	}
	for i := range s.Count {
		if w.stopped(i) {
			return
		}
		worker := i % workers
		w.request(s, w.keys[worker%max(s.Spread, 1)], w.outcome(s, i))
		if worker == workers-1 {
			w.wait(s.Every.Milliseconds())
		}
	}
}

func (w *world) outcome(s Send, i int) Outcome {
	if len(s.Outcomes) > 0 {
		return s.Outcome(i)
	}
	if w.rng.Float64() < s.FailureShare {
		return Failure
	}
	return Success
}

// request takes one request to the breaker.
func (w *world) request(s Send, k breaker.Key, o Outcome) {
	w.requests++
	if s.Verb != Record {
		w.asked++
		if !w.b.Allow(k, w.now) {
			w.denied++
			w.line.Add(w.now-start, Denied)
			return
		}
	}
	failed, counted := o.Failed()
	if s.Verb == Ask || !counted {
		w.line.Add(w.now-start, Unanswered)
		return
	}
	if d := s.Delay(o).Milliseconds(); d > 0 {
		heap.Push(&w.pending, answer{w.now + d, w.requests, k, failed})
		return
	}
	w.record(k, failed)
}

func (w *world) record(k breaker.Key, failed bool) {
	if failed {
		w.b.Failure(k, w.now)
		w.line.Add(w.now-start, Failed)
	} else {
		w.b.Success(k, w.now)
		w.line.Add(w.now-start, Succeeded)
	}
	w.line.Rate(w.now-start, w.totals.rate())
}

// wait lets virtual time pass; answers come in on the way.
func (w *world) wait(ms int64) {
	to := w.now + ms
	for len(w.pending) > 0 && w.pending[0].due <= to {
		a := heap.Pop(&w.pending).(answer)
		w.now = a.due
		w.record(a.key, a.failed)
	}
	w.now = to
}

// observe is what can be seen now: counts from the metrics, the rest from the
// breaker itself.
func (w *world) observe() Observation {
	o := w.totals.observe()
	switch {
	case w.asked == 0:
	case w.denied == 0:
		o["asks"] = Value{Words: []string{"allowed"}}
	case w.denied == w.asked:
		o["asks"] = Value{Words: []string{"denied"}}
	default:
		o["asks"] = Value{Words: []string{"mixed"}}
	}
	circuits := 0
	w.b.ForEach(func(breaker.Key, breaker.Status) { circuits++ })
	o["circuits"] = Value{Number: float64(circuits)}
	if days := float64(w.now-start) / (24 * 60 * 60 * 1000); days > 0 {
		opens := o["opens"].Number
		low, high := poisson(opens)
		o["opens_per_day"] = Value{Number: opens / days, Low: low / days, High: high / days}
	}
	if w.oracle != nil {
		verdict := "consistent"
		if w.oracle.wrong > 0 {
			verdict = "inconsistent"
		}
		o["metrics"] = Value{Words: []string{verdict}, Note: w.oracle.first}
	}
	if s, ok := w.b.Status(key(0)); ok && w.spread == 1 {
		o["state"] = Value{Words: []string{string(s.State)}}
		o["held"] = Value{Number: float64(s.Window)}
		o["memory_bytes"] = Value{Number: float64(s.Bytes)}
		o["probes"] = Value{Number: float64(s.Probes)}
		o["consecutive_failures"] = Value{Number: float64(s.ConsecutiveFailures)}
	}
	return o
}

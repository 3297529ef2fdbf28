package scenario

import (
	"context"
	"sync"
	"time"

	"github.com/cbops/cbops/breaker"
)

// Sabotage is a breaker that is broken on purpose, in one way.
type Sabotage struct {
	// Name says what it does wrong.
	Name string
	// Open makes one around the twin.
	Open Opener
}

// broken is a breaker with some of its operations replaced.
type broken struct {
	Breaker
	configure func(breaker.Config) breaker.Config
	allow     func(b Breaker, k breaker.Key, now int64) bool
	success   func(b Breaker, k breaker.Key, now int64)
	failure   func(b Breaker, k breaker.Key, now int64)
	status    func(s breaker.Status) breaker.Status
}

func (b *broken) Configure(k breaker.Key, c breaker.Config, now int64) {
	if b.configure != nil {
		c = b.configure(c)
	}
	b.Breaker.Configure(k, c, now)
}

func (b *broken) Allow(k breaker.Key, now int64) bool {
	if b.allow != nil {
		return b.allow(b.Breaker, k, now)
	}
	return b.Breaker.Allow(k, now)
}

func (b *broken) Success(k breaker.Key, now int64) {
	if b.success != nil {
		b.success(b.Breaker, k, now)
		return
	}
	b.Breaker.Success(k, now)
}

func (b *broken) Failure(k breaker.Key, now int64) {
	if b.failure != nil {
		b.failure(b.Breaker, k, now)
		return
	}
	b.Breaker.Failure(k, now)
}

func (b *broken) Status(k breaker.Key) (breaker.Status, bool) {
	s, ok := b.Breaker.Status(k)
	if b.status != nil {
		s = b.status(s)
	}
	return s, ok
}

// sinkFunc is a sink.
type sinkFunc func(breaker.Key, breaker.Metric)

func (f sinkFunc) Emit(k breaker.Key, m breaker.Metric) { f(k, m) }

// around breaks operations; made anew for each run, because a run may be one of
// many.
func around(name string, breakIt func() broken) Sabotage {
	return Sabotage{name, func(sink breaker.Sink, latency func() int64) Breaker {
		b := breakIt()
		b.Breaker = Twin(sink, latency)
		return &b
	}}
}

// configured breaks the config that is set.
func configured(name string, change func(*breaker.Config)) Sabotage {
	return around(name, func() broken {
		return broken{configure: func(c breaker.Config) breaker.Config { change(&c); return c }}
	})
}

// telling breaks what is emitted: each emission becomes any number of others.
func telling(name string, change func(m breaker.Metric) []breaker.Metric) Sabotage {
	return Sabotage{name, func(sink breaker.Sink, latency func() int64) Breaker {
		return Twin(sinkFunc(func(k breaker.Key, m breaker.Metric) {
			for _, x := range change(m) {
				sink.Emit(k, x)
			}
		}), latency)
	}}
}

// far is more of anything than a scenario has.
const far = 1 << 40

// Sabotages returns breakers that are broken on purpose. An expectation that holds
// on all of them is no test.
func Sabotages() []Sabotage {
	nothing := func(Breaker, breaker.Key, int64) {}
	list := []Sabotage{
		around("denies nothing", func() broken {
			return broken{allow: func(b Breaker, k breaker.Key, now int64) bool { b.Allow(k, now); return true }}
		}),
		around("denies everything", func() broken {
			return broken{allow: func(Breaker, breaker.Key, int64) bool { return false }}
		}),
		around("loses failures", func() broken { return broken{failure: nothing} }),
		around("loses successes", func() broken { return broken{success: nothing} }),
		around("takes failures for successes", func() broken { return broken{failure: Breaker.Success} }),
		around("takes successes for failures", func() broken { return broken{success: Breaker.Failure} }),
		around("takes each for the other", func() broken { return broken{success: Breaker.Failure, failure: Breaker.Success} }),
		around("counts failures twice", func() broken { return broken{failure: twice(Breaker.Failure)} }),
		around("counts successes twice", func() broken { return broken{success: twice(Breaker.Success)} }),
		around("fails what it admits", func() broken {
			return broken{allow: func(b Breaker, k breaker.Key, now int64) bool {
				ok := b.Allow(k, now)
				b.Failure(k, now)
				return ok
			}}
		}),
		around("takes an ask for a success", func() broken {
			return broken{allow: func(b Breaker, k breaker.Key, now int64) bool {
				ok := b.Allow(k, now)
				b.Success(k, now)
				return ok
			}}
		}),
		around("opens and closes at every ask", func() broken {
			return broken{
				configure: func(c breaker.Config) breaker.Config {
					c.FailureThreshold, c.SuccessThreshold, c.TimeoutMS = 1, 1, 0
					return c
				},
				allow: func(b Breaker, k breaker.Key, now int64) bool {
					b.Failure(k, now)
					b.Allow(k, now)
					b.Success(k, now)
					return true
				},
			}
		}),
		around("gives each outcome a circuit of its own", func() broken {
			return broken{failure: elsewhere(Breaker.Failure), success: elsewhere(Breaker.Success)}
		}),
		around("tells half the error rate", func() broken {
			return broken{status: func(s breaker.Status) breaker.Status { s.ErrorRate /= 2; return s }}
		}),
		configured("never opens", func(c *breaker.Config) { c.FailureThreshold, c.ErrorRateThreshold, c.LatencyThresholdMS = far, 2, 0 }),
		configured("opens at every failure", func(c *breaker.Config) { c.FailureThreshold = 1 }),
		configured("opens on the rate alone", func(c *breaker.Config) { c.FailureThreshold = far }),
		configured("opens on failures in a row alone", func(c *breaker.Config) { c.ErrorRateThreshold = 2 }),
		configured("opens one failure late", func(c *breaker.Config) { c.FailureThreshold++; c.ErrorRateThreshold = 2 }),
		configured("never closes", func(c *breaker.Config) { c.SuccessThreshold = far }),
		configured("closes at the first success", func(c *breaker.Config) { c.SuccessThreshold = 1 }),
		configured("never half-opens", func(c *breaker.Config) { c.TimeoutMS = far }),
		configured("half-opens at once", func(c *breaker.Config) { c.TimeoutMS = 0 }),
		configured("half-opens late", func(c *breaker.Config) { c.TimeoutMS++ }),
		configured("admits one probe", func(c *breaker.Config) { c.HalfOpenMaxCalls = 1 }),
		configured("admits every probe", func(c *breaker.Config) { c.HalfOpenMaxCalls = far }),
		configured("keeps every outcome", func(c *breaker.Config) { c.WindowSeconds = far / 1000 }),
		configured("keeps no outcome", func(c *breaker.Config) { c.WindowSeconds = -1 }),
		configured("has a window a second too long", func(c *breaker.Config) { c.WindowSeconds++ }),
		configured("has a window a second too short", func(c *breaker.Config) { c.WindowSeconds-- }),
		{"ignores a new config", func(sink breaker.Sink, latency func() int64) Breaker {
			return &once{Breaker: Twin(sink, latency), seen: map[breaker.Key]bool{}}
		}},
		{"starts anew with a new config", func(sink breaker.Sink, latency func() int64) Breaker {
			return &anew{Breaker: Twin(sink, latency), open: func() Breaker { return Twin(sink, latency) }, seen: map[breaker.Key]bool{}}
		}},
		{"does not see the latency", func(sink breaker.Sink, _ func() int64) Breaker {
			return Twin(sink, func() int64 { return 0 })
		}},
		telling("tells everything twice", func(m breaker.Metric) []breaker.Metric { return []breaker.Metric{m, m} }),
		telling("tells wrong reasons", func(m breaker.Metric) []breaker.Metric {
			if m.Name == metricPrefix+"trigger_reason" {
				m.Labels = []breaker.Label{{Name: "reason", Value: "unheard_of"}}
			}
			return []breaker.Metric{m}
		}),
		telling("tells of fail-fasts that were none", func(m breaker.Metric) []breaker.Metric {
			if m.Name == metricPrefix+"events_total" {
				return []breaker.Metric{m, {Name: m.Name, Labels: []breaker.Label{{Name: "event_type", Value: "fail_fast"}}, Add: true, Value: 1}}
			}
			return []breaker.Metric{m}
		}),
	}
	for _, name := range metricNames() {
		list = append(list, telling("never tells "+name, func(m breaker.Metric) []breaker.Metric {
			if m.Name == metricPrefix+name {
				return nil
			}
			return []breaker.Metric{m}
		}))
	}
	return list
}

func twice(op func(Breaker, breaker.Key, int64)) func(Breaker, breaker.Key, int64) {
	return func(b Breaker, k breaker.Key, now int64) {
		op(b, k, now)
		op(b, k, now)
	}
}

func elsewhere(op func(Breaker, breaker.Key, int64)) func(Breaker, breaker.Key, int64) {
	return func(b Breaker, k breaker.Key, now int64) {
		k.Provider += "-again"
		op(b, k, now)
	}
}

// once configures each circuit once.
type once struct {
	Breaker
	mu   sync.Mutex
	seen map[breaker.Key]bool
}

func (o *once) Configure(k breaker.Key, c breaker.Config, now int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.seen[k] {
		o.seen[k] = true
		o.Breaker.Configure(k, c, now)
	}
}

// anew begins with new circuits at every second config.
type anew struct {
	Breaker
	open func() Breaker
	seen map[breaker.Key]bool
}

func (a *anew) Configure(k breaker.Key, c breaker.Config, now int64) {
	if a.seen[k] {
		a.Breaker = a.open()
	}
	a.seen[k] = true
	a.Breaker.Configure(k, c, now)
}

// CannotFail runs the scenario on every sabotage and returns the expectations,
// by their place in Expectations, that held on all of them: they test nothing.
// Those that only report are left out.
func (s Scenario) CannotFail(ctx context.Context, seed uint64) ([]int, error) {
	all := s.Expectations()
	open := map[int]bool{}
	for i, e := range all {
		if !e.Report {
			open[i] = true
		}
	}
	still := func() time.Time { return time.Time{} }
	for _, sab := range Sabotages() {
		if len(open) == 0 {
			break
		}
		r := s.Run(ctx, Options{Open: sab.Open, Now: still, Seed: seed})
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, c := range r.Checks {
			if c.Verdict == Fail {
				delete(open, i)
			}
		}
	}
	var left []int
	for i := range all {
		if open[i] {
			left = append(left, i)
		}
	}
	return left, nil
}

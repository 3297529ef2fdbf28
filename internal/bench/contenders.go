package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	twin "github.com/cbops/cbops/breaker"
)

// twinNames are the twin's rows by the number of clock reads a request.
var twinNames = [3]string{"twin Allow + Success", "  one clock read", "  two clock reads"}

const failsafeName = "failsafe-go TryAcquirePermit + Record"

// contender is a breaker to measure: open returns the operation on a new one.
type contender struct {
	name string
	open func() operation
	twin bool
	// clockReads is how often a request that succeeds on a closed breaker reads the
	// clock.
	clockReads int
}

func contenders() []contender {
	return []contender{
		{twinNames[0], openTwin, true, 0},
		{twinNames[1], openTwinClock(1), true, 1},
		{twinNames[2], openTwinClock(2), true, 2},
		{"  found in a registry of 100,000", openRegistry, true, 0},
		{"gobreaker Execute", openGobreaker, false, 2},
		{failsafeName, openFailsafe, false, 1},
		{"failsafe-go executor Run", openFailsafeExecutor, false, 1},
		{"rubyist Ready + Success", openRubyist, false, 2},
		{"go-resiliency Run", openResiliency, false, 0},
	}
}

func twinConfig() twin.Config {
	c := twin.PolicyDefaults()
	c.ErrorRateThreshold = rateLimit
	c.WindowSeconds = int64(window / time.Second)
	return c
}

func twinKey(i int64) twin.Key {
	return twin.Key{Tenant: fmt.Sprintf("tenant-%05d", i/4), Provider: fmt.Sprintf("provider-%d", i%4)}
}

func newTwin() *twin.Circuit {
	r := twin.NewRegistry(twin.Options{})
	r.Configure(twinKey(0), twinConfig(), 0)
	return r.Circuit(twinKey(0))
}

// openTwin takes the operation's number as the time in milliseconds.
func openTwin() operation {
	c := newTwin()
	return func(i int64, fail bool) bool {
		if !c.Allow(i) {
			return false
		}
		if fail {
			c.Failure(i)
		} else {
			c.Success(i)
		}
		return true
	}
}

// openTwinClock gives the twin the real time, read once or twice a request. It is
// filled in virtual time before that.
func openTwinClock(reads int) func() operation {
	return func() operation {
		c := newTwin()
		return func(i int64, fail bool) bool {
			now := startMS + i
			if i > fill {
				now = time.Now().UnixMilli()
			}
			if !c.Allow(now) {
				return false
			}
			if reads > 1 && i > fill {
				now = time.Now().UnixMilli()
			}
			if fail {
				c.Failure(now)
			} else {
				c.Success(now)
			}
			return true
		}
	}
}

// openRegistry finds the circuit by its name, twice a request, among 100,000; it
// takes them in turns, so that they are not all in the processor's cache.
func openRegistry() operation {
	const circuits = 100_000
	r := twin.NewRegistry(twin.Options{})
	keys := make([]twin.Key, circuits)
	for i := range keys {
		keys[i] = twinKey(int64(i))
		r.Configure(keys[i], twinConfig(), 0)
		r.Success(keys[i], 0)
		r.Success(keys[i], 0)
	}
	return func(i int64, _ bool) bool {
		k := keys[i*7919%circuits]
		if !r.Allow(k, i) {
			return false
		}
		r.Success(k, i) // each comes back after 100 s, so one failure would open it
		return true
	}
}

func openGobreaker() operation {
	b := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval:     window,
		BucketPeriod: bucket,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= 5 || float64(c.TotalFailures) >= rateLimit*float64(c.Requests)
		},
	})
	good := func() (struct{}, error) { return struct{}{}, nil }
	bad := func() (struct{}, error) { return struct{}{}, errFailed }
	return func(_ int64, fail bool) bool {
		call := good
		if fail {
			call = bad
		}
		_, err := b.Execute(call)
		return err == nil || errors.Is(err, errFailed)
	}
}

func newFailsafe() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(rateLimit, 10, window).Build()
}

func openFailsafe() operation {
	b := newFailsafe()
	return func(_ int64, fail bool) bool {
		if !b.TryAcquirePermit() {
			return false
		}
		if fail {
			b.RecordFailure()
		} else {
			b.RecordSuccess()
		}
		return true
	}
}

func openFailsafeExecutor() operation {
	x := failsafe.With[any](newFailsafe())
	good := func() error { return nil }
	bad := func() error { return errFailed }
	return func(_ int64, fail bool) bool {
		call := good
		if fail {
			call = bad
		}
		err := x.Run(call)
		return err == nil || errors.Is(err, errFailed)
	}
}

func openRubyist() operation {
	b := rubyist.NewBreakerWithOptions(&rubyist.Options{
		WindowTime: window, WindowBuckets: int(window / bucket), ShouldTrip: rubyist.RateTripFunc(rateLimit, 10),
	})
	return func(_ int64, fail bool) bool {
		if !b.Ready() {
			return false
		}
		if fail {
			b.Fail()
		} else {
			b.Success()
		}
		return true
	}
}

func openResiliency() operation {
	b := breaker.New(1<<30, 2, window) // it has no rate; its count must not trip here
	good := func() error { return nil }
	bad := func() error { return errFailed }
	return func(_ int64, fail bool) bool {
		call := good
		if fail {
			call = bad
		}
		err := b.Run(call)
		return err == nil || errors.Is(err, errFailed)
	}
}

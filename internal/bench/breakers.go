package main

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"github.com/cbops/cbops/breaker"
)

const (
	twinName      = "twin Allow + Success"
	twinClockName = "  the same, with two clock reads"

	failEvery = 100    // 1 failure in so many operations
	rateLimit = 0.5    // share of failures that would open, never reached
	fill      = 60_000 // operations before the timing: a full window of the twin
	samples   = 3      // of which the median is shown

	window = 60 * time.Second
	bucket = window / 10 // for gobreaker; failsafe-go always has 10
)

var (
	errFailed  = errors.New("failed")
	errRefused = errors.New("the breaker refused; it should have stayed closed")
)

// operation is one request through a breaker: the i-th, from 1 on, failing or
// not. It returns false where the breaker refused.
type operation func(i int64, fail bool) bool

// contender is a breaker to measure: open returns the operation on a new one.
type contender struct {
	name string
	open func() operation
}

func contenders() []contender {
	return []contender{
		{twinName, openTwin},
		{twinClockName, openTwinClock},
		{"gobreaker Execute", openGobreaker},
		{"failsafe-go TryAcquirePermit + Record", openFailsafe},
		{"failsafe-go executor Run", openFailsafeExecutor},
	}
}

var twinKey = breaker.Key{Tenant: "acme", Provider: "kafka"}

func newTwin() *breaker.Registry {
	c := breaker.DefaultConfig()
	c.ErrorRateThreshold = rateLimit
	c.WindowSeconds = int64(window / time.Second)
	r := breaker.NewRegistry(breaker.Options{})
	r.Configure(twinKey, c, 0)
	return r
}

// openTwin takes the operation's number as the time in milliseconds.
func openTwin() operation {
	r := newTwin()
	return func(i int64, fail bool) bool {
		if !r.Allow(twinKey, i) {
			return false
		}
		if fail {
			r.Failure(twinKey, i)
		} else {
			r.Success(twinKey, i)
		}
		return true
	}
}

// openTwinClock pays for the clock as gobreaker does, once on the way in and once
// on the way out, and goes on in virtual time.
func openTwinClock() operation {
	r := newTwin()
	start := time.Now()
	return func(i int64, fail bool) bool {
		if time.Now().Before(start) || !r.Allow(twinKey, i) {
			return false
		}
		if time.Now().Before(start) {
			return false
		}
		if fail {
			r.Failure(twinKey, i)
		} else {
			r.Success(twinKey, i)
		}
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

// single measures from one goroutine.
func single(c contender) func(*testing.B) {
	return func(b *testing.B) {
		op := c.open()
		i := warm(op)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			i++
			if !op(i, i%failEvery == 0) {
				b.Fatal(errRefused)
			}
		}
	}
}

// parallel measures from GOMAXPROCS goroutines on one breaker. Every contender
// pays for the shared counter that is the twin's clock.
func parallel(c contender) func(*testing.B) {
	return func(b *testing.B) {
		op := c.open()
		var n atomic.Int64
		n.Store(warm(op))
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := n.Add(1)
				if !op(i, i%failEvery == 0) {
					b.Error(errRefused)
					return
				}
			}
		})
	}
}

func warm(op operation) int64 {
	for i := int64(1); i <= fill; i++ {
		op(i, i%failEvery == 0)
	}
	return fill
}

// measured is a contender's median.
type measured struct {
	ns     float64
	allocs int64
	bytes  int64
}

func compareBreakers(w io.Writer) error {
	fmt.Fprintf(w, `
Breakers: one circuit, 1 failure in %d, %v window, closed throughout, median of %d
  gobreaker %s, failsafe-go %s
`, failEvery, window, samples, version("github.com/sony/gobreaker/v2"), version("github.com/failsafe-go/failsafe-go"))
	for _, mode := range []struct {
		name  string
		bench func(contender) func(*testing.B)
	}{{"one goroutine", single}, {"parallel", parallel}} {
		got, err := measure(mode.bench)
		if err != nil {
			return err
		}
		if err := table(w, mode.name, got); err != nil {
			return err
		}
	}
	fmt.Fprint(w, `
  twin/peer below 1: the twin is faster. The windows are not the same:
  - twin: every event of the last 60 s, exactly, 8 bytes each (60,001 events at one
    a millisecond: 512 KiB); every operation adds one and drops those that are too
    old. Time is a parameter, so it reads no clock: the second row adds the reads.
  - gobreaker: 10 buckets of 6 s, of counts; the oldest leaves whole. Reads the
    clock on the way in and on the way out.
  - failsafe-go: 10 slices of 6 s, of counts; the oldest leaves whole. While closed,
    it reads the clock only to record, not on the way in.
  The twin's clock goes on 1 ms an operation, the peers' is the real one: their
  buckets seldom turn here, while the twin drops an event at every operation.
`)
	return nil
}

// measure takes the samples in turns, so that a slow moment of the machine does
// not fall on one contender alone.
func measure(bench func(contender) func(*testing.B)) (map[string]measured, error) {
	results := map[string][]testing.BenchmarkResult{}
	for range samples {
		for _, c := range contenders() {
			r := testing.Benchmark(bench(c))
			if r.N == 0 {
				return nil, fmt.Errorf("%s: %w", c.name, errRefused)
			}
			results[c.name] = append(results[c.name], r)
		}
	}
	out := map[string]measured{}
	for name, rs := range results {
		slices.SortFunc(rs, func(a, b testing.BenchmarkResult) int {
			return int(perOp(a)*1000) - int(perOp(b)*1000)
		})
		r := rs[len(rs)/2]
		out[name] = measured{perOp(r), r.AllocsPerOp(), r.AllocedBytesPerOp()}
	}
	return out, nil
}

func perOp(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

func table(w io.Writer, title string, got map[string]measured) error {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  %s\tns/op\tallocs/op\tB/op\ttwin/peer\twith clock reads/peer\n", title)
	for _, c := range contenders() {
		m := got[c.name]
		fmt.Fprintf(t, "  %s\t%.1f\t%d\t%d", c.name, m.ns, m.allocs, m.bytes)
		if c.name == twinName || c.name == twinClockName {
			fmt.Fprint(t, "\t-\t-\n")
			continue
		}
		fmt.Fprintf(t, "\t%.2fx\t%.2fx\n", got[twinName].ns/m.ns, got[twinClockName].ns/m.ns)
	}
	return t.Flush()
}

// version is that of a module in this binary.
func version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "?"
	}
	return moduleVersion(info, module)
}

func moduleVersion(info *debug.BuildInfo, module string) string {
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return "?"
}

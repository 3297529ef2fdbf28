package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	failEvery = 100    // 1 failure in so many operations
	rateLimit = 0.5    // share of failures that would open, never reached
	fill      = 60_000 // operations before the timing: a full window of the twin
	samples   = 3      // of which the median is shown
	startMS   = 1_700_000_000_000

	window = 60 * time.Second
	bucket = window / 10 // for gobreaker and rubyist; failsafe-go always has 10
)

var (
	errFailed  = errors.New("failed")
	errRefused = errors.New("the breaker refused; it should have stayed closed")
)

// operation is one request through a breaker: the i-th, from 1 on, failing or
// not. It returns false where the breaker refused.
type operation func(i int64, fail bool) bool

// timed starts the timer of a benchmark; the function that it returns reports the
// processor time of one operation.
func timed(b *testing.B) func() {
	b.ReportAllocs()
	runtime.GC()
	before, ok := cpuTime()
	b.ResetTimer()
	return func() {
		b.StopTimer()
		if after, _ := cpuTime(); ok {
			b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), cpuUnit)
		}
	}
}

const cpuUnit = "cpu-ns/op"

// single measures from one goroutine.
func single(c contender) func(*testing.B) {
	return func(b *testing.B) {
		op := c.open()
		i := warm(op)
		defer timed(b)()
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
		defer timed(b)()
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

// measured is a contender's median: nanoseconds of processor time an operation,
// and of the wall clock.
type measured struct {
	ns, wall float64
	allocs   int64
	bytes    int64
}

func compareBreakers(w io.Writer) error {
	fmt.Fprintf(w, `
Breakers: one request is admitted and its outcome recorded; 1 failure in %d,
%v window, closed throughout, median of %d
`, failEvery, window, samples)
	for _, m := range []string{"github.com/sony/gobreaker/v2", "github.com/failsafe-go/failsafe-go", "github.com/rubyist/circuitbreaker", "github.com/eapache/go-resiliency"} {
		fmt.Fprintf(w, "  %s %s\n", m, version(m))
	}
	for _, mode := range []struct {
		name  string
		bench func(contender) func(*testing.B)
	}{{"one goroutine", single}, {"parallel, one breaker", parallel}} {
		got, err := measure(mode.bench)
		if err != nil {
			return err
		}
		if err := table(w, mode.name, got); err != nil {
			return err
		}
		verdict(w, got)
	}
	fmt.Fprint(w, `
  Ratios are of processor time, which other work on the machine does not lengthen
  as it does the wall clock. twin/peer below 1: the twin is faster. "like for like"
  takes the twin with as many clock reads as the peer makes, on the real clock.

  The windows are not the same:
  - twin: every outcome of the last 60 s, exactly, to the millisecond; the edge is
    inclusive. Time is a parameter, so it reads no clock. In the first row the
    clock goes on 1 ms a request: 60,001 outcomes are held, and every request adds
    one and drops one. With clock reads the time is real, as for the peers: many
    requests share a millisecond, and so one record.
  - gobreaker: 10 buckets of 6 s, of counts; the oldest leaves whole, so its window
    is between 54 and 60 s long. Two clock reads: on the way in and out.
  - failsafe-go: 10 slices of 6 s, of counts; the oldest leaves whole. One clock
    read: to record, while closed.
  - rubyist: 10 buckets of 6 s, of counts. Two clock reads: for its backoff, which
    every success resets, and for the window.
  - go-resiliency: no window at all. It counts errors that follow each other within
    the timeout; a success on a closed breaker touches nothing. No clock read, and
    what it saves is what the others are for.
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
		r := medianOf(rs)
		out[name] = measured{perOp(r), float64(r.T.Nanoseconds()) / float64(r.N), r.AllocsPerOp(), r.AllocedBytesPerOp()}
	}
	return out, nil
}

func medianOf(rs []testing.BenchmarkResult) testing.BenchmarkResult {
	slices.SortFunc(rs, func(a, b testing.BenchmarkResult) int {
		return int(perOp(a)*1000) - int(perOp(b)*1000)
	})
	return rs[len(rs)/2]
}

// perOp is the processor time of an operation, where it is known.
func perOp(r testing.BenchmarkResult) float64 {
	if cpu, ok := r.Extra[cpuUnit]; ok {
		return cpu
	}
	return float64(r.T.Nanoseconds()) / float64(r.N)
}

func table(w io.Writer, title string, got map[string]measured) error {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  %s\tcpu ns/op\twall ns/op\tallocs/op\tB/op\ttwin/peer\tlike for like\n", title)
	for _, c := range contenders() {
		m := got[c.name]
		fmt.Fprintf(t, "  %s\t%.1f\t%.1f\t%d\t%d", c.name, m.ns, m.wall, m.allocs, m.bytes)
		if c.twin {
			fmt.Fprint(t, "\t-\t-\n")
			continue
		}
		fmt.Fprintf(t, "\t%.2fx\t%.2fx\n", got[twinNames[0]].ns/m.ns, got[twinNames[c.clockReads]].ns/m.ns)
	}
	return t.Flush()
}

// verdict says whether the goal is met: no slower than failsafe-go's bucketed
// window, while exact.
func verdict(w io.Writer, got map[string]measured) {
	peer := got[failsafeName].ns
	for reads, with := range []string{"time as a parameter", "one clock read each"} {
		ratio := got[twinNames[reads]].ns / peer
		said := "goal met"
		if ratio > 1 {
			said = "goal not met"
		}
		fmt.Fprintf(w, "\n  twin against failsafe-go's permit API, %s: %.2fx, at most 1.00x wanted: %s", with, ratio, said)
	}
	fmt.Fprintln(w)
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

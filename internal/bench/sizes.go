package main

import (
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"text/tabwriter"

	twin "github.com/cbops/cbops/breaker"
)

// compareSizes shows what the twin's cost depends on: not on how full its window
// is, and not on how many circuits there are beside it.
func compareSizes(w io.Writer) error {
	fmt.Fprintf(w, "\nTwin by the size of its window: Allow + Success, 1 ms apart, median of %d\n\n", samples)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  outcomes in the window\tcpu ns/op\tagainst 1,000\tallocs/op\tbytes an outcome")
	sizes := []int64{1_000, 60_000, 1_000_000}
	results := map[int64][]testing.BenchmarkResult{}
	bytes := map[int64]float64{}
	for range samples {
		for _, n := range sizes {
			results[n] = append(results[n], testing.Benchmark(func(b *testing.B) {
				c, now := holding(n)
				defer timed(b)()
				for range b.N {
					now++
					c.Allow(now)
					c.Success(now)
				}
				s := c.Status()
				bytes[n] = float64(s.Bytes) / float64(s.Window)
			}))
		}
	}
	base := perOp(medianOf(results[sizes[0]]))
	for _, n := range sizes {
		r := medianOf(results[n])
		fmt.Fprintf(t, "  %d\t%.1f\t%.2fx\t%d\t%.2f\n", n, perOp(r), perOp(r)/base, r.AllocsPerOp(), bytes[n])
	}
	if err := t.Flush(); err != nil {
		return err
	}

	fmt.Fprintf(w, "\nRegistry, %d goroutines on circuits of their own, found by name for each call\n\n", runtime.GOMAXPROCS(0))
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  circuits\tcpu ns/op\tagainst one goroutine\tbytes an idle circuit")
	for _, n := range []int{1_000, 100_000} {
		var one, all []testing.BenchmarkResult
		var idle float64
		for range samples {
			r, keys, bytes := registryOf(n)
			idle = bytes
			one = append(one, testing.Benchmark(func(b *testing.B) {
				defer timed(b)()
				for i := range b.N {
					k := keys[i*7919%n]
					r.Allow(k, int64(i))
					r.Success(k, int64(i))
				}
			}))
			all = append(all, testing.Benchmark(func(b *testing.B) {
				var worker atomic.Int64
				defer timed(b)()
				b.RunParallel(func(pb *testing.PB) {
					own := int(worker.Add(1)) - 1
					for i := 0; pb.Next(); i++ {
						k := keys[(i*7919*runtime.GOMAXPROCS(0)+own)%n]
						r.Allow(k, int64(i))
						r.Success(k, int64(i))
					}
				})
			}))
		}
		a, o := perOp(medianOf(all)), perOp(medianOf(one))
		fmt.Fprintf(t, "  %d\t%.1f\t%.2fx\t%.0f\n", n, a, a/o, idle)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "  1.00x is no cost of being many: processor time an operation, waiting for a lock included where it spins")
	return nil
}

// holding is a circuit whose window holds n outcomes, a millisecond apart.
func holding(n int64) (*twin.Circuit, int64) {
	r := twin.NewRegistry(twin.Options{})
	c := twinConfig()
	c.WindowSeconds = n / 1000
	r.Configure(twinKey(0), c, 0)
	circuit := r.Circuit(twinKey(0))
	for i := range n {
		circuit.Success(i)
	}
	return circuit, n
}

// registryOf is a registry with n circuits that have seen two outcomes each, and
// the bytes of heap that one of them takes.
func registryOf(n int) (*twin.Registry, []twin.Key, float64) {
	keys := make([]twin.Key, n)
	for i := range keys {
		keys[i] = twinKey(int64(i))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := twin.NewRegistry(twin.Options{})
	for _, k := range keys {
		r.Configure(k, twinConfig(), 0)
		r.Success(k, 0)
		r.Success(k, 0)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return r, keys, float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
}

package breaker_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/cbops/cbops/breaker"
)

// full returns a circuit with n outcomes in its window, one a millisecond, and
// the time after the last; the window is n milliseconds long at least.
func full(n int) (*breaker.Circuit, int64) {
	r := breaker.NewRegistry(breaker.Options{})
	c := breaker.PolicyDefaults()
	c.WindowSeconds, c.FailureThreshold = int64((n+999)/1000), 1000
	r.Configure(circuitKey(), c, 0)
	circuit := r.Circuit(circuitKey())
	now := int64(0)
	for range n {
		now++
		circuit.Success(now)
	}
	return circuit, now
}

// An outcome takes 16 bytes at most, however full the window is.
func TestBytesPerOutcome(t *testing.T) {
	for _, n := range []int{1_000, 10_000, 60_000, 1_000_000} {
		c, _ := full(n)
		s := c.Status()
		if s.Window < n {
			t.Fatalf("holds %d of %d: the measurement is void", s.Window, n)
		}
		if per := float64(s.Bytes) / float64(s.Window); per > 16 || per < 8 {
			t.Errorf("%d outcomes take %.2f bytes each, want 8 to 16", n, per)
		}
	}
}

// Outcomes of the same millisecond share a record: a second of a very busy
// circuit takes no more than a second of a busy one.
func TestBytesOfABusyMillisecond(t *testing.T) {
	r := breaker.NewRegistry(breaker.Options{})
	r.Configure(circuitKey(), breaker.PolicyDefaults(), 0)
	for i := range int64(1_000_000) {
		r.Success(circuitKey(), i/10_000)
	}
	s, _ := r.Status(circuitKey())
	if s.Window != 1_000_000 || s.Bytes > 16*1024 {
		t.Errorf("%d outcomes in 100 ms take %d bytes, want at most 16 KiB", s.Window, s.Bytes)
	}
}

// What Status says is what the process really holds.
func TestBytesAreMeasured(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c, _ := full(1_000_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	held, said := float64(after.HeapAlloc)-float64(before.HeapAlloc), float64(c.Status().Bytes)
	if said < 0.9*held || said > 1.1*held {
		t.Errorf("the heap grew by %.0f bytes, the window says %.0f", held, said)
	}
	if perOutcome := held / 1_000_000; perOutcome > 16 {
		t.Errorf("%.2f bytes an outcome on the heap, want at most 16", perOutcome)
	}
	runtime.KeepAlive(c)
}

// Growing copies nothing and makes no operation dear: from none to a million, one
// outcome adds a block of 2 KiB at most.
func TestGrowsByBlocks(t *testing.T) {
	r := breaker.NewRegistry(breaker.Options{})
	c := breaker.PolicyDefaults()
	c.WindowSeconds = 3600
	r.Configure(circuitKey(), c, 0)
	circuit := r.Circuit(circuitKey())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	held, most := 0, 0
	for now := range int64(1_000_000) {
		circuit.Success(now)
		b := circuit.Status().Bytes
		held, most = b, max(most, b-held)
	}
	runtime.ReadMemStats(&after)
	if most > 2200 {
		t.Errorf("one outcome added %d bytes", most)
	}
	if ever := after.TotalAlloc - before.TotalAlloc; float64(ever) > 1.1*float64(held) {
		t.Errorf("%d bytes were allocated to hold %d: something was copied on the way", ever, held)
	}
}

// A window that has emptied gives its memory back.
func TestMemoryIsReturned(t *testing.T) {
	c, now := full(1_000_000)
	c.Allow(now + 10_000_000)
	if s := c.Status(); s.Window != 0 || s.Bytes > 512 {
		t.Errorf("%d outcomes in %d bytes are left, want none in at most 512", s.Window, s.Bytes)
	}
}

// 100,000 circuits with some traffic behind them take at most 512 bytes each, the
// registry's own included.
func TestIdleCircuitBytes(t *testing.T) {
	const n = 100_000
	keys := make([]breaker.Key, n)
	for i := range keys {
		keys[i] = breaker.Key{Tenant: fmt.Sprintf("t-%05d", i/4), Provider: fmt.Sprintf("provider-%d", i%4)}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := breaker.NewRegistry(breaker.Options{})
	for i, k := range keys {
		r.Configure(k, breaker.PolicyDefaults(), int64(i))
		r.Success(k, int64(i))
		r.Allow(k, int64(i))
		r.Success(k, int64(i)+100_000)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / n
	if per > 512 || per < 100 {
		t.Errorf("an idle circuit takes %.0f bytes, want at most 512 (and more than 100, or it was not measured)", per)
	}
	count := 0
	r.ForEach(func(_ breaker.Key, s breaker.Status) {
		if s.Window != 1 {
			t.Fatalf("%+v", s)
		}
		count++
	})
	if count != n {
		t.Errorf("%d circuits, want %d", count, n)
	}
}

// silent is a sink that keeps nothing.
type silent struct{ n int }

func (s *silent) Emit(breaker.Key, breaker.Metric) { s.n++ }

// No operation allocates, with a sink or without, whatever state it meets and
// however full the window is.
func TestNoAllocations(t *testing.T) {
	for _, sink := range []breaker.Sink{nil, &silent{}} {
		r := breaker.NewRegistry(breaker.Options{Sink: sink})
		c := breaker.PolicyDefaults()
		c.TimeoutMS, c.WindowSeconds = 10, 1
		k := circuitKey()
		r.Configure(k, c, 0)
		now := int64(0)
		opened := 0
		op := func() {
			now++
			switch {
			case now%500 < 20: // fails, opens, is asked, half-opens, reopens
				r.Failure(k, now)
				r.Allow(k, now)
			default:
				if r.Allow(k, now) {
					r.Success(k, now)
				}
			}
			if s, _ := r.Status(k); s.State == breaker.Open {
				opened++
			}
		}
		for range 5000 {
			op()
		}
		if per := testing.AllocsPerRun(20_000, op); per != 0 {
			t.Errorf("sink %v: %v allocations an operation", sink != nil, per)
		}
		if opened == 0 {
			t.Error("the circuit never opened: only half of the operations were measured")
		}
	}
}

// Many goroutines on many circuits, all of them new: every outcome is counted
// once, on the right circuit, and there is one circuit a key.
func TestConcurrentCreation(t *testing.T) {
	const workers, circuits, rounds = 16, 500, 4
	r := breaker.NewRegistry(breaker.Options{})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range circuits * rounds {
				k := breaker.Key{Tenant: "t", Provider: fmt.Sprint((i*7 + w*13) % circuits)}
				r.Allow(k, 1)
				if (i+w)%2 == 0 {
					r.Success(k, 1)
				} else {
					r.Failure(k, 1)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	r.ForEach(func(k breaker.Key, s breaker.Status) {
		n++
		if s.Window != workers*rounds {
			t.Errorf("%v counted %d outcomes, want %d", k, s.Window, workers*rounds)
		}
	})
	if n != circuits {
		t.Errorf("%d circuits, want %d", n, circuits)
	}
}

package breaker

import (
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// Property: the window holds what a list of outcomes would hold, also where
// records overflow, blocks end, the clock steps back and weeks pass.
func TestWindowIsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type item struct {
			at     int64
			failed bool
		}
		var w window
		var list []item
		now := rapid.SampledFrom([]int64{0, 1_700_000_000_000, -5, 1 << 60}).Draw(t, "start")
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				n := rapid.SampledFrom([]int{1, 2, 9, 300, 2000, 70_000}).Draw(t, "outcomes")
				every := rapid.SampledFrom([]int64{0, 0, 1, 3}).Draw(t, "every ms")
				if len(list)+n > 200_000 {
					t.Skip("full enough")
				}
				failed := rapid.Bool().Draw(t, "failed")
				for range n {
					w.push(now, failed)
					list = append(list, item{now, failed})
					now += every
				}
			},
			"trim": func(t *rapid.T) {
				edge := now - rapid.SampledFrom([]int64{-1, 0, 1, 999, 1000, 60_000, 1 << 40}).Draw(t, "window ms")
				w.trim(edge)
				for len(list) > 0 && list[0].at < edge {
					list = list[1:]
				}
			},
			"time passes": func(t *rapid.T) {
				now += rapid.SampledFrom([]int64{1, 1000, 60_000, 1<<32 - 1, 1 << 32, -1, -1000, -(1 << 33)}).Draw(t, "ms")
			},
			"": func(t *rapid.T) {
				failures := 0
				for _, i := range list {
					if i.failed {
						failures++
					}
				}
				if w.of != len(list) || w.failures != failures {
					t.Fatalf("holds %d of which %d failed, the list %d and %d", w.of, w.failures, len(list), failures)
				}
				held := 0
				for b := w.head; b != nil; b = b.next {
					held += b.bytes()
				}
				if held += w.spare.bytes(); held != w.bytes {
					t.Fatalf("says %d bytes, has %d", w.bytes, held)
				}
			},
		})
	})
}

// Neighbours in memory share no cache line, or a busy circuit slows another down.
func TestCircuitsFillCacheLines(t *testing.T) {
	if n := unsafe.Sizeof(Circuit{}); n%cacheLine != 0 {
		t.Errorf("a circuit takes %d bytes, no multiple of %d", n, cacheLine)
	}
}

// While somebody makes a new circuit, and while another circuit is busy, every
// operation on the rest goes on.
func TestHotPathTakesNoGlobalLock(t *testing.T) {
	r := NewRegistry(Options{})
	mine, busy := Key{"t", "mine"}, Key{"t", "busy"}
	r.Configure(mine, PolicyDefaults(), 0)
	r.Configure(busy, PolicyDefaults(), 0)
	r.grow.Lock()
	defer r.grow.Unlock()
	r.Circuit(busy).mu.Lock()
	defer r.Circuit(busy).mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Success(mine, 1)
		r.Failure(mine, 2)
		r.Allow(mine, 3)
		r.Configure(mine, DefaultConfig(), 4)
		r.Status(mine)
		r.Allow(Key{"t", "nobody"}, 5)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("an operation waits for a lock that is not its circuit's")
	}
}

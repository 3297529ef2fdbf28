package breaker_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cbops/cbops/breaker"
)

// both drives the twin and the naive reference side by side.
type both struct {
	reg     *breaker.Registry
	ref     map[breaker.Key]*naive
	now     int64
	latency int64
	lines   *twin // prints metrics the way the traces do
}

func newBoth() *both {
	b := &both{ref: map[breaker.Key]*naive{}, now: 1_700_000_000_000, lines: &twin{}}
	b.reg = breaker.NewRegistry(breaker.Options{Sink: b.lines, Latency: func() int64 { return b.latency }})
	return b
}

func (b *both) naive(k breaker.Key) *naive {
	if b.ref[k] == nil {
		b.ref[k] = &naive{}
	}
	b.ref[k].latency, b.ref[k].out = b.latency, nil
	b.lines.out = nil
	return b.ref[k]
}

// same fails when anything that can be seen differs: answer, state, counters,
// window, stored rate, time of the last change, config, metrics and their order.
func (b *both) same(t *rapid.T, what string, k breaker.Key, got, want any) {
	if got != want {
		t.Fatalf("%s: the twin answers %v, the reference %v", what, got, want)
	}
	if got, want := strings.Join(b.lines.out, "\n"), strings.Join(b.ref[k].out, "\n"); got != want {
		t.Fatalf("%s: metrics\n got  %s\n want %s", what, got, want)
	}
	b.lines.out, b.ref[k].out = nil, nil
	for k, n := range b.ref {
		s, ok := b.reg.Status(k)
		if got, want := seenOf(s, ok), n.seen(); got != want {
			t.Fatalf("%s: %v\n got  %s\n want %s", what, k, got, want)
		}
	}
}

func someConfig() *rapid.Generator[breaker.Config] {
	return rapid.Custom(func(t *rapid.T) breaker.Config {
		return breaker.Config{
			FailureThreshold:   rapid.SampledFrom([]int64{1, 2, 3, 5, 20, 1000, 0, -1}).Draw(t, "failure_threshold"),
			SuccessThreshold:   rapid.SampledFrom([]int64{1, 2, 3, 5, 0}).Draw(t, "success_threshold"),
			TimeoutMS:          rapid.SampledFrom([]int64{100, 1000, 2000, 60_000, 0, -5}).Draw(t, "timeout_ms"),
			HalfOpenMaxCalls:   rapid.SampledFrom([]int64{1, 2, 3, 5, 0}).Draw(t, "half_open_max_calls"),
			ErrorRateThreshold: rapid.SampledFrom([]float64{0.5, 0.1, 0.25, 0.75, 1, 1.01, 0, 1.0 / 3}).Draw(t, "error_rate_threshold"),
			WindowSeconds:      rapid.SampledFrom([]int64{1, 2, 5, 60, 3600, 0, -1}).Draw(t, "window"),
			LatencyThresholdMS: rapid.SampledFrom([]int64{0, 0, 0, 100, 5000}).Draw(t, "latency_threshold_ms"),
		}
	})
}

// Property: whatever is done, in whatever order, with whatever clock and however
// the config is swapped, the twin and the naive reference cannot be told apart.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBoth()
		keys := []breaker.Key{{Tenant: "a", Provider: "p"}, {Tenant: "a", Provider: "q"}, {Tenant: "b", Provider: "p"}}
		key := func(t *rapid.T) breaker.Key { return rapid.SampledFrom(keys).Draw(t, "circuit") }
		// Most runs begin with a configured circuit, as most circuits do.
		if rapid.IntRange(0, 3).Draw(t, "configured first") > 0 {
			k, c := keys[0], someConfig().Draw(t, "config")
			b.naive(k).configure(c, b.now)
			b.reg.Configure(k, c, b.now)
			b.same(t, "configure", k, true, true)
			keys = keys[:1+rapid.IntRange(0, 2).Draw(t, "other circuits")]
		}
		record := func(t *rapid.T, k breaker.Key, fails bool, every int64) {
			n := b.naive(k)
			if fails {
				n.failure(b.now)
				b.reg.Failure(k, b.now)
			} else {
				n.success(b.now)
				b.reg.Success(k, b.now)
			}
			b.same(t, "record", k, true, true)
			b.now += every
		}
		t.Repeat(map[string]func(*rapid.T){
			"configure": func(t *rapid.T) {
				k, c := key(t), someConfig().Draw(t, "config")
				b.naive(k).configure(c, b.now)
				b.reg.Configure(k, c, b.now)
				b.same(t, "configure", k, true, true)
			},
			"swap one field": func(t *rapid.T) {
				k := key(t)
				s, ok := b.reg.Status(k)
				if !ok {
					t.Skip("no circuit yet")
				}
				c, other := s.Config, someConfig().Draw(t, "config")
				switch rapid.IntRange(0, 3).Draw(t, "field") {
				case 0:
					c.WindowSeconds = other.WindowSeconds
				case 1:
					c.TimeoutMS = other.TimeoutMS
				case 2:
					c.SuccessThreshold, c.HalfOpenMaxCalls = other.SuccessThreshold, other.HalfOpenMaxCalls
				default:
					c.FailureThreshold, c.ErrorRateThreshold = other.FailureThreshold, other.ErrorRateThreshold
				}
				b.naive(k).configure(c, b.now)
				b.reg.Configure(k, c, b.now)
				b.same(t, "swap", k, true, true)
			},
			"ask": func(t *rapid.T) {
				k := key(t)
				for range rapid.IntRange(1, 4).Draw(t, "times") {
					want := b.naive(k).allow(b.now)
					b.same(t, "ask", k, b.reg.Allow(k, b.now), want)
				}
			},
			"request": func(t *rapid.T) {
				k, fails := key(t), rapid.Bool().Draw(t, "fails")
				want := b.naive(k).allow(b.now)
				got := b.reg.Allow(k, b.now)
				b.same(t, "request", k, got, want)
				if got {
					record(t, k, fails, 0)
				}
			},
			"succeed": func(t *rapid.T) { record(t, key(t), false, 0) },
			"fail":    func(t *rapid.T) { record(t, key(t), true, 0) },
			"burst": func(t *rapid.T) {
				k, fails := key(t), rapid.Bool().Draw(t, "fail")
				every := rapid.SampledFrom([]int64{0, 1, 7, 100}).Draw(t, "every")
				for range rapid.IntRange(1, 60).Draw(t, "times") {
					record(t, k, fails, every)
				}
			},
			"wait": func(t *rapid.T) {
				b.now += rapid.SampledFrom([]int64{1, 7, 99, 100, 500, 999, 1000, 1001, 1999, 2000, 4999, 5000, 5001,
					59_999, 60_000, 60_001, 3_600_000}).Draw(t, "ms")
			},
			"wait for the timeout": func(t *rapid.T) {
				s, _ := b.reg.Status(key(t))
				b.now = max(b.now, s.SinceMS+s.Config.TimeoutMS+rapid.Int64Range(-1, 1).Draw(t, "off by"))
			},
			"the clock steps back": func(t *rapid.T) { b.now -= rapid.Int64Range(1, 3000).Draw(t, "ms") },
			"latency":              func(t *rapid.T) { b.latency = rapid.SampledFrom([]int64{0, 99, 100, 101, 5000, 5001}).Draw(t, "ms") },
			"reset": func(t *rapid.T) {
				k := key(t)
				b.naive(k).reset()
				b.same(t, "reset", k, b.reg.Reset(k), b.ref[k].exists)
			},
		})
		var order []breaker.Key
		b.reg.ForEach(func(k breaker.Key, _ breaker.Status) { order = append(order, k) })
		if !slices.IsSortedFunc(order, func(x, y breaker.Key) int {
			return strings.Compare(x.Tenant+"/"+x.Provider, y.Tenant+"/"+y.Provider)
		}) {
			t.Fatalf("ForEach is not sorted: %v", order)
		}
	})
}

package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cbops/cbops/rollout/router"
)

// files are policies in memory.
type files map[router.Ref]string

func (f files) List() ([]router.Ref, error) {
	var refs []router.Ref
	for r := range f {
		refs = append(refs, r)
	}
	slices.SortFunc(refs, router.Ref.Compare)
	return refs, nil
}

func (f files) Read(r router.Ref) ([]byte, error) {
	s, ok := f[r]
	if !ok {
		return nil, errors.New("no such file")
	}
	return []byte(s), nil
}

const twoProviders = `"providers": [{"name": "openai", "weight": 60}, {"name": "anthropic", "weight": 40}]`

func enabledPolicy(window int) string {
	return fmt.Sprintf(`{%s, "circuit_breaker": {"enabled": true, "failure_threshold": 5, "timeout_ms": 30000, "error_rate_window_seconds": %d}}`, twoProviders, window)
}

func start() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }

// recorder keeps every stored sample as a line.
type recorder struct{ lines []string }

func (r *recorder) Append(labels map[string]string, t time.Time, v float64) error {
	r.lines = append(r.lines, fmt.Sprint(t.Unix(), labels, v))
	return nil
}

// Property: the shortcut for quiet stretches changes no sample of any scrape.
func TestQuietStretches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			seed   = rapid.Uint64().Draw(t, "seed")
			rate   = rapid.Float64Range(0.2, 60).Draw(t, "per minute")
			errors = rapid.Float64Range(0, 0.3).Draw(t, "error rate")
			window = rapid.IntRange(1, 300).Draw(t, "window")
			later  = rapid.IntRange(1, 300).Draw(t, "window after a reload")
			outage = rapid.IntRange(0, 60).Draw(t, "outage minutes")
		)
		run := func(exact bool) []string {
			rec := &recorder{}
			ref := router.Ref{Tenant: "t-acme", Policy: "chat"}
			fs := files{ref: enabledPolicy(window)}
			w, err := NewWorld(Options{Seed: seed, Start: start(), Nodes: []string{"node-1:9001", "node-2:9001"}, Policies: fs, Store: rec, Exact: exact,
				Tenants: []Tenant{
					{ID: "t-acme", Policy: "chat", PerMinute: rate, ErrorRate: errors},
					{ID: "t-cove", PerMinute: rate, ErrorRate: errors, Providers: []Provider{{"openai", 1}}},
				},
				Faults: []Fault{{Provider: "openai", From: start().Add(time.Hour), To: start().Add(time.Hour + time.Duration(outage)*time.Minute), Share: 0.9}},
			})
			check(t, err)
			check(t, w.Advance(start().Add(90*time.Minute)))
			fs[ref] = enabledPolicy(later)
			check(t, w.Router().Reload("t-acme", "chat"))
			check(t, w.Advance(start().Add(150*time.Minute+7*time.Second)))
			check(t, w.Router().Restart("node-2:9001"))
			check(t, w.Advance(start().Add(3*time.Hour)))
			return append(rec.lines, w.Router().Exposition("node-1:9001"), w.Router().Exposition("node-2:9001"))
		}
		exact, short := run(true), run(false)
		slices.Sort(exact)
		slices.Sort(short)
		if len(exact) < 500 {
			t.Fatalf("only %d samples: the comparison is empty", len(exact))
		}
		if d := cmp.Diff(exact, short); d != "" {
			t.Fatalf("the shortcut changes the history (-request by request +shortcut):\n%s", d)
		}
	})
}

func check(t interface{ Fatal(...any) }, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func canary(seed uint64, fs files) Options {
	return Options{Seed: seed, Start: start(), Policies: fs, Tenants: []Tenant{{ID: "t-acme", Policy: "chat", PerMinute: 60, ErrorRate: 0.01}}}
}

func TestSameSeedSameHistory(t *testing.T) {
	history := func(seed uint64) string {
		w, err := NewWorld(canary(seed, files{{Tenant: "t-acme", Policy: "chat"}: enabledPolicy(60)}))
		check(t, err)
		check(t, w.Advance(start().Add(6*time.Hour)))
		return w.Router().Exposition("node-1:9001")
	}
	if first, again := history(1), history(1); first != again {
		t.Error("the same seed made two histories")
	}
	if history(1) == history(2) {
		t.Error("another seed made the same history: it is not used")
	}
}

// A file that was written and not reloaded changes nothing.
func TestOnlyReloadChangesTheLoadedPolicy(t *testing.T) {
	ref := router.Ref{Tenant: "t-acme", Policy: "chat"}
	off := "{" + twoProviders + "}"
	fs := files{ref: off}
	o := canary(1, fs)
	o.Faults = []Fault{{Provider: "openai", From: start(), To: start().Add(24 * time.Hour), Share: 1}}
	w, err := NewWorld(o)
	check(t, err)
	fs[ref] = enabledPolicy(60)
	check(t, w.Advance(start().Add(10*time.Minute)))
	if got, _ := w.Router().Loaded("t-acme", "chat"); string(got) != off {
		t.Errorf("loaded without a reload: %s", got)
	}
	if e := w.Router().Exposition("node-1:9001"); strings.Contains(e, "fail_fast") || !strings.Contains(e, `to="open"`) {
		t.Errorf("a breaker that is not enabled must trip in shadow and deny nothing:\n%s", e)
	}
	check(t, w.Router().Reload("t-acme", "chat"))
	check(t, w.Advance(start().Add(20*time.Minute)))
	if got, _ := w.Router().Loaded("t-acme", "chat"); string(got) != fs[ref] {
		t.Errorf("not loaded after a reload: %s", got)
	}
	if e := w.Router().Exposition("node-1:9001"); !strings.Contains(e, "fail_fast") {
		t.Errorf("an enabled breaker on a failing provider denied nothing:\n%s", e)
	}
}

func TestRestartLosesStateAndMetrics(t *testing.T) {
	w, err := NewWorld(canary(1, files{{Tenant: "t-acme", Policy: "chat"}: enabledPolicy(60)}))
	check(t, err)
	check(t, w.Advance(start().Add(time.Hour)))
	check(t, w.Router().Restart("node-1:9001"))
	if e := w.Router().Exposition("node-1:9001"); e != "" {
		t.Errorf("metrics survived a restart:\n%s", e)
	}
	if err := w.Router().Restart("node-9:9001"); err == nil {
		t.Error("a node that does not exist was restarted")
	}
}

// A failure while publishing is slow opens a circuit whose policy has a latency
// threshold, and no other; the reason is the router's.
func TestSlowPublishingOpens(t *testing.T) {
	ref := router.Ref{Tenant: "t-acme", Policy: "chat"}
	for threshold, want := range map[string]bool{"": false, `, "latency_threshold_ms": 1000`: true, `, "latency_threshold_ms": 9000`: false} {
		o := canary(1, files{ref: "{" + twoProviders + `, "circuit_breaker": {"enabled": true` + threshold + "}}"})
		o.Slow = []Slow{{From: start().Add(time.Hour), To: start().Add(2 * time.Hour), LatencyMS: 3000}}
		w, err := NewWorld(o)
		check(t, err)
		check(t, w.Advance(start().Add(time.Hour)))
		if e := w.Router().Exposition("node-1:9001"); strings.Contains(e, `to="open"`) {
			t.Fatal("opened before publishing was slow")
		}
		check(t, w.Advance(start().Add(3*time.Hour)))
		if got := strings.Contains(w.Router().Exposition("node-1:9001"), `reason="latency_threshold_exceeded"`); got != want {
			t.Errorf("threshold %q: latency opened a circuit: %v", threshold, got)
		}
	}
}

func TestScrapeInterval(t *testing.T) {
	rec := &recorder{}
	o := canary(1, files{{Tenant: "t-acme", Policy: "chat"}: enabledPolicy(60)})
	o.Store, o.ScrapeEvery = rec, 15*time.Second
	w, err := NewWorld(o)
	check(t, err)
	check(t, w.Advance(start().Add(time.Minute)))
	n := 0
	for _, l := range rec.lines {
		if strings.Contains(l, "__name__:up ") {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d scrapes in a minute, want 4:\n%s", n, rec.lines)
	}
}

// BenchmarkElevenDays is the history of a rehearsal: eight tenants.
func BenchmarkElevenDays(b *testing.B) {
	for range b.N {
		o := canary(1, files{{Tenant: "t-acme", Policy: "chat"}: enabledPolicy(60)})
		o.Tenants[0].PerMinute = 90
		for i := range 7 {
			o.Tenants = append(o.Tenants, Tenant{ID: fmt.Sprintf("t-%d", i), PerMinute: 15, ErrorRate: 0.005, Providers: []Provider{{"openai", 1}, {"anthropic", 1}}})
		}
		w, err := NewWorld(o)
		check(b, err)
		check(b, w.Advance(start().AddDate(0, 0, 11)))
	}
}

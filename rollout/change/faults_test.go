package change_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

// poisoned puts a toxiproxy before each node: the given toxic hits 30 % of the
// connections, and every request has a connection of its own.
func (f *fleet) poisoned(toxic string) *change.Engine {
	f.t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	urls := map[string]string{}
	for _, n := range f.nodes {
		p := toxiproxy.NewProxy(server, n.name, "127.0.0.1:0", strings.TrimPrefix(n.server.URL, "http://"))
		if err := p.Start(); err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(p.Stop)
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			f.t.Fatal(err)
		}
		urls[n.name] = "http://" + p.Listen
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}
	return f.engineVia(func(n *fleetNode) string { return urls[n.name] }, tr)
}

// Nearly a third of all admin calls go wrong on the wire; the rollback completes
// all the same, and claims nothing that is not so.
func TestRollbackThroughABadNetwork(t *testing.T) {
	for name, toxic := range map[string]string{
		"reset":            `{"name":"t","type":"reset_peer","toxicity":0.3,"attributes":{"timeout":0}}`,
		"reset on the way": `{"name":"t","type":"reset_peer","toxicity":0.3,"attributes":{"timeout":3}}`,
		"delayed":          `{"name":"t","type":"latency","toxicity":0.3,"attributes":{"latency":300,"jitter":100}}`,
		"truncated":        `{"name":"t","type":"limit_data","toxicity":0.3,"attributes":{"bytes":150}}`,
		"sliced":           `{"name":"t","type":"slicer","toxicity":0.3,"attributes":{"average_size":7,"size_variation":3,"delay":50}}`,
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for i := range 15 {
				files[fmt.Sprintf("t-%02d/chat.json", i%3)] = on
				files[fmt.Sprintf("t-%02d/p%02d.json", i%3, i)] = on
			}
			f := newFleet(t, []string{"node-1", "node-2"}, files)
			rb, err := f.poisoned(toxic).Rollback(t.Context(), change.Request{Scope: global, Clearing: change.Clearing{Reset: true}})
			if err != nil {
				t.Fatal(err)
			}
			f.checkTruth(rb)
			if s := change.Summarize(rb.Policies); s.Safe != s.Total || s.Total != 36 || rb.Code(false) != fault.OK {
				t.Errorf("%+v, held %v, unlisted %v: %+v", s, rb.Held, rb.Unlisted, rb.Policies)
			}
		})
	}
}

// A server that fails nearly a third of its calls by itself: before the work, or,
// worse, after it.
func TestRollbackOnAFailingServer(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after the work: %v", after), func(t *testing.T) {
			f := newFleet(t, []string{"node-1", "node-2"}, two())
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(1, 2))
			for _, n := range f.nodes {
				n.wrap = func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						mu.Lock()
						hit := rng.Float64() < 0.3
						mu.Unlock()
						if hit && after {
							next.ServeHTTP(discard{http.Header{}}, q)
						}
						if hit {
							w.WriteHeader(http.StatusServiceUnavailable)
							return
						}
						next.ServeHTTP(w, q)
					})
				}
			}
			rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme})
			if err != nil {
				t.Fatal(err)
			}
			f.checkTruth(rb)
			if rb.Code(false) != fault.OK {
				t.Errorf("%+v", rb.Policies)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// A node that says yes to everything and does nothing: nothing of it is safe.
func TestNodesThatLie(t *testing.T) {
	for name, lie := range map[string]func(q *http.Request) bool{
		"reload": func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/reload") },
		"reset":  func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/circuits/reset") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, []string{"node-1", "node-2"}, two())
			for _, n := range f.nodes {
				n.lab.Fail(n.name, router.CircuitKey{Tenant: "t-acme", Provider: "openai"}, 5, 1000)
			}
			f.nodes["node-2"].wrap = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if lie(q) {
						w.WriteHeader(http.StatusNoContent)
						return
					}
					next.ServeHTTP(w, q)
				})
			}
			rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme, Clearing: change.Clearing{Reset: true}})
			if err != nil {
				t.Fatal(err)
			}
			f.checkTruth(rb)
			switch s := change.Summarize(rb.Policies); name {
			case "reload":
				if s.Safe != 2 || s.Failed != 2 || rb.Code(true) != fault.Partial {
					t.Errorf("%+v", rb.Policies)
				}
			case "reset":
				if s.Safe != 4 || rb.Nodes[0].State != change.Cleared || rb.Nodes[1].State != change.StillOpen || !strings.Contains(rb.Nodes[1].Reason, "still open after a reset") {
					t.Errorf("%+v", rb.Nodes)
				}
			}
		})
	}
}

// The node dies while it is being reloaded. What was proven stands, the rest is
// unreachable, and nobody waits for each of them in turn.
func TestANodeThatDiesHalfway(t *testing.T) {
	files := map[string]string{}
	for i := range 200 {
		files[fmt.Sprintf("t-acme/p%03d.json", i)] = on
	}
	f := newFleet(t, []string{"node-1"}, files)
	n := f.nodes["node-1"]
	var mu sync.Mutex
	reloads := 0
	n.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			mu.Lock()
			if strings.HasSuffix(q.URL.Path, "/reload") {
				reloads++
			}
			dead := reloads > 40
			mu.Unlock()
			if dead {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, q)
		})
	}
	start := time.Now()
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme})
	if err != nil {
		t.Fatal(err)
	}
	f.checkTruth(rb)
	if s := change.Summarize(rb.Policies); s.Unreachable == 0 || s.Safe+s.Unreachable+s.Failed+s.Written != 200 || rb.Code(true) != fault.Partial {
		t.Errorf("%+v", s)
	}
	if took := time.Since(start); took > 40*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestReloadThatIsKilledOrCannotStart(t *testing.T) {
	for _, c := range []struct {
		name, reload string
		want         change.Outcome
		reason       string
	}{
		{"killed", "kill -9 $$", change.Failed, "reload failed (exit -1)"},
		{"not there", "exec no-such-program-here", change.Failed, "reload failed (exit 127)"},
		{"says unreachable", "exit 69", change.Unreachable, "cannot be reached"},
		{"ssh cannot connect", "exit 255", change.Unreachable, "cannot be reached"},
		{"lies", "exit 0", change.Failed, "loaded says enabled true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, map[string]string{"t-acme/chat.json": on})
			b.commands(c.reload, `echo '{"circuit_breaker":{"enabled":true}}'`)
			rb := b.rollback(acme)
			if p := rb.Policies[0]; p.Result != c.want || !strings.Contains(p.Reason, c.reason) || !p.Disabled || p.Loaded || rb.Code(true) != fault.Partial {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A node that hangs costs one deadline, not one for each policy.
func TestAHangingNodeCostsOneDeadline(t *testing.T) {
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprintf("t-acme/p%02d.json", i)] = on
	}
	b := newBench(t, files)
	b.commands("sleep 600; : {tenant} {policy}", "true")
	b.node.Timeout = 100 * time.Millisecond
	start := time.Now()
	rb := b.rollback(acme)
	if s := change.Summarize(rb.Policies); s.Unreachable != 30 {
		t.Errorf("%+v", s)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAVanishedDirectoryIsNoSuccess(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on, "t-acme/embed.json": on})
	b.commands("rm -rf policies/t-acme", "true")
	rb := b.rollback(acme)
	for _, p := range rb.Policies {
		if p.Disabled || p.Result == change.Safe {
			t.Errorf("%+v", p)
		}
	}
	if rb.Code(true) != fault.Partial {
		t.Errorf("code %d", rb.Code(true))
	}
}

// An unreadable tenant may hold policies that are on: a global rollback says so.
func TestWhatCannotBeListedIsNotSafe(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	if err := os.Symlink("/nonexistent-elsewhere", filepath.Join(b.root, "t-link")); err != nil {
		t.Fatal(err)
	}
	b.commands("true", "true")
	rb := b.rollback(global)
	if len(rb.Unlisted) != 1 || rb.Code(true) != fault.Partial || rb.DisabledAfter != 0 || rb.SafeAfter != 0 {
		t.Errorf("unlisted %v, code %d, disabled after %s", rb.Unlisted, rb.Code(true), rb.DisabledAfter)
	}
	if rb = b.rollback(acme); rb.Code(false) != fault.OK {
		t.Errorf("another tenant's trouble is not t-acme's: %+v", rb)
	}
}

func TestAnInterruptedRollbackSaysWhatIsLeft(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	b.commands("touch reloading; sleep 60; : {policy} {tenant}", "true")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(b.base, "reloading")); err == nil {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	rb, err := b.Rollback(ctx, change.Request{Scope: acme})
	if err != nil {
		t.Fatal(err)
	}
	if p := rb.Policies[0]; p.Result != change.Written || !p.Disabled || !strings.Contains(p.Reason, "interrupted") || rb.Code(true) == fault.OK && p.Loaded {
		t.Errorf("%+v", p)
	}
	b.want("t-acme/chat.json", off)
	if errors.Is(ctx.Err(), context.Canceled) && rb.SafeAfter != 0 {
		t.Error("reported safe")
	}
}

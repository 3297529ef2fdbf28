package change_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

// restarter restarts nodes of a fleet as a real one does: the node is down for a
// while, its memory is empty, and it reads its files.
type restarter struct {
	f        *fleet
	mu       sync.Mutex
	down     map[string]bool
	order    []string
	overlaps int
	stay     map[string]bool // nodes that do not come back
}

func newRestarter(f *fleet) *restarter {
	r := &restarter{f: f, down: map[string]bool{}, stay: map[string]bool{}}
	for _, n := range f.nodes {
		n.wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				r.mu.Lock()
				down := r.down[n.name]
				r.mu.Unlock()
				if down {
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, q)
			})
		}
	}
	return r
}

func (r *restarter) run(_ context.Context, node string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.down {
		if d {
			r.overlaps++
		}
	}
	r.order = append(r.order, node)
	r.down[node] = true
	n := r.f.nodes[node]
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if err := n.lab.Restart(node); err != nil {
		return err
	}
	if err := n.lab.ReloadAll(); err != nil {
		return err
	}
	if !r.stay[node] {
		time.AfterFunc(300*time.Millisecond, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.down[node] = false
		})
	}
	return nil
}

func tripped(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := newFleet(t, names, two())
	for _, n := range f.nodes {
		n.lab.Fail(n.name, router.CircuitKey{Tenant: "t-acme", Provider: "openai"}, 5, 1000)
	}
	return f
}

func TestRestartGoesOneAtATime(t *testing.T) {
	f := tripped(t, "node-1", "node-2", "node-3")
	// node-3 has nothing open: it is left alone.
	f.nodes["node-3"].lab.ResetCircuit("node-3", router.CircuitKey{Tenant: "t-acme", Provider: "openai"})
	r := newRestarter(f)
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme, Clearing: change.Clearing{Wait: time.Millisecond},
		Restart: &change.Restart{Run: r.run, Floor: change.DefaultFloor(3), Healthy: 20 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	f.checkTruth(rb)
	if r.overlaps > 0 || !slices.Equal(r.order, []string{"node-1", "node-2"}) {
		t.Errorf("restarted %v, %d while another was down", r.order, r.overlaps)
	}
	if rb.Cleared() != change.Cleared || rb.Code(false) != fault.OK || len(rb.Restarts) != 2 {
		t.Errorf("code %d, %+v, %+v", rb.Code(false), rb.Restarts, rb.Nodes)
	}
}

func TestRestartStopsWhereANodeDoesNotComeBack(t *testing.T) {
	f := tripped(t, "node-1", "node-2", "node-3")
	r := newRestarter(f)
	r.stay["node-1"] = true
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme,
		Restart: &change.Restart{Run: r.run, Floor: 1, Healthy: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.order, []string{"node-1"}) || rb.Code(true) != fault.Partial {
		t.Errorf("restarted %v, code %d", r.order, rb.Code(true))
	}
	if len(rb.Restarts) != 3 || rb.Restarts[0].Healthy || !strings.Contains(rb.Restarts[1].Reason, "node-1") {
		t.Errorf("%+v", rb.Restarts)
	}
}

func TestRestartKeepsAFloor(t *testing.T) {
	f := tripped(t, "node-1", "node-2", "node-3")
	r := newRestarter(f)
	r.down["node-3"] = true // for its own reasons
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme,
		Restart: &change.Restart{Run: r.run, Floor: 2, Healthy: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.order) > 0 || !strings.Contains(rb.Restarts[0].Reason, "only 1 other node is healthy, and 2 must serve meanwhile") {
		t.Errorf("restarted %v: %+v", r.order, rb.Restarts)
	}
}

func TestRestartsThatCannotWorkAreRefused(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2"}, two())
	e := f.engine()
	for _, c := range []struct {
		floor   int
		perNode bool
		ok      bool
	}{{1, true, true}, {0, true, true}, {1, false, false}, {2, true, false}} {
		if err := e.CheckRestart(change.Restart{Floor: c.floor}, c.perNode); (err == nil) != c.ok || err != nil && fault.CodeOf(err) != fault.Usage {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A malformed policy anywhere forbids a restart: the node would come up with a
// crashed policy store.
func TestNoRestartOverAMalformedPolicy(t *testing.T) {
	files := two()
	f := newFleet(t, []string{"node-1", "node-2"}, files)
	for _, n := range f.nodes {
		n.lab.Fail(n.name, router.CircuitKey{Tenant: "t-acme", Provider: "openai"}, 5, 1000)
		putFile(t, n.root, "t-bolt/broken.json", `{"circuit_breaker":`)
	}
	r := newRestarter(f)
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme, Restart: &change.Restart{Run: r.run, Floor: 0}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.order) > 0 || rb.Code(true) != fault.Partial || change.Summarize(rb.Policies).Safe != 4 {
		t.Errorf("restarted %v, code %d, %+v", r.order, rb.Code(true), rb.Policies)
	}
}

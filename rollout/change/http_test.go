package change_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

func two() map[string]string {
	return map[string]string{"t-acme/chat.json": on, "t-acme/embed.json": on, "t-bolt/chat.json": on, "t-cove/chat.json": `{"providers":[]}`}
}

func TestRollbackOverHTTPProvesEveryNode(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2", "node-3"}, two())
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: global, Reason: "INC-1"})
	if err != nil {
		t.Fatal(err)
	}
	f.checkTruth(rb)
	if s := change.Summarize(rb.Policies); s.Safe != 12 || s.Total != 12 || rb.Code(false) != fault.OK || !rb.Held || rb.SafeAfter <= 0 || rb.SafeAfter < rb.DisabledAfter {
		t.Errorf("%+v, code %d, held %v, disabled after %s, safe after %s", s, rb.Code(false), rb.Held, rb.DisabledAfter, rb.SafeAfter)
	}
	for _, n := range f.nodes {
		if n.enabledInMemory(chat) {
			t.Errorf("%s still runs it", n.name)
		}
		files, err := filepath.Glob(filepath.Join(n.root, change.HoldDirName, "*.json"))
		if err != nil || len(files) != 1 {
			t.Errorf("%s has holds %v, %v", n.name, files, err)
		}
		for _, op := range []string{"getNode", "listPolicies", "putPolicy", "reloadPolicy", "listLoaded", "listCircuits", "putHold", "disableBreaker", "getSwitch"} {
			if n.ops[op] == 0 {
				t.Errorf("%s was never asked %s: the contract was not tried", n.name, op)
			}
		}
	}
	// Idempotent, and from elsewhere: another state directory.
	again, err := f.engine().Rollback(t.Context(), change.Request{Scope: global})
	if err != nil || again.Changed != 0 || again.Code(false) != fault.OK {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// An open circuit stays open in memory through a rollback; a reset clears it, and
// only what is read back counts.
func TestClearedIsReadBack(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2"}, two())
	f.nodes["node-2"].lab.Fail("node-2", router.CircuitKey{Tenant: "t-acme", Provider: "openai"}, 5, 1000)
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme})
	if err != nil {
		t.Fatal(err)
	}
	f.checkTruth(rb)
	if rb.Cleared() != change.StillOpen || rb.Code(false) != fault.OK || len(rb.Nodes) != 2 || rb.Nodes[0].State != change.Cleared || rb.Nodes[1].State != change.StillOpen || !rb.Nodes[1].CanReset {
		t.Errorf("cleared %s, code %d: %+v", rb.Cleared(), rb.Code(false), rb.Nodes)
	}
	for _, p := range rb.Policies {
		if want := change.ClearedState(change.Cleared); p.Node == "node-1" && p.Cleared != want {
			t.Errorf("%+v", p)
		} else if p.Node == "node-2" && p.Cleared != change.StillOpen {
			t.Errorf("%+v", p)
		}
	}
	// Waiting alone does not close it: nobody asks a disabled breaker.
	e := f.engine()
	now := time.Now()
	e.Now = func() time.Time { now = now.Add(200 * time.Millisecond); return now }
	e.Sleep = func(context.Context, time.Duration) error { return nil }
	rb, err = e.Rollback(t.Context(), change.Request{Scope: acme, Clearing: change.Clearing{Wait: 5 * time.Second}})
	if err != nil || rb.Code(false) != fault.Partial {
		t.Errorf("waited for nothing: code %d, %v", rb.Code(false), err)
	}
	rb, err = f.engine().Rollback(t.Context(), change.Request{Scope: acme, Clearing: change.Clearing{Wait: 5 * time.Second, Reset: true}})
	if err != nil || rb.Code(false) != fault.OK || rb.Cleared() != change.Cleared || rb.Nodes[1].Reset != 1 {
		t.Errorf("reset: code %d, %v, %+v", rb.Code(false), err, rb.Nodes)
	}
	f.checkTruth(rb)
}

func TestANodeThatVanishesHoldsNobodyUp(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2", "node-3"}, two())
	f.nodes["node-2"].server.Close()
	start := time.Now()
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme})
	if err != nil {
		t.Fatal(err)
	}
	f.checkTruth(rb)
	s := change.Summarize(rb.Policies)
	if s.Safe != 4 || s.Unreachable != 2 || rb.Code(true) != fault.Partial || rb.Held {
		t.Errorf("%+v, held %v", rb.Policies, rb.Held)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestNoNodeAtAllIsNoAnswer(t *testing.T) {
	f := newFleet(t, []string{"node-1"}, two())
	f.nodes["node-1"].server.Close()
	if _, err := f.engine().Rollback(t.Context(), change.Request{Scope: acme}); fault.CodeOf(err) != fault.Environment {
		t.Errorf("%v, code %d", err, fault.CodeOf(err))
	}
}

// A node that does not offer something is not asked for it, and nothing is assumed.
func TestCapabilitiesAreAskedFor(t *testing.T) {
	f := newFleet(t, []string{"node-1"}, two())
	n := f.nodes["node-1"]
	n.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/admin/node" {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"node":"node-1","healthy":true,"capabilities":["policies","reload","telepathy"]}`))
				return
			}
			next.ServeHTTP(w, q)
		})
	}
	rb, err := f.engine().Rollback(t.Context(), change.Request{Scope: global, Clearing: change.Clearing{Reset: true}})
	if err != nil {
		t.Fatal(err)
	}
	if s := change.Summarize(rb.Policies); s.Written != 4 || rb.Cleared() != change.ClearedUnknown || len(rb.NoShelf) != 1 || len(rb.Flags) != 0 {
		t.Errorf("%+v, cleared %s, no shelf %v, flags %v", s, rb.Cleared(), rb.NoShelf, rb.Flags)
	}
	for _, op := range []string{"listLoaded", "listCircuits", "resetCircuits", "putHold", "listHolds", "disableBreaker"} {
		if n.ops[op] > 0 {
			t.Errorf("%s was asked, though it is not offered", op)
		}
	}
}

// The global switch counts only where it is read back.
func TestGlobalSwitchIsReadBack(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2"}, two())
	f.nodes["node-2"].wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/admin/circuit-breaker/disable" {
				w.WriteHeader(http.StatusNoContent) // and does nothing
				return
			}
			next.ServeHTTP(w, q)
		})
	}
	e := f.engine()
	rb, err := e.Rollback(t.Context(), change.Request{Scope: global})
	if err != nil {
		t.Fatal(err)
	}
	if len(rb.Flags) != 2 || !rb.Flags[0].Off || rb.Flags[1].Off || !strings.Contains(rb.Flags[1].Reason, "read back it is on") {
		t.Errorf("%+v", rb.Flags)
	}
	f.checkTruth(rb)
	if rb.Code(false) != fault.OK {
		t.Errorf("every policy was disabled all the same: code %d", rb.Code(false))
	}
	// resume sets it back, for nothing is enabled by that now.
	l, err := e.Resume(t.Context(), global, "fixed", false)
	if err != nil || len(l.Flags) != 1 || l.Flags[0].Off {
		t.Errorf("%+v, %v", l, err)
	}
}

// resume enables nothing: a switch stays off where a policy would come on with it.
func TestResumeLeavesTheSwitchWhereItWouldEnable(t *testing.T) {
	f := newFleet(t, []string{"node-1"}, two())
	e := f.engine()
	if _, err := e.Rollback(t.Context(), change.Request{Scope: global}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.nodes["node-1"].root, "t-acme/chat.json"), []byte(on), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := e.Resume(t.Context(), global, "fixed", false)
	if err != nil || len(l.Flags) != 1 || !l.Flags[0].Off || !strings.Contains(l.Flags[0].Reason, "t-acme/chat") {
		t.Errorf("%+v, %v", l, err)
	}
}

// Two machines at once: neither harms the other, both end safe.
func TestTwoRollbacksAtOnce(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2"}, two())
	done := make(chan *change.Rollback, 2)
	for _, s := range []change.Scope{acme, global} {
		e := f.engine()
		go func() {
			rb, err := e.Rollback(context.Background(), change.Request{Scope: s})
			if err != nil {
				t.Error(err)
			}
			done <- rb
		}()
	}
	for range 2 {
		if rb := <-done; rb != nil {
			f.checkTruth(rb)
			if rb.Code(false) != fault.OK {
				t.Errorf("code %d: %+v", rb.Code(false), rb.Policies)
			}
		}
	}
}

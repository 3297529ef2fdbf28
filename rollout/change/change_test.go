package change_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/internal/proc"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

const (
	on  = `{"providers":[{"name":"openai","weight":100}],"circuit_breaker":{"enabled":true,"failure_threshold":5}}`
	off = `{"providers":[{"name":"openai","weight":100}],"circuit_breaker":{"enabled":false,"failure_threshold":5}}`
)

type bench struct {
	*change.Engine
	t        *testing.T
	base     string
	root     string
	node     *router.CommandNode
	warnings []string
}

// newBench makes a policy root with the given files and an engine on it whose
// commands are real processes.
func newBench(t *testing.T, files map[string]string) *bench {
	t.Helper()
	base := t.TempDir()
	b := &bench{t: t, base: base, root: filepath.Join(base, "policies")}
	for n, c := range files {
		b.put(n, c)
	}
	dir, err := router.OpenDir(b.root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	var mu sync.Mutex
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	b.node = &router.CommandNode{Programs: router.Programs{Runner: proc.OS{Now: time.Now}, Dir: base, Env: os.Environ()}}
	store := router.DirStore{Dir: dir}
	b.Engine = &change.Engine{
		Sites:    []change.Site{{Store: store, Shelf: store.Shelf(change.HoldDirName), Nodes: []change.Node{b.node}}},
		StateDir: filepath.Join(base, ".cbops"), TempDir: t.TempDir(), User: "on-call",
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(time.Second)
			return now
		},
		Sleep: func(context.Context, time.Duration) error { return nil },
		Warn: func(s string) {
			mu.Lock()
			defer mu.Unlock()
			b.warnings = append(b.warnings, s)
		}}
	return b
}

func (b *bench) put(name, content string) {
	b.t.Helper()
	p := filepath.Join(b.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) want(name, content string) {
	b.t.Helper()
	if got, err := os.ReadFile(filepath.Join(b.root, name)); err != nil || string(got) != content {
		b.t.Errorf("%s is %q, %v; want %q", name, got, err, content)
	}
}

func (b *bench) commands(reload, verify string) {
	b.t.Helper()
	var err error
	if b.node.ReloadCmd, err = router.ParseCommand("--reload", reload, true); err != nil {
		b.t.Fatal(err)
	}
	if b.node.VerifyCmd, err = router.ParseCommand("--verify", verify, true); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) rollback(s change.Scope) *change.Rollback {
	b.t.Helper()
	rb, err := b.Rollback(context.Background(), change.Request{Scope: s, Reason: "INC-42"})
	if err != nil {
		b.t.Fatal(err)
	}
	return rb
}

// apply replaces old by new in t-acme/chat.
func (b *bench) apply(old, new string) (*change.Applied, error) {
	return b.Apply(context.Background(), "apply", []change.Step{{Ref: chat, Path: filepath.Join(b.root, "t-acme/chat.json"), Old: []byte(old), New: []byte(new)}})
}

var (
	acme   = change.Scope{Kind: change.TenantScope, Tenant: "t-acme"}
	global = change.Scope{Kind: change.GlobalScope}
	chat   = router.Ref{Tenant: "t-acme", Policy: "chat"}
)

func TestRollbackReportsWhatIsProven(t *testing.T) {
	for _, c := range []struct {
		name, reload, verify string
		want                 change.Outcome
		reason               string
		code                 fault.Code
	}{
		{"proven", "true", `cat policies/{tenant}/{policy}.json`, change.Safe, "", fault.OK},
		{"no verify", "true", "", change.Written, "no verify command", fault.Partial},
		{"no reload", "", "", change.Written, "by hand", fault.Partial},
		{"reload fails", "echo boom >&2; exit 7", "true", change.Failed, "reload failed (exit 7): boom", fault.Partial},
		{"verify lies", "true", `echo '{"circuit_breaker":{"enabled":true}}'`, change.Failed, "loaded says enabled true, written is false", fault.Partial},
		{"verify says no", "true", "exit 1", change.Failed, "verify failed (exit 1)", fault.Partial},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, map[string]string{"t-acme/chat.json": on, "t-bolt/chat.json": on})
			b.commands(c.reload, c.verify)
			rb := b.rollback(acme)
			p := rb.Policies[0]
			if len(rb.Policies) != 1 || p.Result != c.want || !strings.Contains(p.Reason, c.reason) || !p.Disabled || rb.Code(false) != c.code {
				t.Errorf("got %+v, code %d", rb.Policies, rb.Code(false))
			}
			b.want("t-acme/chat.json", off)
			b.want("t-bolt/chat.json", on)
		})
	}
}

func TestHangingReloadIsStopped(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	b.commands("sleep 600", "true")
	b.node.Timeout = 50 * time.Millisecond
	rb := b.rollback(acme)
	if p := rb.Policies[0]; p.Result != change.Unreachable || !strings.Contains(p.Reason, "no answer within 50ms") || !p.Disabled {
		t.Errorf("got %+v", p)
	}
}

func TestMalformedPolicyStopsAReloadOfAll(t *testing.T) {
	for _, c := range []struct {
		reload  string
		stopped bool
	}{{"touch ran", true}, {"touch ran; : {tenant} {policy}", false}} {
		b := newBench(t, map[string]string{"t-acme/bad.json": `{"circuit_breaker":`, "t-acme/chat.json": on})
		b.commands(c.reload, "true")
		rb := b.rollback(acme)
		_, err := os.Stat(filepath.Join(b.base, "ran"))
		if (rb.Stopped != "") != c.stopped || (err != nil) != c.stopped || rb.Code(true) != fault.Partial {
			t.Errorf("%q: stopped %q, ran %v, code %d", c.reload, rb.Stopped, err == nil, rb.Code(true))
		}
		if p := rb.Policies[0]; p.Policy != "bad" || p.Result != change.Failed {
			t.Errorf("the malformed one is not first: %+v", rb.Policies)
		}
		b.want("t-acme/chat.json", off)
	}
}

func TestReadOnlyPolicyFailsAloneAndASecondRunCompletes(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on, "t-acme/ro.json": on})
	b.commands("true", "true")
	if err := os.Chmod(filepath.Join(b.root, "t-acme/ro.json"), 0o444); err != nil {
		t.Fatal(err)
	}
	rb := b.rollback(acme)
	if s := change.Summarize(rb.Policies); s.Failed != 1 || s.Safe != 1 {
		t.Errorf("got %+v", rb.Policies)
	}
	if err := os.Chmod(filepath.Join(b.root, "t-acme/ro.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	rb = b.rollback(acme)
	if rb.Code(false) != fault.OK || rb.Changed != 1 || len(b.Holds(context.Background())) != 1 {
		t.Errorf("second run: %+v, changed %d, holds %v", rb.Policies, rb.Changed, b.Holds(context.Background()))
	}
}

func TestUnwritableStateDelaysNothing(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	b.commands("true", "true")
	if err := os.WriteFile(b.StateDir, nil, 0o644); err != nil { // a file in its place
		t.Fatal(err)
	}
	if rb := b.rollback(acme); rb.Code(false) != fault.OK || !strings.HasPrefix(strings.Join(rb.Backups, ""), b.TempDir) {
		t.Errorf("code %d, backup %q", rb.Code(false), rb.Backups)
	}
	if len(b.warnings) == 0 {
		t.Error("nothing was said about the state directory")
	}
}

func TestHoldsForbidEnabling(t *testing.T) {
	enabled := strings.Replace(on, "5", "7", 1)
	for _, c := range []struct {
		name, hold string
		held       bool
	}{
		{"own tenant, from another machine", `{"scope":"tenant","tenant":"t-acme","policy":"","reason":"INC-1","by":"sre","at":"2026-03-01T00:00:00Z"}`, true},
		{"another tenant", `{"scope":"tenant","tenant":"t-bolt","policy":"","by":"sre","at":"2026-03-01T00:00:00Z"}`, false},
		{"another policy", `{"scope":"policy","tenant":"t-acme","policy":"embed","by":"sre","at":"2026-03-01T00:00:00Z"}`, false},
		{"torn", `{"scope":"ten`, true},
		{"empty object", `{}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, map[string]string{"t-acme/chat.json": off, ".cbops-hold/h1.json": c.hold})
			b.commands("true", "true")
			_, err := b.apply(off, enabled)
			if (err != nil) != c.held || c.held && fault.CodeOf(err) != fault.Failed {
				t.Fatalf("Apply = %v, code %d", err, fault.CodeOf(err))
			}
			if c.held {
				b.want("t-acme/chat.json", off)
			} else {
				b.want("t-acme/chat.json", enabled)
			}
		})
	}
}

func TestHoldSetDuringApplyStopsTheNext(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": off})
	// The reload sets a hold, as a rollback on another machine would meanwhile.
	b.commands(`mkdir -p policies/.cbops-hold; echo '{"scope":"global","tenant":"","policy":"","by":"sre"}' > policies/.cbops-hold/x.json`, "true")
	a, err := b.apply(off, on)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.apply(off, on); err == nil {
		t.Errorf("a second apply was not held; first: %+v", a.Policies)
	}
}

func TestResumeLiftsExactlyItsScope(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	b.rollback(global)
	b.rollback(acme)
	l, err := b.Resume(context.Background(), acme, "fixed", false)
	if err != nil || len(l.Holds) != 1 || len(l.Remaining) != 1 || len(b.Held(context.Background(), chat)) != 1 {
		t.Fatalf("%+v, %v, held %v", l, err, b.Held(context.Background(), chat))
	}
	if _, err := b.Resume(context.Background(), global, "fixed", false); err != nil || len(b.Holds(context.Background())) != 0 {
		t.Errorf("holds %v, %v", b.Holds(context.Background()), err)
	}
	b.want("t-acme/chat.json", off)
}

func TestApplyRefusesAFileThatChanged(t *testing.T) {
	other := strings.Replace(off, "5", "9", 1)
	b := newBench(t, map[string]string{"t-acme/chat.json": other})
	if _, err := b.apply(off, on); err == nil {
		t.Error("applied over a file that nobody saw")
	}
	b.want("t-acme/chat.json", other)
}

func TestSecondLookSeesWhatWasEnabledAgain(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	rb := b.rollback(acme)
	b.Sleep = func(context.Context, time.Duration) error { b.put("t-acme/chat.json", on); return nil }
	back, err := b.Settle(context.Background(), rb, time.Minute)
	if err != nil || len(back) != 1 || back[0].Ref() != chat || back[0].Cause != change.CauseRestored {
		t.Errorf("got %v, %v", back, err)
	}
}

func TestUnknownScopeSuggests(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	_, err := b.Rollback(context.Background(), change.Request{Scope: change.Scope{Kind: change.TenantScope, Tenant: "t-acm"}})
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(fault.HintsOf(err)), `did you mean "t-acme"`) {
		t.Errorf("%v, hints %v", err, fault.HintsOf(err))
	}
	if len(b.Holds(context.Background())) != 0 {
		t.Error("a hold for nothing was set")
	}
}

// reopen points the bench at another policy root.
func (b *bench) reopen(root string) {
	b.t.Helper()
	dir, err := router.OpenDir(root)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = dir.Close() })
	b.root = root
	store := router.DirStore{Dir: dir}
	b.Sites = []change.Site{{Store: store, Shelf: store.Shelf(change.HoldDirName), Nodes: []change.Node{b.node}}}
}

package change_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
)

// A rollback elsewhere drops its hold after our enabling write and before our
// reload: nothing is reloaded, and the policy is disabled again.
func TestAHoldBetweenWriteAndReloadWins(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": off})
	b.commands("touch reloaded; : {tenant}", "true")
	b.Progress = func(e change.Event) {
		if e.Stage == change.StageWritten && e.Done == e.Total {
			b.put(".cbops-hold/other.json", `{"scope":"tenant","tenant":"t-acme","policy":"","by":"sre","reason":"INC-8"}`)
		}
	}
	a, err := b.apply(off, on)
	if err != nil {
		t.Fatal(err)
	}
	if p := a.Policies[0]; p.Result != change.Failed || !strings.Contains(p.Reason, "INC-8") || !strings.Contains(p.Reason, "disabled again") || !p.Disabled || a.Code(true) != fault.Partial {
		t.Errorf("%+v", p)
	}
	if _, err := os.Stat(filepath.Join(b.base, "reloaded")); err == nil {
		t.Error("it was reloaded")
	}
	b.want("t-acme/chat.json", off)
}

// What somebody writes between the plan and the write stays, but for the breaker,
// and is kept in the backup.
func TestAChangeDuringARollbackStaysAndIsKept(t *testing.T) {
	other := strings.Replace(on, `"weight":100`, `"weight":90`, 1)
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	b.commands("true", "true")
	b.Progress = func(e change.Event) {
		if e.Stage == change.StageRead && e.Done == e.Total {
			b.put("t-acme/chat.json", other)
		}
	}
	rb := b.rollback(acme)
	b.want("t-acme/chat.json", strings.Replace(other, `"enabled":true`, `"enabled":false`, 1))
	if rb.Code(false) != fault.OK {
		t.Errorf("%+v", rb.Policies)
	}
	b.Progress = nil
	if _, err := b.Resume(t.Context(), acme, "fixed", false); err != nil {
		t.Fatal(err)
	}
	u, err := b.PrepareUndo(t.Context(), rb.ID)
	if err != nil || len(u.Steps) != 1 || string(u.Steps[0].New) != other {
		t.Errorf("%+v, %v", u, err)
	}
}

// Each node keeps its own policies: an undo restores each of them.
func TestUndoOverHTTP(t *testing.T) {
	f := newFleet(t, []string{"node-1", "node-2"}, two())
	e := f.engine()
	rb, err := e.Rollback(t.Context(), change.Request{Scope: acme})
	if err != nil || len(rb.Backups) != 2 {
		t.Fatalf("%v, backups %v", err, rb.Backups)
	}
	u, err := e.PrepareUndo(t.Context(), rb.ID)
	if err != nil || len(u.Steps) != 4 {
		t.Fatalf("%+v, %v", u, err)
	}
	if _, err := e.Undo(t.Context(), u, false); fault.CodeOf(err) != fault.Failed {
		t.Errorf("the hold was not respected: %v", err)
	}
	if _, err := e.Resume(t.Context(), acme, "fixed", false); err != nil {
		t.Fatal(err)
	}
	a, err := e.Undo(t.Context(), u, false)
	if err != nil || a.Code(false) != fault.OK {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, n := range f.nodes {
		if !n.enabledInMemory(chat) {
			t.Errorf("%s does not run it enabled again", n.name)
		}
	}
}

// A phase that another machine rolled back is held there too, by the tenants that
// the hold names: the plan is not needed.
func TestAPhaseHoldNamesItsTenants(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on, "t-acme/embed.json": on, "t-bolt/chat.json": off})
	b.commands("true", "true")
	phase := change.Scope{Kind: change.PhaseScope, Phase: 1, Tenants: []string{"t-acme"}, Policies: []string{"chat"}}
	if rb := b.rollback(phase); rb.Code(false) != fault.OK || rb.Changed != 1 {
		t.Fatalf("%+v", rb)
	}
	b.want("t-acme/embed.json", on)
	b.StateDir = filepath.Join(t.TempDir(), ".cbops") // another machine
	if _, err := b.apply(off, on); fault.CodeOf(err) != fault.Failed {
		t.Errorf("not held: %v", err)
	}
	if l, err := b.Resume(t.Context(), change.Scope{Kind: change.PhaseScope, Phase: 1}, "fixed", false); err != nil || len(l.Holds) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := b.apply(off, on); err != nil {
		t.Error(err)
	}
}

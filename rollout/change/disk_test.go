//go:build linux

package change_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
)

// tmpfs mounts a small disk; it needs root.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skipf("%s skipped: a small disk needs root to mount", t.Name())
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("%s skipped: cannot mount a tmpfs: %s", t.Name(), out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// The state directory's disk fills up in the middle of the backup: all of it goes
// to the temporary directory, and undo finds it there.
func TestABackupThatOutgrowsItsDiskMovesWhole(t *testing.T) {
	files := map[string]string{}
	for i := range 60 {
		files["t-acme/p"+strings.Repeat("x", i)+".json"] = strings.Replace(on, `"weight":100`, `"weight":100,"note":"`+strings.Repeat("n", 3000)+`"`, 1)
	}
	b := newBench(t, files)
	b.StateDir = tmpfs(t, "128k")
	b.commands("true", "true")
	rb := b.rollback(acme)
	if rb.Code(false) != fault.OK || rb.Changed != 60 || len(rb.Backups) != 1 || !strings.HasPrefix(rb.Backups[0], b.TempDir) {
		t.Fatalf("code %d, changed %d, backups %v, %v", rb.Code(false), rb.Changed, rb.Backups, b.warnings)
	}
	raw, err := os.ReadFile(rb.Backups[0])
	if err != nil || bytes.Count(raw, []byte("\n")) != 60 {
		t.Errorf("%d lines, %v", bytes.Count(raw, []byte("\n")), err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.StateDir, "backups", "*")); len(left) > 0 {
		t.Errorf("half a backup is left: %v", left)
	}
	if _, err := b.Resume(t.Context(), acme, "fixed", false); err != nil {
		t.Fatal(err)
	}
	u, err := b.PrepareUndo(t.Context(), rb.ID)
	if err != nil || len(u.Steps) != 60 {
		t.Fatalf("%d steps, %v", len(u.Steps), err)
	}
	if a, err := b.Undo(t.Context(), u, false); err != nil || a.Code(false) != fault.OK {
		t.Fatal(err)
	}
	for name, text := range files {
		b.want(name, text)
	}
}

// The policies' own disk is full: nothing is disabled, nothing is torn, nothing is
// claimed; with room again the same command completes it.
func TestAFullDiskUnderThePolicies(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on, "t-acme/embed.json": on})
	full := tmpfs(t, "64k")
	root := filepath.Join(full, "policies")
	for _, p := range []string{"chat", "embed"} {
		putFile(t, root, "t-acme/"+p+".json", on)
	}
	b.reopen(root)
	b.commands("true", "true")
	fill := filepath.Join(full, "fill")
	_ = os.WriteFile(fill, make([]byte, 1<<20), 0o600) // as much as fits
	rb := b.rollback(acme)
	s := change.Summarize(rb.Policies)
	if s.Failed != 2 || rb.Held || rb.Code(true) != fault.Partial || rb.DisabledAfter != 0 || rb.SafeAfter != 0 {
		t.Errorf("%+v, held %v, code %d", rb.Policies, rb.Held, rb.Code(true))
	}
	b.want("t-acme/chat.json", on)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if rb = b.rollback(acme); rb.Code(false) != fault.OK || !rb.Held || rb.Changed != 2 {
		t.Errorf("%+v", rb)
	}
	entries, err := os.ReadDir(filepath.Join(root, "t-acme"))
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Nothing can be written anywhere: the old bytes go to the last resort.
func TestTheLastResortGetsTheBackup(t *testing.T) {
	b := newBench(t, map[string]string{"t-acme/chat.json": on})
	b.commands("true", "true")
	for _, d := range []*string{&b.StateDir, &b.TempDir} {
		*d = filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(*d, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	b.LastResort = func(l string) { lines = append(lines, l) }
	if rb := b.rollback(acme); rb.Code(false) != fault.OK || len(rb.Backups) != 0 {
		t.Errorf("%+v", rb)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], `"policy":"chat"`) {
		t.Errorf("%q", lines)
	}
}

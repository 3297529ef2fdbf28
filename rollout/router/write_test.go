//go:build unix

package router_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cbops/cbops/rollout/router"
)

var chat = router.Ref{Tenant: "t-acme", Policy: "chat"}

func TestWriteKeepsModeOwnerAndLeavesNothingBehind(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "t-acme/chat.json")
	put(t, name, "old")
	if err := os.Chmod(name, 0o664); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(name, 12345, 54321); err != nil {
			t.Fatal(err)
		}
	}
	was, _ := os.Stat(name)
	if err := open(t, root).Write(chat, []byte("new")); err != nil {
		t.Fatal(err)
	}
	is, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	a, b := was.Sys().(*syscall.Stat_t), is.Sys().(*syscall.Stat_t)
	if is.Mode() != was.Mode() || a.Uid != b.Uid || a.Gid != b.Gid {
		t.Errorf("mode %v uid %d gid %d, was %v %d %d", is.Mode(), b.Uid, b.Gid, was.Mode(), a.Uid, a.Gid)
	}
	onlyFile(t, root, "new")
}

// onlyFile checks the policy's content, and that no temporary file is left.
func onlyFile(t *testing.T, root, want string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "t-acme/chat.json"))
	if err != nil || string(b) != want {
		t.Errorf("policy is %q, %v; want %q", b, err, want)
	}
	entries, err := os.ReadDir(filepath.Join(root, "t-acme"))
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v; want the policy alone", entries, err)
	}
}

func TestWriteRefusesBeforehand(t *testing.T) {
	t.Run("read-only file, for root too", func(t *testing.T) {
		root := t.TempDir()
		put(t, filepath.Join(root, "t-acme/chat.json"), "old")
		if err := os.Chmod(filepath.Join(root, "t-acme/chat.json"), 0o444); err != nil {
			t.Fatal(err)
		}
		refused(t, root, "read-only")
	})
	t.Run("hard link", func(t *testing.T) {
		root, other := t.TempDir(), filepath.Join(t.TempDir(), "second")
		put(t, filepath.Join(root, "t-acme/chat.json"), "old")
		if err := os.Link(filepath.Join(root, "t-acme/chat.json"), other); err != nil {
			t.Skipf("no hard links here: %v", err)
		}
		refused(t, root, "hard links")
	})
}

func refused(t *testing.T, root, want string) {
	t.Helper()
	d := open(t, root)
	for what, err := range map[string]error{"CheckWritable": d.CheckWritable(chat), "Write": d.Write(chat, []byte("new"))} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want %q", what, err, want)
		}
	}
	onlyFile(t, root, "old")
}

func TestWriteThroughALinkInsideTheRootKeepsTheLink(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "t-acme/real.json"), "old")
	if err := os.Symlink("real.json", filepath.Join(root, "t-acme/chat.json")); err != nil {
		t.Fatal(err)
	}
	if err := open(t, root).Write(chat, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(root, "t-acme/chat.json")); err != nil || to != "real.json" {
		t.Errorf("the link is %q, %v", to, err)
	}
	if b, _ := os.ReadFile(filepath.Join(root, "t-acme/real.json")); string(b) != "new" {
		t.Errorf("the file behind the link is %q", b)
	}
}

func TestDiskFullKeepsTheOldFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("TestDiskFullKeepsTheOldFile skipped: a small tmpfs needs root to mount")
	}
	root := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", root).CombinedOutput(); err != nil {
		t.Skipf("TestDiskFullKeepsTheOldFile skipped: cannot mount a tmpfs: %s", out)
	}
	d := open(t, root)
	t.Cleanup(func() {
		_ = d.Close()
		if out, err := exec.Command("umount", root).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	put(t, filepath.Join(root, "t-acme/chat.json"), "old")
	err := d.Write(chat, bytes.Repeat([]byte("x"), 128<<10))
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Write = %v, want no space left", err)
	}
	onlyFile(t, root, "old")
}

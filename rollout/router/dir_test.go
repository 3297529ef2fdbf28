package router_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, root string) *router.Dir {
	t.Helper()
	d, err := router.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestListShowsOnlyWhatARouterCouldRead(t *testing.T) {
	root := t.TempDir()
	for _, n := range []string{"t-bolt/b.json", "t-bolt/a.json", "t-acme/chat.json", "t-acme/chat.txt", "t-acme/.tmp.json",
		".cbops-hold/x.json", "bad name/x.json", "t-acme/sub/x.json", "stray.json"} {
		put(t, filepath.Join(root, n), "{}")
	}
	refs, err := open(t, root).List()
	if err != nil {
		t.Fatal(err)
	}
	want := []router.Ref{{Tenant: "t-acme", Policy: "chat"}, {Tenant: "t-bolt", Policy: "a"}, {Tenant: "t-bolt", Policy: "b"}}
	if d := cmp.Diff(want, refs); d != "" {
		t.Error(d)
	}
}

func TestNothingLeavesTheRoot(t *testing.T) {
	base := t.TempDir()
	root, out := filepath.Join(base, "policies"), filepath.Join(base, "outside")
	put(t, filepath.Join(root, "t-acme/chat.json"), "{}")
	put(t, filepath.Join(out, "chat.json"), "secret")
	for link, to := range map[string]string{"t-link": out, "t-acme/abs.json": filepath.Join(out, "chat.json"), "t-acme/rel.json": "../../outside/chat.json"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, root)
	for _, r := range []router.Ref{{Tenant: "t-link", Policy: "chat"}, {Tenant: "t-acme", Policy: "abs"}, {Tenant: "t-acme", Policy: "rel"},
		{Tenant: "..", Policy: "chat"}, {Tenant: "../outside", Policy: "chat"}, {Tenant: "t-acme", Policy: "../../outside/chat"}, {Tenant: "", Policy: "chat"}, {Tenant: ".", Policy: "chat"}} {
		if b, err := d.Read(r); err == nil {
			t.Errorf("Read(%v) = %q, want a refusal", r, b)
		}
		if err := d.Write(r, []byte("overwritten")); err == nil {
			t.Errorf("Write(%v) succeeded, want a refusal", r)
		}
	}
	if b, err := os.ReadFile(filepath.Join(out, "chat.json")); err != nil || string(b) != "secret" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
	refs, err := d.List()
	if err == nil || !strings.Contains(err.Error(), "t-link") || !strings.Contains(err.Error(), "leads out of the policy root") {
		t.Errorf("List error = %v, want it to name the link", err)
	}
	if len(refs) != 3 { // abs and rel are there; reading them says what is wrong
		t.Errorf("List = %v, want the three of t-acme", refs)
	}
}

func TestRootMayBeALink(t *testing.T) {
	base := t.TempDir()
	put(t, filepath.Join(base, "real/t-acme/chat.json"), "{}")
	put(t, filepath.Join(base, "file"), "")
	for link, to := range map[string]string{"root": "real", "tofile": "file", "nowhere": "gone"} {
		if err := os.Symlink(to, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(t, filepath.Join(base, "root")).Read(router.Ref{Tenant: "t-acme", Policy: "chat"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"tofile", "nowhere", "file"} {
		if _, err := router.OpenDir(filepath.Join(base, bad)); err == nil {
			t.Errorf("OpenDir(%s) succeeded", bad)
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "t-acme/big.json"), "")
	if err := os.Truncate(filepath.Join(root, "t-acme/big.json"), policy.MaxBytes+1); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, root).Read(router.Ref{Tenant: "t-acme", Policy: "big"})
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("Read = %v", err)
	}
	_, err = open(t, root).Read(router.Ref{Tenant: "t-acme", Policy: "gone"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read = %v, want fs.ErrNotExist", err)
	}
}

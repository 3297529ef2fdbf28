package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// binary is cbops, built at most once in a run of the tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cbops-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "cbops")
	if out, err := exec.Command("go", "build", "-o", bin, "./cbops").CombinedOutput(); err != nil {
		return bin, fmt.Errorf("cannot build cbops: %w\n%s", err, out)
	}
	return bin, nil
})

// builds removes the binary when all tests are done.
type builds struct{ m *testing.M }

func (b builds) Run() int {
	code := b.m.Run()
	if built.Load() {
		if bin, _ := binary(); bin != "" {
			_ = os.RemoveAll(filepath.Dir(bin)) // a temporary directory
		}
	}
	return code
}

var built atomic.Bool

// buildCbops returns the real binary: what is killed, or sees a terminal, must be a
// real process.
func buildCbops(t *testing.T) string {
	t.Helper()
	built.Store(true)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func runCbops(t *testing.T, bin, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := exec.Command(bin, args...)
	c.Dir = dir
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

func policies(t *testing.T, n int) string {
	t.Helper()
	base := t.TempDir()
	if err := os.MkdirAll(filepath.Join(base, "policies", "t-acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := filepath.Join(base, "policies", "t-acme", fmt.Sprintf("p%03d.json", i))
		if err := os.WriteFile(name, []byte(`{"providers":[{"name":"openai","weight":100}],"circuit_breaker":{"enabled":true,"failure_threshold":5}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func TestKilledRollbackIsCompletedByASecondRun(t *testing.T) {
	bin := buildCbops(t)
	killed := 0
	for i := range 15 {
		base := policies(t, 60)
		args := []string{"rollback", "tenant", "t-acme", "--policies", "policies", "--reload", "true", "--verify", "true", "--yes"}
		c := exec.Command(bin, args...)
		c.Dir = base
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(4+3*i)*time.Millisecond, func() { _ = c.Process.Kill() }) // it may be done
		if c.Wait() != nil {
			killed++
		}
		files, err := filepath.Glob(filepath.Join(base, "policies/t-acme/*.json"))
		if err != nil || len(files) != 60 {
			t.Fatalf("%d policies, %v", len(files), err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err != nil || !json.Valid(b) {
				t.Fatalf("%s is torn: %q, %v", f, b, err)
			}
		}
		if code, out, errs := runCbops(t, bin, base, args...); code != 0 {
			t.Fatalf("second run: exit %d\n%s%s", code, out, errs)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err != nil || !strings.Contains(string(b), `"enabled":false`) {
				t.Fatalf("%s: %q, %v", f, b, err)
			}
		}
	}
	if killed == 0 {
		t.Error("no run was killed in time: the test proved nothing")
	}
	t.Logf("%d of 15 runs were killed", killed)
}

func TestDryRunAndRefusalsChangeNothing(t *testing.T) {
	bin := buildCbops(t)
	base := policies(t, 2)
	if err := os.WriteFile(filepath.Join(base, "f.json"), []byte(`{"circuit_breaker":{"enabled":true,"failure_threshold":7}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, base)
	where := []string{"--policies", "policies", "--reload", "touch reloaded"}
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"rollback", "global", "--dry-run"}},
		{0, []string{"apply", "-f", "f.json", "--tenant", "t-acme", "--policy", "p000", "--dry-run"}},
		{2, []string{"rollback", "global"}}, // nobody to ask
		{2, []string{"apply", "-f", "f.json", "--tenant", "t-acme", "--policy", "p000"}},
		{2, []string{"apply", "-f", "f.json", "--tenant", "t-acm", "--policy", "p000", "--yes"}},
		{2, []string{"rollback", "tenant", "../t-acme", "--yes"}},
		{2, []string{"rollback", "everything", "--yes"}},
		{2, []string{"resume", "global"}},
	} {
		code, out, errs := runCbops(t, bin, base, append(c.args, where...)...)
		if code != c.code {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, code, c.code, out, errs)
		}
	}
	if after := tree(t, base); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
}

// tree is every file below a directory with its content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, p)
		if d.Type().IsRegular() {
			c, err := os.ReadFile(p)
			b.Write(c)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

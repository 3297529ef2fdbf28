package cmd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// practiceNode is a node of the practice router with an admin API, in this
// process: what it runs is known, whatever a killed cbops was doing.
type practiceNode struct {
	name, root, url string
	lab             *lab.Router
	mu              *sync.Mutex
}

func practiceNodes(t *testing.T, names []string, policies int, slow time.Duration) []practiceNode {
	t.Helper()
	var nodes []practiceNode
	for _, name := range names {
		n := practiceNode{name: name, root: filepath.Join(t.TempDir(), "policies"), mu: &sync.Mutex{}}
		for i := range policies {
			put(t, filepath.Join(n.root, fmt.Sprintf("t-%d", i%3), fmt.Sprintf("p%03d.json", i)), enabledPolicy)
		}
		dir, err := router.OpenDir(n.root)
		if err != nil {
			t.Fatal(err)
		}
		if n.lab, err = lab.NewRouter(dir, []string{name}, true); err != nil {
			t.Fatal(err)
		}
		h, err := n.lab.Admin(lab.AdminOptions{Node: name, Store: dir, Holds: router.DirStore{Dir: dir}.Shelf(change.HoldDirName), Lock: n.mu})
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			time.Sleep(slow)
			h.ServeHTTP(w, q)
		}))
		t.Cleanup(func() {
			s.Close()
			_ = dir.Close()
		})
		n.url = s.URL
		nodes = append(nodes, n)
	}
	return nodes
}

// enabled counts the policies that the node runs enabled, and those whose file is
// torn.
func (n practiceNode) enabled(t *testing.T) (on, torn int) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	files, err := filepath.Glob(filepath.Join(n.root, "t-*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !json.Valid(b) {
			torn++
		}
		r := router.Ref{Tenant: filepath.Base(filepath.Dir(f)), Policy: strings.TrimSuffix(filepath.Base(f), ".json")}
		if raw, ok := n.lab.LoadedOn(n.name, r); ok && bytes.Contains(raw, []byte(`"enabled":true`)) {
			on++
		}
	}
	return on, torn
}

// TestKilledHTTPRollbackIsCompletedElsewhere kills cbops with SIGKILL at random
// instants; then another machine, which has nothing but the flags, completes it.
func TestKilledHTTPRollbackIsCompletedElsewhere(t *testing.T) {
	bin := buildCbops(t)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	killed, halfway := 0, 0
	var whole time.Duration // of the first run, which nobody kills
	for range 9 {
		nodes := practiceNodes(t, []string{"node-1", "node-2"}, 60, 4*time.Millisecond)
		args := []string{"rollback", "global", "--yes", "--reason", "INC-3"}
		for _, n := range nodes {
			args = append(args, "--admin", n.name+"="+n.url)
		}
		c := exec.Command(bin, args...)
		c.Dir = t.TempDir()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if whole > 0 {
			time.AfterFunc(time.Duration(rng.Int64N(int64(whole))), func() { _ = c.Process.Kill() }) // it may be done
		}
		if c.Wait() != nil {
			killed++
		}
		if whole == 0 {
			whole = time.Since(start)
		}
		on := 0
		for _, n := range nodes {
			x, torn := n.enabled(t)
			on += x
			if torn > 0 {
				t.Fatalf("%s: %d policies are torn", n.name, torn)
			}
		}
		if on > 0 && on < 120 {
			halfway++
		}
		code, out, errs := runCbops(t, bin, t.TempDir(), args...)
		if code != 0 {
			t.Fatalf("the second run, elsewhere: exit %d\n%s%s", code, out, errs)
		}
		for _, n := range nodes {
			if x, _ := n.enabled(t); x > 0 {
				t.Errorf("%s still runs %d enabled, reported was:\n%s", n.name, x, out)
			}
		}
	}
	if killed == 0 {
		t.Error("no run was killed in time: the test proved nothing")
	}
	t.Logf("%d of 8 runs were killed within %s, %d with some policies loaded and some not", killed, whole, halfway)
}

// TestAnEnablingChangeThatRunsCannotUndoARollback races `apply` against a rollback
// from another machine: whoever comes last, the policy ends disabled and held.
func TestAnEnablingChangeThatRunsCannotUndoARollback(t *testing.T) {
	bin := buildCbops(t)
	nodes := practiceNodes(t, []string{"node-1"}, 3, 2*time.Millisecond)
	admin := "node-1=" + nodes[0].url
	a, b := t.TempDir(), t.TempDir()
	put(t, filepath.Join(a, "on.json"), `{"circuit_breaker":{"enabled":true,"failure_threshold":7}}`)
	for i := range 6 {
		if code, out, errs := runCbops(t, bin, b, "resume", "global", "--reason", "again", "--admin", admin); code != 0 {
			t.Fatalf("exit %d\n%s%s", code, out, errs)
		}
		apply := exec.Command(bin, "apply", "-f", "on.json", "--tenant", "t-0", "--policy", "p000", "--admin", admin, "--yes")
		apply.Dir = a
		if err := apply.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i*6) * time.Millisecond)
		code, out, errs := runCbops(t, bin, b, "rollback", "global", "--yes", "--admin", admin)
		err := apply.Wait()
		if on, _ := nodes[0].enabled(t); on > 0 {
			// The apply may have loaded it before the rollback's hold stood; then the
			// rollback came after it and disabled it.
			t.Fatalf("round %d: %d enabled after a rollback (exit %d, apply %v)\n%s%s", i, on, code, err, out, errs)
		}
	}
}

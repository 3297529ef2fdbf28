package lab

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cbops/cbops/breaker"
)

// The exposition after the recorded operations equals the recorded answer, as a
// set of lines: the router's order is that of a hash table.
func TestExpositionEqualsTheRecording(t *testing.T) {
	dirs := []string{"testdata"}
	if shared := filepath.Join("..", "..", "..", "shared", "metrics"); exists(shared) {
		dirs = append(dirs, shared)
	}
	for _, dir := range dirs {
		want, err := os.ReadFile(filepath.Join(dir, "router.prom"))
		if err != nil {
			t.Fatal(err)
		}
		// Both paths through the lab: told request by request, and caught up.
		for _, exact := range []bool{true, false} {
			n := &node{name: "n", exact: exact}
			n.restart()
			if ops := play(t, n, filepath.Join(dir, "router.ops")); ops < 50 {
				t.Fatalf("%s: only %d operations played", dir, ops)
			}
			n.settle()
			got := n.metrics.exposition()
			if strings.HasSuffix(got, "\n") != strings.HasSuffix(string(want), "\n") {
				t.Errorf("%s: final newline differs from the recording", dir)
			}
			if d := cmp.Diff(sortedLines(string(want)), sortedLines(got)); d != "" {
				t.Errorf("%s, exact=%v (-recorded +lab):\n%s", dir, exact, d)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func sortedLines(s string) []string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return lines
}

// play runs router.ops on a node and returns how many operations it had.
func play(t *testing.T, n *node, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cfg := breaker.Config{FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 1000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}
	now, ops := int64(1_000_000), 0
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		fields := strings.Fields(sc.Text())
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if fields[0] == "T" {
			ms, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			now += ms
			continue
		}
		tenant, provider, _ := strings.Cut(fields[0], "/")
		times := 1
		if len(fields) == 3 {
			if times, err = strconv.Atoi(strings.TrimPrefix(fields[2], "x")); err != nil {
				t.Fatal(err)
			}
		}
		c := n.circuit(breaker.Key{Tenant: tenant, Provider: provider})
		for range times {
			ops++
			switch fields[1] {
			case "C":
				c.configure(cfg, now)
			case "A":
				c.allow(now)
			case "S":
				c.success(now)
			case "F":
				c.failure(now)
			default:
				t.Fatalf("%s: unknown operation %q", path, sc.Text())
			}
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return ops
}

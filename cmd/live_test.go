package cmd_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func manyPolicies(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		put(t, filepath.Join(dir, "policies/t-acme", fmt.Sprintf("p%02d.json", i)), enabledPolicy)
	}
	return dir
}

// On a terminal there is a bar per stage and node, with counts and the time since
// the start, and the moment when everything was safe.
func TestLivePictureOnATerminal(t *testing.T) {
	need(t, "script", "stty")
	bin, dir := buildCbops(t), manyPolicies(t, 12)
	c := exec.Command("script", "-qec", "stty rows 40 cols 100; "+bin+
		` rollback tenant t-acme --policies policies --node node-1 --node node-2 --reload "sh -c 'sleep 0.05' {node} {policy}" --verify "true {node} {policy}" --yes --settle 0s`, "/dev/null")
	c.Dir = dir
	c.Env = append(c.Environ(), "TERM=xterm")
	b, err := c.CombinedOutput()
	out := string(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"disabled  policies          [===", "12/12  ", "reloaded  node-1            [", "loaded    node-2            [===", "all disabled on disk", "safe after ", "24 of 24 disabled and proven loaded"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// A dumb terminal gets lines.
	c = exec.Command("script", "-qec", bin+" rollback tenant t-acme --policies policies --reload true --verify true --yes --settle 0s", "/dev/null")
	c.Dir = dir
	c.Env = append(c.Environ(), "TERM=dumb")
	if b, err = c.CombinedOutput(); err != nil || strings.Contains(string(b), "\x1b[") || !strings.Contains(string(b), "disabled  12/12") {
		t.Errorf("%v\n%q", err, b)
	}
}

// With -o json, stdout is one document, and the lines of stderr that begin with a
// brace are events.
func TestJSONEvents(t *testing.T) {
	bin, dir := buildCbops(t), manyPolicies(t, 5)
	code, out, errs := runCbops(t, bin, dir, "rollback", "global", "--policies", "policies", "--reload", "true", "--verify", "true", "--yes", "-o", "json")
	var doc struct {
		Kind          string
		SafeAfter     float64
		DisabledAfter float64
	}
	if err := json.Unmarshal([]byte(out), &doc); code != 0 || err != nil || doc.Kind != "Rollback" || doc.SafeAfter <= 0 || doc.DisabledAfter > doc.SafeAfter {
		t.Fatalf("exit %d, %v, %+v\n%s", code, err, doc, out)
	}
	stages, last := map[string]int{}, 0.0
	for line := range strings.SplitSeq(errs, "\n") {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e struct {
			Kind, Stage, Where  string
			Done, Failed, Total int
			After               float64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Kind != "ChangeEvent" || e.After < last || e.Done > e.Total {
			t.Errorf("%v: %s", err, line)
		}
		stages[e.Stage], last = e.Done, e.After
	}
	for _, s := range []string{"hold", "read", "written", "disabled", "reloaded", "loaded", "safe"} {
		if stages[s] == 0 {
			t.Errorf("stage %s did not end: %v", s, stages)
		}
	}
}

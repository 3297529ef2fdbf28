package scenario_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cbops/cbops/breaker/scenario"
)

// The manual is true: its example passes and is a test, and it names every measure.
func TestTheManual(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "loadtest-scenarios.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(apiVersion: cbops/v1\nkind: Scenario\n.*?)```").FindSubmatch(raw)
	if m == nil {
		t.Fatal("the manual has no example")
	}
	s, err := parse(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	if r := run(t, s); r.Verdict != scenario.Pass {
		t.Errorf("the manual's example: %s%s", r.Verdict, failed(r))
	}
	if left, err := s.CannotFail(t.Context(), 1); err != nil || len(left) > 0 {
		t.Errorf("the manual's example would be refused: %v, %v", left, err)
	}
	for _, x := range scenario.Measures() {
		if !strings.Contains(string(raw), "`"+x.Name+"`") {
			t.Errorf("the manual does not name the measure %s", x.Name)
		}
	}
	gate, err := os.ReadFile(filepath.Join("..", "..", "docs", "loadtest.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names() {
		if !strings.Contains(string(gate), "| `"+n+"` |") {
			t.Errorf("the manual does not name the scenario %s", n)
		}
	}
}

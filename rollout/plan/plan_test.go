package plan_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/plan"
)

func TestWhatIsNoPlanIsAUsageError(t *testing.T) {
	for _, raw := range []string{"", "# only a comment\n", "a: [", "\t", "a: b: c", "\xff"} {
		if p, problems, err := plan.Parse("cbops.yaml", []byte(raw)); err == nil && len(problems) == 0 {
			t.Errorf("%q is taken for a plan: %+v", raw, p)
		} else if err != nil && fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: code %d", raw, fault.CodeOf(err))
		}
	}
	for _, raw := range []string{"- a\n", "word\n", "null\n", "a: &a [*a]\n", "router: &r\n  policies: *r\n"} {
		if _, problems, err := plan.Parse("cbops.yaml", []byte(raw)); err == nil && len(problems) == 0 {
			t.Errorf("%q is taken for a plan", raw)
		}
	}
}

func TestAMisspeltKeyHasItsPlace(t *testing.T) {
	_, problems, err := plan.Parse("cbops.yaml", []byte("router:\n  policy: x\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Line == 2 && p.Column == 3 {
			return
		}
	}
	t.Errorf("no problem at 2:3: %+v", problems)
}

func TestFindLooksAbove(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(root, plan.Name)
	if err := os.WriteFile(want, []byte("name: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := plan.Find(deep); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}

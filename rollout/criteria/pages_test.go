package criteria_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/plan"
)

const pages = "../../docs/criteria"

// asked is the words for the phases that ask for a criterion.
func asked(id string) string {
	from := 1
	for !slices.Contains(criteria.IDs(from), id) {
		from++
	}
	switch from {
	case 4:
		return "Asked in phase 4,"
	case 3:
		return "Asked in phases 3 and 4,"
	}
	return fmt.Sprintf("Asked in phases %d to 4,", from)
}

// Pages, ids and code are one list, and each page says the guide's sentence, the
// phases, and whether it is advisory, as the code has them.
func TestPages(t *testing.T) {
	entries, err := os.ReadDir(pages)
	if err != nil {
		t.Fatal(err)
	}
	ids := criteria.AllIDs()
	for _, e := range entries {
		if !slices.Contains(ids, strings.TrimSuffix(e.Name(), ".md")) {
			t.Errorf("%s is the page of no criterion", e.Name())
		}
	}
	findings := map[string]criteria.Finding{}
	for _, phase := range []int{4, 2} { // advisory is said in phase 2
		for _, f := range criteria.Judge(&evidence.Evidence{}, criteria.NewRequest(phase)) {
			findings[f.ID] = f
		}
	}
	for _, id := range ids {
		raw, err := os.ReadFile(filepath.Join(pages, id+".md"))
		if err != nil {
			t.Errorf("no page: %v", err)
			continue
		}
		page := string(raw)
		if !strings.HasPrefix(page, "# "+id+"\n") {
			t.Errorf("%s: the page begins with another name", id)
		}
		flat := strings.Join(strings.Fields(page), " ")
		if guide := `The guide: "` + findings[id].Guide + `".`; !strings.Contains(flat, guide) {
			t.Errorf("%s: the page does not say: %s", id, guide)
		}
		if !strings.Contains(flat, asked(id)) {
			t.Errorf("%s: the page does not say: %s", id, asked(id))
		}
		if findings[id].Advisory != strings.Contains(page, "**Advisory** in phase") {
			t.Errorf("%s: advisory before phase 3: %v, and the page says otherwise", id, findings[id].Advisory)
		}
		at := -1
		for _, h := range []string{"## The rule", "## Reading the output", "## What it cannot see", "## Making it measurable"} {
			i := strings.Index(page, "\n"+h+"\n")
			if i <= at {
				t.Errorf("%s: %q is missing, or not in its place", id, h)
			}
			at = i
		}
		for n, line := range strings.Split(page, "\n") {
			if len([]rune(line)) > 92 && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s:%d: %d characters", id, n+1, len([]rune(line)))
			}
		}
	}
}

// The attestations that pages show can be used as they stand.
func TestAttestationsOnPages(t *testing.T) {
	seen := 0
	for _, id := range criteria.AllIDs() {
		raw, err := os.ReadFile(filepath.Join(pages, id+".md"))
		if err != nil {
			t.Fatal(err)
		}
		_, example, ok := strings.Cut(string(raw), "\n    attestations:\n")
		if !ok {
			continue
		}
		lines := []string{"attestations:"}
		for _, l := range strings.Split(example, "\n") {
			if !strings.HasPrefix(l, "    ") {
				break
			}
			lines = append(lines, strings.TrimPrefix(l, "    "))
		}
		set, err := plan.ParseStatements(id+".md", []byte(strings.Join(lines, "\n")), plan.Attestations)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, a := range set.Attestations {
			seen++
			if !strings.HasSuffix(a.ID, id) {
				t.Errorf("%s: the page attests %s", id, a.ID)
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d examples", seen)
	}
}

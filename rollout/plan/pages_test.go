package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/plan"
	"github.com/cbops/cbops/rollout/statement"
)

// TestPagesOfStatements: what the pages show of files of statements and of plans can be
// used as it stands, and the page of statements shows every kind.
func TestPagesOfStatements(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	pages, err := filepath.Glob(filepath.Join(docs, "criteria", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{plan.Attestations, plan.Incidents, plan.Waivers, plan.QuietTenants, plan.LeftDisabled, plan.Bakes}
	var shown statement.Set
	plans := 0
	for _, page := range append(pages, filepath.Join(docs, "evaluate.md"), filepath.Join(docs, "statements.md")) {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(raw), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			key, _, _ := strings.Cut(block, ":")
			switch key {
			case "queries", "criteria":
				block = "apiVersion: cbops/v1\nkind: Rollout\n" + block
				fallthrough
			case "apiVersion":
				plans++
				if _, problems, err := plan.Parse("cbops.yaml", []byte(block)); err != nil || len(problems) > 0 {
					t.Errorf("%s, block %d: %v %+v", page, i+1, err, problems)
				}
				continue
			}
			s, err := plan.ParseStatements(page, []byte(block), kinds...)
			if err != nil {
				t.Errorf("block %d: %v", i+1, err)
				continue
			}
			if filepath.Base(page) == "statements.md" {
				shown.Add(s)
			}
			r := criteria.NewRequest(4)
			r.Statements.Add(s)
			for _, bad := range r.Check() {
				t.Errorf("%s, block %d: %s", page, i+1, bad)
			}
			for _, a := range s.Attestations {
				if id := a.ID[strings.LastIndex(a.ID, "/")+1:]; filepath.Base(page) != "statements.md" && id+".md" != filepath.Base(page) {
					t.Errorf("%s attests %s", page, a.ID)
				}
			}
		}
	}
	for kind, n := range map[string]int{plan.Attestations: len(shown.Attestations), plan.Incidents: len(shown.Incidents), plan.Waivers: len(shown.Waivers),
		plan.QuietTenants: len(shown.Quiet), plan.LeftDisabled: len(shown.Disabled), plan.Bakes: len(shown.Bakes)} {
		if n == 0 {
			t.Errorf("statements.md shows no %s", kind)
		}
	}
	if plans < 2 {
		t.Errorf("%d plans on the pages", plans)
	}
}

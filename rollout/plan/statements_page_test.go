package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/plan"
)

// TestStatementsPage: every example of the page is read as it stands, alone and by the
// flag that the page names, and there is one of each kind.
func TestStatementsPage(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "statements.md"))
	if err != nil {
		t.Fatal(err)
	}
	flags := [][]string{{plan.Attestations}, {plan.Incidents}, {plan.Waivers, plan.QuietTenants, plan.LeftDisabled}, {plan.Bakes}}
	found := map[string]int{}
	for i, block := range strings.Split(string(raw), "```yaml\n")[1:] {
		block, _, closed := strings.Cut(block, "```")
		if !closed {
			t.Fatalf("example %d is not closed", i+1)
		}
		kind, _, _ := strings.Cut(block, ":")
		if kind == "apiVersion" {
			found["plan"]++
			p, problems, err := plan.Parse(plan.Name, []byte(block))
			if err != nil || len(problems) > 0 {
				t.Errorf("example %d: %v %+v", i+1, err, problems)
				continue
			}
			found["overrides"] += len(p.Criteria.Stated.Overrides)
			if loose := p.Criteria.Margins.Loosened(); len(loose) == 0 {
				t.Errorf("example %d loosens nothing, and shows an override", i+1)
			}
			q := criteria.NewRequest(3)
			q.Margins, q.Stability = p.Criteria.Margins, p.Queries.Stability
			q.Statements.Add(p.Criteria.Stated)
			if bad := q.Check(); len(bad) > 0 {
				t.Errorf("example %d cannot be asked: %v", i+1, bad)
			}
			continue
		}
		taken := false
		for _, kinds := range flags {
			s, err := plan.ParseStatements("page.yaml", []byte(block), kinds...)
			if err != nil {
				continue
			}
			taken = true
			found[plan.Attestations] += len(s.Attestations)
			found[plan.Incidents] += len(s.Incidents)
			found[plan.Waivers] += len(s.Waivers)
			found[plan.QuietTenants] += len(s.Quiet)
			found[plan.LeftDisabled] += len(s.Disabled)
			found[plan.Bakes] += len(s.Bakes)
		}
		if !taken {
			_, err := plan.ParseStatements("page.yaml", []byte(block), kind)
			t.Errorf("example %d is taken by no flag: %v", i+1, err)
		}
	}
	for _, kind := range []string{plan.Attestations, plan.Incidents, plan.Waivers, plan.QuietTenants, plan.LeftDisabled, plan.Bakes, "plan", "overrides"} {
		if found[kind] == 0 {
			t.Errorf("no example of %s", kind)
		}
	}
}

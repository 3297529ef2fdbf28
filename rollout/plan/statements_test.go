package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/plan"
)

func kinds() []string {
	return []string{plan.Attestations, plan.Incidents, plan.Waivers, plan.QuietTenants, plan.LeftDisabled, plan.Bakes}
}

// What is wrong with a statement has its place, and what to do about it.
func TestABadStatementHasItsPlace(t *testing.T) {
	const attested = "attestations:\n  - {id: logs-useful, by: on-call, reason: r, from: 2026-03-08, until: 2026-04-08"
	for _, tt := range []struct{ name, raw, want string }{
		{"a text", "hello\n", "f:1:1: statements: want a mapping"},
		{"a null list", "attestations:\n", "f:1:14: want a list"},
		{"a misspelt key", "attestations:\n  - {id: logs-useful, bye: on-call}\n", `f:2:23: attestation: unknown key "bye"`},
		{"a misspelt list", "attestation: []\n", `f:1:1: statements: unknown key "attestation"`},
		{"no such criterion", "attestations:\n  - id: logs-usefull\n", `f:2:9: there is no criterion "logs-usefull"`},
		{"a fifth phase", "attestations:\n  - id: phase5/logs-useful\n", `f:2:9: there is no criterion "phase5/logs-useful"`},
		{"a waiver for no criterion", "waivers:\n  - {by: a, id: nope}\n", `f:2:17: there is no criterion "nope"`},
		{"nobody", "attestations:\n  - {id: logs-useful, reason: r, from: 2026-03-08, until: 2026-04-08}\n", "f:2:5: attestation: by is needed"},
		{"for ever", "waivers:\n  - {id: logs-useful, by: a, reason: r}\n", "f:2:5: waiver: expires is needed"},
		{"expired when given", "attestations:\n  - {id: logs-useful, by: a, reason: r, from: 2026-03-08, until: 2026-03-01}\n", "f:2:5: the attestation of logs-useful by a expires before it is given"},
		{"counts for something else", attested + ", windowCount: 1}\n", "f:2:5: attestation logs-useful: counts are for no-customer-reports only"},
		{"a negative count", attested + ", windowCount: -1}\n", "want a count: an integer of 0 or more"},
		{"no time", "incidents:\n  - {provider: openai, from: yesterday}\n", "f:2:30: want a time like"},
		{"a drill, perhaps", "incidents:\n  - {provider: openai, drill: perhaps}\n", "f:2:31: drill: want true or false"},
		{"an end before the beginning", "incidents:\n  - {provider: openai, by: a, reason: r, from: 2026-03-09, to: 2026-03-08}\n", "f:2:5: the incident of openai from 2026-03-09T00:00:00Z ends before it begins"},
		{"two ends", "incidents:\n- {provider: openai, by: a, reason: r, from: 2026-03-09, to: 2026-03-10}\n- {provider: openai, by: a, reason: r, from: 2026-03-09}\n", "f:3:3: two incidents of openai"},
		{"a drill and none", "incidents:\n- {provider: openai, by: a, reason: r, from: 2026-03-09}\n- {provider: openai, by: a, reason: r, from: 2026-03-10, drill: true}\n", "f:3:3: two incidents of openai overlap from 2026-03-10T00:00:00Z, and only one of them is a drill"},
		{"two bakes", "bakes:\n- {tenant: t-acme, from: 2026-03-01}\n- {tenant: t-acme, from: 2026-03-08}\n", "f:3:3: two bakes of t-acme"},
		{"a later version", "apiVersion: cbops/v9\nattestations: []\n", "f:1:13: want one of cbops/v1"},
		{"a plan", "kind: Rollout\n", "f:1:7: want one of Statements"},
		{"a merge key", "attestations:\n  - <<: {id: logs-useful}\n", `f:2:5: attestation: unknown key "<<"`},
		{"an alias", "attestations:\n  - {id: &i logs-useful, by: *i}\n", "f:2:30: want a text"},
		{"an escape sequence", "quiet:\n  - {tenant: t-acme, reason: \"\\e[2Jgone\"}\n", "f:2:30: control character in a text"},
		{"a C1 control", "quiet:\n  - {tenant: t-acme, reason: \"\\x9b2J\"}\n", "f:2:30: control character in a text"},
		{"a line break", "quiet:\n  - {tenant: t-acme, reason: \"a\\nb\"}\n", "f:2:30: control character in a text"},
		{"a reversed line", "quiet:\n  - {tenant: t-acme, reason: \"\\u202e\"}\n", "f:2:30: control character in a text"},
		{"a book", "quiet:\n  - {tenant: t-acme, reason: " + strings.Repeat("x", 1001) + "}\n", "f:2:30: a text of 1001 bytes: at most 1000"},
		{"nothing", "", "f:1:1: the file is empty"},
		{"no YAML", "attestations: [", "f:1:1: neither YAML nor JSON"},
		{"two documents", "attestations: []\n---\nattestations: []\n", "f:2:1: more than one document"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := plan.ParseStatements("f", []byte(tt.raw), kinds()...)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) && !strings.HasSuffix(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if fault.CodeOf(err) != fault.Usage || len(fault.HintsOf(err)) == 0 {
				t.Errorf("code %v, hints %q", fault.CodeOf(err), fault.HintsOf(err))
			}
		})
	}
}

// A list under the wrong flag is not taken for another kind of statement.
func TestAListBelongsToItsFlag(t *testing.T) {
	_, err := plan.ParseStatements("f", []byte("incidents: []\n"), plan.Attestations)
	if err == nil || !slices.Contains(fault.HintsOf(err), "give this file to --incidents") {
		t.Errorf("got %v", err)
	}
}

// Aliases of aliases unfold into nothing.
func TestLaughsAreNotUnfolded(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	if _, err := plan.ParseStatements("f", []byte(b.String()+"attestations: *a39\n"), kinds()...); err == nil {
		t.Error("taken for statements")
	}
}

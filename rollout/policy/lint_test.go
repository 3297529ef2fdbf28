package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cbops/cbops/rollout/policy"
)

func lint(t *testing.T, doc string) []policy.Issue {
	t.Helper()
	d, err := policy.Parse("chat.json", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return d.Lint("t-acme", "chat")
}

func TestLint(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"misspelt in runbooks", `{"circuit_breaker":{"open_timeout_ms":1000}}`, `1:21 error unknown key "open_timeout_ms"`},
		{"typo", `{"circuit_braker":{}}`, `1:2 error unknown key "circuit_braker"`},
		{"dropped silently", `{"owner_of_this":1}`, `1:2 warning unknown key "owner_of_this"`},
		{"string threshold", `{"circuit_breaker":{"failure_threshold":"5"}}`, `1:41 error failure_threshold is a string`},
		{"not an integer", `{"circuit_breaker":{"timeout_ms":1e3}}`, `1:34 error timeout_ms is 1e3, want an integer`},
		{"no probe", `{"circuit_breaker":{"half_open_max_calls":0}}`, `error half_open_max_calls 0 is out of range`},
		{"rate above 1", `{"circuit_breaker":{"error_rate_threshold":1.01}}`, `1:44 warning error_rate_threshold 1.01`},
		{"never closes", `{"circuit_breaker":{"success_threshold":5}}`, `warning can never close`},
		{"enabled as text", `{"circuit_breaker":{"enabled":"true"}}`, `error enabled is a string`},
		{"id contradicts path", `{"tenant_id":"t-bolt"}`, `error "tenant_id" is "t-bolt"`},
		{"fallback string", `{"fallback":"openai"}`, `error fallback is a string`},
		{"per provider", `{"providers":[{"name":"openai","circuit_breaker":{}}]}`, `warning the router ignores`},
		{"ttl", `{"sticky":{"ttl":"10 minutes"}}`, `error sticky.ttl`},
		{"second line", "{\n  \"version\": 1\n}", `2:14 error "version" is a number`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, i := range lint(t, tt.doc) {
				got = append(got, fmt.Sprintf("%s %s %s", strings.TrimPrefix(i.Place, "chat.json:"), i.Severity, i.Message))
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("got %q, want one issue with %q", got, tt.want)
			}
		})
	}
}

// A document of nothing but mistakes is reported in bounded time and space.
func TestLintIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"circuit_breaker":{"k":1`)
	for i := range 200_000 {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	b.WriteString("}}")
	if n := len(lint(t, b.String())); n != 101 {
		t.Errorf("%d issues, want 100 and a last word", n)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"empty", "", "chat.json:1:1: the document is empty"},
		{"comment", "{ // no\n}", "chat.json:1:3"},
		{"trailing comma", `{"a":1,}`, "chat.json:1:8"},
		{"duplicate key", "{\n\"a\":1,\n\"a\":2}", "chat.json:3:1: duplicate key"},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, "duplicate key"},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", "invalid UTF-8"},
		{"too deep", strings.Repeat("[", 5000), "nested deeper"},
		{"list", `[]`, "a policy is an object"},
		{"two documents", `{} {}`, "after the end"},
		{"control character", "{\"a\":\"\x1b[31m\"}", "control character"},
		{"too large", strings.Repeat(" ", policy.MaxBytes+1), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policy.Parse("chat.json", []byte(tt.doc))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("a terminal escape came through: %q", err)
			}
		})
	}
}

func TestMergeKeepsStyle(t *testing.T) {
	frag := `{"circuit_breaker":{"enabled":true,"timeout_ms":30000}}`
	tests := []struct{ name, doc, want string }{
		{"insert, indented", "{\n  \"a\": 1.50\n}\n", "{\n  \"a\": 1.50,\n  \"circuit_breaker\": {\n    \"enabled\": true,\n    \"timeout_ms\": 30000\n  }\n}\n"},
		{"insert, one line", `{"a":1}`, `{"a":1,"circuit_breaker":{"enabled": true, "timeout_ms": 30000}}`},
		{"per field", `{"circuit_breaker":{"timeout_ms":6e4,"success_threshold":3,"enabled":false},"z":"\u0000"}`,
			`{"circuit_breaker":{"timeout_ms":30000,"success_threshold":3,"enabled":true},"z":"\u0000"}`},
		{"carriage returns and a mark", "\xef\xbb\xbf{\r\n\t\"a\": 1\r\n}", "\xef\xbb\xbf{\r\n\t\"a\": 1,\r\n\t\"circuit_breaker\": {\r\n\t\t\"enabled\": true,\r\n\t\t\"timeout_ms\": 30000\r\n\t}\r\n}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := policy.Parse("chat.json", []byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			f, err := policy.Parse("f.json", []byte(frag))
			if err != nil {
				t.Fatal(err)
			}
			got, changed, err := policy.Merge(doc, f)
			if err != nil || !changed || string(got) != tt.want {
				t.Errorf("changed %v, err %v\n got %q\nwant %q", changed, err, got, tt.want)
			}
		})
	}
}

// The router's own test policies are accepted as they are.
func TestRealPolicies(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "policies", "*", "*.json"))
	if len(files) == 0 {
		t.Skip("real policies: skipped, ../shared/policies is not there")
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := policy.Parse(f, raw)
		if err != nil {
			t.Fatal(err)
		}
		if issues := d.Lint("default_tenant", strings.TrimSuffix(filepath.Base(f), ".json")); len(issues) > 0 {
			t.Errorf("%s: %+v", f, issues)
		}
	}
}

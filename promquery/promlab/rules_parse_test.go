package promlab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/internal/promtest"
)

func testContext(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// badRules are rule files with the faults that must be named, each with its place.
// promtool refuses them too, unless own says that cbops is stricter.
func badRules() []struct {
	name, text string
	want       []string
	own        bool
} {
	return []struct {
		name, text string
		want       []string
		own        bool
	}{
		{"no YAML", "groups: [", []string{"f.yml:1: not YAML"}, false},
		{"a list", "- a\n", []string{"f.yml:1:1: the file is a list, not a mapping"}, false},
		{"unknown top", "group: []\n", []string{`f.yml:1:1: unknown key "group" in the file: did you mean groups?`}, false},
		{"unknown keys", "groups:\n- name: g\n  intervall: 1m\n  rules:\n  - alert: A\n    expr: up\n    fro: 1m\n    zzzzzzzz: 1\n",
			[]string{`f.yml:3:3: unknown key "intervall" in a group: did you mean interval?`, `f.yml:7:5: unknown key "fro" in a rule: did you mean for?`, `f.yml:8:5: unknown key "zzzzzzzz" in a rule: known are record, alert`}, false},
		{"duration", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    for: ten minutes\n", []string{`f.yml:6:10: for: "ten minutes" is no duration`}, false},
		{"limit", "groups:\n- name: g\n  limit: many\n  rules: []\n", []string{`f.yml:3:10: limit: "many" is no number`}, false},
		{"expression", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(up\n", []string{`f.yml:5:11: rule "A": could not parse expression: 1:7: parse error: unclosed left parenthesis`}, false},
		{"both names", "groups:\n- name: g\n  rules:\n  - alert: A\n    record: a\n    expr: up\n", []string{`f.yml:4:5: rule "A": only one of 'record' and 'alert' must be set`}, false},
		{"no name", "groups:\n- name: g\n  rules:\n  - expr: up\n", []string{"f.yml:4:5:"}, false},
		{"no expression", "groups:\n- name: g\n  rules:\n  - alert: A\n", []string{`f.yml:4:5: rule "A": field 'expr' must be set`}, false},
		{"for of a recording rule", "groups:\n- name: g\n  rules:\n  - record: a\n    expr: up\n    for: 1m\n", []string{"invalid field 'for'"}, false},
		{"template", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations: {a: '{{ $x '}\n", []string{`f.yml:4:5: rule "A": annotation "a"`}, false},
		{"label name", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: {'': x}\n", []string{"invalid label name"}, false},
		{"label list", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: [x]\n", []string{"f.yml:6:13: labels is a list, not a mapping"}, false},
		{"twice", "groups:\n- name: g\n  name: h\n  rules: []\n", []string{"f.yml:3:3: name stands twice in a group"}, false},
		{"group twice", "groups:\n- name: g\n  rules: []\n- name: g\n  rules: []\n", []string{`f.yml:4:3: the group "g" stands twice`}, false},
		{"nameless group", "groups:\n- rules: []\n", []string{"f.yml:2:3: a group without a name"}, false},
		{"not UTF-8", "groups: \xff\n", []string{"not UTF-8"}, false},
		{"merge key", "groups:\n- &a\n  name: g\n  rules: []\n- <<: *a\n  name: h\n", []string{`f.yml:5:3: unknown key "<<"`}, true},
		{"empty rule", "groups:\n- name: g\n  rules:\n  -\n", []string{"f.yml:4:4: a rule is empty, not a mapping"}, true},
		{"second document", "groups: []\n---\ngroups: []\n", []string{"a second document"}, true},
		{"deep", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: " + strings.Repeat("(", 200) + "up" + strings.Repeat(")", 200) + "\n", []string{"nested 200 deep"}, true},
		{"control characters", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    \"\\e[31mfor\": 1m\n", []string{`f.yml:6:5: unknown key "\x1b[31mfor"`}, false},
	}
}

func TestParseRulesRefuses(t *testing.T) {
	promtool, dir := promtest.Binary(t, "promtool"), t.TempDir()
	for _, tt := range badRules() {
		_, err := ParseRules("f.yml", []byte(tt.text))
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
			continue
		}
		for _, w := range tt.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %s\ndoes not say: %s", tt.name, err, w)
			}
		}
		if fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: code %d", tt.name, fault.CodeOf(err))
		}
		path := filepath.Join(dir, "f.yml")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := exec.Command(promtool, "check", "rules", "--lint=none", path).CombinedOutput(); (err == nil) != tt.own {
			t.Errorf("%s: promtool thinks otherwise: %v\n%s", tt.name, err, said)
		}
	}
}

const goodRules = `# alerts of the router
groups:
  - name: breaker
    interval: 30s
    query_offset: 1m
    limit: 5
    labels: &own {team: routing}
    rules:
      - record: a:b
        expr: sum by (tenant_id) (rate(x[5m]))
      - alert: Opened
        expr: |
          a:b
            > 0
        for: 10m
        keep_firing_for: 1h30m
        labels: *own
        annotations:
          summary: '{{ $labels.tenant_id }} is open'
  - name: empty
    rules:
`

func TestParseRules(t *testing.T) {
	got, err := ParseRules("f.yml", []byte(goodRules))
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{"team": "routing"}
	want := []Group{
		{Name: "breaker", Interval: 30e9, QueryOffset: 60e9, Limit: 5, Labels: own, Rules: []Rule{
			{Record: "a:b", Expr: "sum by (tenant_id) (rate(x[5m]))", Line: 9},
			{Alert: "Opened", Expr: "a:b\n  > 0\n", For: 600e9, KeepFiringFor: 5400e9, Labels: own, Annotations: map[string]string{"summary": "{{ $labels.tenant_id }} is open"}, Line: 11},
		}},
		{Name: "empty", Rules: []Rule{}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, empty := range []string{"", "groups:\n", "groups: []\n", "# nothing\n", "null\n"} {
		if got, err := ParseRules("f.yml", []byte(empty)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v %v", empty, got, err)
		}
	}
}

// Property: what is written is read back, and promtool accepts it.
func TestFormatRulesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t)
		g.Limit = rapid.IntRange(0, 3).Draw(t, "limit")
		text, err := FormatRules([]Group{g, {Name: "h", Rules: []Rule{}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRules("f.yml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff([]Group{g, {Name: "h", Rules: []Rule{}}}, got, cmpopts.IgnoreFields(Rule{}, "Line"), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-written +read):\n%s", d)
		}
	})
}

func TestRuleFilesAreBounded(t *testing.T) {
	bomb := "groups:\n- name: g\n  rules: &r\n" + strings.Repeat("  - {alert: A, expr: up}\n", 3000)
	for i := range 20 {
		bomb += fmt.Sprintf("- name: g%d\n  rules: *r\n", i)
	}
	for text, want := range map[string]string{
		bomb:                                     "more than 20000 rules",
		"# " + strings.Repeat("x", MaxRuleBytes): "at most 4194304 are read",
		"groups:\n" + strings.Repeat("- nonsense\n", 5000): "and more",
	} {
		_, err := ParseRules("f.yml", []byte(text))
		if err == nil || len(err.Error()) > 5000 || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %.200v\nwant %s", text, err, want)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	for _, tt := range badRules() {
		f.Add([]byte(tt.text))
	}
	f.Add([]byte(goodRules))
	f.Fuzz(func(t *testing.T, data []byte) {
		groups, err := ParseRules("f.yml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yml:") || strings.ContainsAny(err.Error(), "\x1b\x00\r") {
				t.Fatalf("an error without its place, or with control characters: %q", err)
			}
			return
		}
		// What was accepted can be written, read again and evaluated.
		text, err := FormatRules(groups)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRules("f.yml", text)
		if err != nil {
			t.Fatalf("written and not read: %v\n%s", err, text)
		}
		if d := cmp.Diff(groups, again, cmpopts.IgnoreFields(Rule{}, "Line"), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("(-read +read again):\n%s", d)
		}
	})
}

package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cbops/cbops/rollout/plan"
)

const planHead = "apiVersion: cbops/v1\nkind: Rollout\nenvironment: PROD\n"

func TestRouterSection(t *testing.T) {
	p, problems, err := plan.Parse("cbops.yaml", []byte(planHead+`router:
  nodes: {command: list-nodes}
  timeout: 90s
  deadline: 4m
  settle: 0s
  parallel: 8
  minHealthy: 0
  restart: svc restart {node}
  exec:
    reload: ctl reload {node}
    read: [ctl, read, "a b"]
    write: [ctl, write]
    reloads: listed
`))
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %+v", err, problems)
	}
	want := plan.Router{NodesCommand: "list-nodes", Timeout: 90 * time.Second, Deadline: 4 * time.Minute, Parallel: 8, Restart: "svc restart {node}",
		Exec: plan.Exec{Listed: true, Verbs: map[string][]string{"reload": {"ctl", "reload", "{node}"}, "read": {"ctl", "read", "a b"}, "write": {"ctl", "write"}}}}
	if d := cmp.Diff(want, p.Router); d != "" {
		t.Error(d)
	}
	p, _, err = plan.Parse("cbops.yaml", []byte(planHead))
	if err != nil || p.Router.MinHealthy != -1 || p.Router.Settle != -1 {
		t.Errorf("nothing said: %+v, %v", p.Router, err)
	}
}

func TestRouterSectionHasPlacesForWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"exec: {read: [a]}", "the verb reload is missing"},
		{"exec: {reload: [a], read: [a]}", "belong together"},
		{"exec: {reload: []}", "want an argument vector"},
		{"exec: {reload: [a], reloads: some}", `want "listed" or "all"`},
		{"exec: {reload: [a], relaod: [b]}", `unknown key "relaod"`},
		{"exec: {reload: \"a 'b\"}", "reload: "},
		{"http: {nodes: {a: 'ftp://x'}}", "no http or https URL"},
		{"http: {nodes: [a]}", "want a mapping"},
		{"http: {tokenFile: a, apiKeyFile: b}", "both tokenFile and apiKeyFile"},
		{"{http: {nodes: {a: 'http://x'}}, exec: {reload: [a]}}", "both http and exec"},
		{"timeout: soon", "want a duration"},
		{"parallel: -1", "want a number"},
		{"nodes: ['']", "a node has no name"},
	} {
		text := planHead + "router:\n  " + c.text + "\n"
		if strings.HasPrefix(c.text, "{") {
			text = planHead + "router: " + c.text + "\n"
		}
		_, problems, err := plan.Parse("cbops.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Message, c.want) && p.Line >= 4
		}
		if !found {
			t.Errorf("%s: %+v", c.text, problems)
		}
	}
}

// Whatever a plan holds, reading it for a rollback ends, and what can be read of
// environment and router is used.
func FuzzRollback(f *testing.F) {
	f.Add(planHead+"router: {policies: p}\n", "phases:\n\t- x\n")
	f.Add("", "{{{")
	f.Add("environment: A\nenvironment: B\n", "router: [")
	f.Add("router:\n  nodes: {command: x}\n", "\xff\x00")
	f.Fuzz(func(t *testing.T, a, b string) {
		path := filepath.Join(t.TempDir(), "cbops.yaml")
		if err := os.WriteFile(path, []byte(a+b), 0o600); err != nil {
			t.Skip()
		}
		p, warnings, err := plan.Rollback(path)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v, %v", p, warnings, err)
		}
		const good = "apiVersion: cbops/v1\nkind: Rollout\nenvironment: PROD\nrouter:\n  policies: root\n"
		rest := "\nzz: \x01 [\n" + strings.ReplaceAll(strings.ReplaceAll(b, "router", "rooter"), "environment", "env")
		if err := os.WriteFile(path, []byte(good+rest), 0o600); err != nil {
			t.Skip()
		}
		if len(rest) > 1000 {
			return
		}
		p, warnings, err = plan.Rollback(path)
		if err != nil || p.Router.Policies != "root" || p.Environment != "PROD" || len(warnings) == 0 {
			t.Fatalf("%q: %+v, %v, %v", rest, p, warnings, err)
		}
	})
}

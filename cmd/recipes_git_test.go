package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGitRecipe runs the scripts of the documentation with a real git: a bare
// repository, a checkout, and a deployment that copies what was pushed to the
// router's machine.
func TestGitRecipe(t *testing.T) {
	need(t, "git")
	bin, dir := buildCbops(t), t.TempDir()
	scripts := filepath.Join(dir, "scripts")
	put(t, filepath.Join(scripts, ".keep"), "")
	for _, name := range []string{"commit-change", "prove-change", "commit-rollback"} {
		recipe(t, "git.md", name, scripts)
	}
	// The practice router's memory is a copy that reload makes.
	ctl := filepath.Join(scripts, "routerctl")
	put(t, ctl, "#!/bin/sh\nmkdir -p '"+dir+"/memory/'$2\ncase $1 in\nreload) cp \"policies/$2/$3.json\" '"+dir+"/memory/'$2/$3.json ;;\nloaded) cat '"+dir+"/memory/'$2/$3.json ;;\nesac\n")
	if err := os.Chmod(ctl, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", scripts+":"+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(dir, "gitconfig"))
	put(t, filepath.Join(dir, "gitconfig"), "[user]\n\tname = on-call\n\temail = on-call@example.org\n[init]\n\tdefaultBranch = main\n")
	run := func(where, name string, args ...string) (int, string) {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = filepath.Join(dir, where)
		out, _ := c.CombinedOutput() // the exit code is asked for
		return c.ProcessState.ExitCode(), string(out)
	}
	must := func(where, name string, args ...string) string {
		t.Helper()
		code, out := run(where, name, args...)
		if code != 0 {
			t.Fatalf("%s %v: exit %d\n%s", name, args, code, out)
		}
		return out
	}
	must(".", "git", "init", "-q", "--bare", "origin.git")
	must(".", "git", "clone", "-q", "origin.git", "checkout")
	disabled := strings.Replace(enabledPolicy, `"enabled":true`, `"enabled":false`, 1)
	put(t, filepath.Join(dir, "checkout/policies/t-acme/chat.json"), "{\n  \"providers\": [{\"name\": \"openai\", \"weight\": 100}]\n}\n")
	put(t, filepath.Join(dir, "checkout/policies/t-acme/embed.json"), disabled) // no final newline
	recipePlan(t, "git.md", filepath.Join(dir, "checkout"))
	put(t, filepath.Join(dir, "on.json"), `{"circuit_breaker":{"enabled":true,"failure_threshold":5}}`)
	must("checkout", "git", "add", "-A")
	must("checkout", "git", "commit", "-q", "-m", "begin")
	must("checkout", "git", "push", "-q", "origin", "HEAD:main")
	deploy := func() {
		must(".", "rm", "-rf", "deployed.new")
		must(".", "git", "clone", "-q", "origin.git", "deployed.new")
		must(".", "mkdir", "-p", "deployed")
		must(".", "sh", "-c", "cp -r deployed.new/. deployed/")
		for _, p := range []string{"chat", "embed"} {
			must("deployed", "routerctl", "reload", "t-acme", p)
		}
	}
	deploy()
	for _, p := range []string{"chat", "embed"} {
		must("checkout", "commit-change", "../on.json", "t-acme", p)
		if code, out := run("deployed", "prove-change", "../on.json", "t-acme", p); code != 5 || !strings.Contains(out, "Not deployed") {
			t.Errorf("before the deployment: exit %d\n%s", code, out)
		}
	}
	deploy()
	for _, p := range []string{"chat", "embed"} {
		must("deployed", "prove-change", "../on.json", "t-acme", p)
	}
	// A rollback on the router, then a deployment of what is still in git: the second
	// look sees it and names it.
	_, out := run("deployed", "sh", "-c", "(sleep 1; cp ../checkout/policies/t-acme/chat.json policies/t-acme/chat.json) & exec cbops rollback tenant t-acme --yes --settle 2s")
	if !strings.Contains(out, "(restored)") || !strings.Contains(out, "router.managedBy says git") {
		t.Errorf("the deployment's undoing was not named:\n%s", out)
	}
	// Committed, it stays, and the hold travels with it.
	must("checkout", "commit-rollback", "tenant", "t-acme", "--reason", "INC-9")
	deploy()
	if code, out := run("checkout", "commit-change", "../on.json", "t-acme", "chat"); code == 0 || !strings.Contains(out, "INC-9") {
		t.Errorf("the hold did not travel: exit %d\n%s", code, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "deployed/policies/t-acme/chat.json"))
	if err != nil || !strings.Contains(string(b), `"enabled": false`) {
		t.Errorf("deployed is %s, %v", b, err)
	}
	must("checkout", "cbops", "resume", "tenant", "t-acme", "--reason", "fixed")
}

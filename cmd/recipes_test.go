package cmd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/plan"
)

// recipe takes the script that begins with the given name out of a page of the
// documentation, and makes it executable in dir: what is printed there is what is
// tested here.
func recipe(t *testing.T, page, name, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "routers", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		if strings.HasPrefix(m[1], "#!/bin/sh\n# "+name+" ") {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(m[1]), 0o755); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("docs/routers/%s has no script %s", page, name)
}

// recipePlan takes the plan out of a page and adds what a plan begins with.
func recipePlan(t *testing.T, page, dir string, replace ...string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "routers", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "    # cbops.yaml\n")
	if !ok {
		t.Fatalf("docs/routers/%s shows no plan", page)
	}
	plan := "apiVersion: cbops/v1\nkind: Rollout\nname: recipe\nenvironment: TEST\n"
	for line := range strings.SplitSeq(rest, "\n") {
		if line != "" && !strings.HasPrefix(line, "    ") {
			break
		}
		plan += strings.TrimPrefix(line, "    ") + "\n"
	}
	plan = strings.NewReplacer(replace...).Replace(plan)
	if err := os.WriteFile(filepath.Join(dir, "cbops.yaml"), []byte(plan), 0o644); err != nil {
		t.Fatal(err)
	}
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s skipped: %s is not installed here", t.Name(), p)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%s did not happen in 30 s", what)
		}
	}
}

// flat undoes the wrapping of lines.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const enabledPolicy = `{"providers":[{"name":"openai","weight":50},{"name":"anthropic","weight":50}],"circuit_breaker":{"enabled":true,"failure_threshold":5,"error_rate_threshold":0.5}}`

// TestErlangRecipe drives real Erlang nodes by the script of the documentation.
// What runs on them are stand-ins of ours with the router's function names.
func TestErlangRecipe(t *testing.T) {
	need(t, "erl", "erlc", "erl_call", "epmd", "jq")
	bin, dir := buildCbops(t), t.TempDir()
	recipe(t, "erlang.md", "router-erl", dir)
	put(t, filepath.Join(dir, "policies/t-acme/chat.json"), enabledPolicy)
	put(t, filepath.Join(dir, "policies/t-acme/embed.json"), enabledPolicy)
	put(t, filepath.Join(dir, "policies/t-bolt/chat.json"), enabledPolicy)
	beams := filepath.Join(dir, "ebin")
	if err := os.MkdirAll(beams, 0o755); err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("testdata/erlang/*.erl")
	if err != nil || len(sources) < 4 {
		t.Fatalf("%v, %v", sources, err)
	}
	if out, err := exec.Command("erlc", append([]string{"-o", beams}, sources...)...).CombinedOutput(); err != nil {
		t.Fatalf("erlc: %v\n%s", err, out)
	}
	// An epmd and a cookie of our own: nothing of this machine's Erlang is touched.
	port := freePort(t)
	home := filepath.Join(dir, "home")
	put(t, filepath.Join(home, ".erlang.cookie"), "recipe-test")
	if err := os.Chmod(filepath.Join(home, ".erlang.cookie"), 0o400); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("ERL_EPMD_PORT", fmt.Sprint(port))
	t.Setenv("ROUTER_TIMEOUT", "10")
	start := func(name string, args ...string) *exec.Cmd {
		ctx, cancel := context.WithCancel(context.Background())
		c := exec.CommandContext(ctx, name, args...)
		c.Dir = dir
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			_ = c.Wait() // it was killed
		})
		return c
	}
	start("epmd", "-port", fmt.Sprint(port), "-address", "127.0.0.1")
	waitFor(t, "epmd", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	nodes := map[string]*exec.Cmd{}
	for _, n := range []string{"one", "two"} {
		nodes[n] = start("erl", "-noshell", "-noinput", "-sname", n+"@localhost", "-pa", beams, "-run", "stand_in", "start", filepath.Join(dir, "policies"))
	}
	calls := 0
	call := func(node, expr string) string {
		calls++ // a name of its own for each: the node may still remember the last one
		c := exec.Command("erl_call", "-h", fmt.Sprintf("test%d", calls), "-sname", node+"@localhost", "-e")
		c.Stdin = strings.NewReader(expr + "\n")
		out, _ := c.CombinedOutput()
		return string(out)
	}
	for n := range nodes {
		waitFor(t, "node "+n, func() bool {
			got := call(n, "is_pid(whereis(router_policy_store)).")
			return strings.Contains(got, "true")
		})
		for _, p := range []string{"chat", "embed"} {
			call(n, fmt.Sprintf("router_policy_store:load_policy(<<%q>>, <<%q>>).", "t-acme", p))
		}
	}
	call("two", `router_circuit_breaker:trip(<<"t-acme">>, <<"openai">>).`)
	recipePlan(t, "erlang.md", dir, "[router@host-1, router@host-2]", "[one@localhost, two@localhost]")

	loaded := func(n, p string) string {
		return call(n, fmt.Sprintf("{ok, P} = router_policy_store:get_policy(<<\"t-acme\">>, <<%q>>), maps:get(<<\"enabled\">>, element(12, P)).", p))
	}
	if got := loaded("one", "chat"); !strings.Contains(got, "true") {
		t.Fatalf("the node does not begin enabled: %s", got)
	}
	code, out, errs := runCbops(t, bin, dir, "rollback", "tenant", "t-acme", "--yes", "--settle", "0s")
	if code != 0 || !strings.Contains(flat(out), "4 of 4 disabled and proven loaded") || !strings.Contains(flat(out), "no. 1 still open in memory on two@localhost") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	for n := range nodes {
		for _, p := range []string{"chat", "embed"} {
			if got := loaded(n, p); !strings.Contains(got, "false") {
				t.Errorf("%s runs %s: %s", n, p, got)
			}
		}
	}
	code, out, errs = runCbops(t, bin, dir, "rollback", "tenant", "t-acme", "--yes", "--settle", "0s", "--reset", "--wait", "20s")
	if code != 0 || !strings.Contains(flat(out), "no open circuits for tenant: yes") || !strings.Contains(call("two", `router_circuit_breaker:get_state(<<"t-acme">>, <<"openai">>).`), "closed") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	// A malformed policy: this script loads the listed ones alone, so the rest goes on.
	put(t, filepath.Join(dir, "policies/t-acme/embed.json"), `{"circuit_breaker":`)
	if code, out, errs = runCbops(t, bin, dir, "rollback", "tenant", "t-acme", "--yes", "--settle", "0s"); code != 5 || !strings.Contains(flat(out), "t-acme/embed") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if got := call("one", "is_pid(whereis(router_policy_store))."); !strings.Contains(got, "true") {
		t.Errorf("the policy store died: %s", got)
	}
	put(t, filepath.Join(dir, "policies/t-acme/embed.json"), enabledPolicy)
	// A node that is gone is unreachable, and the other is done all the same.
	if err := nodes["two"].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	code, out, errs = runCbops(t, bin, dir, "rollback", "tenant", "t-acme", "--yes", "--settle", "0s")
	if code != 5 || !strings.Contains(flat(out), "two@localhost unreachable") || !strings.Contains(loaded("one", "embed"), "false") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// Every plan that the pages about routers show is one that cbops reads.
func TestPlansInTheDocumentation(t *testing.T) {
	pages, err := filepath.Glob("../docs/routers/*.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("%v, %v", pages, err)
	}
	for _, page := range pages {
		dir := t.TempDir()
		recipePlan(t, filepath.Base(page), dir)
		if _, problems, err := plan.Check(filepath.Join(dir, "cbops.yaml")); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %+v", page, err, problems)
		}
	}
}

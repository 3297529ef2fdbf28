package cmd_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is this test binary as cbops, a process of its own (TestMain).
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, args...)
	c.Args[0] = "cbops"
	c.Dir = t.TempDir()
	return c
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// serveLab starts the practice router on a free port and returns its address and
// what ends it: the signal, and the exit code that it came to.
func serveLab(t *testing.T, args ...string) (url string, stop func(os.Signal) int) {
	t.Helper()
	c := process(t, append([]string{"lab", "serve", "--listen", "127.0.0.1:0", "--for", "5m"}, args...)...)
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	sc := bufio.NewScanner(stderr)
	for sc.Scan() {
		if m := regexp.MustCompile(`practice router on (http://127\.0\.0\.1:\d+),`).FindStringSubmatch(sc.Text()); m != nil {
			url = m[1]
			break
		}
	}
	if url == "" {
		t.Fatalf("the practice router did not say where it listens: %v", sc.Err())
	}
	return url, func(s os.Signal) int {
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		for sc.Scan() { // to its end, as Wait wants it
		}
		return exitCode(c.Wait())
	}
}

// untilCircuits waits until the practice router has seen so many circuits.
func untilCircuits(t *testing.T, url string, n int) {
	t.Helper()
	provider := regexp.MustCompile(`provider_id="([^"]*)"`)
	for {
		resp, err := http.Get(url + "/metrics/router_metrics_http/metrics")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range provider.FindAllSubmatch(raw, -1) {
			seen[string(m[1])] = true
		}
		if len(seen) >= n {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

type liveDocument struct {
	Verdict   string `json:"verdict"`
	Planned   int    `json:"planned"`
	Live      struct{ Requests, Failed int }
	Scenarios []struct {
		Name, Verdict string
		Checks        []struct{ Text, Actual, Verdict string }
		Circuits      []struct {
			Opened *struct{ AtFailure int }
		}
	}
}

func TestLoadtestLive(t *testing.T) {
	url, stop := serveLab(t)
	report := filepath.Join(t.TempDir(), "report.md")
	c := process(t, "loadtest", "--live", url, "--scenario", "error-spike", "--scenario", "concurrent-load", "--scenario", "config-swap",
		"--report", report, "-o", "json")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if exitCode(err) != 0 {
		t.Fatalf("exit %d: %s\n%s", exitCode(err), out, errs.String())
	}
	var doc liveDocument
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Verdict != "pass" || len(doc.Scenarios) != 3 || doc.Scenarios[0].Circuits[0].Opened.AtFailure != 1 ||
		doc.Scenarios[2].Verdict != "skipped" || doc.Live.Requests < 600 || doc.Live.Failed != 0 {
		t.Errorf("%s", out)
	}
	text, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(text), "| router | "+url+" |") || !strings.Contains(string(text), "- [x] empty window: opened at failure: 1") {
		t.Errorf("%v\n%s", err, text)
	}
	// The second run meets a router with a past, and is not confused by it.
	c = process(t, "loadtest", "--live", url, "--scenario", "error-spike")
	if out, err := c.CombinedOutput(); exitCode(err) != 0 {
		t.Errorf("again: exit %d: %s", exitCode(err), out)
	}
	if code := stop(syscall.SIGTERM); code != 0 {
		t.Errorf("lab serve exits %d at a signal, want 0: that is how it is stopped", code)
	}
	c = process(t, "loadtest", "--live", url)
	if out, err := c.CombinedOutput(); exitCode(err) != 4 || !strings.Contains(string(out), "connection refused") {
		t.Errorf("nobody there: exit %d: %s", exitCode(err), out)
	}
}

// A policy of one's own, and a router that has another one loaded.
func TestLoadtestLiveOwnPolicy(t *testing.T) {
	dir := t.TempDir()
	write := func(root, doc string) string {
		path := filepath.Join(dir, root, "t-acme", "chat.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, root)
	}
	loaded := write("loaded", `{"circuit_breaker": {"enabled": true, "failure_threshold": 7, "error_rate_threshold": 1.01, "timeout_ms": 30000}}`)
	other := write("other", `{"circuit_breaker": {"enabled": true, "failure_threshold": 9, "error_rate_threshold": 1.01, "timeout_ms": 30000}}`)
	url, stop := serveLab(t, "--policies", loaded)
	defer stop(os.Interrupt)
	for policies, want := range map[string]int{loaded: 0, other: 1} {
		c := process(t, "loadtest", "--live", url, "--scenario", "error-spike", "--policies", policies, "--tenant", "t-acme", "--policy", "chat")
		out, err := c.CombinedOutput()
		if exitCode(err) != want {
			t.Errorf("%s: exit %d, want %d: %s", policies, exitCode(err), want, out)
		}
	}
}

// SIGINT stops a live run, in the middle of a wait, and what was measured is
// printed.
func TestLoadtestLiveInterrupted(t *testing.T) {
	url, stop := serveLab(t)
	defer stop(os.Interrupt)
	c := process(t, "loadtest", "--live", url, "--scenario", "error-spike", "--scenario", "wedge", "-o", "json")
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	untilCircuits(t, url, 3) // error-spike had two; now wedge waits for its timeouts
	began := time.Now()
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code := exitCode(c.Wait())
	took := time.Since(began)
	var doc liveDocument
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("exit %d, nothing that was measured is printed: %v", code, err)
	}
	if code != 130 || doc.Verdict != "interrupted" || doc.Planned != 2 || len(doc.Scenarios) != 2 || doc.Scenarios[0].Verdict != "pass" || doc.Scenarios[1].Verdict != "interrupted" {
		t.Errorf("exit %d: %s", code, out.String())
	}
	t.Logf("stopped %s after the signal; the goal is a second", took)
}

// The same on the twin, in the middle of a scenario.
func TestLoadtestInterrupted(t *testing.T) {
	c := process(t, "loadtest", "--scenario", "error-spike", "--scenario", "long-window", "--duration", "700h", "-o", "json", "--report", "r.md")
	var out bytes.Buffer
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// The report's place is taken just before the run; error-spike takes no time.
	for {
		if got, err := filepath.Glob(filepath.Join(c.Dir, ".r.md.*")); err != nil || len(got) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code := exitCode(c.Wait())
	report, err := os.ReadFile(filepath.Join(c.Dir, "r.md"))
	if err != nil || !strings.Contains(string(report), "Interrupted: ") {
		t.Errorf("%v: the report does not say that the run was interrupted:\n%.300s", err, report)
	}
	var doc liveDocument
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || code != 130 || doc.Verdict != "interrupted" || doc.Scenarios[0].Verdict != "pass" {
		t.Errorf("exit %d, %v: %s", code, err, out.String())
	}
}

// What is no router is said in one line, and exits 4.
func TestLoadtestLiveAgainstSomethingElse(t *testing.T) {
	s := httptest.NewServer(http.FileServer(http.Dir(t.TempDir())))
	defer s.Close()
	c := process(t, "loadtest", "--live", s.URL)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if code := exitCode(c.Run()); code != 4 || out.Len() > 0 {
		t.Errorf("exit %d: %s", code, out.String())
	}
	if want := "cbops: error: " + s.URL + " is not a router: GET /metrics/router_metrics_http/metrics answered 404 Not Found\n"; errs.String() != want {
		t.Errorf("stderr %q, want %q", errs.String(), want)
	}
}

// A router that goes away in the middle: what was measured is printed, and no
// verdict comes of the rest.
func TestLoadtestLiveRouterGoesAway(t *testing.T) {
	url, stop := serveLab(t)
	c := process(t, "loadtest", "--live", url, "--scenario", "error-spike", "--scenario", "wedge", "-o", "json")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	untilCircuits(t, url, 3)
	stop(os.Kill)
	code := exitCode(c.Wait())
	var doc liveDocument
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || code != 4 || doc.Verdict != "inconclusive" || doc.Scenarios[0].Verdict != "pass" {
		t.Errorf("exit %d, %v: %s\n%s", code, err, out.String(), errs.String())
	}
}

// A rollback over the admin API of a practice router that runs: proven loaded, open
// circuits told and really cleared, and the files on disk changed.
func TestRollbackOfThePracticeRouter(t *testing.T) {
	dir := t.TempDir()
	policies := filepath.Join(dir, "policies")
	if err := os.MkdirAll(filepath.Join(policies, "t-acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	doc := `{"providers": [{"name": "openai", "weight": 1}], "circuit_breaker": {"enabled": true, "failure_threshold": 1}}`
	file := filepath.Join(policies, "t-acme", "chat.json")
	if err := os.WriteFile(file, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	url, stop := serveLab(t, "--policies", policies)
	res, err := http.Post(url+"/v1/requests", "application/json", strings.NewReader(`{"tenant_id": "t-acme", "policy_id": "chat", "provider_id": "openai", "outcome": "5xx"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	untilCircuits(t, url, 1)
	rollback := func(more ...string) (int, string) {
		c := process(t, append([]string{"rollback", "tenant", "t-acme", "--admin", "node-1=" + url, "--yes", "-o", "json"}, more...)...)
		c.Dir = dir
		out, err := c.Output()
		return exitCode(err), string(out)
	}
	if code, out := rollback(); code != 0 || !strings.Contains(out, `"safe": 1`) || !strings.Contains(out, `"state": "open"`) {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != strings.Replace(doc, "true", "false", 1) {
		t.Errorf("on disk: %s, %v", raw, err)
	}
	if code, out := rollback("--reset"); code != 0 || strings.Contains(out, `"state": "open"`) {
		t.Errorf("after the reset: exit %d\n%s", code, out)
	}
	if code := stop(os.Interrupt); code != 0 {
		t.Errorf("the practice router ended with %d", code)
	}
}

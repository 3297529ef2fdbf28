package breaker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// mutant is the twin with one rule of ROUTER.md §4 broken: a piece of its source
// replaced by another. The source itself is changed, so there is no seam in the
// twin for it, and the tests that must catch it are the ones that everybody runs.
type mutant struct {
	rule     string // what the router does, and the mutant does not
	file     string
	old, new string
}

// One sentence of §4 cannot be broken visibly: that half-open does not reset the
// successes. Every way to open passes a failure, which has set them to 0.
func mutants() []mutant {
	return []mutant{
		{"opens on failures in a row at the threshold, not beyond", "breaker.go",
			"int64(c.failures) >= c.cfg.FailureThreshold", "int64(c.failures) > c.cfg.FailureThreshold"},
		{"opens at the error rate threshold, not beyond", "breaker.go",
			"c.errorRate.rate() >= c.cfg.ErrorRateThreshold", "c.errorRate.rate() > c.cfg.ErrorRateThreshold"},
		{"has no minimum volume", "breaker.go",
			"case c.errorRate.rate() >=", "case c.win.of >= 5 && c.errorRate.rate() >="},
		{"opens on a failure only, never on a success", "breaker.go",
			"	e.errorRate(c.errorRate)\n}\n\n// allow decides", "	e.errorRate(c.errorRate)\n	if c.state == Closed && c.trips(0) == errorRateExceeded {\n		c.opens(now, errorRateExceeded, e)\n	}\n}\n\n// allow decides"},
		{"opens on latency", "breaker.go",
			"c.cfg.LatencyThresholdMS > 0 && latency > c.cfg.LatencyThresholdMS", "false && latency > 0"},
		{"opens on latency above the threshold, not at it", "breaker.go",
			"latency > c.cfg.LatencyThresholdMS:", "latency >= c.cfg.LatencyThresholdMS:"},
		{"latency 0 in the config is off", "breaker.go",
			"case c.cfg.LatencyThresholdMS > 0 && latency >", "case latency >"},
		{"gives latency as the reason before failures", "breaker.go",
			"case c.cfg.LatencyThresholdMS > 0 &&", "case int64(c.failures) < c.cfg.FailureThreshold && c.cfg.LatencyThresholdMS > 0 &&"},
		{"gives failures as the reason before the rate", "breaker.go",
			"case int64(c.failures) >= c.cfg.FailureThreshold:", "case int64(c.failures) >= c.cfg.FailureThreshold && c.errorRate.rate() < c.cfg.ErrorRateThreshold:"},
		{"becomes half-open at the timeout, not after it", "breaker.go",
			"waited < c.cfg.TimeoutMS {", "waited <= c.cfg.TimeoutMS {"},
		{"the ask that makes it half-open is probe 1", "breaker.go",
			"c.failures, c.probes = 0, 1", "c.failures, c.probes = 0, 0"},
		{"half-open resets the failures in a row", "breaker.go",
			"c.failures, c.probes = 0, 1", "c.probes = 1"},
		{"half-open leaves the window alone", "breaker.go",
			"c.failures, c.probes = 0, 1", "c.failures, c.probes, c.win = 0, 1, window{}"},
		{"half-open only when asked, not on an outcome", "breaker.go",
			"	c.failures++\n	c.successes = 0\n", "	if c.state == Open && now-c.openedAt >= c.cfg.TimeoutMS {\n		c.allow(now, e)\n	}\n	c.failures++\n	c.successes = 0\n"},
		{"admits half_open_max_calls probes, not one more", "breaker.go",
			"int64(c.probes) >= c.cfg.HalfOpenMaxCalls", "int64(c.probes) > c.cfg.HalfOpenMaxCalls"},
		{"a probe that was answered still counts as a probe", "breaker.go",
			"		c.successes++\n", "		c.successes++\n		c.probes = max(0, c.probes-1)\n"},
		{"any recorded success counts towards closing", "breaker.go",
			"	if c.state == HalfOpen {\n		c.successes++", "	if c.state == HalfOpen && c.successes < c.probes {\n		c.successes++"},
		{"any failure in half-open reopens", "breaker.go",
			"	case HalfOpen:\n		c.openAt(now)", "	case HalfOpen:\n		if c.failures < 2 {\n			break\n		}\n		c.openAt(now)"},
		{"reopening has a reason of its own", "breaker.go",
			"e.trigger(halfOpenFailure)", "e.trigger(errorRateExceeded)"},
		{"reopening starts the timeout anew", "breaker.go",
			"	case HalfOpen:\n		c.openAt(now)", "	case HalfOpen:\n		at := c.openedAt\n		defer func() { c.openedAt = at }()\n		c.openAt(now)"},
		{"opening forgets the probes", "breaker.go",
			"	c.probes = 0\n}", "}"},
		{"closes at success_threshold successes, not one more", "breaker.go",
			"int64(c.successes) >= c.cfg.SuccessThreshold", "int64(c.successes) > c.cfg.SuccessThreshold"},
		{"closing does not clear the window", "breaker.go",
			"c.successes, c.probes = 0, 0\n			e.transition", "c.successes, c.probes, c.win = 0, 0, window{}\n			e.transition"},
		{"a failure resets the successes", "breaker.go",
			"	c.failures++\n	c.successes = 0\n", "	c.failures++\n"},
		{"a success resets the failures in a row", "breaker.go",
			"	c.failures = 0\n	c.errorRate", "	c.errorRate"},
		{"a success resets the failures in a row while open too", "breaker.go",
			"	c.failures = 0\n	c.errorRate", "	if c.state != Open {\n		c.failures = 0\n	}\n	c.errorRate"},
		{"counts outcomes while open", "breaker.go",
			"	c.win.push(now, failed)\n	if failed {\n		c.failure", "	if c.state != Open {\n		c.win.push(now, failed)\n	}\n	if failed {\n		c.failure"},
		{"the window's edge is inclusive", "window.go",
			"at >= edge {", "at > edge {"},
		{"an outcome trims the window", "breaker.go",
			"	c.win.trim(c.cfg.edge(now))\n	c.win.push", "	c.win.push"},
		{"asking trims the window", "breaker.go",
			"	c.win.trim(c.cfg.edge(now))\n	switch c.state {", "	switch c.state {"},
		{"the rate includes the outcome that is judged", "breaker.go",
			"	c.win.push(now, failed)\n	if failed {\n		c.failure(now, latency, e)", "	if failed {\n		defer c.win.push(now, failed)\n	} else {\n		c.win.push(now, failed)\n	}\n	if failed {\n		c.failure(now, latency, e)"},
		{"a new config changes neither state nor counters", "registry.go",
			"	c.c.cfg = cfg\n", "	c.c = circuit{cfg: cfg, state: c.c.state, since: c.c.since, openedAt: c.c.openedAt, win: c.c.win}\n"},
		{"a new config under an open circuit counts at once", "registry.go",
			"	c.c.cfg = cfg\n", "	if c.c.state != Open {\n		c.c.cfg = cfg\n	}\n"},
		{"a circuit that nobody configured has the defaults, latency included", "registry.go",
			"r.obtain(k, DefaultConfig(), nowMS)\n	defer c.mu.Unlock()\n	if created {\n		c.c.createdByFailure", "r.obtain(k, PolicyDefaults(), nowMS)\n	defer c.mu.Unlock()\n	if created {\n		c.c.createdByFailure"},
		{"asking again in the same millisecond sees a new config", "registry.go",
			"	c.c.cfg = cfg\n	c.quiet.Store(never)", "	c.c.cfg = cfg"},
		{"asking again in the same millisecond sees that the circuit opened", "registry.go",
			"if c.c.state == Closed && c.c.cfg", "if c.c.cfg"},
		{"a window that lies in the future holds nothing, in the same millisecond too", "registry.go",
			" && c.c.cfg.WindowSeconds >= 0 {", " {"},
		{"asking creates no circuit", "registry.go",
			"	return c == nil || c.Allow(nowMS)", "	if c == nil {\n		r.Configure(k, DefaultConfig(), nowMS)\n	}\n	return c == nil || c.Allow(nowMS)"},
		{"a success that creates a circuit counts as one", "breaker.go",
			"	c.successes = 1\n", "	c.successes = 0\n"},
		{"a success that creates a circuit emits no error rate", "breaker.go",
			"	c.successes = 1\n", "	c.successes = 1\n	e.errorRate(c.win.share)\n"},
		{"a failure that creates a circuit may open it", "breaker.go",
			"	c.errorRate = c.win.share\n	if r := c.trips(latency); r != none {\n		c.opens(now, r, e)\n	}\n	e.failure()", "	c.errorRate = c.win.share\n	e.failure()"},
		{"a failure that creates a circuit emits closed last", "breaker.go",
			"	e.failure()\n	e.state(Closed)\n", "	e.failure()\n	e.state(c.state)\n"},
		{"an outcome on an open circuit stores the error rate", "breaker.go",
			"	case Open:\n		e.errorRate(c.errorRate)", "	case Open:\n		c.errorRate = share{1, 1}\n		e.errorRate(c.errorRate)"},
		{"denying while open tells what is left of the timeout", "breaker.go",
			"e.remaining(c.cfg.TimeoutMS - waited)", "e.remaining(waited)"},
		{"denying counts a fail-fast, while half-open too", "breaker.go",
			"HalfOpenMaxCalls {\n			e.failFast()", "HalfOpenMaxCalls {"},
		{"the window's size is added at closing too", "breaker.go",
			"			e.errorRate(c.errorRate)\n			e.window(c.win.share)\n			return", "			e.errorRate(c.errorRate)\n			return"},
		{"the window's size is not added at reopening", "breaker.go",
			"		e.trigger(halfOpenFailure)\n", "		e.trigger(halfOpenFailure)\n		e.window(c.win.share)\n"},
		{"half-open has the gauge value 2", "emit.go",
			"	case HalfOpen:\n		return 2", "	case HalfOpen:\n		return 0.5"},
		{"a reset by remote call emits no transition", "registry.go",
			"	c.c = circuit{cfg: c.c.cfg, state: Closed, since: c.c.since}\n", "	c.c = circuit{cfg: c.c.cfg, state: Closed, since: c.c.since}\n	c.emitter().transition(halfOpenToClosed)\n"},
		{"a reset by remote call empties the window", "registry.go",
			"	c.c = circuit{cfg: c.c.cfg, state: Closed, since: c.c.since}\n", "	c.c = circuit{cfg: c.c.cfg, state: Closed, since: c.c.since, win: c.c.win}\n"},
	}
}

// Each rule of ROUTER.md §4, broken in turn, is noticed by the recorded traces or
// by the model. The first entry breaks nothing and must go through: otherwise the
// others fail for a reason of their own.
func TestMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("fifty mutants: skipped by -short")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("TestMutantsAreCaught: skipped: no go command in the path, which builds the mutants")
	}
	list := mutants()
	if len(list) < 15 {
		t.Fatalf("only %d mutants", len(list))
	}
	list = append([]mutant{{rule: "nothing is broken", file: "breaker.go"}}, list...)
	caught := make([]string, len(list))
	dir := t.TempDir()
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				by, err := list[i].caughtBy(filepath.Join(dir, fmt.Sprint(i)))
				if err != nil {
					t.Errorf("%s: %v", list[i].rule, err)
				}
				caught[i] = by
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	wg.Wait()
	for i, m := range list {
		switch {
		case i == 0 && caught[i] != "":
			t.Errorf("the twin itself is caught by %s", caught[i])
		case i > 0 && caught[i] == "":
			t.Errorf("survives: %s", m.rule)
		}
		t.Logf("%-12s %s", caught[i], m.rule)
	}
}

// caughtBy builds the package's tests over the changed source and returns the
// test that fails, "" if none does.
func (m mutant) caughtBy(dir string) (string, error) {
	src, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	changed := string(src)
	if m.old != "" {
		if n := strings.Count(changed, m.old); n != 1 {
			return "", fmt.Errorf("%s has the text to replace %d times, want once:\n%s", m.file, n, m.old)
		}
		changed = strings.Replace(changed, m.old, m.new, 1)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	target, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	mutated, overlay, binary := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutant.test")
	o, err := json.Marshal(map[string]map[string]string{"Replace": {target: mutated}})
	if err != nil {
		return "", err
	}
	for path, content := range map[string][]byte{mutated: []byte(changed), overlay: o} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return "", err
		}
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build, so nothing was shown: %w\n%s", err, out)
	}
	for _, test := range []string{"TestConformance", "TestModel"} {
		run := exec.Command(binary, "-test.run", "^"+test+"$", "-rapid.seed=1", "-rapid.checks=300", "-rapid.nofailfile")
		out, err := run.CombinedOutput()
		if strings.Contains(string(out), "no tests to run") {
			return "", fmt.Errorf("%s was not run", test)
		}
		if err != nil {
			if !strings.Contains(string(out), "--- FAIL: "+test) {
				return "", fmt.Errorf("%s did not fail, it broke: %w\n%s", test, err, out)
			}
			return strings.TrimPrefix(test, "Test"), nil
		}
	}
	return "", nil
}

package breaker_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cbops/cbops/breaker"
)

// TestConformance replays recordings of the router's own breaker and wants every
// line back: result, state, counters, window, error rate and emitted metrics.
func TestConformance(t *testing.T) {
	dirs := []struct {
		path     string
		required bool
	}{
		{filepath.Join("testdata", "conformance"), true},
		{filepath.Join("..", "..", "shared", "conformance"), false},
	}
	if d := os.Getenv("CBOPS_CONFORMANCE_DIR"); d != "" {
		dirs = append(dirs, struct {
			path     string
			required bool
		}{d, true})
	}
	total := 0
	for _, d := range dirs {
		if _, err := os.Stat(d.path); err != nil && !d.required {
			fmt.Printf("conformance: %s: skipped, not there\n", d.path)
			continue
		}
		files, err := filepath.Glob(filepath.Join(d.path, "*.trace.gz"))
		if err != nil {
			t.Fatal(err)
		}
		traces, ops := 0, 0
		for _, f := range files {
			n, o := replayFile(t, f)
			traces, ops = traces+n, ops+o
		}
		fmt.Printf("conformance: %s: %d traces, %d operations\n", d.path, traces, ops)
		if traces == 0 && d.required {
			t.Errorf("%s: no traces found", d.path)
		}
		total += traces
	}
	if total == 0 {
		t.Fatal("no traces found: nothing was compared")
	}
}

func replayFile(t *testing.T, path string) (traces, ops int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	var tw *twin
	bad := 0
	for line := 1; sc.Scan(); line++ {
		want := sc.Text()
		if strings.HasPrefix(want, "# trace ") {
			traces++
			tw = newTwin()
			continue
		}
		if tw == nil {
			t.Fatalf("%s:%d: operation before the first trace", path, line)
		}
		ops++
		got, err := tw.do(want)
		if err != nil {
			t.Fatalf("%s:%d: %v", path, line, err)
		}
		if got != want {
			if bad++; bad <= 5 {
				t.Errorf("%s:%d:\n got  %s\n want %s", path, line, got, want)
			}
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d operations differ", path, bad, ops)
	}
	return traces, ops
}

// twin is one circuit under a virtual clock, printing lines as the traces do.
type twin struct {
	reg *breaker.Registry
	now int64
	out []string
}

func circuitKey() breaker.Key { return breaker.Key{Tenant: "t", Provider: "p"} }

func newTwin() *twin {
	tw := &twin{now: 1_700_000_000_000}
	tw.reg = breaker.NewRegistry(breaker.Options{Sink: tw})
	return tw
}

// Emit implements breaker.Sink.
func (tw *twin) Emit(_ breaker.Key, m breaker.Metric) {
	var labels []string
	for _, l := range m.Labels {
		labels = append(labels, l.Name+"="+l.Value)
	}
	v := strconv.FormatFloat(m.Value, 'f', -1, 64)
	switch {
	case m.Add:
		v = "+" + v
	case strings.HasSuffix(m.Name, "_error_rate") || strings.HasSuffix(m.Name, "_state"):
		v = strconv.FormatFloat(m.Value, 'f', 6, 64)
	}
	tw.out = append(tw.out, m.Name+"{"+strings.Join(labels, ",")+"}="+v)
}

// do carries out the operation of a recorded line and prints its line anew.
func (tw *twin) do(line string) (string, error) {
	op, _, _ := strings.Cut(line, " -> ")
	fields := strings.Fields(op)
	if len(fields) == 0 {
		return "", fmt.Errorf("no operation in %q", line)
	}
	tw.out = nil
	result := "ok"
	k := circuitKey()
	if want := map[string]int{"T": 2, "A": 1, "S": 1, "F": 1}[fields[0]]; want > 0 && len(fields) != want {
		return "", fmt.Errorf("operation %q has %d words, want %d", op, len(fields), want)
	}
	switch fields[0] {
	case "T":
		ms, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return "", err
		}
		tw.now += ms
		return line, nil
	case "C":
		cfg, err := parseConfig(fields[1:])
		if err != nil {
			return "", err
		}
		tw.reg.Configure(k, cfg, tw.now)
	case "A":
		result = "deny"
		if tw.reg.Allow(k, tw.now) {
			result = "allow"
		}
	case "S":
		tw.reg.Success(k, tw.now)
	case "F":
		tw.reg.Failure(k, tw.now)
	default:
		return "", fmt.Errorf("unknown operation %q", fields[0])
	}
	s, ok := tw.reg.Status(k)
	got := fmt.Sprintf("%s -> %s %s f=%d s=%d h=%d w=%d er=%.6f", op, result, s.State,
		s.ConsecutiveFailures, s.Successes, s.Probes, s.Window, s.ErrorRate)
	if !ok {
		got = fmt.Sprintf("%s -> %s none", op, result)
	}
	if len(tw.out) > 0 {
		got += " | " + strings.Join(tw.out, " ")
	}
	return got, nil
}

func parseConfig(fields []string) (breaker.Config, error) {
	c := breaker.PolicyDefaults()
	for _, f := range fields {
		name, v, ok := strings.Cut(f, "=")
		if !ok {
			return c, fmt.Errorf("config field %q", f)
		}
		x, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return c, fmt.Errorf("config field %q: %w", f, err)
		}
		switch name {
		case "failure_threshold":
			c.FailureThreshold = int64(x)
		case "success_threshold":
			c.SuccessThreshold = int64(x)
		case "timeout_ms":
			c.TimeoutMS = int64(x)
		case "half_open_max_calls":
			c.HalfOpenMaxCalls = int64(x)
		case "error_rate_threshold":
			c.ErrorRateThreshold = x
		case "error_rate_window_seconds":
			c.WindowSeconds = int64(x)
		case "latency_threshold_ms":
			c.LatencyThresholdMS = int64(x)
		default:
			return c, fmt.Errorf("unknown config field %q", name)
		}
	}
	return c, nil
}

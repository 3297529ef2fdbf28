package cmd

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/lab"
)

// TestStoriesOnARealPrometheus evaluates every story by flags alone, on a real
// Prometheus that holds them all, each under a label of its own. The right verdict of
// each criterion was stated before.
func TestStoriesOnARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	stories := history.Stories()
	if history.Raced {
		var few []history.Story
		for i := 0; i < len(stories); i += 9 {
			few = append(few, stories[i])
		}
		t.Logf("with the race detector only %d of %d stories are told", len(few), len(stories))
		stories = few
	}
	blocks := promtest.NewBlocks(t)
	for i := range stories {
		if err := stories[i].Emit(labelled(blocks, storyLabel(i))); err != nil {
			t.Fatalf("%s: %v", stories[i].Name, err)
		}
	}
	url := blocks.Serve()
	for i, s := range stories {
		t.Run(s.Name, func(t *testing.T) { told(t, s, storyLabel(i), url) })
	}
}

// TestHealthyFleetOnARealPrometheus lets twenty tenants through all four phases in the
// guide's minimum time, from sixty days in a real Prometheus.
func TestHealthyFleetOnARealPrometheus(t *testing.T) {
	if testing.Short() || history.Raced {
		t.Skip("sixty days in a real Prometheus: skipped by -short and with the race detector")
	}
	blocks := promtest.NewBlocks(t)
	stories := history.Healthy(6)
	if err := stories[0].Emit(labelled(blocks, storyLabel(0))); err != nil {
		t.Fatal(err)
	}
	url := blocks.Serve()
	for _, s := range stories {
		t.Run(s.Name, func(t *testing.T) { told(t, s, storyLabel(0), url) })
	}
}

// told evaluates a story by flags alone and holds the answer against what was stated.
func told(t *testing.T, s history.Story, label, url string) {
	t.Helper()
	clock, err := lab.NewWorld(lab.Options{Start: history.Enabled().AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	args := storyArgs(t, s, label, url)
	code, out, stderr := drive(t, clock, http.DefaultTransport, t.TempDir(), args...)
	var e criteria.Evaluation
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, out, stderr)
	}
	if want := map[criteria.Verdict]int{criteria.Pass: 0, criteria.Fail: 1}; code != want[e.Verdict] && (code != 3 || e.Verdict == criteria.Pass || e.Verdict == criteria.Fail) {
		t.Errorf("exit %d for %s", code, e.Verdict)
	}
	t.Log(s.Planted)
	if e.Verdict != s.Verdict {
		t.Errorf("the phase: %s, want %s", e.Verdict, s.Verdict)
	}
	checkQuotes(t, quoted(t)[s.Name], e)
	if len(e.Criteria) != len(s.Want) {
		t.Errorf("%d criteria judged, the story speaks of %d", len(e.Criteria), len(s.Want))
	}
	for _, f := range e.Criteria {
		if f.Verdict != s.Want[f.ID] {
			t.Errorf("%s: %s, want %s: %s", f.ID, f.Verdict, s.Want[f.ID], f.Summary)
		}
	}
}

func storyLabel(i int) string { return fmt.Sprintf("k%02d", i) }

// labelled stores a story's series under a label of its own. Names that are not the
// router's are the story's own, since the deployment's queries are put as they are.
func labelled(to *promtest.Blocks, label string) history.Sink {
	return func(l map[string]string) func(time.Time, float64) error {
		l = maps.Clone(l)
		l["story"] = label
		l["__name__"] = strings.Replace(l["__name__"], "gateway_", "gateway_"+label+"_", 1)
		return to.Series(l)
	}
}

// storyArgs writes a story's policies and statements to files and returns the command
// line that judges it.
func storyArgs(t *testing.T, s history.Story, label, url string) []string {
	t.Helper()
	root := t.TempDir()
	for _, tenant := range s.Options.Tenants {
		var l history.Loaded
		for _, x := range tenant.Configs {
			if !x.At.After(s.At) {
				l = x
			}
		}
		writePolicy(t, root, tenant, l.Enabled, l.Config)
	}
	args := []string{"evaluate", "--policies", root + "/policies", "--prometheus", url, "--matcher", `story="` + label + `"`, "-o", "json",
		"--phase", fmt.Sprint(s.Phase), "--at", s.At.Format(time.RFC3339)}
	if len(s.Stated.Bakes) == 0 {
		args = append(args, "--since", s.Judged[0].Since.Format(time.RFC3339))
	}
	for _, j := range s.Judged {
		args = append(args, "--tenant", j.ID)
	}
	for _, f := range []struct {
		flag string
		keys map[string]any
		n    int
	}{
		{"--attest", map[string]any{"attestations": s.Stated.Attestations}, len(s.Stated.Attestations)},
		{"--incidents", map[string]any{"incidents": s.Stated.Incidents}, len(s.Stated.Incidents)},
		{"--waivers", map[string]any{"waivers": s.Stated.Full().Waivers, "quiet": s.Stated.Full().Quiet, "disabled": s.Stated.Full().Disabled},
			len(s.Stated.Waivers) + len(s.Stated.Quiet) + len(s.Stated.Disabled)},
		{"--bakes", map[string]any{"bakes": s.Stated.Bakes}, len(s.Stated.Bakes)},
	} {
		if f.n > 0 {
			args = append(args, f.flag, writeJSON(t, filepath.Join(root, strings.TrimPrefix(f.flag, "--")+".json"), f.keys))
		}
	}
	if s.FailFast != "" {
		args = append(args, "--fail-fast", s.FailFast)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Measures)) {
		expr := strings.Replace(s.Measures[name], "gateway_", "gateway_"+label+"_", 1)
		if strings.HasPrefix(name, "stability/") {
			name += ":higher"
		}
		args = append(args, "--query", name+"="+expr)
	}
	return args
}

func writePolicy(t *testing.T, root string, tenant history.Tenant, enabled bool, c breaker.Config) {
	t.Helper()
	doc := map[string]any{"providers": []any{}}
	for _, p := range tenant.Providers {
		doc["providers"] = append(doc["providers"].([]any), map[string]any{"name": p.Name, "weight": 50})
	}
	if enabled {
		doc["circuit_breaker"] = map[string]any{"enabled": true, "failure_threshold": c.FailureThreshold, "success_threshold": c.SuccessThreshold, "timeout_ms": c.TimeoutMS,
			"half_open_max_calls": c.HalfOpenMaxCalls, "error_rate_threshold": c.ErrorRateThreshold, "error_rate_window_seconds": c.WindowSeconds}
	}
	dir := filepath.Join(root, "policies", tenant.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeJSON(t, filepath.Join(dir, "chat.json"), doc)
}

func writeJSON(t *testing.T, path string, v any) string {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

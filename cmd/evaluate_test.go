package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/lab"
)

func storyOf(t *testing.T, name string) history.Story {
	t.Helper()
	all := history.Stories()
	i := slices.IndexFunc(all, func(s history.Story) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no story %q", name)
	}
	return all[i]
}

// gatewayed is a story of t-acme with latency and uptime of the deployment's own.
func gatewayed(t *testing.T) history.Story {
	t.Helper()
	s := storyOf(t, "latency as before")
	s.Extra = append(slices.Clone(s.Extra), history.Extra{Labels: map[string]string{"__name__": "gateway_uptime", "job": "gateway", "instance": "gw:1"}, Value: s.Extra[0].Value})
	return s
}

// stored is a story in the embedded server: from the beginning, and as it is when all
// that is older than two hours before enabling was lost to retention.
type stored struct {
	story     history.Story
	all, late http.RoundTripper
	clock     *lab.World
}

func store(t *testing.T, s history.Story) stored {
	t.Helper()
	whole, late := promlab.NewStore(), promlab.NewStore()
	lost := history.Enabled().Add(-2 * time.Hour)
	err := s.Emit(func(l map[string]string) func(time.Time, float64) error {
		l = maps.Clone(l)
		a, b := whole.Series(l), late.Series(l)
		return func(at time.Time, v float64) error {
			if at.Before(lost) {
				return a(at, v)
			}
			return errors.Join(a(at, v), b(at, v))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	clock, err := lab.NewWorld(lab.Options{Start: s.At})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(x *promlab.Store) http.RoundTripper {
		return promlab.Transport(promlab.NewServer(x, promlab.Options{Now: clock.Now}))
	}
	return stored{s, serve(whole), serve(late), clock}
}

// everything is a directory with a plan in which everything is set that a plan can
// say of criteria, policies, and a file of each kind of statement.
func everything(t *testing.T, s history.Story) string {
	t.Helper()
	root := t.TempDir()
	for _, x := range s.Options.Tenants {
		enabled := false
		for _, l := range x.Configs {
			enabled = l.Enabled
		}
		writePolicy(t, root, x, enabled, history.GuideConfig())
	}
	files := map[string]string{
		"cbops.yaml": `apiVersion: cbops/v1
kind: Rollout
name: example
environment: LAB
router:
  policies: policies
prometheus:
  url: http://prometheus.example:9090
phases:
  1: {tenants: [t-acme], policies: [chat]}
  3: {tenants: [t-acme], policies: [chat]}
criteria:
  minOutcomesPerDay: 50
  failFast: rescued
  margins: {latency: 6%, errorRate: {cap: 0.4%}}
  disabled: [{tenant: t-cove, by: on-call, reason: contract}]
  overrides:
    - {setting: margins.latency, by: on-call, reason: agreed with its owner}
    - {setting: minOutcomesPerDay, by: on-call, reason: a small canary}
    - {setting: stability.uptime, by: on-call, reason: noisy}
queries:
  latency: avg by (tenant_id) (gateway_latency_seconds)
  stability:
    - {name: uptime, query: gateway_uptime, direction: higher, margin: 8%}
`,
		"attest.yaml": `attestations:
  - {id: logs-useful, by: on-call, reason: read them daily, from: "2026-03-08T11:00:00Z", until: 2026-04-08}
  - {id: no-customer-reports, by: support, reason: the queue, from: "2026-03-08T11:00:00Z", until: 2026-04-08, baselineCount: 4, windowCount: 3}
  - {id: phase4/docs-updated, by: on-call, reason: early, from: "2026-03-08T11:00:00Z", until: 2026-04-08}
`,
		"incidents.yaml": `incidents:
  - {provider: openai, by: on-call, reason: 5xx, from: "2026-03-09T10:00:00Z", to: "2026-03-09T11:00:00Z", declared: "2026-03-09T10:05:00Z"}
  - {provider: opneai, by: on-call, reason: a slip, from: "2026-03-09T10:00:00Z", to: "2026-03-09T11:00:00Z", declared: "2026-03-09T10:05:00Z"}
  - {provider: anthropic, by: on-call, reason: planned, from: "2026-03-12T10:00:00Z"}
  - {provider: anthropic, by: on-call, reason: later, from: "2026-03-09T10:00:00Z", declared: "2026-03-12T10:00:00Z"}
`,
		"waivers.yaml": `waivers:
  - {id: wasted-calls-reduced, by: on-call, reason: no outage to see it by, expires: 2026-03-20}
  - {id: consistent-across-tenants, by: on-call, reason: one tenant, expires: 2026-03-10}
  - {id: metrics-accurate, tenant: t-amce, by: on-call, reason: a slip, expires: 2026-03-20}
quiet:
  - {tenant: t-nobody, by: on-call, reason: gone}
`,
		"bakes.yaml": `bakes:
  - {tenant: t-acme, from: "2026-03-02T10:00:00Z", to: "2026-03-04T10:00:00Z", reason: opened on noise}
  - {tenant: t-acme, from: "2026-03-08T10:00:00Z"}
`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestEvaluateFromAPlanAlone: a plan and the files beside it suffice; a bundle gives
// the same bytes again, statements, queries, frozen baseline and policies included;
// what is wrong with a statement is said, and counts for nothing.
func TestEvaluateFromAPlanAlone(t *testing.T) {
	w := store(t, gatewayed(t))
	root := everything(t, w.story)
	said := []string{"--attest", "attest.yaml", "--incidents", "incidents.yaml", "--waivers", "waivers.yaml", "--bakes", "bakes.yaml"}
	evaluate := func(tr http.RoundTripper, args ...string) (int, criteria.Evaluation, string) {
		t.Helper()
		code, out, stderr := drive(t, w.clock, tr, root, append(append([]string{"evaluate", "-o", "json"}, args...), said...)...)
		var e criteria.Evaluation
		if err := json.Unmarshal([]byte(out), &e); err != nil {
			t.Fatalf("exit %d: %v\n%s", code, err, stderr)
		}
		return code, e, out
	}
	find := func(e criteria.Evaluation, id string) criteria.Finding {
		i := slices.IndexFunc(e.Criteria, func(f criteria.Finding) bool { return f.ID == id })
		return e.Criteria[i]
	}

	// Phase 1 needs no flag but what was said.
	code, e, _ := evaluate(w.all, "--phase", "1", "--save", "first.bundle")
	if code != 0 || e.Verdict != criteria.Pass || e.Environment != "LAB" || e.Rollout != "example" {
		t.Errorf("exit %d, %s of %s, %s", code, e.Verdict, e.Environment, e.Rollout)
	}
	if f := find(e, "latency-not-degraded"); f.Verdict != criteria.Pass || f.Basis != criteria.Measured {
		t.Errorf("the plan's query: %s, %s", f.Verdict, f.Summary)
	}

	// With the baseline gone, what was frozen stands for it.
	if _, lost, _ := evaluate(w.late, "--phase", "1"); find(lost, "error-rate-not-increased").Verdict != criteria.Inconclusive {
		t.Errorf("the baseline is lost: %+v", find(lost, "error-rate-not-increased"))
	}
	code, e, out := evaluate(w.late, "--phase", "3", "--frozen-baseline", "first.bundle", "--save", "kept.bundle")
	if f := find(e, "error-rate-not-increased"); f.Verdict == criteria.Inconclusive && strings.Contains(f.Summary, "baseline is lost") {
		t.Errorf("the frozen baseline: %s", f.Summary)
	}
	if code != 3 {
		t.Errorf("three of fourteen days: exit %d", code)
	}
	problems := []string{}
	for _, i := range e.Incidents {
		problems = append(problems, i.Problem)
	}
	want := []string{"", "no judged tenant uses a provider of this name: did you mean openai?", "it begins after the instant judged", "declared after the instant judged"}
	if !slices.Equal(problems, want) {
		t.Errorf("incidents: %q", problems)
	}
	if x := e.Waivers; !x[0].Holds || x[0].Problem != "" || x[1].Holds || x[2].Problem != "no judged tenant is called so: did you mean t-acme?" {
		t.Errorf("waivers: %+v", x)
	}
	if x := e.Attestations; !x[0].Counts || !x[1].Counts || x[2].Counts || x[2].Judged {
		t.Errorf("attestations: %+v", x)
	}
	if len(e.Overrides) != 3 || len(e.EarlierBakes) != 1 || find(e, "wasted-calls-reduced").Waived == nil || !strings.Contains(strings.Join(e.Notes, "\n"), "quiet tenant t-nobody") {
		t.Errorf("overrides %v, earlier bakes %v, notes %q", e.Overrides, e.EarlierBakes, e.Notes)
	}

	// The bundle says the same, byte for byte, also where neither plan nor files are.
	elsewhere := t.TempDir()
	for _, format := range []string{"json", "yaml", "text", "markdown", "junit", "github"} {
		args := []string{"evaluate", "--phase", "3", "--frozen-baseline", "first.bundle", "-o", format}
		_, live, _ := drive(t, w.clock, w.late, root, append(args, said...)...)
		_, again, stderr := drive(t, w.clock, nil, elsewhere, "evaluate", "--bundle", filepath.Join(root, "kept.bundle"), "-o", format)
		if live != again {
			t.Errorf("%s differs from the bundle's:\n%s\n%s", format, firstDifference(live, again), stderr)
		}
		if format == "json" && live != out {
			t.Errorf("the same question, another answer:\n%s", firstDifference(out, live))
		}
	}
	oldBundle(t, w, filepath.Join(root, "first.bundle"))
}

// oldBundle: what a cbops kept that knew no statements and no margins is judged by the
// guide's; a bundle of another format is refused.
func oldBundle(t *testing.T, w stored, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := evidence.ReadBundle(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	put := func(asked string) string {
		old := *b
		old.Asked = json.RawMessage(asked)
		old.Version = "v0.1.0"
		var buf bytes.Buffer
		if _, err := evidence.WriteBundle(&buf, &old); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "old.bundle")
		if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	code, out, stderr := drive(t, w.clock, nil, t.TempDir(), "evaluate", "--bundle", put(`{"phase":1,"minDays":3,"minOutcomesPerDay":100}`))
	if code != 3 || !strings.Contains(out, "judged by v0.1.0") || !strings.Contains(out, "logs-useful: pass then") || !strings.Contains(out, "? logs-useful") ||
		!strings.Contains(out, "margin 0.193 points") {
		t.Errorf("exit %d: without statements nothing is attested, with the guide's margins:\n%s%s", code, out, stderr)
	}
	for _, asked := range []string{`{}`, `{"phase":7}`, `{"phase":1,"margins":{"latency":0.5}}`, `{"phase":"1"}`} {
		if code, out, stderr := drive(t, w.clock, nil, t.TempDir(), "evaluate", "--bundle", put(asked)); code != 2 || out != "" || !strings.Contains(stderr, "hint: ") {
			t.Errorf("%s: exit %d\n%s%s", asked, code, out, stderr)
		}
	}
}

// TestEvaluateExamples runs what the help of evaluate and ticket draft shows, where
// everything that it names is there: each ends in an answer.
func TestEvaluateExamples(t *testing.T) {
	flags := map[string]bool{}
	ran := 0
	run := func(w stored, root string, command ...string) {
		t.Helper()
		found, _, err := newRootCmd(&app{}).Find(command)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(found.Example, "\\\n", " "), "\n") {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			words, err := shellquote.Split(line)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range words {
				flags[x] = true
			}
			code, out, stderr := drive(t, w.clock, w.all, root, words[1:]...)
			if code != 0 && code != 1 && code != 3 || out == "" {
				t.Errorf("%s: exit %d\n%s%s", line, code, out, stderr)
			}
			ran++
		}
	}
	since := history.Enabled().Format(time.RFC3339)

	w := store(t, gatewayed(t))
	root := everything(t, w.story)
	if err := os.MkdirAll(filepath.Join(root, ".cbops", "bundles"), 0o755); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(".cbops", "bundles", "2026-03-08T100000Z-phase1.bundle")
	if code, _, stderr := drive(t, w.clock, w.all, root, "evaluate", "--phase", "1", "--since", since, "--save", named); code != 3 {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	run(w, root, "evaluate")

	w = store(t, storyOf(t, "noise on low traffic"))
	root = everything(t, w.story)
	code, answer, stderr := drive(t, w.clock, w.all, root, "evaluate", "--phase", "1", "--tenant", "t-bolt", "--since", since, "-o", "json")
	if code != 1 {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	if err := os.WriteFile(filepath.Join(root, "evaluation.json"), []byte(answer), 0o600); err != nil {
		t.Fatal(err)
	}
	run(w, root, "ticket", "draft")

	for _, f := range []string{"--attest", "--incidents", "--waivers", "--bakes", "--query", "--fail-fast", "--frozen-baseline", "--criteria", "--bundle", "--save"} {
		if !flags[f] {
			t.Errorf("no example of %s", f)
		}
	}
	if ran < 8 {
		t.Errorf("%d examples", ran)
	}
}

// TestNextCommandsRun: what evaluate names as the next command is taken as it stands,
// flags and all.
func TestNextCommandsRun(t *testing.T) {
	w := store(t, gatewayed(t))
	root := everything(t, w.story)
	if err := os.Remove(filepath.Join(root, "cbops.yaml")); err != nil { // flags alone
		t.Fatal(err)
	}
	code, out, stderr := drive(t, w.clock, w.all, root, "evaluate", "--phase", "1", "--policies", "policies", "--prometheus", "http://prometheus.example:9090", "--tenant", "t-acme",
		"--since", "72h", "--query", "latency=sum by (tenant_id) (gateway_latency_seconds) * 2", "--query", "tenantErrorRate=100 * gateway_uptime", "-o", "json")
	var e criteria.Evaluation
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 3 || len(e.Next) == 0 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, stderr)
	}
	if !strings.Contains(strings.Join(e.Notes, "\n"), "queries.tenantErrorRate is not used for t-acme: a value of ") {
		t.Errorf("a query in percent: %q", e.Notes)
	}
	for _, next := range e.Next {
		words, err := shellquote.Split(strings.TrimSpace(strings.SplitN(next, "   #", 2)[0]))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(words, "72h") {
			t.Errorf("a duration back from now means another time tomorrow: %s", next)
		}
		if code, out, stderr := drive(t, w.clock, w.all, root, words[1:]...); out == "" || code == 2 || code == 4 {
			t.Errorf("%s: exit %d\n%s", next, code, stderr)
		}
	}
}

// TestSecretsAreInNoNextCommand: an address with credentials is not repeated.
func TestSecretsAreInNoNextCommand(t *testing.T) {
	o := evaluateOptions{}
	o.urls = []string{"http://user:geheim@prometheus.example:9090", "http://prometheus.example:9090?token=geheim", "http://prometheus.example:9091"}
	o.tenants = []string{"t-acme; rm -rf /"}
	f := (&app{}).asked(o, history.Enabled(), history.Enabled())
	if s := fmt.Sprint(f); strings.Contains(s, "geheim") || !strings.Contains(s, "9091") || strings.Contains(s, "t-acme; rm") && !strings.Contains(s, "'t-acme; rm -rf /'") {
		t.Errorf("%s", s)
	}
}

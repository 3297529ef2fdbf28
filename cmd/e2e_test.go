package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/proc"
	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// both gives every sample to the lab's store and to the history that the real
// Prometheus is filled with.
type both struct {
	store   *promlab.Store
	history *promtest.History
}

func (b both) Append(labels map[string]string, at time.Time, v float64) error {
	return errors.Join(b.store.Append(labels, at, v), b.history.Append(labels, at, v))
}

// TestSameAnswerFromARealPrometheus runs one evaluation against the embedded lab
// and against a real Prometheus with the same history: the same answer, evidence
// included.
func TestSameAnswerFromARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	promtest.Binary(t, "prometheus") // says what is missing before any work is done
	root := t.TempDir()
	if err := copyTree(filepath.Join("..", "testdata", "example"), root); err != nil {
		t.Fatal(err)
	}
	dir, err := router.OpenDir(root + "/policies")
	if err != nil {
		t.Fatal(err)
	}
	b := both{promlab.NewStore(), promtest.NewHistory()}
	o := rehearsalWorld(dir, b)
	w, err := lab.NewWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	enabled := o.Start.AddDate(0, 0, baselineDays)
	end := enabled.AddDate(0, 0, bakeDays)
	if err := w.Advance(enabled); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{canary, noisy} {
		code, _, stderr := drive(t, w, nil, root, "apply", "-f", "phase1.json", "--tenant", tenant, "--policy", demoPolicy,
			"--no-verify", "--reload", "reload {tenant} {policy}", "--yes", "--verify", "true")
		if code != 0 {
			t.Fatalf("apply %s: exit %d\n%s", tenant, code, stderr)
		}
	}
	if err := w.Advance(end); err != nil {
		t.Fatal(err)
	}
	url := promtest.Start(t, b.history)
	labTransport := promlab.Transport(promlab.NewServer(b.store, promlab.Options{Now: w.Now}))
	for _, c := range []struct {
		tenant  string
		code    int
		verdict string
	}{{canary, 0, "pass"}, {noisy, 1, "fail"}} {
		t.Run(c.tenant, func(t *testing.T) {
			args := []string{"evaluate", "--phase", "1", "--tenant", c.tenant, "--since", enabled.Format(time.RFC3339),
				"--at", end.Format(time.RFC3339), "--attest", "attest.yaml", "-o", "json"}
			codeLab, fromLab, stderr := drive(t, w, labTransport, root, args...)
			if codeLab != c.code {
				t.Fatalf("lab: exit %d, want %d\n%s", codeLab, c.code, stderr)
			}
			codeReal, fromReal, stderr := drive(t, w, http.DefaultTransport, root, append(args, "--prometheus", url)...)
			if codeReal != c.code {
				t.Fatalf("real Prometheus: exit %d, want %d\n%s\n%s", codeReal, c.code, stderr, fromReal)
			}
			a, r := without(t, fromLab), without(t, strings.ReplaceAll(fromReal, " --prometheus "+url, "")) // it stands in the next command
			if a != r {
				t.Fatalf("the answers differ:\n%s", firstDifference(a, r))
			}
			if !strings.Contains(a, `"verdict": "`+c.verdict+`"`) || !strings.Contains(a, `"openedTo"`) {
				t.Fatalf("no %s verdict with episodes in the answer:\n%.2000s", c.verdict, a)
			}
			checkBundle(t, w, root, fromReal, c.code)
		})
	}
	t.Run("through faults", func(t *testing.T) { throughFaults(t, w, root, url, enabled, end) })
}

// throughFaults runs evaluate and doctor with 30 % of the connections reset, cut,
// slow or in slices: the answer is the one without faults, or there is none.
func throughFaults(t *testing.T, w *lab.World, root, url string, enabled, end time.Time) {
	clean := func() *http.Transport { return &http.Transport{DisableKeepAlives: true} } // a connection a request
	evaluate := []string{"evaluate", "--phase", "1", "--tenant", noisy, "--since", enabled.Format(time.RFC3339),
		"--at", end.Format(time.RFC3339), "--attest", "attest.yaml", "-o", "json", "--prometheus"}
	doctor := []string{"doctor", "--at", end.Format(time.RFC3339), "-o", "json", "--prometheus"}
	wantCode, want, stderr := drive(t, w, clean(), root, append(evaluate, url)...)
	if wantCode != 1 {
		t.Fatalf("exit %d\n%s", wantCode, stderr)
	}
	wantDoctor, found, stderr := drive(t, w, clean(), root, append(doctor, url)...)
	if wantDoctor != 1 {
		t.Fatalf("doctor: exit %d\n%s", wantDoctor, stderr)
	}
	good := 0
	for kind, toxic := range promtest.Toxics(0.3) {
		bad := promtest.Behind(t, url, toxic)
		for range 2 {
			switch code, out, stderr := drive(t, w, clean(), root, append(evaluate, bad)...); {
			case code == 4 && out == "" && strings.Contains(stderr, "hint: "):
			case code != wantCode || without(t, strings.ReplaceAll(out, bad, url), "requests") != without(t, want, "requests"):
				t.Errorf("%s: exit %d\n%s%s", kind, code, stderr, firstDifference(without(t, want, "requests"), without(t, out, "requests")))
			default:
				good++
			}
		}
		switch code, out, stderr := drive(t, w, clean(), root, append(doctor, bad)...); {
		case code == 4 && out == "" && strings.Contains(stderr, "hint: "):
		case code != wantDoctor || verdicts(t, out) != verdicts(t, found):
			t.Errorf("doctor, %s: exit %d\n%s%s", kind, code, stderr, firstDifference(verdicts(t, found), verdicts(t, out)))
		default:
			good++
		}
	}
	if good < 4 {
		t.Errorf("only %d answers came through: nothing was tested", good)
	}
}

// verdicts are a diagnosis' checks, a line each.
func verdicts(t *testing.T, doc string) string {
	t.Helper()
	var d struct {
		Dialect string
		Checks  []struct{ ID, Verdict string }
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil || len(d.Checks) < 10 {
		t.Fatalf("not a diagnosis: %v\n%.500s", err, doc)
	}
	out := d.Dialect
	for _, c := range d.Checks {
		out += "\n" + c.ID + " " + c.Verdict
	}
	return out
}

// checkBundle judges the newest bundle again: the same bytes without a server, the
// differences when another version judged it, and no verdict once it was changed.
func checkBundle(t *testing.T, w *lab.World, root, answer string, code int) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root, ".cbops", "bundles", "*.bundle"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no bundle was kept: %v", err)
	}
	var bundle string
	for _, b := range all { // both servers' evidence is there; the bytes tell whose
		if c, out, _ := drive(t, w, nil, root, "evaluate", "--bundle", b, "-o", "json"); out == answer && c == code {
			bundle = b
		}
	}
	if bundle == "" {
		_, out, stderr := drive(t, w, nil, root, "evaluate", "--bundle", all[0], "-o", "json")
		t.Fatalf("no bundle gives the same bytes:\n%s\n%s", firstDifference(answer, out), stderr)
	}
	version = "v9.9.9"
	_, out, _ := drive(t, w, nil, root, "evaluate", "--bundle", bundle)
	version = ""
	if !strings.Contains(out, "judged by devel; this is v9.9.9") || !strings.Contains(out, "Both say the same.") {
		t.Fatalf("another version does not say so:\n%s", out)
	}
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	bad := filepath.Join(t.TempDir(), "bad.bundle")
	if err := os.WriteFile(bad, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, out, stderr := drive(t, w, nil, root, "evaluate", "--bundle", bad); c != 2 || out != "" || !strings.Contains(stderr, "hint: ") {
		t.Fatalf("a changed bundle: exit %d\n%s%s", c, out, stderr)
	}
	if c, _, stderr := drive(t, w, nil, root, "evaluate", "--bundle", bundle, "--tenant", "t-acme"); c != 2 || !strings.Contains(stderr, "--tenant") {
		t.Fatalf("--bundle with --tenant: exit %d\n%s", c, stderr)
	}
}

// drive runs a command with the lab's clock and router.
func drive(t *testing.T, w *lab.World, tr http.RoundTripper, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), State{
		Now: w.Now, Sleep: func(context.Context, time.Duration) error { return nil },
		Env: func(string) (string, bool) { return "", false }, Dir: dir,
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Transport: tr, User: "on-call",
		Runner: labReload{w},
	}, args)
	return code, out.String(), errs.String()
}

// labReload answers the reload command from the lab's router.
type labReload struct{ w *lab.World }

func (l labReload) Run(_ context.Context, c proc.Command) (proc.Result, error) {
	if len(c.Argv) == 3 && c.Argv[0] == "reload" {
		if err := l.w.Router().Reload(c.Argv[1], c.Argv[2]); err != nil {
			return proc.Result{ExitCode: 1, Stderr: []byte(err.Error())}, nil
		}
	}
	return proc.Result{}, nil
}

// without drops what may differ: which server answered, how many bytes its JSON took,
// and more.
func without(t *testing.T, doc string, more ...string) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatalf("not JSON: %v\n%.500s", err, doc)
	}
	queries, _ := v["queries"].([]any)
	if len(queries) == 0 {
		t.Fatal("the answer names no queries")
	}
	for _, q := range queries {
		m := q.(map[string]any)
		delete(m, "server")
		delete(m, "bytes")
		for _, k := range more {
			delete(m, k)
		}
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			from := max(0, i-5)
			return "lab:\n" + strings.Join(x[from:min(len(x), i+3)], "\n") + "\nreal:\n" + strings.Join(y[from:min(len(y), i+3)], "\n")
		}
	}
	return "one is longer"
}

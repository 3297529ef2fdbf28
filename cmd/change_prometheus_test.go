package cmd

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// outage is an hour of traffic with openai failing at its end, in a directory with
// a plan; the same history is in the lab's store and in a real Prometheus' blocks.
func outage(t *testing.T, enabled bool, share float64) (*lab.World, both, string) {
	t.Helper()
	root := t.TempDir()
	doc := fmt.Sprintf(`{"providers":[{"name":"openai","weight":50},{"name":"anthropic","weight":50}],"circuit_breaker":{"enabled":%v,"failure_threshold":5,"error_rate_threshold":0.5,"timeout_ms":300000}}`, enabled)
	for _, tenant := range []string{"t-acme", "t-bolt"} {
		if err := os.MkdirAll(filepath.Join(root, "policies", tenant), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "policies", tenant, "chat.json"), []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := router.OpenDir(filepath.Join(root, "policies"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	b := both{promlab.NewStore(), promtest.NewHistory()}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w, err := lab.NewWorld(lab.Options{Seed: 3, Start: start, Policies: dir, Store: b, Nodes: []string{"node-1:9001", "node-2:9001"},
		Tenants: []lab.Tenant{{ID: "t-acme", Policy: "chat", PerMinute: 120}, {ID: "t-bolt", Policy: "chat", PerMinute: 120}},
		Faults:  []lab.Fault{{Provider: "openai", From: start.Add(50 * time.Minute), To: start.Add(2 * time.Hour), Share: share}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Advance(start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return w, b, root
}

func writePlan(t *testing.T, root, url string) {
	t.Helper()
	plan := "apiVersion: cbops/v1\nkind: Rollout\nname: x\nenvironment: TEST\nrouter: {policies: policies, reload: 'true', verify: 'true'}\nprometheus: {url: '" + url + "'}\n"
	if err := os.WriteFile(filepath.Join(root, "cbops.yaml"), []byte(plan), 0o644); err != nil {
		t.Fatal(err)
	}
}

// roll runs a rollback with the lab's clock: waiting lets virtual time pass.
func roll(t *testing.T, w *lab.World, tr http.RoundTripper, root string, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	var one sync.Mutex // two who wait at once: a world goes on once at a time
	code := Main(t.Context(), State{Now: w.Now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			one.Lock()
			defer one.Unlock()
			return w.Advance(w.Now().Add(d))
		},
		Env: func(string) (string, bool) { return "", false }, Dir: root,
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Transport: tr, User: "on-call", Runner: labReload{w},
	}, append([]string{"rollback"}, args...))
	return code, strings.Join(strings.Fields(out.String()), " "), errs.String()
}

// slow answers only after a while, as a Prometheus in trouble does.
type slow struct{ wait time.Duration }

func (s slow) RoundTrip(q *http.Request) (*http.Response, error) {
	select {
	case <-q.Context().Done():
		return nil, q.Context().Err()
	case <-time.After(s.wait):
		return nil, context.DeadlineExceeded
	}
}

func TestOpenCircuitsFromTheRealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	promtest.Binary(t, "prometheus")
	w, b, root := outage(t, true, 1)
	writePlan(t, root, promtest.Start(t, b.history))
	w2, b2, root2 := outage(t, true, 1)
	writePlan(t, root2, "http://prometheus.example:9090")
	lab := promlab.Transport(promlab.NewServer(b2.store, promlab.Options{Now: w2.Now}))
	for name, run := range map[string]func() (int, string, string){
		"real": func() (int, string, string) {
			return roll(t, w, http.DefaultTransport, root, "tenant", "t-acme", "--yes", "--settle", "0s", "--wait", "1s")
		},
		"lab": func() (int, string, string) {
			return roll(t, w2, lab, root2, "tenant", "t-acme", "--yes", "--settle", "0s", "--wait", "1s")
		},
	} {
		code, out, errs := run()
		// Two nodes, two providers; openai is open on both nodes: the breaker opened, and
		// with a timeout of five minutes it may be probing.
		if code != 5 || !strings.Contains(out, "no open circuits for tenant: no. 2 still open in memory on router/node-1:9001, router/node-2:9001") {
			t.Errorf("%s: exit %d\n%s\n%s", name, code, out, errs)
		}
	}
}

func TestClearedByTimelinesNeedsAFreshScrape(t *testing.T) {
	w, b, root := outage(t, true, 1)
	writePlan(t, root, "http://prometheus.example:9090")
	tr := promlab.Transport(promlab.NewServer(b.store, promlab.Options{Now: w.Now}))
	for _, n := range []string{"node-1:9001", "node-2:9001"} {
		if err := w.Router().Restart(n); err != nil { // every circuit is closed now
			t.Fatal(err)
		}
	}
	w.AddFault(lab.Fault{Provider: "openai"})
	code, out, _ := roll(t, w, tr, root, "tenant", "t-bolt", "--yes", "--settle", "0s", "--wait", "1s")
	if code != 5 || strings.Contains(out, "no open circuits for tenant: yes") {
		t.Errorf("an old scrape proved something: exit %d\n%s", code, out)
	}
}

func TestRollbackSaysWhichProvidersFail(t *testing.T) {
	w, b, root := outage(t, false, 1) // where no breaker acts, every call shows the failure
	writePlan(t, root, "http://prometheus.example:9090")
	store := promlab.Transport(promlab.NewServer(b.store, promlab.Options{Now: w.Now}))
	// The answer has to be there by itself: --wait gives it the time.
	_, out, errs := roll(t, w, store, root, "global", "--yes", "--settle", "0s", "--wait", "1s")
	if !strings.Contains(out, "openai is failing for 2 tenants now") {
		t.Errorf("%s\n%s", out, errs)
	}
	if err := w.Router().Reload("t-acme", "chat"); err != nil {
		t.Fatal(err)
	}
	// A Prometheus that hangs, or none: the rollback does not wait for it.
	for _, tr := range []http.RoundTripper{slow{time.Hour}, slow{0}, nil} {
		start := time.Now()
		code, out, errs := roll(t, w, tr, root, "global", "--yes", "--settle", "0s")
		if took := time.Since(start); code != 0 || took > 3*time.Second || !strings.Contains(out, "proven loaded") {
			t.Errorf("exit %d after %s\n%s\n%s", code, took, out, errs)
		}
	}
}

func TestClearedByAFreshScrape(t *testing.T) {
	w, b, root := outage(t, true, 0)
	writePlan(t, root, "http://prometheus.example:9090")
	tr := promlab.Transport(promlab.NewServer(b.store, promlab.Options{Now: w.Now}))
	began := w.Now()
	code, out, errs := roll(t, w, tr, root, "tenant", "t-bolt", "--yes", "--settle", "0s", "--wait", "5m")
	if code != 0 || !strings.Contains(out, "4/4 circuits no open circuits for tenant: yes, by timelines") {
		t.Errorf("exit %d\n%s\n%s", code, out, errs)
	}
	if waited := w.Now().Sub(began); waited <= 0 || waited > 3*time.Minute {
		t.Errorf("waited %s for the next scrape", waited)
	}
}

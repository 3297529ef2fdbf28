// Package promtest starts the real Prometheus for tests, on blocks backfilled by
// the real promtool. The binaries are built by `make prometheus` from
// internal/testprom. It holds no queries and is imported by tests only.
package promtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Binary returns the path of prometheus or promtool in .bin of the module's
// root. Without it the test fails, or is skipped where CBOPS_SKIP_PROMETHEUS=1.
func Binary(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = up
	}
	path := filepath.Join(dir, ".bin", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("CBOPS_SKIP_PROMETHEUS") == "1" {
		t.Skipf("skipped: .bin/%s is not built and CBOPS_SKIP_PROMETHEUS=1", name)
	}
	t.Fatalf(".bin/%s is not built: run `make prometheus`, or set CBOPS_SKIP_PROMETHEUS=1 to skip this test", name)
	return ""
}

// History keeps scrapes to be exported as OpenMetrics. Its Append has the
// signature of the practice Prometheus' store, so a lab can write into both.
type History struct {
	series map[string]*bytes.Buffer
}

// NewHistory makes an empty History.
func NewHistory() *History { return &History{series: map[string]*bytes.Buffer{}} }

// Append adds a sample; samples of one series come in order of time.
func (h *History) Append(labels map[string]string, at time.Time, v float64) error {
	name := seriesName(labels)
	b := h.series[name]
	if b == nil {
		b = &bytes.Buffer{}
		h.series[name] = b
	}
	_, err := fmt.Fprintf(b, "%s %s %d.%03d\n", name, strconv.FormatFloat(v, 'g', -1, 64), at.Unix(), at.Nanosecond()/1e6)
	return err
}

func seriesName(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		if k != "__name__" {
			parts = append(parts, k+"="+strconv.Quote(v))
		}
	}
	slices.Sort(parts)
	return labels["__name__"] + "{" + strings.Join(parts, ",") + "}"
}

// write writes OpenMetrics text, one series after another.
func (h *History) write(path string) error {
	var b bytes.Buffer
	var names []string
	for n := range h.series {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		b.Write(h.series[n].Bytes())
	}
	b.WriteString("# EOF\n")
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// Start backfills blocks from the history, starts Prometheus on them at a free
// loopback port with any more flags, waits until it is ready and returns its URL. The
// server is ended with the test.
func Start(t testing.TB, h *History, flags ...string) string {
	t.Helper()
	return StartWith(t, h, "scrape_configs: []\n", flags...)
}

// StartWith is Start with a configuration of one's own.
func StartWith(t testing.TB, h *History, config string, flags ...string) string {
	t.Helper()
	promtool := Binary(t, "promtool")
	dir := t.TempDir()
	text, data := filepath.Join(dir, "history.om"), filepath.Join(dir, "data")
	if err := h.write(text); err != nil {
		t.Fatal(err)
	}
	// Long blocks: promtool reads the whole text once per block.
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=480h", text, data).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	return run(t, dir, data, config, flags)
}

// Scrape starts a Prometheus that scrapes a target (HOST:PORT) by the job "router"
// every second, and returns its URL once it has done so.
func Scrape(t testing.TB, target, path string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`scrape_configs:
  - job_name: router
    scrape_interval: 1s
    scrape_timeout: 1s
    metrics_path: %s
    static_configs: [{targets: [%q]}]
`, path, target)
	url := run(t, dir, filepath.Join(dir, "data"), config, flags)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		res, err := http.Get(url + "/api/v1/query?query=" + neturl.QueryEscape(`count_over_time(up{job="router"}[1m]) >= 5 and up == 1`))
		if err != nil {
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && bytes.Contains(body, []byte(`"instance"`)) {
			return url
		}
	}
	t.Fatal("prometheus did not scrape its target within a minute")
	return ""
}

// run starts Prometheus and waits until it is ready.
func run(t testing.TB, dir, data, config string, flags []string) string {
	t.Helper()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	// Without the retention flag the server deletes blocks older than 15 days.
	cmd := exec.CommandContext(ctx, Binary(t, "prometheus"), append([]string{"--config.file=" + file, "--storage.tsdb.path=" + data,
		"--storage.tsdb.retention.time=10y", "--web.listen-address=" + addr}, flags...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }() // killed below: its error says nothing
	t.Cleanup(func() { cancel(); <-done })
	url := "http://" + addr
	for deadline := time.Now().Add(time.Minute); ; {
		if resp, err := http.Get(url + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return url
			}
		}
		select {
		case <-done:
			t.Fatalf("prometheus ended before it was ready:\n%s", log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("prometheus was not ready within a minute")
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

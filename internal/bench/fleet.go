package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// What reading a fleet may take: processor time against reading the same answers and
// throwing them away, and memory.
const (
	fleetCPUGoal    = 3.0
	fleetMemoryGoal = 1 << 10 // MiB
	fleetDays       = 14
	fleetStart      = 1_772_323_200 // seconds since the Unix epoch
)

// reading is what it took to read the evidence about a fleet.
type reading struct {
	Tenants, Questions, Requests, Planned int
	Circuits, Episodes, Samples           int
	Bytes                                 int64
	// CPU seconds of this process, and of reading the same answers raw.
	CPU, Raw float64
	Wall     float64
	// Peak is the resident memory at its highest, in MiB.
	Peak float64
}

// compareFleets reads the evidence about 10 and about 1,000 tenants from a real
// Prometheus, three providers each, a fortnight at a scrape a minute.
func compareFleets(w io.Writer) (err error) {
	bin := filepath.Join("..", "..", ".bin")
	for _, tool := range []string{"prometheus", "fleet"} {
		if _, err := os.Stat(filepath.Join(bin, tool)); err != nil {
			return fmt.Errorf("the fleet is not measured: %w (make prometheus fleet)", err)
		}
	}
	dir, err := os.MkdirTemp("", "cbops-fleet-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(w, "\nEvidence about a fleet: tenants × 3 providers × %d days at 60 s, a real Prometheus\n\n", fleetDays)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  tenants\tquestions\trequests\tsplit\tepisodes\tsamples\tMB\tCPU s\traw read s\tratio\tpeak MiB\twall s")
	var all []reading
	for _, n := range []int{10, 1000} {
		r, err := readFleet(bin, filepath.Join(dir, strconv.Itoa(n)), n)
		if err != nil {
			return fmt.Errorf("%d tenants: %w", n, err)
		}
		all = append(all, r)
		fmt.Fprintf(t, "  %d\t%d\t%d\t%d\t%d\t%d\t%.0f\t%.2f\t%.2f\t%.1f\t%.0f\t%.1f\n", r.Tenants, r.Questions, r.Requests, r.Requests-r.Planned,
			r.Episodes, r.Samples, float64(r.Bytes)/1e6, r.CPU, r.Raw, r.CPU/r.Raw, r.Peak, r.Wall)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	small, large := all[0], all[1]
	fmt.Fprintf(w, "\n  questions %s; CPU %s %.1f times the raw read; peak memory %s %d MiB\n",
		map[bool]string{true: "the same for both", false: "NOT the same"}[small.Questions == large.Questions],
		within(large.CPU/large.Raw <= fleetCPUGoal), fleetCPUGoal, within(large.Peak <= fleetMemoryGoal), fleetMemoryGoal)
	return nil
}

func within(ok bool) string {
	if ok {
		return "within"
	}
	return "ABOVE"
}

// readFleet makes blocks, serves them, and reads them in a process of its own, whose
// memory is then its own too.
func readFleet(bin, dir string, tenants int) (r reading, err error) {
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return r, err
	}
	if out, err := exec.Command(filepath.Join(bin, "fleet"), "-dir", data, "-tenants", strconv.Itoa(tenants),
		"-days", strconv.Itoa(fleetDays), "-start", strconv.Itoa(fleetStart)).CombinedOutput(); err != nil {
		return r, fmt.Errorf("fleet: %w: %s", err, out)
	}
	url, stop, err := serve(bin, dir, data)
	if err != nil {
		return r, err
	}
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, "read-fleet", url, strconv.Itoa(tenants))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(out, &r)
}

// serve starts Prometheus on the blocks and waits until it is ready.
func serve(bin, dir, data string) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	cfg := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(cfg, []byte("scrape_configs: []\n"), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(filepath.Join(bin, "prometheus"), "--config.file="+cfg, "--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=10y", "--web.listen-address="+addr, "--log.level=error")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }() // killed below: its error says nothing
	stop = func() { _ = cmd.Process.Kill(); <-done }
	for range 600 {
		if res, err := http.Get("http://" + addr + "/-/ready"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return "http://" + addr, stop, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("prometheus was not ready: %s", log.String())
}

// recorder keeps every request, so that it can be made again.
type recorder struct {
	mu   sync.Mutex
	next http.RoundTripper
	all  []recorded
}

type recorded struct {
	method, url, kind string
	body              []byte
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	x := recorded{method: req.Method, url: req.URL.String(), kind: req.Header.Get("Content-Type")}
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		x.body = b
		req.Body = io.NopCloser(bytes.NewReader(b))
	}
	r.mu.Lock()
	r.all = append(r.all, x)
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// readFleetHere is the child: it reads the evidence, then the same answers raw.
func readFleetHere(out io.Writer, url, tenants string) error {
	n, err := strconv.Atoi(tenants)
	if err != nil {
		return err
	}
	start := time.Unix(fleetStart, 0).UTC()
	at, since := start.Add((fleetDays*24*60-1)*time.Minute), start.Add(7*24*time.Hour)
	rec := &recorder{next: http.DefaultTransport}
	client, err := promquery.New(promquery.Options{URL: url, Transport: rec, Timeout: 10 * time.Minute})
	if err != nil {
		return err
	}
	req := gather.Request{At: at, Baseline: 7 * 24 * time.Hour}
	for i := range n {
		req.Tenants = append(req.Tenants, gather.TenantRequest{ID: fmt.Sprintf("t-%05d", i), Since: since,
			Config: evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 30000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}})
	}
	r := reading{Tenants: n}
	began, cpu := time.Now(), cpuSeconds()
	d, problems, err := promquery.Detect(context.Background(), client, promquery.Hints{At: at, Window: at.Sub(start)})
	if err != nil || len(problems) > 0 {
		return fmt.Errorf("dialect: %v, %w", problems, err)
	}
	req.Dialect = d
	ev, err := gather.Gather(context.Background(), client, req)
	if err != nil {
		return err
	}
	r.CPU, r.Wall = cpuSeconds()-cpu, time.Since(began).Seconds()
	if r.Peak, err = peakMiB(); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, q := range ev.Queries {
		names[q.Name] = true
		r.Requests += q.Requests
		r.Planned += q.Planned
		r.Samples += q.Samples
		r.Bytes += q.Bytes
	}
	r.Questions = len(names)
	for i := range ev.Tenants {
		t := &ev.Tenants[i]
		r.Circuits += len(t.Circuits)
		for j := range t.Circuits {
			r.Episodes += len(t.Episodes(&t.Circuits[j], at, 0))
		}
	}
	cpu = cpuSeconds()
	for _, x := range rec.all {
		again, err := http.NewRequest(x.method, x.url, bytes.NewReader(x.body))
		if err != nil {
			return err
		}
		again.Header.Set("Content-Type", x.kind)
		res, err := http.DefaultTransport.RoundTrip(again)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
	}
	r.Raw = cpuSeconds() - cpu
	return json.NewEncoder(out).Encode(r)
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// peakMiB is this process' resident memory at its highest.
func peakMiB() (float64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 64)
			return n / 1024, err
		}
	}
	return 0, errors.New("the kernel does not tell the peak of memory")
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// The emergency: every policy of a router is disabled. On a disk, against a bare
// loop of the same durable writes with the same parallelism; over HTTP, against
// the time that the server alone would take with that many requests at once.
const (
	rollbackPolicies = 10_000
	perTenant        = 50
	rollbackParallel = 16
	rounds           = 3
	serverTakes      = 5 * time.Millisecond
)

const benchPolicy = `{
  "version": "1.0",
  "providers": [
    {"name": "openai", "weight": 60},
    {"name": "anthropic", "weight": 40}
  ],
  "fallbacks": [{"when": {"status": ["timeout", "5xx"]}, "retry": 2, "to": "anthropic"}],
  "sticky": {"enabled": true, "session_key": "user", "ttl": "10m"},
  "circuit_breaker": {
    "enabled": true,
    "failure_threshold": 10,
    "success_threshold": 2,
    "timeout_ms": 60000,
    "error_rate_threshold": 0.6,
    "error_rate_window_seconds": 120
  },
  "metadata": {"owner": "on-call", "note": "an ordinary policy of about six hundred bytes, as they are"}
}
`

func compareRollback(w io.Writer) error {
	base, err := os.MkdirTemp("", "cbops-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base) //nolint:errcheck // a temporary directory
	var ours, bare, shared []time.Duration
	for i := range rounds {
		// They take turns, so that a busy disk hits all.
		b, err := bareWrites(filepath.Join(base, fmt.Sprintf("bare-%d", i)), rollbackPolicies, (*os.File).Sync)
		if err != nil {
			return err
		}
		var g groupSync
		s, err := bareWrites(filepath.Join(base, fmt.Sprintf("shared-%d", i)), rollbackPolicies, g.sync)
		if err != nil {
			return err
		}
		o, _, err := dirRollback(filepath.Join(base, fmt.Sprintf("ours-%d", i)), rollbackPolicies)
		if err != nil {
			return err
		}
		bare, shared, ours = append(bare, b), append(shared, s), append(ours, o)
	}
	for _, x := range [][]time.Duration{ours, bare, shared} {
		slices.Sort(x)
	}
	fmt.Fprintf(w, "\nrollback global, a directory of %d policies, parallel %d: time until all are disabled on disk, medians of %d in turns\n",
		rollbackPolicies, rollbackParallel, rounds)
	fmt.Fprintf(w, "  cbops %.2f s; bare loop, a directory sync each, %.2f s: ratio %.2f (goal 1.1); bare loop that shares directory syncs as cbops does, %.2f s: ratio %.2f\n",
		median(ours).Seconds(), median(bare).Seconds(), median(ours).Seconds()/median(bare).Seconds(),
		median(shared).Seconds(), median(ours).Seconds()/median(shared).Seconds())
	_, small, err := dirRollback(filepath.Join(base, "small"), rollbackPolicies/10)
	if err != nil {
		return err
	}
	_, large, err := dirRollback(filepath.Join(base, "large"), rollbackPolicies)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "  peak heap: %.1f MB for %d policies, %.1f MB for %d: %.2f kB more a policy (a policy has %.2f kB)\n",
		small, rollbackPolicies/10, large, rollbackPolicies, (large-small)*1000/(rollbackPolicies*0.9), float64(len(benchPolicy))/1000)
	return httpRollback(w, filepath.Join(base, "http"))
}

func place(i int) (tenant, policy string) {
	return fmt.Sprintf("t-%04d", i/perTenant), fmt.Sprintf("p%05d", i)
}

func makePolicies(root string, n int) error {
	for i := range n {
		t, p := place(i)
		if i%perTenant == 0 {
			if err := os.MkdirAll(filepath.Join(root, t), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(root, t, p+".json"), []byte(benchPolicy), 0o644); err != nil {
			return err
		}
	}
	// What is being written back must not slow the measurement.
	d, err := os.Open(root)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	return syncAll(d)
}

// bareWrites replaces every file durably: a temporary file, its sync, a rename,
// the sync of the directory. Nothing is read, parsed or checked.
func bareWrites(root string, n int, syncDir func(*os.File) error) (time.Duration, error) {
	if err := makePolicies(root, n); err != nil {
		return 0, err
	}
	data := bytes.Replace([]byte(benchPolicy), []byte("true"), []byte("false"), 1)
	var failed atomic.Pointer[error]
	work := make(chan int)
	var wg sync.WaitGroup
	start := time.Now()
	for range rollbackParallel {
		wg.Go(func() {
			for i := range work {
				t, p := place(i)
				if err := bareWrite(filepath.Join(root, t), p+".json", data, syncDir); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	took := time.Since(start)
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return took, nil
}

func bareWrite(dir, name string, data []byte, syncDir func(*os.File) error) error {
	tmp := filepath.Join(dir, "."+name+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	return syncDir(d)
}

// groupSync lets renames that wait for the sync of a directory share the next one.
type groupSync struct {
	mu      sync.Mutex
	next    map[string]chan struct{}
	running sync.Mutex
}

func (g *groupSync) sync(d *os.File) error {
	g.mu.Lock()
	if g.next == nil {
		g.next = map[string]chan struct{}{}
	}
	if done, ok := g.next[d.Name()]; ok {
		g.mu.Unlock()
		<-done
		return nil // an error is the leader's
	}
	done := make(chan struct{})
	g.next[d.Name()] = done
	g.mu.Unlock()
	g.running.Lock()
	g.mu.Lock()
	delete(g.next, d.Name())
	g.mu.Unlock()
	err := d.Sync()
	g.running.Unlock()
	close(done)
	return err
}

// dirRollback rolls back a directory and returns when all was disabled, and the
// peak of the heap in MB.
func dirRollback(root string, n int) (time.Duration, float64, error) {
	policies := filepath.Join(root, "policies")
	if err := makePolicies(policies, n); err != nil {
		return 0, 0, err
	}
	dir, err := router.OpenDir(policies)
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close() //nolint:errcheck // nothing is buffered
	store := router.DirStore{Dir: dir, Parallel: rollbackParallel}
	e := benchEngine(root)
	e.Sites = []change.Site{{Store: store, Shelf: store.Shelf(change.HoldDirName), Nodes: []change.Node{&router.CommandNode{}}}}
	runtime.GC()
	stop := watchHeap()
	rb, err := e.Rollback(context.Background(), change.Request{Scope: change.Scope{Kind: change.GlobalScope}})
	peak := stop()
	if err != nil {
		return 0, 0, err
	}
	if rb.Changed != n || rb.DisabledAfter <= 0 {
		return 0, 0, fmt.Errorf("only %d of %d are disabled", rb.Changed, n)
	}
	return rb.DisabledAfter, peak, nil
}

func benchEngine(root string) *change.Engine {
	return &change.Engine{StateDir: filepath.Join(root, ".cbops"), TempDir: root, User: "bench", Now: time.Now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(d):
				return nil
			}
		}}
}

// watchHeap samples the heap; the function it returns gives the peak in MB.
func watchHeap() func() float64 {
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() float64 {
		close(done)
		return float64(<-peak) / 1e6
	}
}

// httpRollback rolls back a practice router whose every answer takes 5 ms.
func httpRollback(w io.Writer, root string) error {
	policies := filepath.Join(root, "policies")
	if err := makePolicies(policies, rollbackPolicies); err != nil {
		return err
	}
	dir, err := router.OpenDir(policies)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // nothing is buffered
	mem := newMemory(dir)
	l, err := lab.NewRouter(mem, []string{"node-1"}, true)
	if err != nil {
		return err
	}
	api, err := l.Admin(lab.AdminOptions{Node: "node-1", Store: mem, Holds: router.DirStore{Dir: dir}.Shelf(change.HoldDirName), Lock: &sync.Mutex{}})
	if err != nil {
		return err
	}
	var asked atomic.Int64
	var needed int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		time.Sleep(serverTakes)
		api.ServeHTTP(w, q)
	}))
	defer s.Close()
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.MaxIdleConnsPerHost = 64
	e := benchEngine(root)
	c, err := router.NewAdminClient(router.AdminOptions{Name: "node-1", URL: s.URL, Transport: tr, Parallel: rollbackParallel, Now: time.Now, Sleep: e.Sleep})
	if err != nil {
		return err
	}
	e.Sites = []change.Site{{Store: c.Store(), Shelf: c.Shelf(), Nodes: []change.Node{c.NodeOf()}}}
	asked.Store(0)
	e.Progress = func(ev change.Event) {
		if ev.Stage == change.StageDisabled {
			needed = asked.Load()
		}
	}
	rb, err := e.Rollback(context.Background(), change.Request{Scope: change.Scope{Kind: change.GlobalScope}})
	if err != nil {
		return err
	}
	if rb.Changed != rollbackPolicies || rb.SafeAfter <= 0 {
		return fmt.Errorf("only %d of %d are disabled: %+v", rb.Changed, rollbackPolicies, change.Summarize(rb.Policies))
	}
	bare, err := bareRequests(s.URL, tr, mem)
	if err != nil {
		return err
	}
	floor := time.Duration(needed) * serverTakes / rollbackParallel
	fmt.Fprintf(w, "\nrollback global, HTTP, %d policies, a server of %s, parallel %d\n", rollbackPolicies, serverTakes, rollbackParallel)
	fmt.Fprintf(w, "  all disabled in %.2f s with %d requests, which take the server %.2f s at least: ratio %.2f (goal 1.1); proven loaded after %.2f s\n",
		rb.DisabledAfter.Seconds(), needed, floor.Seconds(), rb.DisabledAfter.Seconds()/floor.Seconds(), rb.SafeAfter.Seconds())
	fmt.Fprintf(w, "  a bare loop of one PUT for each policy on the same server, %.2f s: ratio %.2f\n", bare.Seconds(), rb.DisabledAfter.Seconds()/bare.Seconds())
	return nil
}

// bareRequests writes every policy once, with the same parallelism and nothing
// else: what this machine and net/http make of a server of 5 ms.
func bareRequests(url string, tr http.RoundTripper, mem *memory) (time.Duration, error) {
	var failed atomic.Int64
	work := make(chan router.Ref)
	var wg sync.WaitGroup
	start := time.Now()
	for range rollbackParallel {
		wg.Go(func() {
			for r := range work {
				b, _ := mem.Read(r) // it is there
				req, err := http.NewRequest(http.MethodPut, url+"/admin/policies/"+r.Tenant+"/"+r.Policy, bytes.NewReader(b))
				if err != nil {
					failed.Add(1)
					continue
				}
				req.Header.Set("If-Match", router.ETag(router.Digest(b)))
				resp, err := tr.RoundTrip(req)
				if err != nil {
					failed.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusNoContent {
					failed.Add(1)
				}
			}
		})
	}
	for _, r := range mem.refs {
		work <- r
	}
	close(work)
	wg.Wait()
	if n := failed.Load(); n > 0 {
		return 0, fmt.Errorf("%d of %d bare requests failed", n, len(mem.refs))
	}
	return time.Since(start), nil
}

// memory is a store in memory: the server's disk is not what is measured.
type memory struct {
	mu    sync.Mutex
	refs  []router.Ref
	bytes map[router.Ref][]byte
}

func newMemory(d *router.Dir) *memory {
	refs, _ := d.List() // made a moment ago
	m := &memory{refs: refs, bytes: map[router.Ref][]byte{}}
	for _, r := range refs {
		m.bytes[r], _ = d.Read(r)
	}
	return m
}

func (m *memory) List() ([]router.Ref, error) { return m.refs, nil }

func (m *memory) Read(r router.Ref) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.bytes[r]
	if !ok {
		return nil, os.ErrNotExist
	}
	return b, nil
}

func (m *memory) Write(r router.Ref, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes[r] = b
	return nil
}

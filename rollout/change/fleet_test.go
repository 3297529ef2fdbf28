package change_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// fleet is a practice router of several nodes, each with an admin API of its own
// and, unless shared, policies of its own. Every request and answer is held
// against the OpenAPI document.
type fleet struct {
	t     *testing.T
	names []string
	mu    sync.Mutex
	nodes map[string]*fleetNode
	base  string
	now   time.Time
}

type fleetNode struct {
	name   string
	root   string
	lab    *lab.Router
	dir    *router.Dir
	server *httptest.Server
	// wrap, where set, stands between the network and the node.
	wrap func(http.Handler) http.Handler
	ops  map[string]int
	// violations are requests or answers that the document does not allow.
	violations []string
}

type contract struct{ routes routers.Router }

func newContract(t *testing.T) contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(router.AdminAPI()))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // any host
	r, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return contract{r}
}

// check serves a request by next and says what the document has against it.
func (c contract) check(next http.Handler, tell func(op, violation string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		route, params, err := c.routes.FindRoute(q)
		if err != nil {
			tell("", fmt.Sprintf("%s %s: %v", q.Method, q.URL, err))
			next.ServeHTTP(w, q)
			return
		}
		in := &openapi3filter.RequestValidationInput{Request: q, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
		op := route.Operation.OperationID
		tell(op, "")
		if err := openapi3filter.ValidateRequest(q.Context(), in); err != nil {
			tell(op, fmt.Sprintf("request %s %s: %v", q.Method, q.URL, err))
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, q)
		res := rec.Result()
		body, _ := io.ReadAll(res.Body)
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options}
		out.SetBodyBytes(body)
		if err := openapi3filter.ValidateResponse(q.Context(), out); err != nil {
			tell(op, fmt.Sprintf("answer %d to %s %s: %v", res.StatusCode, q.Method, q.URL, err))
		}
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(body) // the client is gone
	})
}

// newFleet starts nodes that each have the given policies.
func newFleet(t *testing.T, names []string, files map[string]string) *fleet {
	t.Helper()
	f := &fleet{t: t, names: names, nodes: map[string]*fleetNode{}, base: t.TempDir(), now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)}
	c := newContract(t)
	for _, name := range names {
		n := &fleetNode{name: name, root: filepath.Join(f.base, name, "policies"), ops: map[string]int{}}
		for file, text := range files {
			p := filepath.Join(n.root, file)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if n.dir, err = router.OpenDir(n.root); err != nil {
			t.Fatal(err)
		}
		if n.lab, err = lab.NewRouter(n.dir, []string{name}, true); err != nil {
			t.Fatal(err)
		}
		api, err := n.lab.Admin(lab.AdminOptions{Node: name, Store: n.dir, Holds: router.DirStore{Dir: n.dir}.Shelf(change.HoldDirName), Lock: &f.mu})
		if err != nil {
			t.Fatal(err)
		}
		checked := c.check(api, func(op, violation string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			n.ops[op]++
			if violation != "" {
				n.violations = append(n.violations, violation)
			}
		})
		n.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			f.mu.Lock()
			wrap := n.wrap
			f.mu.Unlock()
			if wrap != nil {
				wrap(checked).ServeHTTP(w, q)
				return
			}
			checked.ServeHTTP(w, q)
		}))
		t.Cleanup(func() {
			n.server.Close()
			_ = n.dir.Close()
		})
		f.nodes[name] = n
	}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			for _, v := range n.violations {
				t.Errorf("%s: against the OpenAPI document: %s", n.name, v)
			}
		}
	})
	return f
}

// engine is a fresh cbops, with a state directory of its own.
func (f *fleet) engine() *change.Engine {
	f.t.Helper()
	return f.engineVia(func(n *fleetNode) string { return n.server.URL }, http.DefaultTransport)
}

func (f *fleet) engineVia(url func(*fleetNode) string, tr http.RoundTripper) *change.Engine {
	f.t.Helper()
	e := &change.Engine{StateDir: filepath.Join(f.t.TempDir(), ".cbops"), TempDir: f.t.TempDir(), User: "on-call",
		Now: time.Now, Sleep: realSleep, Deadline: time.Minute}
	for _, name := range f.names {
		c, err := router.NewAdminClient(router.AdminOptions{Name: name, URL: url(f.nodes[name]), Transport: tr, Now: time.Now, Sleep: realSleep, Timeout: 2 * time.Second})
		if err != nil {
			f.t.Fatal(err)
		}
		e.Sites = append(e.Sites, change.Site{Store: c.Store(), Shelf: c.Shelf(), Nodes: []change.Node{c.NodeOf()}})
	}
	return e
}

func realSleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// enabledInMemory is the truth: what the node runs, whatever anybody reports.
func (n *fleetNode) enabledInMemory(r router.Ref) bool {
	raw, ok := n.lab.LoadedOn(n.name, r)
	return ok && bytes.Contains(raw, []byte(`"enabled":true`))
}

// checkTruth fails the test where a result claims more than the node's memory and
// disk hold.
func (f *fleet) checkTruth(rb *change.Rollback) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range rb.Policies {
		n := f.nodes[p.Node]
		if (p.Result == change.Safe || p.Loaded) && n.enabledInMemory(p.Ref()) {
			f.t.Errorf("%s is reported %s on %s, which runs it enabled", p.Ref(), p.Result, p.Node)
		}
		b, err := os.ReadFile(filepath.Join(n.root, p.Tenant, p.Policy+".json"))
		if p.Disabled && (err != nil || bytes.Contains(b, []byte(`"enabled":true`))) {
			f.t.Errorf("%s is reported disabled on %s, its file says %q, %v", p.Ref(), p.Node, b, err)
		}
	}
	for _, c := range rb.Nodes {
		if c.State != change.Cleared || c.Basis != change.ByCircuits {
			continue
		}
		for _, x := range f.nodes[c.Node].lab.Circuits(c.Node) {
			if !x.Closed() && rb.Scope.Covers(router.Ref{Tenant: x.Tenant, Policy: "chat"}) {
				f.t.Errorf("%s is reported cleared, %s/%s is %s", c.Node, x.Tenant, x.Provider, x.State)
			}
		}
	}
}

func putFile(t *testing.T, root, name, text string) {
	t.Helper()
	p := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// AdminStore is where a node's policies and holds lie; router.DirStore is one.
type AdminStore interface {
	List() ([]router.Ref, error)
	Read(router.Ref) ([]byte, error)
	Write(router.Ref, []byte) error
}

// AdminOptions describe the admin API of one node of the practice router.
type AdminOptions struct {
	// Node is one of the router's.
	Node string
	// Store is where the node's policies lie; nil for a node that offers none.
	Store AdminStore
	// Holds keeps holds beside them; nil for a node that offers none.
	Holds *router.DirShelf
	// Lock protects the router: whoever drives its time takes the same one.
	Lock sync.Locker
	// Healthy says whether the node serves; nil is yes.
	Healthy func() bool
	// APIKey, where not empty, has to be sent as x-api-key or as a bearer.
	APIKey string
	// Without are capabilities that this node does not offer.
	Without []string
}

// Admin serves the admin API of one node, as rollout/router's OpenAPI document
// defines it. It is the practice router's face to cbops: what it says comes from
// the router's memory.
func (r *Router) Admin(o AdminOptions) (http.Handler, error) {
	n := r.node(o.Node)
	if n == nil {
		return nil, fmt.Errorf("the practice router has no node %q", o.Node)
	}
	a := &admin{AdminOptions: o, router: r, node: n}
	mux := http.NewServeMux()
	for pattern, h := range map[string]struct {
		needs string
		do    func(w http.ResponseWriter, q *http.Request) error
	}{
		"GET /admin/node":                               {"", a.getNode},
		"GET /admin/openapi.yaml":                       {"", getDocument},
		"GET /admin/policies":                           {router.CanPolicies, a.listPolicies},
		"GET /admin/policies/{tenant}/{policy}":         {router.CanPolicies, a.getPolicy},
		"PUT /admin/policies/{tenant}/{policy}":         {router.CanPolicies, a.putPolicy},
		"POST /admin/policies/{tenant}/{policy}/reload": {router.CanReload, a.reload},
		"GET /admin/loaded":                             {router.CanLoaded, a.listLoaded},
		"GET /admin/circuits":                           {router.CanCircuits, a.listCircuits},
		"POST /admin/circuits/reset":                    {router.CanReset, a.reset},
		"GET /admin/circuit-breaker":                    {router.CanSwitch, a.getSwitch},
		"POST /admin/circuit-breaker/disable":           {router.CanSwitch, a.turn(true)},
		"POST /admin/circuit-breaker/enable":            {router.CanSwitch, a.turn(false)},
		"GET /admin/holds":                              {router.CanHolds, a.listHolds},
		"PUT /admin/holds/{id}":                         {router.CanHolds, a.putHold},
		"DELETE /admin/holds/{id}":                      {router.CanHolds, a.deleteHold},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, q *http.Request) {
			if !a.allowed(q) {
				fail(w, &httpError{http.StatusUnauthorized, "no valid x-api-key or bearer token"})
				return
			}
			if h.needs != "" && !slices.Contains(a.capabilities(), h.needs) {
				fail(w, &httpError{http.StatusNotImplemented, "this node does not offer " + h.needs})
				return
			}
			if err := h.do(w, q); err != nil {
				fail(w, err)
			}
		})
	}
	return mux, nil
}

type admin struct {
	AdminOptions
	router *Router
	node   *node
}

func (r *Router) node(name string) *node {
	for _, n := range r.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

type httpError struct {
	status int
	msg    string
}

func (e *httpError) Error() string { return e.msg }

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var he *httpError
	switch {
	case errors.As(err, &he):
		status = he.status
	case errors.Is(err, fs.ErrNotExist):
		status = http.StatusNotFound
	}
	answer(w, status, router.APIProblem{Error: err.Error()})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"cannot encode the answer"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone: nobody to tell
}

func (a *admin) allowed(q *http.Request) bool {
	return a.APIKey == "" || q.Header.Get("x-api-key") == a.APIKey || q.Header.Get("Authorization") == "Bearer "+a.APIKey
}

func (a *admin) capabilities() []string {
	all := []string{router.CanReload, router.CanLoaded, router.CanCircuits, router.CanReset, router.CanSwitch}
	if a.Store != nil {
		all = append(all, router.CanPolicies)
	}
	if a.Holds != nil {
		all = append(all, router.CanHolds)
	}
	return slices.DeleteFunc(all, func(s string) bool { return slices.Contains(a.Without, s) })
}

func (a *admin) getNode(w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, router.APINode{Node: a.Node, Healthy: a.Healthy == nil || a.Healthy(), Version: "practice", Capabilities: a.capabilities()})
	return nil
}

func getDocument(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = io.WriteString(w, router.AdminAPI()) // the client is gone: nobody to tell
	return nil
}

func ref(q *http.Request) (router.Ref, error) {
	r := router.Ref{Tenant: q.PathValue("tenant"), Policy: q.PathValue("policy")}
	if !r.Valid() {
		return r, &httpError{http.StatusBadRequest, "no id of a tenant or policy"}
	}
	return r, nil
}

// page cuts a sorted list of refs.
func page(q *http.Request, refs []router.Ref) (part []router.Ref, next string, err error) {
	limit := 500
	if s := q.URL.Query().Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 1000 {
			return nil, "", &httpError{http.StatusBadRequest, "limit is 1 to 1000"}
		}
	}
	tenant, after := q.URL.Query().Get("tenant"), q.URL.Query().Get("after")
	var from router.Ref
	from.Tenant, from.Policy, _ = strings.Cut(after, "/")
	for _, r := range refs {
		if (tenant == "" || r.Tenant == tenant) && (after == "" || r.Compare(from) > 0) {
			part = append(part, r)
		}
	}
	if !slices.IsSortedFunc(part, router.Ref.Compare) {
		slices.SortFunc(part, router.Ref.Compare)
	}
	if len(part) > limit {
		return part[:limit], part[limit-1].String(), nil
	}
	return part, "", nil
}

func (a *admin) listPolicies(w http.ResponseWriter, q *http.Request) error {
	refs, err := a.Store.List()
	if err != nil && len(refs) == 0 {
		return err
	}
	part, next, err := page(q, refs)
	if err != nil {
		return err
	}
	out := router.APIPolicies{Policies: []router.APIPolicy{}, Next: next}
	for _, r := range part {
		b, err := a.Store.Read(r)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since it was listed
		}
		if err != nil {
			return err
		}
		p := router.APIPolicy{Tenant: r.Tenant, Policy: r.Policy, ETag: router.ETag(router.Digest(b))}
		if q.URL.Query().Get("documents") == "true" {
			p.Document = b
		}
		out.Policies = append(out.Policies, p)
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *admin) getPolicy(w http.ResponseWriter, q *http.Request) error {
	r, err := ref(q)
	if err != nil {
		return err
	}
	b, err := a.Store.Read(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", router.ETag(router.Digest(b)))
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // the client is gone: nobody to tell
	return nil
}

func (a *admin) putPolicy(w http.ResponseWriter, q *http.Request) error {
	r, err := ref(q)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, policy.MaxBytes))
	if err != nil {
		return &httpError{http.StatusBadRequest, "the body cannot be read: " + err.Error()}
	}
	if _, err := policy.Parse(r.String(), b); err != nil {
		return &httpError{http.StatusUnprocessableEntity, err.Error()}
	}
	a.Lock.Lock()
	defer a.Lock.Unlock()
	now, err := a.Store.Read(r)
	if err != nil {
		return err
	}
	switch match := q.Header.Get("If-Match"); {
	case match == "":
		return &httpError{http.StatusPreconditionRequired, "If-Match is missing"}
	case match != router.ETag(router.Digest(now)):
		return &httpError{http.StatusPreconditionFailed, "it is no longer the one that was read"}
	}
	if err := a.Store.Write(r, b); err != nil {
		return err
	}
	w.Header().Set("ETag", router.ETag(router.Digest(b)))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) reload(w http.ResponseWriter, q *http.Request) error {
	r, err := ref(q)
	if err != nil {
		return err
	}
	a.Lock.Lock()
	defer a.Lock.Unlock()
	if err := a.router.ReloadOn(a.Node, r.Tenant, r.Policy); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return &httpError{http.StatusUnprocessableEntity, err.Error()}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) listLoaded(w http.ResponseWriter, q *http.Request) error {
	a.Lock.Lock()
	defer a.Lock.Unlock()
	refs := make([]router.Ref, 0, len(a.node.loaded))
	for r := range a.node.loaded {
		refs = append(refs, r)
	}
	part, next, err := page(q, refs)
	if err != nil {
		return err
	}
	out := router.APILoadedPage{Loaded: []router.APILoaded{}, Next: next}
	for _, r := range part {
		raw := a.node.loaded[r].raw
		var doc struct {
			Breaker json.RawMessage `json:"circuit_breaker"`
		}
		// It was parsed when it was loaded.
		_ = json.Unmarshal([]byte(strings.TrimPrefix(string(raw), "\uFEFF")), &doc)
		out.Loaded = append(out.Loaded, router.APILoaded{Tenant: r.Tenant, Policy: r.Policy, ETag: router.ETag(router.Digest(raw)), Breaker: doc.Breaker})
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *admin) listCircuits(w http.ResponseWriter, q *http.Request) error {
	a.Lock.Lock()
	defer a.Lock.Unlock()
	tenant := q.URL.Query().Get("tenant")
	out := router.APICircuits{Circuits: []router.Circuit{}}
	for _, c := range a.router.Circuits(a.Node) {
		if tenant == "" || c.Tenant == tenant {
			out.Circuits = append(out.Circuits, c)
		}
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *admin) reset(w http.ResponseWriter, q *http.Request) error {
	var body router.APIReset
	if err := json.NewDecoder(http.MaxBytesReader(w, q.Body, 4<<20)).Decode(&body); err != nil {
		return &httpError{http.StatusBadRequest, "the body is no list of circuits: " + err.Error()}
	}
	a.Lock.Lock()
	defer a.Lock.Unlock()
	for _, k := range body.Circuits {
		a.router.ResetCircuit(a.Node, k)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) getSwitch(w http.ResponseWriter, _ *http.Request) error {
	a.Lock.Lock()
	defer a.Lock.Unlock()
	on := !a.node.off
	answer(w, http.StatusOK, router.APISwitch{Enabled: &on})
	return nil
}

func (a *admin) turn(off bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		a.Lock.Lock()
		defer a.Lock.Unlock()
		a.node.off = off
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

func (a *admin) listHolds(w http.ResponseWriter, q *http.Request) error {
	files, err := a.Holds.Files(q.Context())
	if err != nil {
		return err
	}
	out := router.APIHolds{Holds: []router.APIHold{}}
	for name, f := range files {
		// One that cannot be read is shown all the same: its reader takes it for a
		// hold on everything.
		out.Holds = append(out.Holds, router.APIHold{ID: strings.TrimSuffix(name, ".json"), Content: f.Bytes})
	}
	slices.SortFunc(out.Holds, func(x, y router.APIHold) int { return strings.Compare(x.ID, y.ID) })
	answer(w, http.StatusOK, out)
	return nil
}

func (a *admin) putHold(w http.ResponseWriter, q *http.Request) error {
	id := q.PathValue("id")
	if !policy.ValidID(id) {
		return &httpError{http.StatusBadRequest, "no id of a hold"}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, 1<<20))
	if err != nil {
		return &httpError{http.StatusBadRequest, "the body cannot be read: " + err.Error()}
	}
	if err := a.Holds.Put(q.Context(), id+".json", b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) deleteHold(w http.ResponseWriter, q *http.Request) error {
	id := q.PathValue("id")
	if !policy.ValidID(id) {
		return &httpError{http.StatusBadRequest, "no id of a hold"}
	}
	if err := a.Holds.Remove(q.Context(), id+".json"); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

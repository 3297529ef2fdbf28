package router

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// HTTPNode is a node that is reached by its admin API.
type HTTPNode struct{ c *AdminClient }

// NodeOf is the node behind a client.
func (c *AdminClient) NodeOf() HTTPNode { return HTTPNode{c} }

// Name is how the operator knows the node.
func (n HTTPNode) Name() string { return n.c.opt.Name }

// Can asks the node.
func (n HTTPNode) Can(ctx context.Context) (Capabilities, error) {
	a, err := n.c.Node(ctx)
	has := func(s string) bool { return slices.Contains(a.Capabilities, s) }
	return Capabilities{Reload: has(CanReload), Loaded: has(CanLoaded), Circuits: has(CanCircuits), Reset: has(CanReset), Flag: has(CanSwitch)}, err
}

// Reload loads each policy, and no other.
func (n HTTPNode) Reload(ctx context.Context, all []Wanted, before func(Ref) error, yield func(Ref, error)) {
	each(n.c.opt.Parallel, all, func(w Wanted) {
		if err := before(w.Ref); err != nil {
			yield(w.Ref, err)
			return
		}
		yield(w.Ref, n.c.do(ctx, call{what: "reload", method: http.MethodPost, path: policyPath(w.Ref) + "/reload"}))
	})
}

// Loaded reads what the node runs, a tenant at a time.
func (n HTTPNode) Loaded(ctx context.Context, all []Wanted, yield func(Ref, Loaded, error)) {
	byTenant := map[string][]Wanted{}
	var tenants []string
	for _, w := range all {
		if byTenant[w.Ref.Tenant] == nil {
			tenants = append(tenants, w.Ref.Tenant)
		}
		byTenant[w.Ref.Tenant] = append(byTenant[w.Ref.Tenant], w)
	}
	each(n.c.opt.Parallel, tenants, func(t string) { n.loadedOf(ctx, t, byTenant[t], yield) })
}

func (n HTTPNode) loadedOf(ctx context.Context, tenant string, all []Wanted, yield func(Ref, Loaded, error)) {
	loaded := map[Ref]APILoaded{}
	var err error
	for after, first := "", true; err == nil && (first || after != ""); first = false {
		q := url.Values{"tenant": {tenant}, "limit": {strconv.Itoa(pageRefs)}}
		if after != "" {
			q.Set("after", after)
		}
		var page APILoadedPage
		err = n.c.do(ctx, call{what: "loaded", method: http.MethodGet, path: "/admin/loaded", query: q, read: func(h http.Header, b []byte) error {
			page = APILoadedPage{}
			if err := into(&page)(h, b); err != nil {
				return err
			}
			if page.Loaded == nil {
				return errors.New("it has no list")
			}
			return nil
		}})
		for _, p := range page.Loaded {
			loaded[Ref{p.Tenant, p.Policy}] = p
		}
		if page.Next != "" && page.Next == after {
			err = errors.New("loaded: the node's pages go round in a circle")
		}
		after = page.Next
	}
	for _, w := range all {
		p, ok := loaded[w.Ref]
		switch {
		case err != nil:
			yield(w.Ref, Loaded{}, err)
		case !ok:
			yield(w.Ref, Loaded{}, errors.New("loaded: the node does not have this policy in memory"))
		default:
			yield(w.Ref, p.loaded(w), nil)
		}
	}
}

func (p APILoaded) loaded(w Wanted) Loaded {
	l := Loaded{Answer: []byte("{}"), Strict: true, Proof: "loaded, as shown by the node"}
	if p.Breaker != nil {
		l.Answer = append(append([]byte(`{"circuit_breaker":`), p.Breaker...), '}')
	}
	if p.ETag == ETag(w.Digest) {
		l.Proof += ", with the digest of what is stored"
	}
	return l
}

// Circuits reads the circuits in the node's memory; a nil list asks for all.
func (n HTTPNode) Circuits(ctx context.Context, of []CircuitKey) ([]Circuit, error) {
	tenants := []string{""}
	if of != nil {
		tenants = nil
		for _, k := range of {
			if !slices.Contains(tenants, k.Tenant) {
				tenants = append(tenants, k.Tenant)
			}
		}
		if len(tenants) > 20 {
			tenants = []string{""} // one question for all of them
		}
	}
	all := []Circuit{}
	for _, t := range tenants {
		q := url.Values{}
		if t != "" {
			q.Set("tenant", t)
		}
		var a APICircuits
		err := n.c.do(ctx, call{what: "circuits", method: http.MethodGet, path: "/admin/circuits", query: q, read: func(h http.Header, b []byte) error {
			a = APICircuits{}
			if err := into(&a)(h, b); err != nil {
				return err
			}
			if a.Circuits == nil {
				return errors.New("it has no list")
			}
			for _, c := range a.Circuits {
				if err := c.check(); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return nil, err
		}
		all = append(all, a.Circuits...)
	}
	return all, nil
}

// Reset closes circuits for good.
func (n HTTPNode) Reset(ctx context.Context, circuits []CircuitKey) error {
	for batch := range slices.Chunk(circuits, 1000) {
		b, err := json.Marshal(APIReset{Circuits: batch})
		if err != nil {
			return err
		}
		if err := n.c.do(ctx, call{what: "reset", method: http.MethodPost, path: "/admin/circuits/reset", body: b,
			header: http.Header{"Content-Type": {"application/json"}}}); err != nil {
			return err
		}
	}
	return nil
}

// SetFlag turns the global switch.
func (n HTTPNode) SetFlag(ctx context.Context, off bool) error {
	path := "/admin/circuit-breaker/enable"
	if off {
		path = "/admin/circuit-breaker/disable"
	}
	return n.c.do(ctx, call{what: "global switch", method: http.MethodPost, path: path})
}

// FlagOff reads the global switch back.
func (n HTTPNode) FlagOff(ctx context.Context) (bool, error) {
	var a APISwitch
	err := n.c.do(ctx, call{what: "global switch", method: http.MethodGet, path: "/admin/circuit-breaker", read: func(h http.Header, b []byte) error {
		a = APISwitch{}
		if err := into(&a)(h, b); err != nil {
			return err
		}
		if a.Enabled == nil {
			return errors.New("it does not say whether it is on")
		}
		return nil
	}})
	return err == nil && !*a.Enabled, err
}

// Healthy asks the node whether it serves, now: the answer is not remembered.
func (n HTTPNode) Healthy(ctx context.Context) error {
	var a APINode
	if err := n.c.try(ctx, call{what: "node", method: http.MethodGet, path: "/admin/node", read: into(&a)}, 1, firstTimeout); err != nil {
		return err
	}
	if !a.Healthy {
		return errors.New("the node says that it does not serve")
	}
	n.c.goneMu.Lock()
	n.c.gone = nil // it is back
	n.c.goneMu.Unlock()
	return nil
}

// Lines are the exact requests that a change of a policy would make.
func (n HTTPNode) Lines(r Ref) []string {
	return []string{n.c.line(http.MethodPost, policyPath(r)+"/reload", ""), n.c.line(http.MethodGet, "/admin/loaded", "") + "?tenant=" + r.Tenant}
}

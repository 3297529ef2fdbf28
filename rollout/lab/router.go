// Package lab is the practice world: a router with the breaker's exact twin per
// node, tenant and provider, seeded traffic with faults, and a scraper that
// stores what the router's metrics endpoint would say. Time is virtual: weeks
// pass in seconds, and the same seed makes the same history.
//
// It answers no queries (promquery/promlab) and judges nothing. What it knows of
// the router's behaviour stands in ROUTER.md and in the recording in testdata.
package lab

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// Policies is where the router finds its policy files; *router.Dir is one.
type Policies interface {
	List() ([]router.Ref, error)
	Read(router.Ref) ([]byte, error)
}

// Router is the practice router: some nodes and the policies they have loaded.
// It is not safe for concurrent use: virtual time has one hand.
type Router struct {
	policies Policies
	nodes    []*node
	slow     []Slow
}

// node keeps its own circuits and metrics in memory; a restart loses both.
type node struct {
	name     string
	registry *breaker.Registry
	metrics  *metrics
	circuits map[breaker.Key]*circuit
	// loaded are its policies, as they were at their last reload.
	loaded map[router.Ref]loadedPolicy
	// off is the global switch: no breaker of this node acts.
	off bool
	// exact feeds the breaker request by request.
	exact bool
	// latencyMS is the publish latency that the next failure is judged with.
	latencyMS int64
}

// loadedPolicy is a policy as it was at its last reload; a file that changed
// since then changes nothing.
type loadedPolicy struct {
	raw       []byte
	enabled   bool
	config    breaker.Config
	providers []Provider
}

// Provider is a provider of a tenant and its share of the tenant's requests.
type Provider struct {
	Name string
	// Weight is relative to the other weights.
	Weight float64
}

// NewRouter makes a router with the named nodes and loads every policy. exact
// turns the shortcut for quiet stretches off.
func NewRouter(policies Policies, nodes []string, exact bool) (*Router, error) {
	r := &Router{policies: policies}
	for _, name := range nodes {
		n := &node{name: name, exact: exact, loaded: map[router.Ref]loadedPolicy{}}
		n.restart()
		r.nodes = append(r.nodes, n)
	}
	return r, r.ReloadAll()
}

// ReloadAll makes the router read every policy from its file.
func (r *Router) ReloadAll() error {
	if r.policies == nil {
		return nil
	}
	refs, err := r.policies.List()
	if err != nil {
		return fmt.Errorf("the practice router cannot list its policies: %w", err)
	}
	for _, n := range r.nodes {
		clear(n.loaded)
	}
	for _, ref := range refs {
		if err := r.Reload(ref.Tenant, ref.Policy); err != nil {
			return err
		}
	}
	return nil
}

// Reload makes every node read one policy from its file.
func (r *Router) Reload(tenant, policyID string) error {
	l, err := r.read(router.Ref{Tenant: tenant, Policy: policyID})
	if err != nil {
		return err
	}
	for _, n := range r.nodes {
		n.loaded[router.Ref{Tenant: tenant, Policy: policyID}] = l
	}
	return nil
}

// read reads and parses a policy as a reload does.
func (r *Router) read(ref router.Ref) (loadedPolicy, error) {
	if r.policies == nil {
		return loadedPolicy{}, fmt.Errorf("the practice router has no policy directory")
	}
	raw, err := r.policies.Read(ref)
	if err != nil {
		return loadedPolicy{}, fmt.Errorf("the practice router cannot read %s: %w", ref, err)
	}
	doc, err := policy.Parse(ref.String(), raw)
	if err != nil {
		return loadedPolicy{}, fmt.Errorf("the practice router cannot load %s: %w", ref, err)
	}
	l := loadedPolicy{raw: slices.Clone(raw), providers: providersOf(raw)}
	if b, ok := doc.Breaker(); ok {
		l.enabled, l.config = b.Enabled, b.Config
	}
	return l, nil
}

// Loaded returns a policy as the router's first node has it in memory: not the
// file.
func (r *Router) Loaded(tenant, policyID string) ([]byte, bool) {
	if len(r.nodes) == 0 {
		return nil, false
	}
	l, ok := r.nodes[0].loaded[router.Ref{Tenant: tenant, Policy: policyID}]
	return slices.Clone(l.raw), ok
}

// providersOf reads providers the way the router does: `providers` overrides the
// legacy `weights`; what has another shape is no provider.
func providersOf(raw []byte) []Provider {
	var d struct {
		Providers []struct {
			Name   string  `json:"name"`
			Weight float64 `json:"weight"`
		} `json:"providers"`
		Weights map[string]float64 `json:"weights"`
	}
	if json.Unmarshal(raw, &d) != nil {
		return nil
	}
	var out []Provider
	for _, p := range d.Providers {
		out = append(out, Provider{p.Name, p.Weight})
	}
	if len(out) == 0 {
		for name, w := range d.Weights {
			out = append(out, Provider{name, w})
		}
		slices.SortFunc(out, func(a, b Provider) int {
			return compareKeys(breaker.Key{Provider: a.Name}, breaker.Key{Provider: b.Name})
		})
	}
	return out
}

// Restart loses a node's circuits and metrics, as a real restart does.
func (r *Router) Restart(name string) error {
	for _, n := range r.nodes {
		if n.name == name {
			n.restart()
			return nil
		}
	}
	return fmt.Errorf("the practice router has no node %q", name)
}

func (n *node) restart() {
	n.metrics = newMetrics()
	n.registry = breaker.NewRegistry(breaker.Options{Sink: n.metrics, Latency: func() int64 { return n.latencyMS }})
	n.circuits = map[breaker.Key]*circuit{}
}

// circuit finds or makes a circuit. One that was never configured uses the
// breaker's defaults.
func (n *node) circuit(k breaker.Key) *circuit {
	c := n.circuits[k]
	if c == nil {
		c = &circuit{key: k, node: n, config: breaker.DefaultConfig()}
		n.circuits[k] = c
	}
	return c
}

// settle makes every circuit's metrics current.
func (n *node) settle() {
	for _, c := range n.circuits {
		c.settle()
	}
}

// Exposition is what a node's metrics endpoint answers; "" for an unknown node.
func (r *Router) Exposition(name string) string {
	for _, n := range r.nodes {
		if n.name == name {
			n.settle()
			return n.metrics.exposition()
		}
	}
	return ""
}

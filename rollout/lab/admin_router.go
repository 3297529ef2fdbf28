package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/router"
)

func breakerKey(k router.CircuitKey) breaker.Key {
	return breaker.Key{Tenant: k.Tenant, Provider: k.Provider}
}

// ReloadOn makes one node read one policy from its file.
func (r *Router) ReloadOn(name, tenant, policyID string) error {
	n := r.node(name)
	if n == nil {
		return fmt.Errorf("the practice router has no node %q", name)
	}
	l, err := r.read(router.Ref{Tenant: tenant, Policy: policyID})
	if err == nil {
		n.loaded[router.Ref{Tenant: tenant, Policy: policyID}] = l
	}
	return err
}

// LoadedOn returns a policy as one node has it in memory.
func (r *Router) LoadedOn(name string, ref router.Ref) ([]byte, bool) {
	n := r.node(name)
	if n == nil {
		return nil, false
	}
	l, ok := n.loaded[ref]
	return slices.Clone(l.raw), ok
}

// Circuits are the circuits in a node's memory, sorted.
func (r *Router) Circuits(name string) []router.Circuit {
	n := r.node(name)
	if n == nil {
		return nil
	}
	var all []router.Circuit
	for k, c := range n.circuits {
		c.catchUp()
		if s, ok := n.registry.Status(k); ok {
			all = append(all, router.Circuit{Tenant: k.Tenant, Provider: k.Provider, State: string(s.State),
				Since: time.UnixMilli(s.SinceMS).UTC().Format(time.RFC3339)})
		}
	}
	slices.SortFunc(all, func(a, b router.Circuit) int {
		return strings.Compare(a.Tenant+"\x00"+a.Provider, b.Tenant+"\x00"+b.Provider)
	})
	return all
}

// ResetCircuit closes a circuit and empties its window, as the router's
// reset_recovery_state does: no transition is emitted.
func (r *Router) ResetCircuit(name string, k router.CircuitKey) {
	n := r.node(name)
	if n == nil {
		return
	}
	if c := n.circuits[breakerKey(k)]; c != nil {
		c.catchUp()
		n.registry.Reset(breakerKey(k))
		c.look()
	}
}

// Fail records failures on a circuit of a node, as requests would: for drills.
func (r *Router) Fail(name string, k router.CircuitKey, times int, nowMS int64) {
	if n := r.node(name); n != nil {
		c := n.circuit(breakerKey(k))
		for range times {
			c.failure(nowMS)
		}
	}
}

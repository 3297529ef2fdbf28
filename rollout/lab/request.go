package lab

import (
	"slices"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/router"
)

// ProvidersOf are the providers that a policy names, as the router reads them.
func ProvidersOf(raw []byte) []Provider { return providersOf(raw) }

// Request is one request to the practice router that names its provider, as one
// whose context has a selected_provider (ROUTER.md §3).
type Request struct {
	Tenant, Policy, Provider string
	// Unasked leaves the gate alone, as for a request that names no provider: its
	// outcome is recorded all the same.
	Unasked bool
	// Fallback is the provider that the request's context names for a denial.
	Fallback string
}

// Admission is what became of a request at the gate.
type Admission struct {
	// Admitted is false where the named provider's circuit denied.
	Admitted bool
	// Provider is where the request goes, "" where there is none.
	Provider string
}

// Admit takes a request to the gate at now (ms). A policy that does not enable the
// breaker has none. A denied request goes to the fallback that it names, else to
// another provider of the policy, by weight, as the router does; pick is a number
// from 0 to 1 that chooses.
func (r *Router) Admit(now int64, q Request, pick float64) Admission {
	l := r.nodes[0].loaded[router.Ref{Tenant: q.Tenant, Policy: q.Policy}]
	if q.Unasked || !l.enabled {
		return Admission{true, q.Provider}
	}
	c := r.nodes[0].circuit(breaker.Key{Tenant: q.Tenant, Provider: q.Provider})
	c.configure(l.config, now)
	if c.allow(now) {
		return Admission{true, q.Provider}
	}
	if q.Fallback != "" {
		return Admission{false, q.Fallback}
	}
	others := slices.DeleteFunc(slices.Clone(l.providers), func(p Provider) bool { return p.Name == q.Provider || p.Weight <= 0 })
	var sum float64
	for _, p := range others {
		sum += p.Weight
	}
	for _, p := range others {
		if pick -= p.Weight / sum; pick < 0 {
			return Admission{false, p.Name}
		}
	}
	return Admission{false, ""}
}

// Record records the outcome of a request at a provider, asked or not. A circuit
// that exists for nobody's asking gets the policy's config first, where it is
// enabled, as the router hands it over on every decision.
func (r *Router) Record(now int64, q Request, provider string, failed bool) {
	c := r.nodes[0].circuit(breaker.Key{Tenant: q.Tenant, Provider: provider})
	if l := r.nodes[0].loaded[router.Ref{Tenant: q.Tenant, Policy: q.Policy}]; l.enabled {
		c.configure(l.config, now)
	}
	if failed {
		c.failure(now)
		return
	}
	c.success(now)
}

package change

import (
	"fmt"
	"slices"

	"github.com/cbops/cbops/rollout/router"
)

// ScopeKind is how much a rollback or hold covers.
type ScopeKind string

// The scopes.
const (
	PolicyScope ScopeKind = "policy"
	TenantScope ScopeKind = "tenant"
	PhaseScope  ScopeKind = "phase"
	GlobalScope ScopeKind = "global"
)

// Scope is what a rollback or hold covers.
type Scope struct {
	Kind   ScopeKind `json:"scope"`
	Tenant string    `json:"tenant"`
	Policy string    `json:"policy"`
	// Phase is the number of a phase; Tenants and Policies are what it covers, so
	// that a machine without the plan knows too. No Policies means all of them.
	Phase    int      `json:"phase,omitempty"`
	Tenants  []string `json:"tenants,omitempty"`
	Policies []string `json:"policies,omitempty"`
}

// Covers reports whether a policy is within the scope.
func (s Scope) Covers(r router.Ref) bool {
	switch s.Kind {
	case PolicyScope:
		return s.Tenant == r.Tenant && s.Policy == r.Policy
	case TenantScope:
		return s.Tenant == r.Tenant
	case PhaseScope:
		return slices.Contains(s.Tenants, r.Tenant) && (len(s.Policies) == 0 || slices.Contains(s.Policies, r.Policy))
	}
	return true
}

// Same reports whether two scopes have the same name. A phase is itself, also
// when its tenants have changed.
func (s Scope) Same(o Scope) bool {
	return s.Kind == o.Kind && s.Tenant == o.Tenant && s.Policy == o.Policy && s.Phase == o.Phase
}

// String is the scope as the command line takes it.
func (s Scope) String() string {
	switch s.Kind {
	case PolicyScope:
		return "policy " + s.Tenant + "/" + s.Policy
	case TenantScope:
		return "tenant " + s.Tenant
	case PhaseScope:
		return fmt.Sprintf("phase %d", s.Phase)
	}
	return "global"
}

// check refuses a scope that covers nothing that could exist.
func (s Scope) check() error {
	ok := false
	switch s.Kind {
	case PolicyScope:
		ok = router.Ref{Tenant: s.Tenant, Policy: s.Policy}.Valid()
	case TenantScope:
		ok = s.Policy == "" && router.Ref{Tenant: s.Tenant, Policy: "x"}.Valid()
	case PhaseScope:
		ok = s.Tenant == "" && s.Policy == "" && s.Phase > 0 && len(s.Tenants) > 0
	case GlobalScope:
		ok = s.Tenant == "" && s.Policy == ""
	}
	if !ok {
		return fmt.Errorf("scope %q with tenant %q and policy %q covers nothing that exists", s.Kind, s.Tenant, s.Policy)
	}
	return nil
}

// overlap reports whether a policy may be in both scopes.
func overlap(a, b Scope) bool {
	if a.Kind == GlobalScope || b.Kind == GlobalScope {
		return true
	}
	return slices.ContainsFunc(a.tenants(), func(t string) bool { return slices.Contains(b.tenants(), t) }) &&
		(len(a.policies()) == 0 || len(b.policies()) == 0 ||
			slices.ContainsFunc(a.policies(), func(p string) bool { return slices.Contains(b.policies(), p) }))
}

func (s Scope) tenants() []string {
	if s.Kind == PhaseScope {
		return s.Tenants
	}
	return []string{s.Tenant}
}

func (s Scope) policies() []string {
	switch s.Kind {
	case PhaseScope:
		return s.Policies
	case PolicyScope:
		return []string{s.Policy}
	}
	return nil
}

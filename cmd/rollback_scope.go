package cmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/policy"
)

// parseScope reads "policy T/P", "tenant T", "phase N" or "global", the ids as
// arguments or as flags.
func parseScope(verb string, args []string, tenant, pol string) (change.Scope, error) {
	usage := func(format string, v ...any) (change.Scope, error) {
		return change.Scope{}, fault.Hint(fault.New(fault.Usage, format, v...),
			"say one of: cbops "+verb+" policy T/P, cbops "+verb+" tenant T, cbops "+verb+" phase N, cbops "+verb+" global")
	}
	if len(args) == 0 {
		return usage("nothing to %s: no scope given", verb)
	}
	s := change.Scope{Kind: change.ScopeKind(args[0]), Tenant: tenant, Policy: pol}
	if len(args) == 2 {
		if tenant != "" || s.Kind == change.PolicyScope && pol != "" {
			return usage("%q and --tenant or --policy both say what to %s", args[1], verb)
		}
		s.Tenant = args[1]
		switch s.Kind {
		case change.PolicyScope:
			t, p, ok := strings.Cut(args[1], "/")
			if !ok {
				return usage("%q is no policy: tenant and policy, with a slash between", args[1])
			}
			s.Tenant, s.Policy = t, p
		case change.PhaseScope:
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 || n > 4 {
				return usage("%q is no phase: the guide has phases 1 to 4", args[1])
			}
			s.Tenant, s.Phase = "", n
		}
	}
	switch s.Kind {
	case change.PolicyScope:
		if s.Tenant == "" || s.Policy == "" {
			return usage("%s policy needs a tenant and a policy", verb)
		}
	case change.TenantScope:
		if s.Tenant == "" {
			return usage("%s tenant needs a tenant", verb)
		}
		if s.Policy != "" {
			return usage("%s tenant takes all policies of a tenant: --policy has no place there", verb)
		}
	case change.PhaseScope:
		if s.Phase == 0 || s.Tenant != "" || s.Policy != "" {
			return usage("%s phase needs the number of a phase, and no tenant or policy", verb)
		}
	case change.GlobalScope:
		if s.Tenant != "" || s.Policy != "" {
			return usage("%s global takes every tenant: it has no tenant and no policy", verb)
		}
	default:
		return usage("unknown scope %q", args[0])
	}
	for _, id := range []struct{ what, id string }{{"tenant", s.Tenant}, {"policy", s.Policy}} {
		if id.id != "" && !policy.ValidID(id.id) {
			return change.Scope{}, fault.Hint(fault.New(fault.Usage, "%q is no %s id", id.id, id.what),
				"ids are 1-255 of A-Z a-z 0-9 _ . - and do not start with a dot")
		}
	}
	return s, nil
}

// phaseScope fills a phase in from the plan: its tenants and policies.
func (s *changeSession) phaseScope(verb string, scope change.Scope) (change.Scope, error) {
	if scope.Kind != change.PhaseScope {
		return scope, nil
	}
	each := fmt.Sprintf("without it: cbops %s tenant T, for each tenant of the phase, or cbops %s global", verb, verb)
	if s.plan == nil {
		return scope, fault.Hint(fault.New(fault.Usage, "which tenants are in phase %d stands in the plan, and there is none", scope.Phase), "--plan FILE names it", each)
	}
	p := s.plan.Phases[scope.Phase]
	if len(p.Tenants) == 0 {
		return scope, fault.Hint(fault.New(fault.Usage, "%s names no tenants for phase %d", s.plan.Path, scope.Phase), each)
	}
	scope.Tenants, scope.Policies = slices.Sorted(slices.Values(p.Tenants)), slices.Sorted(slices.Values(p.Policies))
	return scope, nil
}

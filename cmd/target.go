package cmd

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/plan"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// targetFlags say which policies a command is about.
type targetFlags struct {
	policies   string
	tenants    []string
	policyName string
}

func (f *targetFlags) addTo(c *cobra.Command) {
	c.Flags().StringVar(&f.policies, "policies", "", "policy root `DIR`: DIR/<tenant>/<policy>.json")
	c.Flags().StringArrayVar(&f.tenants, "tenant", nil, "`TENANT`, repeatable")
	c.Flags().StringVar(&f.policyName, "policy", "", "`POLICY` of the tenant")
}

// target is where flags, environment and plan meet: flag, environment, plan,
// default, in that order.
type target struct {
	Environment string
	// Policies is the absolute policy root; Shown is how the operator knows it.
	Policies, Shown string
	Reload, Verify  string
	Nodes           []string
	ManagedBy       string
	StateDir        string
	Plan            *plan.Plan
	Warnings        []string
	// Providers are those that the policies name, where they were read.
	Providers []string
}

// findPlan returns the plan's path, "" if there is none. A plan that was named
// must be there; one that was looked for need not.
func (a *app) findPlan() string {
	if a.plan != "" {
		return a.Path(a.plan)
	}
	return plan.Find(a.Dir)
}

// planIfAny reads the plan where there is one.
func (a *app) planIfAny() (*plan.Plan, error) {
	path := a.findPlan()
	if path == "" {
		return nil, nil
	}
	return plan.Load(path)
}

// target reads the plan and fills in what flags left open. Lenient is for
// rollback: it reads environment and router, and the rest only warns.
func (a *app) target(policies string, lenient bool) (target, error) {
	var t target
	path := a.findPlan()
	switch {
	case path == "":
	case lenient:
		p, warnings, err := plan.Rollback(path)
		if err != nil && policies == "" {
			return t, err
		}
		if err != nil {
			warnings = append(warnings, err.Error())
		}
		t.Plan, t.Warnings = p, warnings
	default:
		p, err := plan.Load(path)
		if err != nil {
			return t, err
		}
		t.Plan = p
	}
	if p := t.Plan; p != nil {
		t.Environment, t.Reload, t.Verify, t.Nodes = p.Environment, p.Router.Reload, p.Router.Verify, p.Router.Nodes
		t.ManagedBy = p.Router.ManagedBy
		t.StateDir = filepath.Join(p.Dir, ".cbops")
		if p.Router.Policies != "" {
			t.Policies, t.Shown = p.Router.Policies, p.Router.Policies
			if !filepath.IsAbs(t.Policies) {
				t.Policies = filepath.Join(p.Dir, t.Policies)
			}
		}
	}
	if policies != "" {
		t.Policies, t.Shown = a.Path(policies), policies
	}
	if t.Policies == "" {
		return t, fault.Hint(fault.New(fault.Usage, "no policy directory given"),
			"--policies DIR names the directory that holds <tenant>/<policy>.json",
			"or router.policies in "+plan.Name)
	}
	if t.StateDir == "" {
		t.StateDir = filepath.Join(filepath.Dir(filepath.Clean(t.Policies)), ".cbops")
	}
	return t, nil
}

// judged returns the tenants to judge: those of the flags, else those of the
// plan's phase. An unknown one is an error with a suggestion.
func (a *app) judged(o evaluateOptions, t target) ([]string, error) {
	tenants := slices.Clone(o.tenants)
	if len(tenants) == 0 && t.Plan != nil {
		tenants = slices.Clone(t.Plan.Phases[o.phase].Tenants)
	}
	if len(tenants) == 0 {
		return nil, fault.Hint(fault.New(fault.Usage, "no tenant to judge"), "--tenant TENANT, repeatable, or phases in the plan")
	}
	slices.Sort(tenants)
	return slices.Compact(tenants), nil
}

// tenantConfig reads the breaker config that the tenant's policies put in force.
// A circuit is per tenant and provider: policies that differ overwrite each other
// (ROUTER.md §1), and then no config can be judged.
func (a *app) tenantConfig(t target, tenant, policyName string) (evidence.Config, error) {
	var none evidence.Config
	dir, err := router.OpenDir(t.Policies)
	if err != nil {
		return none, err
	}
	defer func() { _ = dir.Close() }() // only read
	dir = dir.ShownAs(t.Shown)
	refs, err := dir.List()
	if err != nil {
		return none, err
	}
	refs = slices.DeleteFunc(refs, func(r router.Ref) bool { return r.Tenant != tenant || policyName != "" && r.Policy != policyName })
	if len(refs) == 0 {
		what := "tenant " + tenant
		if policyName != "" {
			what = "policy " + tenant + "/" + policyName
		}
		tenants, _ := dir.Tenants()
		return none, fault.Hint(fault.New(fault.Usage, "%s: no %q", t.Shown, what), "there are: "+strings.Join(tenants[:min(len(tenants), 10)], ", "))
	}
	var found *policy.Breaker
	var from string
	for _, r := range refs {
		raw, err := dir.Read(r)
		if err != nil {
			return none, err
		}
		doc, err := policy.Parse(dir.Path(r), raw)
		if err != nil {
			return none, err
		}
		b, ok := doc.Breaker()
		if !ok || found != nil && !b.Enabled {
			continue
		}
		if found != nil && found.Enabled && b != *found {
			return none, fault.Hint(fault.New(fault.Usage, "%s and %s differ in circuit_breaker: circuits are per tenant, so they overwrite each other", from, dir.Path(r)),
				"give both the same circuit_breaker, or judge one with --policy")
		}
		found, from = &b, dir.Path(r)
	}
	if found == nil {
		found = &policy.Breaker{}
	}
	return evidenceConfig(found.Enabled, found.Config), nil
}

func (t target) rollout() string {
	if t.Plan != nil {
		return t.Plan.Name
	}
	return ""
}

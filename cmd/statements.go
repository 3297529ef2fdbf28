package cmd

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
	"github.com/cbops/cbops/rollout/plan"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
	"github.com/cbops/cbops/rollout/statement"
)

// statementFlags are what people say of a rollout, and the deployment's own queries:
// what an evaluation takes besides evidence.
type statementFlags struct {
	attest, incidents, waivers, bakes []string
	queries                           []string
	failFast                          string
	frozen                            string
}

func (f *statementFlags) addTo(c *cobra.Command) {
	fs := c.Flags()
	fs.StringArrayVar(&f.attest, "attest", nil, "`FILE` of attestations, YAML or JSON; repeatable")
	fs.StringArrayVar(&f.incidents, "incidents", nil, "`FILE` of declared incidents; repeatable")
	fs.StringArrayVar(&f.waivers, "waivers", nil, "`FILE` of waivers, quiet tenants and policies that stay off; repeatable")
	fs.StringArrayVar(&f.bakes, "bakes", nil, "`FILE` of bakes: when each tenant's config was loaded, and earlier ones; repeatable")
	fs.StringArrayVar(&f.queries, "query", nil, "`NAME=PROMQL` of what the router does not export: latency, tenantErrorRate, providerHealthy, stability/NAME:higher or :lower; repeatable")
	fs.StringVar(&f.failFast, "fail-fast", "", "what a fail_fast is to a customer: rescued, rejected or unknown")
	fs.StringVar(&f.frozen, "frozen-baseline", "", "`BUNDLE` that was kept when the breaker was enabled, for a baseline that the server has lost")
}

// statements reads the files.
func (a *app) statements(f statementFlags) (statement.Set, error) {
	var s statement.Set
	for _, x := range []struct {
		files []string
		kinds []string
	}{
		{f.attest, []string{plan.Attestations}}, {f.incidents, []string{plan.Incidents}},
		{f.waivers, []string{plan.Waivers, plan.QuietTenants, plan.LeftDisabled}}, {f.bakes, []string{plan.Bakes}},
	} {
		for _, file := range x.files {
			raw, err := a.readRegular(file, plan.MaxBytes)
			if err != nil {
				return s, err
			}
			o, err := plan.ParseStatements(file, raw, x.kinds...)
			if err != nil {
				return s, err
			}
			s.Add(o)
		}
	}
	return s, nil
}

// request puts together what is asked: the phase's settings from the plan, and what
// people state.
func (a *app) request(o evaluateOptions, t *target, s statement.Set) (criteria.Request, []gather.MeasureQuery, error) {
	r := criteria.NewRequest(o.phase)
	r.Only = o.only
	var measures []gather.MeasureQuery
	if p := t.Plan; p != nil {
		r.MinOutcomesPerDay, r.FailFast, r.Margins = p.Criteria.MinOutcomesPerDay, p.Criteria.FailFast, p.Criteria.Margins
		if d := p.Phases[o.phase].MinDays; d > 0 {
			r.MinDays = d
		}
		r.Statements.Add(p.Criteria.Stated)
		r.Stability = append(r.Stability, p.Queries.Stability...)
		for _, q := range p.Queries.Named {
			measures = append(measures, gather.MeasureQuery{Name: q.Name, Expr: q.Expr})
		}
	}
	r.Statements.Add(s)
	switch o.failFast {
	case "":
	case criteria.FailFastUnknown, criteria.FailFastRescued, criteria.FailFastRejected:
		r.FailFast = o.failFast
	default:
		return r, nil, fault.New(fault.Usage, "--fail-fast %q: want rescued, rejected or unknown", o.failFast)
	}
	for _, q := range o.queries {
		m, st, err := parseQuery(q)
		if err != nil {
			return r, nil, err
		}
		measures = append(slices.DeleteFunc(measures, func(x gather.MeasureQuery) bool { return x.Name == m.Name }), m)
		if st != nil {
			r.Stability = append(slices.DeleteFunc(r.Stability, func(x criteria.Stability) bool { return x.Name == st.Name }), *st)
		}
	}
	var err error
	if r.Policies, t.Providers, err = a.allPolicies(*t); err != nil {
		return r, nil, err
	}
	if bad := r.Check(); len(bad) > 0 {
		return r, nil, fault.New(fault.Usage, "%s", bad[0])
	}
	return r, measures, nil
}

// parseQuery reads NAME=PROMQL; a stability query's name has its direction behind a
// colon.
func parseQuery(s string) (gather.MeasureQuery, *criteria.Stability, error) {
	name, expr, ok := strings.Cut(s, "=")
	name, expr = strings.TrimSpace(name), strings.TrimSpace(expr)
	bad := func(format string, args ...any) (gather.MeasureQuery, *criteria.Stability, error) {
		return gather.MeasureQuery{}, nil, fault.Hint(fault.New(fault.Usage, "--query %s", fmt.Sprintf(format, args...)),
			"NAME=PROMQL with latency, tenantErrorRate, providerHealthy, or stability/NAME:higher")
	}
	switch {
	case !ok || expr == "":
		return bad("%q: want NAME=PROMQL", s)
	case len(expr) > plan.MaxExpr:
		return bad("%q: an expression of %d bytes: at most %d", name, len(expr), plan.MaxExpr)
	}
	short, stability := strings.CutPrefix(name, evidence.StabilityPrefix)
	switch {
	case stability:
		short, direction, _ := strings.Cut(short, ":")
		if !plan.QueryName(short) {
			return bad("%q: a stability query's name has 1 to 64 letters, digits, or any of _ . -", name)
		}
		if direction != "higher" && direction != "lower" {
			return bad("%q: a stability query says which direction is better: stability/NAME:higher or :lower", name)
		}
		return gather.MeasureQuery{Name: evidence.StabilityPrefix + short, Expr: expr}, &criteria.Stability{Name: short, Higher: direction == "higher", Margin: criteria.DefaultStability}, nil
	case !slices.Contains([]string{evidence.Latency, evidence.TenantErrorRate, evidence.ProviderHealthy}, name):
		return bad("%q: no such query", name)
	}
	return gather.MeasureQuery{Name: name, Expr: expr}, nil, nil
}

// allPolicies is every policy on disk and whether its breaker is on, and the providers
// that they name.
func (a *app) allPolicies(t target) (out []criteria.Policy, providers []string, err error) {
	dir, err := router.OpenDir(t.Policies)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = dir.Close() }() // only read
	refs, err := dir.ShownAs(t.Shown).List()
	if err != nil {
		return nil, nil, err
	}
	out = []criteria.Policy{}
	for _, ref := range refs {
		p := criteria.Policy{Tenant: ref.Tenant, Policy: ref.Policy}
		raw, err := dir.Read(ref)
		if err == nil {
			var doc *policy.Document
			if doc, err = policy.Parse(dir.Path(ref), raw); err == nil {
				b, ok := doc.Breaker()
				p.Enabled = ok && b.Enabled
				providers = append(providers, providersIn(raw)...)
			}
		}
		if err != nil {
			p.Problem = err.Error() // the judged tenants' own are read, and refused, elsewhere
		}
		out = append(out, p)
	}
	slices.Sort(providers)
	return out, slices.Compact(providers), nil
}

// providersIn are the providers that a policy names, in either form; a document of
// another shape names none.
func providersIn(raw []byte) (names []string) {
	var d struct {
		Providers []struct{ Name string }
		Weights   map[string]any
	}
	if json.Unmarshal(raw, &d) != nil {
		return nil
	}
	for _, p := range d.Providers {
		names = append(names, p.Name)
	}
	return append(names, slices.Collect(maps.Keys(d.Weights))...)
}

// since is when each tenant's running bake began: of the bakes that are said to run,
// else --since.
func (a *app) since(o evaluateOptions, s statement.Set, tenants []string, at time.Time) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	for _, b := range s.Bakes {
		if b.To.IsZero() && slices.Contains(tenants, b.Tenant) {
			if !b.From.Before(at) {
				return nil, fault.New(fault.Usage, "--bakes: the bake of %s begins at %s, not before --at", b.Tenant, b.From.Format(time.RFC3339))
			}
			out[b.Tenant] = b.From
		}
	}
	for _, t := range tenants {
		said, ok := out[t]
		if ok && o.since == "" {
			continue
		}
		flag, err := a.flagSince(o, at)
		if err != nil {
			return nil, err
		}
		if ok && !flag.Equal(said) {
			return nil, fault.Hint(fault.New(fault.Usage, "--since %s, but the running bake of %s began at %s", flag.Format(time.RFC3339), t, said.Format(time.RFC3339)),
				"leave --since out: --bakes tells when each began")
		}
		out[t] = flag
	}
	return out, nil
}

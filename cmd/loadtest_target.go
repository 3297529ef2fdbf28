package cmd

import (
	"slices"
	"strings"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// testSubject is whose config is tested.
type testSubject struct {
	// config is nil for the guide's parameters.
	config    *breaker.Config
	providers []lab.Provider
	shown     render.Subject
	warnings  []string
}

// testSubject finds the config that the flags name: a tenant's, a file's, or a
// file's merged into a tenant's.
func (a *app) testSubject(o loadtestOptions) (testSubject, error) {
	s := testSubject{shown: render.Subject{Config: "guide"}}
	switch {
	case len(o.tenants) > 1:
		return s, fault.New(fault.Usage, "one tenant at a time: loadtest tests one config")
	case len(o.tenants) == 0 && o.policyName != "":
		return s, fault.Hint(fault.New(fault.Usage, "--policy without --tenant"), "--tenant TENANT")
	case len(o.tenants) == 0 && o.fragment == "":
		return s, nil
	}
	var fragment *policy.Document
	if o.fragment != "" {
		doc, err := a.readPolicy(o.fragment)
		if err != nil {
			return s, err
		}
		fragment = doc
	}
	if len(o.tenants) == 0 {
		return s, s.take(fragment, "", "")
	}
	return s, a.tenantSubject(&s, o, fragment)
}

// readPolicy reads a policy or fragment; - is standard input.
func (a *app) readPolicy(file string) (*policy.Document, error) {
	if file == "-" {
		raw, err := readBounded(a.Stdin, "stdin")
		if err != nil {
			return nil, err
		}
		return policy.Parse("stdin", raw)
	}
	raw, err := a.readRegular(file, policy.MaxBytes)
	if err != nil {
		return nil, err
	}
	return policy.Parse(file, raw)
}

// tenantSubject takes the config of a tenant's policy, with a fragment merged in
// where there is one.
func (a *app) tenantSubject(s *testSubject, o loadtestOptions, fragment *policy.Document) error {
	tenant := o.tenants[0]
	t, err := a.target(o.policies, false)
	if err != nil {
		return err
	}
	dir, err := router.OpenDir(t.Policies)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only read
	dir = dir.ShownAs(t.Shown)
	refs, err := dir.List()
	if err != nil {
		return err
	}
	refs = slices.DeleteFunc(refs, func(r router.Ref) bool { return r.Tenant != tenant || o.policyName != "" && r.Policy != o.policyName })
	if len(refs) == 0 {
		tenants, _ := dir.Tenants()
		return fault.Hint(fault.New(fault.Usage, "%s: no policy %s", t.Shown, strings.Trim(tenant+"/"+o.policyName, "/")),
			"there are tenants: "+strings.Join(tenants[:min(len(tenants), 10)], ", "))
	}
	if fragment != nil && len(refs) > 1 {
		return fault.Hint(fault.New(fault.Usage, "%s has %d policies: into which does -f go?", tenant, len(refs)), "--policy "+refs[0].Policy)
	}
	docs := make([]*policy.Document, 0, len(refs))
	for _, r := range refs {
		raw, err := dir.Read(r)
		if err != nil {
			return err
		}
		doc, err := policy.Parse(dir.Path(r), raw)
		if err == nil && fragment != nil {
			doc, err = merged(dir.Path(r), doc, fragment)
		}
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	return s.takeOne(refs, docs)
}

func merged(path string, doc, fragment *policy.Document) (*policy.Document, error) {
	raw, _, err := policy.Merge(doc, fragment)
	if err != nil {
		return nil, err
	}
	return policy.Parse(path, raw)
}

// takeOne takes the one config of a tenant's policies. Circuits are per tenant and
// provider, so policies that differ overwrite each other and there is none.
func (s *testSubject) takeOne(refs []router.Ref, docs []*policy.Document) error {
	chosen := -1
	for i, d := range docs {
		b, ok := d.Breaker()
		if !ok {
			continue
		}
		if chosen < 0 {
			chosen = i
			continue
		}
		if have, _ := docs[chosen].Breaker(); have.Config != b.Config {
			return fault.Hint(fault.New(fault.Usage, "%s and %s differ in circuit_breaker: circuits are per tenant, so they overwrite each other", docs[chosen].Path(), d.Path()),
				"give both the same circuit_breaker, or test one with --policy")
		}
	}
	if chosen < 0 {
		return s.take(docs[0], refs[0].Tenant, refs[0].Policy) // says that there is none
	}
	return s.take(docs[chosen], refs[chosen].Tenant, refs[chosen].Policy)
}

// take takes the config of one document. What the router would crash on, or drop,
// is refused with its place; a number out of the documented range is a warning: the
// twin takes any number, as the router does, and the scenarios show what it does.
func (s *testSubject) take(d *policy.Document, tenant, name string) error {
	b, ok := d.Breaker()
	if !ok {
		return fault.Hint(fault.New(fault.Usage, "%s:1:1: no circuit_breaker: nothing to test", d.Path()),
			"cbops loadtest alone runs with the guide's parameters", "-f FRAGMENT tests what apply would write")
	}
	for _, i := range d.Lint(tenant, name) {
		if i.Severity == policy.Error && !i.Range {
			return fault.Hint(fault.New(fault.Usage, "%s: %s", i.Place, i.Message), i.Hint)
		}
		s.warnings = append(s.warnings, i.Place+": "+i.Message)
	}
	s.config, s.providers = &b.Config, lab.ProvidersOf(d.Bytes())
	s.shown = render.Subject{Config: "own", Tenant: tenant, Policy: name, Source: d.Path(), Enabled: &b.Enabled}
	if !b.Enabled {
		s.warnings = append(s.warnings, d.Path()+": enabled is false: outcomes are counted and circuits trip, but nothing acts on them")
	}
	return nil
}

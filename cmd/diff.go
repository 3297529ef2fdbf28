package cmd

import (
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

func newDiffCmd(a *app) *cobra.Command {
	var policies, file, tenant, name string
	c := &cobra.Command{
		Use:     "diff -f FRAGMENT --tenant TENANT --policy POLICY",
		Short:   "Show what apply would change",
		GroupID: "change",
		Long: `diff merges a fragment into a policy and shows the difference; nothing is
written. It exits 1 when there is one, 0 when there is none.`,
		Example: "  cbops diff -f phase1.json --tenant t-acme --policy chat --policies policies",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if file == "" || tenant == "" || name == "" {
				return fault.Hint(fault.New(fault.Usage, "diff needs -f, --tenant and --policy"), "see: cbops diff --help")
			}
			d, err := a.diff(policies, file, router.Ref{Tenant: tenant, Policy: name})
			if err != nil {
				return err
			}
			code := fault.OK
			if d.Changed {
				code = fault.Failed
			}
			return a.show(d, code)
		},
	}
	f := c.Flags()
	f.StringVar(&policies, "policies", "", "policy root `DIR`: DIR/<tenant>/<policy>.json")
	f.StringVarP(&file, "file", "f", "", "policy or fragment; - for standard input")
	f.StringVar(&tenant, "tenant", "", "`TENANT`")
	f.StringVar(&name, "policy", "", "`POLICY` of the tenant")
	return c
}

func (a *app) diff(policies, file string, ref router.Ref) (render.Diff, error) {
	var none render.Diff
	t, err := a.target(policies, false)
	if err != nil {
		return none, err
	}
	dir, err := router.OpenDir(t.Policies)
	if err != nil {
		return none, err
	}
	defer func() { _ = dir.Close() }() // only read
	dir = dir.ShownAs(t.Shown)
	fragment, err := a.readFragment(file, ref)
	if err != nil {
		return none, err
	}
	refs, err := dir.List()
	if !slices.Contains(refs, ref) {
		if err != nil {
			return none, err
		}
		return none, fault.Hint(fault.New(fault.Usage, "no policy %s in %s", ref, t.Shown), "see: cbops validate "+t.Shown)
	}
	raw, err := dir.Read(ref)
	if err != nil {
		return none, err
	}
	doc, err := policy.Parse(dir.Path(ref), raw)
	if err != nil {
		return none, err
	}
	merged, changed, err := policy.Merge(doc, fragment)
	if err != nil {
		return none, err
	}
	// What apply would refuse is no clean difference here either.
	if _, err := a.lintResult(dir.Path(ref), merged, ref); err != nil {
		return none, err
	}
	return render.NewDiff(dir.Path(ref), policy.Diff(dir.Path(ref), raw, merged), changed), nil
}

// readBounded reads a policy, and one byte more than a policy may have.
func readBounded(r io.Reader, shown string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, policy.MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Environment, "cannot read %s: %w", shown, err)
	}
	return b, nil
}

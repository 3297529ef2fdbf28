package cmd

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

type diffOptions struct {
	changeFlags
	file, tenant, policy string
}

func newDiffCmd(a *app) *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:     "diff -f FRAGMENT --tenant TENANT --policy POLICY",
		Short:   "Show what apply would change",
		GroupID: "change",
		Long: `diff merges a fragment into a policy and shows the difference; nothing is
written. It exits 1 when there is one, 0 when there is none.`,
		Example: "  cbops diff -f phase1.json --tenant t-acme --policy chat --policies policies",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return a.diff(c, &o) },
	}
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "policy or fragment; - for standard input")
	f.StringVar(&o.tenant, "tenant", "", "`TENANT`")
	f.StringVar(&o.policy, "policy", "", "`POLICY` of the tenant")
	o.addTarget(c)
	return c
}

func (a *app) diff(c *cobra.Command, o *diffOptions) error {
	if o.file == "" || o.tenant == "" || o.policy == "" {
		return fault.Hint(fault.New(fault.Usage, "diff needs -f, --tenant and --policy"), "see: cbops diff --help")
	}
	ref := router.Ref{Tenant: o.tenant, Policy: o.policy}
	if err := checkRef(ref); err != nil {
		return err
	}
	s, err := a.changeTarget(c, &o.changeFlags, false)
	if err != nil {
		return err
	}
	defer s.close()
	fragment, err := a.readFragment(o.file, ref)
	if err != nil {
		return err
	}
	// What apply would refuse is no clean difference here either.
	p, err := a.prepareApply(c.Context(), s, ref, fragment)
	if err != nil {
		return err
	}
	code := fault.OK
	if p.out.Changed {
		code = fault.Failed
	}
	return a.show(render.NewDiff(p.out.Path, p.out.Diff, p.out.Changed), code)
}

// readBounded reads a policy, and one byte more than a policy may have.
func readBounded(r io.Reader, shown string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, policy.MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Environment, "cannot read %s: %w", shown, err)
	}
	return b, nil
}

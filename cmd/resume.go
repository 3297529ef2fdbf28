package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
)

type resumeOptions struct {
	changeFlags
	tenant, policy, reason string
}

func newResumeCmd(a *app) *cobra.Command {
	var o resumeOptions
	c := &cobra.Command{
		Use:     "resume policy T/P | tenant T | phase N | global",
		Short:   "Lift the hold of a rollback; enables nothing",
		GroupID: "change",
		Long: `Lifts the hold that a rollback of exactly this scope left behind, so that
apply may enable its policies again. It enables nothing by itself. The reason is
recorded. A hold file that cannot be read holds everything: resume global lifts
it. Resume global also sets a node's global switch back, where no policy is
enabled by that.`,
		Example: "  cbops resume tenant t-acme --reason 'INC-42 resolved' --policies policies",
		Args:    usageArgs(cobra.MaximumNArgs(2)),
		RunE:    func(c *cobra.Command, args []string) error { return a.resume(c, &o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.tenant, "tenant", "", "tenant id `T`, in place of the argument")
	f.StringVar(&o.policy, "policy", "", "policy id `P`, with --tenant")
	f.StringVar(&o.reason, "reason", "", "why the hold may go; required")
	o.add(c)
	return c
}

func (a *app) resume(c *cobra.Command, o *resumeOptions, args []string) error {
	scope, err := parseScope("resume", args, o.tenant, o.policy)
	if err != nil {
		return err
	}
	if strings.TrimSpace(o.reason) == "" {
		return fault.Hint(fault.New(fault.Usage, "--reason is missing: whoever reads the record will want to know why the hold went"),
			"cbops resume "+scope.String()+` --reason "…"`)
	}
	s, err := a.openChange(c, &o.changeFlags, true)
	if err != nil {
		return err
	}
	defer s.close()
	lifted, err := s.engine.Resume(c.Context(), scope, o.reason, o.dryRun)
	if err != nil {
		return err
	}
	out := render.Resume{Meta: render.NewMeta("Resume"), Environment: s.environment, Scope: scope.Kind, Tenant: scope.Tenant,
		Policy: scope.Policy, Phase: scope.Phase, Reason: o.reason, DryRun: o.dryRun, Lifted: []render.Hold{}, Remaining: []render.Hold{},
		Flags: []change.FlagResult{}, Next: []string{}}
	out.Flags = append(out.Flags, lifted.Flags...)
	for _, h := range lifted.Holds {
		out.Lifted = append(out.Lifted, render.NewHold(h, true))
	}
	for _, h := range lifted.Remaining {
		out.Remaining = append(out.Remaining, render.NewHold(h, true))
		out.Next = append(out.Next, "cbops resume "+h.String()+s.place()+` --reason "…"`)
	}
	return a.show(out, fault.OK)
}

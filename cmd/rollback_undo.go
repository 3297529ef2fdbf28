package cmd

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

type undoOptions struct {
	changeFlags
	force   bool
	confirm string
}

func newRollbackUndoCmd(a *app) *cobra.Command {
	var o undoOptions
	c := &cobra.Command{
		Use:   "undo ID",
		Short: "Restore the policies as they were before a rollback",
		Long: `Restores the bytes that a rollback kept, reloads and verifies. This enables
breakers again, so it is confirmed on its own: by typing the ID, or by
--confirm ID; --yes does not stand for that. It respects holds: lift that of the
rollback first, with cbops resume. A policy that somebody changed since is shown
as a diff and not overwritten, unless --force is given.`,
		Example: "  cbops rollback undo 20260302T100001Z-1a2b3c4d --policies policies --reload 'router-reload'",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE:    func(c *cobra.Command, args []string) error { return a.undo(c, &o, args[0]) },
	}
	c.Flags().BoolVar(&o.force, "force", false, "overwrite what was changed since")
	c.Flags().StringVar(&o.confirm, "confirm", "", "the `ID` again: this enables breakers")
	o.add(c)
	return c
}

func (a *app) undo(c *cobra.Command, o *undoOptions, id string) error {
	if strings.ContainsAny(id, `/\`) || strings.HasPrefix(id, ".") || len(id) > 100 || id == "" {
		return fault.Hint(fault.New(fault.Usage, "%q is no id of a rollback", id), "cbops rollback --list shows them")
	}
	if o.confirm != "" && o.confirm != id {
		return fault.New(fault.Usage, "--confirm says %q, the rollback to undo is %q: nothing is changed", o.confirm, id)
	}
	s, err := a.openChange(c, &o.changeFlags, true)
	if err != nil {
		return err
	}
	defer s.close()
	u, err := s.engine.PrepareUndo(c.Context(), id)
	if err != nil {
		return err
	}
	out := render.NewUndo(id)
	out.Environment, out.DryRun, out.Already = s.environment, o.dryRun, u.Already
	var refs []router.Ref
	var diff strings.Builder
	for _, st := range append(slices.Clone(u.Steps), u.Changed...) {
		refs = append(refs, st.Ref)
		diff.WriteString(policy.Diff(st.Path, st.Old, st.New))
	}
	for _, st := range u.Changed {
		out.Conflicts = append(out.Conflicts, st.Ref.String())
	}
	out.Diff = diff.String()
	on := u.Enables()
	out.Enables = len(on)
	for _, st := range u.Steps {
		if err := s.engine.CheckHold(c.Context(), st.Ref, st.New); err != nil {
			return err
		}
	}
	if o.dryRun {
		out.Commands = s.commands(refs)
		return a.show(out, fault.OK)
	}
	if len(refs) > 0 {
		a.sayBlock(out.Diff)
		if len(u.Changed) == 0 || o.force {
			if err := a.confirmID(c.Context(), o, id, len(on)); err != nil {
				return err
			}
		}
	}
	live := a.live()
	s.engine.Progress = live.Event
	res, err := s.engine.Undo(c.Context(), u, o.force)
	live.Close()
	if err != nil {
		return err
	}
	code := res.Code(o.noVerify)
	if len(refs) == 0 {
		code = fault.OK
	}
	out.Policies, out.Summary, out.Backup, out.OK = res.Policies, change.Summarize(res.Policies), res.Backup, code == fault.OK
	if !out.OK {
		out.Next = append(s.byHand(c.Context()), "cbops rollback undo "+id+s.flags()+" --confirm "+id)
	}
	return a.show(out, code)
}

// confirmID asks for the id to be typed: an undo enables breakers, and a habit of
// saying yes must not be enough for that.
func (a *app) confirmID(ctx context.Context, o *undoOptions, id string, on int) error {
	if o.confirm == id {
		return nil
	}
	what := fmt.Sprintf("undo enables the breaker of %d %s again", on, plural(on, "policy", "policies"))
	if !a.StdinTTY || o.yes {
		return fault.Hint(fault.New(fault.Usage, "%s: --yes is not enough for that, nothing is changed", what), "add: --confirm "+id)
	}
	fmt.Fprintf(a.Stderr, "%s. Type the id of the rollback to go on: ", render.Clean(what))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.Stdin).ReadString('\n') // no answer is no
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return fault.New(fault.Interrupted, "interrupted: nothing is changed")
	case got := <-answer:
		if got != id {
			return fault.New(fault.Interrupted, "that is not the id: nothing is changed")
		}
		return nil
	}
}

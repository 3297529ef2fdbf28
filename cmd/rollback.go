package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

type rollbackOptions struct {
	changeFlags
	tenant, policy, reason string
	settle                 time.Duration
	list                   bool
}

func newRollbackCmd(a *app) *cobra.Command {
	var o rollbackOptions
	c := &cobra.Command{
		Use:     "rollback policy T/P | tenant T | global",
		Short:   "Disable the breaker, reload, verify; sets a hold",
		GroupID: "change",
		Long: `Sets a hold, writes circuit_breaker.enabled: false into every policy of the
scope, runs the reload and verify commands, and says what is proven of each
policy: safe, written, failed or unreachable. It waits for nothing else and can
be run again at any time: it reads reality anew and completes what is missing.
Only cbops resume lifts the hold.

Exit 5 means that not everything is proven safe; the next commands are printed.`,
		Example: "  cbops rollback tenant t-acme --policies policies --reload 'router-reload' --yes\n" +
			"  cbops rollback policy t-acme/chat --policies policies --dry-run\n" +
			"  cbops rollback global --reason 'INC-42: openai opens for everybody' --yes\n" +
			"  cbops rollback --list",
		Args: usageArgs(cobra.MaximumNArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if o.list {
				return a.listRollbacks(c, &o)
			}
			scope, err := parseScope("rollback", args, o.tenant, o.policy)
			if err != nil {
				return err
			}
			return a.rollback(c, &o, scope)
		},
	}
	f := c.Flags()
	f.StringVar(&o.tenant, "tenant", "", "tenant id `T`, in place of the argument")
	f.StringVar(&o.policy, "policy", "", "policy id `P`, with --tenant")
	f.StringVar(&o.reason, "reason", "", "why, for the hold and the record")
	f.DurationVar(&o.settle, "settle", 0, "look again after this long (default 30s on a terminal or with a plan, else 0)")
	f.BoolVar(&o.list, "list", false, "list holds and recorded rollbacks, change nothing")
	o.add(c, true)
	return c
}

// defaultSettle is how long after a rollback a second look is taken, where
// somebody is there to see it: a sync from git comes within half a minute.
const defaultSettle = 30 * time.Second

// parseScope reads "policy T/P", "tenant T" or "global", the ids as arguments or
// as flags.
func parseScope(verb string, args []string, tenant, pol string) (change.Scope, error) {
	usage := func(format string, v ...any) (change.Scope, error) {
		return change.Scope{}, fault.Hint(fault.New(fault.Usage, format, v...),
			"say one of: cbops "+verb+" policy T/P, cbops "+verb+" tenant T, cbops "+verb+" global")
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
		if s.Kind == change.PolicyScope {
			t, p, ok := strings.Cut(args[1], "/")
			if !ok {
				return usage("%q is no policy: tenant and policy, with a slash between", args[1])
			}
			s.Tenant, s.Policy = t, p
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

func (a *app) rollback(c *cobra.Command, o *rollbackOptions, scope change.Scope) error {
	s, err := a.openChange(c, &o.changeFlags, true)
	if err != nil {
		return err
	}
	defer s.close()
	out := render.Rollback{Meta: render.NewMeta("Rollback"), Environment: s.environment, Scope: scope.Kind,
		Tenant: scope.Tenant, Policy: scope.Policy, DryRun: o.dryRun, Policies: []change.PolicyResult{},
		Cleared: change.NotMeasured, Commands: []string{}, Next: []string{}}
	if o.dryRun {
		return a.rollbackDryRun(s, scope, out)
	}
	if !o.yes {
		steps, err := s.engine.Plan(scope)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), false, false, fmt.Sprintf("Disable the breaker of %s (%d policies)?", scope, len(steps))); err != nil {
			return err
		}
	}
	rb, err := s.engine.Rollback(c.Context(), scope, o.reason)
	if err != nil {
		return err
	}
	code := rb.Code(o.noVerify)
	out.ID, out.Hold, out.Policies, out.Summary = rb.ID, render.NewHold(rb.Hold, rb.Held), rb.Policies, change.Summarize(rb.Policies)
	out.Changed, out.Stopped, out.Backup, out.Nothing, out.Took, out.OK = rb.Changed, rb.Stopped, rb.Backup, rb.Nothing, rb.Took, code == fault.OK
	if code != fault.OK {
		out.Next = append(s.byHand(), "cbops rollback "+scope.String()+s.flags())
	}
	out.Next = append(out.Next, "cbops resume "+scope.String()+s.place()+` --reason "…"   # lifts the hold, later`)
	if err := a.show(out, code); err != nil {
		return err
	}
	settle := o.settle
	if !c.Flags().Changed("settle") && (a.StdoutTTY || s.planned) {
		settle = defaultSettle
	}
	return a.settle(c, s, rb, settle)
}

// settle looks again after the result is out: something that syncs policies from
// elsewhere may put the old ones back.
func (a *app) settle(c *cobra.Command, s *changeSession, rb *change.Rollback, d time.Duration) error {
	if d <= 0 || len(rb.Refs) == 0 {
		return nil
	}
	a.progress("looking again in %s; the result above stands", d)
	on, err := s.engine.SettleFor(c.Context(), rb.Refs, d)
	if err != nil {
		a.say("cbops: warning: %s", err)
		return nil //nolint:nilerr // the rollback is done; only the second look is not
	}
	known := map[router.Ref]bool{}
	for _, p := range rb.Policies {
		known[p.Ref()] = known[p.Ref()] || !p.Disabled
	}
	var names []string
	for _, x := range on {
		if !known[x.Ref] { // said in the result already
			names = append(names, x.Ref.String()+": "+x.Why)
		}
	}
	if len(names) == 0 {
		a.progress("%s later: still off", d)
		return nil
	}
	return fault.Hint(fault.New(fault.Partial, "%d of %d policies did not stay off: %s", len(names), len(rb.Refs), strings.Join(names[:min(len(names), 10)], "; ")),
		"if the files are deployed from git (router.managedBy: git), disable them there too",
		"then: cbops rollback "+rb.Scope.String()+s.flags())
}

func (a *app) rollbackDryRun(s *changeSession, scope change.Scope, out render.Rollback) error {
	steps, err := s.engine.Plan(scope)
	if err != nil {
		return err
	}
	var refs []router.Ref
	var diff strings.Builder
	code := fault.OK
	for _, st := range steps {
		r := change.PolicyResult{Tenant: st.Ref.Tenant, Policy: st.Ref.Policy, Result: change.Written, Disabled: st.Problem == "" && !st.Changes()}
		if st.Problem == "" && st.Changes() {
			if err := s.dir.CheckWritable(st.Ref); err != nil {
				st.Problem = err.Error()
			} else {
				out.Changed++
				diff.WriteString(policy.Diff(s.dir.Path(st.Ref), st.Old, st.New))
			}
		}
		if st.Problem != "" {
			r.Result, r.Reason, code = change.Failed, st.Problem, fault.Partial
		}
		refs = append(refs, st.Ref)
		out.Policies = append(out.Policies, r)
	}
	out.Summary = change.Summarize(out.Policies)
	out.Diff, out.Commands = diff.String(), s.commands(refs)
	return a.show(out, code)
}

func (a *app) listRollbacks(c *cobra.Command, o *rollbackOptions) error {
	o.dryRun = true // listing changes nothing, and is allowed where changes are not
	s, err := a.openChange(c, &o.changeFlags, true)
	if err != nil {
		return err
	}
	defer s.close()
	out := render.Holds{Meta: render.NewMeta("Holds"), Environment: s.environment, Holds: []render.Hold{}, Rollbacks: []string{}}
	for _, h := range s.engine.Holds() {
		out.Holds = append(out.Holds, render.NewHold(h, true))
	}
	entries, err := os.ReadDir(filepath.Join(s.engine.StateDir, "rollbacks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.say("cbops: warning: cannot list the records of rollbacks: %s", err)
	}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".jsonl"); ok {
			out.Rollbacks = append(out.Rollbacks, id)
		}
	}
	return a.show(out, fault.OK)
}

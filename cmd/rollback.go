package cmd

import (
	"context"
	"fmt"
	"slices"
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
	settle, wait           time.Duration
	list, reset            bool
	quarantine             bool
	restart                string
	minHealthy             int
	emit                   string
}

func newRollbackCmd(a *app) *cobra.Command {
	var o rollbackOptions
	c := &cobra.Command{
		Use:     "rollback policy T/P | tenant T | phase N | global | undo ID",
		Short:   "Disable the breaker, reload, verify; sets a hold",
		GroupID: "change",
		Long: `Sets a hold, writes circuit_breaker.enabled: false into every policy of the
scope, makes every node read them, and says what is proven, per policy and node:
disabled (on disk), loaded (the node runs it), cleared (its circuits are closed).
It waits for nothing else, and no node waits for another. Run it again at any
time, from any machine: it reads reality anew and completes what is missing.
Only cbops resume lifts the hold; rollback undo ID restores the old policies.

Exit 5 means that not everything is proven safe; the next commands are printed.`,
		Example: "  cbops rollback tenant t-acme --policies policies --reload 'router-reload' --yes\n" +
			"  cbops rollback policy t-acme/chat --policies policies --dry-run\n" +
			"  cbops rollback global --reason 'INC-42: openai opens for everybody' --yes\n" +
			"  cbops rollback phase 2 --reset --wait 2m\n" +
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
	f.DurationVar(&o.wait, "wait", 0, "wait this long for every circuit to be cleared; then it counts for the exit code")
	f.BoolVar(&o.reset, "reset", false, "close circuits that are open in memory, where the node can")
	f.BoolVar(&o.quarantine, "quarantine", false, "move malformed policies out of the router's sight, so that it can be reloaded")
	f.StringVar(&o.restart, "restart", "", "`CMD` that restarts a node: those not proven safe and cleared, one at a time; needs --health")
	f.IntVar(&o.minHealthy, "min-healthy", -1, "nodes that must serve while one restarts (default half of them)")
	f.StringVar(&o.emit, "emit", "", "write the change to commit in place of making it: `DIR` or \"patch\"")
	o.add(c)
	c.AddCommand(newRollbackUndoCmd(a))
	return c
}

// defaultSettle is how long after a rollback a second look is taken, where
// somebody is there to see it: a sync from git comes within half a minute.
const defaultSettle = 30 * time.Second

func (a *app) rollback(c *cobra.Command, o *rollbackOptions, scope change.Scope) error {
	s, err := a.openChange(c, &o.changeFlags, true)
	if err != nil {
		return err
	}
	defer s.close()
	if scope, err = s.phaseScope("rollback", scope); err != nil {
		return err
	}
	req := change.Request{Scope: scope, Reason: o.reason, Quarantine: o.quarantine,
		Clearing: change.Clearing{Wait: o.wait, Reset: o.reset}}
	if req.Restart, err = a.restartRequest(s, o); err != nil {
		return err
	}
	out := render.NewRollback(scope)
	out.Environment, out.DryRun = s.environment, o.dryRun
	if o.emit != "" {
		return a.emitRollback(c, s, o, scope)
	}
	if o.dryRun {
		return a.rollbackDryRun(c, s, o, scope, out)
	}
	if !o.yes {
		steps, err := s.engine.Plan(c.Context(), scope)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Context(), false, false, fmt.Sprintf("Disable the breaker of %s (%d policies)?", scope, len(steps))); err != nil {
			return err
		}
	}
	failing := a.askProviders(c.Context(), s)
	s.engine.Timelines = a.timelines(s)
	live := a.live()
	s.engine.Progress = live.Event
	rb, err := s.engine.Rollback(c.Context(), req)
	live.Close()
	if err != nil {
		return err
	}
	code := rb.Code(o.noVerify)
	out.Fill(rb, code == fault.OK)
	out.Providers = failing()
	out.Next = s.nextAfterRollback(c.Context(), rb, o, code)
	if err := a.show(out, code); err != nil {
		return err
	}
	settle := o.settle
	if !c.Flags().Changed("settle") {
		switch {
		case s.router.Settle >= 0:
			settle = s.router.Settle
		case a.StdoutTTY || s.plan != nil:
			settle = defaultSettle
		}
	}
	return a.settle(c, s, rb, settle)
}

// restartRequest reads --restart, and refuses what cannot work.
func (a *app) restartRequest(s *changeSession, o *rollbackOptions) (*change.Restart, error) {
	if o.restart == "" {
		return nil, nil
	}
	cmd, err := router.ParseCommand("--restart", o.restart, o.shell)
	if err != nil {
		return nil, err
	}
	nodes := len(s.engine.Nodes())
	how := &change.Restart{Floor: change.DefaultFloor(nodes), Run: func(ctx context.Context, node string) error {
		_, err := s.programs.Run(ctx, "restart", cmd, router.Ref{}, node, nil)
		return err
	}}
	if s.router.MinHealthy >= 0 {
		how.Floor = s.router.MinHealthy
	}
	if o.minHealthy >= 0 {
		how.Floor = o.minHealthy
	}
	if !s.hasHealth(o) {
		return nil, fault.Hint(fault.New(fault.Usage, "--restart needs to know when a node serves again"), "--health CMD exits 0 when it does, with {node} for its name")
	}
	return how, s.engine.CheckRestart(*how, cmd.PerNode())
}

// hasHealth reports whether nodes can say that they serve.
func (s *changeSession) hasHealth(o *rollbackOptions) bool {
	return o.health != "" || s.router.Health != "" || s.http
}

// nextAfterRollback are the commands to type next, the most urgent first.
func (s *changeSession) nextAfterRollback(ctx context.Context, rb *change.Rollback, o *rollbackOptions, code fault.Code) []string {
	next := []string{}
	scope := rb.Scope.String()
	again := "cbops rollback " + scope + s.flags()
	if code != fault.OK {
		next = append(next, s.byHand(ctx)...)
		if rb.Stopped != "" && !o.quarantine {
			next = append(next, again+" --quarantine   # moves what is malformed aside, then reloads")
		} else {
			next = append(next, again+"   # tries again what is missing")
		}
		next = append(next, s.typeByHand(rb)...)
	}
	if rb.Cleared() == change.StillOpen {
		next = append(next, s.clearByHand(rb, again, o)...)
	}
	if s.managedBy == "git" && rb.Changed > 0 {
		next = append(next, "cbops rollback "+scope+s.place()+" --emit patch | git apply   # commit it, or the next deployment undoes this")
	}
	return append(next, "cbops resume "+scope+s.place()+` --reason "…"   # lifts the hold, later`)
}

// typeByHand are the commands for nodes that could not be asked, to be typed where
// they can be reached.
func (s *changeSession) typeByHand(rb *change.Rollback) []string {
	var refs []router.Ref
	gone := map[string]bool{}
	for _, p := range rb.Policies {
		if p.Result == change.Unreachable {
			gone[p.Node] = true
			if !slices.Contains(refs, p.Ref()) {
				refs = append(refs, p.Ref())
			}
		}
	}
	var lines []string
	for _, n := range s.engine.Nodes() {
		l, ok := n.(liner)
		if !ok || !gone[n.Name()] {
			continue
		}
		for _, r := range refs {
			for _, line := range l.Lines(r) {
				if !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	if len(lines) > 6 {
		lines = append(lines[:6], fmt.Sprintf("# and %d more: cbops rollback %s --dry-run lists all", len(lines)-6, rb.Scope))
	}
	return lines
}

// clearByHand says how circuits that are still open in memory can be closed.
func (s *changeSession) clearByHand(rb *change.Rollback, again string, o *rollbackOptions) []string {
	canReset := false
	var open []change.OpenCircuit
	for _, n := range rb.Nodes {
		canReset = canReset || n.CanReset && len(n.Open) > 0
		open = append(open, n.Open...)
	}
	if canReset && !o.reset {
		return []string{again + " --reset   # closes the open circuits in memory"}
	}
	lines := []string{"# still open in memory: needs a reset or a restart. Restart the router, or on the node:"}
	for i, c := range open {
		if i == 5 {
			return append(lines, fmt.Sprintf("# and %d more circuits", len(open)-i))
		}
		line := fmt.Sprintf("router_circuit_breaker:reset_recovery_state(<<%q>>, <<%q>>).", render.Clean(c.Tenant), render.Clean(c.Provider))
		if c.Node != "" {
			line += "   % on " + render.Clean(c.Node)
		}
		lines = append(lines, line)
	}
	return lines
}

// settle looks again after the result is out: something that syncs policies from
// elsewhere may put the old ones back.
func (a *app) settle(c *cobra.Command, s *changeSession, rb *change.Rollback, d time.Duration) error {
	if d <= 0 || len(rb.Refs) == 0 {
		return nil
	}
	a.progress("looking again in %s; the result above stands", d)
	drift, err := s.engine.Settle(c.Context(), rb, d)
	if err != nil {
		a.say("cbops: warning: %s", err)
		return nil //nolint:nilerr // the rollback is done; only the second look is not
	}
	if len(drift) == 0 {
		a.progress("%s later: still off", d)
		return nil
	}
	var names, hints []string
	causes := map[change.Cause]bool{}
	for i, x := range drift {
		causes[x.Cause] = true
		if i < 10 {
			names = append(names, x.Ref().String()+" ("+string(x.Cause)+"): "+x.Why)
		}
	}
	if causes[change.CauseRestored] && s.managedBy != "" {
		hints = append(hints, "router.managedBy says "+s.managedBy+" deploys these files: disable them there, or every deployment brings them back: cbops rollback "+rb.Scope.String()+s.place()+" --emit patch")
	} else if causes[change.CauseRestored] {
		hints = append(hints, "if the files are deployed from git (router.managedBy: git), disable them there too: cbops rollback "+rb.Scope.String()+s.place()+" --emit patch")
	}
	if causes[change.CauseEdited] {
		hints = append(hints, "ask who edits these files: the hold stops cbops, not an editor or another tool")
	}
	if causes[change.CauseMemory] {
		hints = append(hints, "a node that came up or was reloaded from elsewhere runs old policies: roll back again")
	}
	hints = append(hints, "then: cbops rollback "+rb.Scope.String()+s.flags())
	return fault.Hint(fault.New(fault.Partial, "%d of %d policies did not stay off: %s", len(drift), len(rb.Refs), strings.Join(names, "; ")), hints...)
}

func (a *app) rollbackDryRun(c *cobra.Command, s *changeSession, o *rollbackOptions, scope change.Scope, out render.Rollback) error {
	steps, err := s.engine.Plan(c.Context(), scope)
	if err != nil {
		return err
	}
	var refs []router.Ref
	var diff strings.Builder
	code := fault.OK
	for _, st := range steps {
		r := change.PolicyResult{Tenant: st.Ref.Tenant, Policy: st.Ref.Policy, Result: change.Written, Disabled: st.Problem == "" && !st.Changes(), Cleared: change.ClearedUnknown}
		if st.Changes() {
			if err := s.engine.CheckWritable(c.Context(), st); err != nil {
				st.Problem = err.Error()
			} else {
				out.Changed++
				diff.WriteString(policy.Diff(st.Path, st.Old, st.New))
			}
		}
		if st.Problem != "" {
			r.Result, r.Reason, code = change.Failed, st.Problem, fault.Partial
		}
		if !slices.Contains(refs, st.Ref) {
			refs = append(refs, st.Ref)
		}
		out.Policies = append(out.Policies, r)
	}
	out.Summary = change.Summarize(out.Policies)
	out.Diff, out.Commands = diff.String(), s.commands(refs)
	if o.restart != "" {
		if cmd, err := router.ParseCommand("--restart", o.restart, o.shell); err == nil {
			for _, n := range s.engine.Nodes() {
				out.Commands = append(out.Commands, cmd.Line(router.Ref{}, n.Name()))
			}
		}
	}
	return a.show(out, code)
}

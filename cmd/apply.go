package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

type applyOptions struct {
	changeFlags
	file, tenant, policy string
	emit                 string
	verifyOnly           bool
}

func newApplyCmd(a *app) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:     "apply -f FILE --tenant T --policy P",
		Short:   "Merge a circuit_breaker into a policy, reload, verify",
		GroupID: "change",
		Long: `Merges the circuit_breaker of FILE (a policy or a fragment; - is stdin) into a
policy of the router, field by field: every other byte stays as it is. The diff
is shown before, the file is replaced atomically, every node is made to read it,
and the result says what is proven.

Where CI deploys the files (managedBy: git), --emit writes the change to commit
and makes none, and --verify-only proves it on the nodes after the deploy.

A policy under the hold of a rollback is not enabled: exit 1; see cbops resume.
Exit 5 means written but not proven loaded, or changed only in part.`,
		Example: "  cbops apply -f phase1.json --tenant t-acme --policy chat --policies policies \\\n" +
			"    --reload 'router-reload {tenant} {policy}' --verify 'router-show {tenant} {policy}'\n" +
			"  cbops apply -f phase1.json --tenant t-acme --policy chat --policies policies --dry-run\n" +
			"  cbops apply -f phase1.json --tenant t-acme --policy chat --emit patch > change.patch",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.apply(c, &o) },
	}
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "policy or fragment `FILE` whose circuit_breaker is applied; - is stdin")
	f.StringVar(&o.tenant, "tenant", "", "tenant id `T`")
	f.StringVar(&o.policy, "policy", "", "policy id `P`")
	f.StringVar(&o.emit, "emit", "", "write the change to commit in place of making it: `DIR` or \"patch\"")
	f.BoolVar(&o.verifyOnly, "verify-only", false, "change nothing: prove that the nodes run what FILE says")
	o.add(c)
	return c
}

func (a *app) apply(c *cobra.Command, o *applyOptions) error {
	for _, need := range []struct{ flag, value string }{{"-f", o.file}, {"--tenant", o.tenant}, {"--policy", o.policy}} {
		if need.value == "" {
			return fault.Hint(fault.New(fault.Usage, "%s is missing", need.flag), "see: cbops apply --help")
		}
	}
	if o.emit != "" && o.verifyOnly {
		return fault.New(fault.Usage, "--emit and --verify-only exclude each other: one is before the deploy, the other after it")
	}
	ref := router.Ref{Tenant: o.tenant, Policy: o.policy}
	if err := checkRef(ref); err != nil {
		return err
	}
	if o.verifyOnly {
		o.dryRun = true // for what forbids changes: it makes none
	}
	s, err := a.openChange(c, &o.changeFlags, false)
	if err != nil {
		return err
	}
	defer s.close()
	fragment, err := a.readFragment(o.file, ref)
	if err != nil {
		return err
	}
	p, err := a.prepareApply(c.Context(), s, ref, fragment)
	if err != nil {
		return err
	}
	switch {
	case o.verifyOnly:
		return a.verifyOnly(c, s, o, p)
	case o.emit != "":
		return a.emitApply(c, s, o, p)
	}
	for _, st := range p.steps {
		if err := s.engine.CheckHold(c.Context(), ref, st.New); err != nil {
			return err
		}
		if err := s.engine.CheckWritable(c.Context(), st); err != nil {
			return err
		}
	}
	out := p.out
	out.Environment, out.DryRun, out.Commands = s.environment, o.dryRun, s.commands([]router.Ref{ref})
	if o.dryRun {
		return a.show(out, fault.OK)
	}
	if out.Changed {
		a.sayBlock(out.Diff)
		if s.managedBy == "git" {
			a.say("cbops: warning: git deploys these files (router.managedBy): commit the change too, or the next deployment undoes it; see --emit")
		}
	}
	if out.Changed || len(out.Commands) > 0 {
		if err := a.confirm(c.Context(), o.yes, o.file == "-", "Apply this to "+ref.String()+"?"); err != nil {
			return err
		}
	}
	live := a.live()
	s.engine.Progress = live.Event
	res, err := s.engine.Apply(c.Context(), "apply "+ref.String(), p.steps)
	live.Close()
	if err != nil {
		return err
	}
	code := res.Code(o.noVerify)
	out.ID, out.Policies, out.Summary, out.Backup, out.OK = res.ID, res.Policies, change.Summarize(res.Policies), res.Backup, code == fault.OK
	if !out.OK {
		out.Next = append(s.byHand(c.Context()), "cbops apply -f "+shellWord(o.file)+" --tenant "+ref.Tenant+" --policy "+ref.Policy+s.flags())
	}
	if slices.ContainsFunc(res.Policies, func(p change.PolicyResult) bool { return !p.Disabled }) {
		out.Next = append(out.Next, "cbops rollback policy "+ref.String()+s.flags())
	}
	return a.show(out, code)
}

func checkRef(ref router.Ref) error {
	for _, id := range []struct{ what, id string }{{"tenant", ref.Tenant}, {"policy", ref.Policy}} {
		if !policy.ValidID(id.id) {
			return fault.Hint(fault.New(fault.Usage, "%q is no %s id", id.id, id.what), "ids are 1-255 of A-Z a-z 0-9 _ . - and do not start with a dot")
		}
	}
	return nil
}

// prepared is an apply that is worked out, and nothing is changed yet.
type prepared struct {
	steps []change.Step
	out   render.Apply
}

func (a *app) prepareApply(ctx context.Context, s *changeSession, ref router.Ref, fragment *policy.Document) (prepared, error) {
	p := prepared{out: render.Apply{Meta: render.NewMeta("Apply"), Tenant: ref.Tenant, Policy: ref.Policy,
		Warnings: []string{}, Policies: []change.PolicyResult{}, Commands: []string{}, Next: []string{}}}
	steps, err := s.engine.Prepare(ctx, ref, func(path string, old []byte) ([]byte, error) {
		doc, err := policy.Parse(path, old)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err)
		}
		merged, _, err := policy.Merge(doc, fragment)
		return merged, fault.Wrap(fault.Usage, err)
	})
	if err != nil {
		return p, err
	}
	p.steps = steps
	seen := map[string]bool{}
	for _, st := range steps {
		if seen[string(st.Old)] {
			continue // nodes that keep their own copies mostly have the same
		}
		seen[string(st.Old)] = true
		warnings, err := a.lintResult(st.Path, st.New, ref)
		if err != nil {
			return p, err
		}
		p.out.Warnings = append(p.out.Warnings, warnings...)
		if st.Changes() {
			p.out.Changed = true
			p.out.Diff += policy.Diff(st.Path, st.Old, st.New)
		}
	}
	p.out.Path = steps[0].Path
	return p, nil
}

// verifyOnly asks every node for what it runs, and changes nothing. The policy is
// as FILE makes it only if merging FILE would not change it.
func (a *app) verifyOnly(c *cobra.Command, s *changeSession, o *applyOptions, p prepared) error {
	out := p.out
	out.Environment, out.VerifyOnly = s.environment, true
	if out.Changed {
		out.Next = []string{"cbops diff -f " + shellWord(o.file) + " --tenant " + o.tenant + " --policy " + o.policy + s.place()}
		return a.show(out, fault.Partial)
	}
	live := a.live()
	s.engine.Progress = live.Event
	out.Policies = s.engine.Verify(c.Context(), p.steps)
	live.Close()
	out.Summary = change.Summarize(out.Policies)
	code := fault.OK
	if out.Summary.Safe < out.Summary.Total {
		code = fault.Partial
		out.Next = []string{"cbops apply -f " + shellWord(o.file) + " --tenant " + o.tenant + " --policy " + o.policy + " --verify-only" + s.flags()}
	}
	out.OK = code == fault.OK
	return a.show(out, code)
}

// readFragment reads what is to be applied. Its ids, where it has any, must be
// those of the path: the router would not notice that they are not.
func (a *app) readFragment(file string, ref router.Ref) (*policy.Document, error) {
	name, in := file, a.Stdin
	if file == "-" {
		name = "stdin"
	} else {
		f, err := os.Open(a.Path(file))
		if err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return nil, fault.New(fault.Usage, "cannot read %s: %w", file, err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, policy.MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Usage, "cannot read %s: %w", name, err)
	}
	if len(b) > policy.MaxBytes {
		return nil, fault.Hint(fault.New(fault.Usage, "%s is larger than %d bytes: not a policy", name, int64(policy.MaxBytes)),
			"check that -f names a policy or a fragment")
	}
	doc, err := policy.Parse(name, b)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err)
	}
	var ids struct {
		Tenant any `json:"tenant_id"`
		Policy any `json:"policy_id"`
	}
	// It parsed, so this can only fail on what is no object; Merge says that.
	_ = json.Unmarshal([]byte(strings.TrimPrefix(string(b), "\uFEFF")), &ids)
	for _, id := range []struct {
		key, flag, want string
		have            any
	}{{"tenant_id", "--tenant", ref.Tenant, ids.Tenant}, {"policy_id", "--policy", ref.Policy, ids.Policy}} {
		if id.have != nil && id.have != id.want {
			return nil, fault.Hint(fault.New(fault.Usage, "%s is for %s %q, but %s says %q", name, id.key, fmt.Sprint(id.have), id.flag, id.want),
				"give the policy the file is for, or remove "+id.key+" from the file")
		}
	}
	return doc, nil
}

// lintResult refuses a result with errors and says its warnings.
func (a *app) lintResult(path string, merged []byte, ref router.Ref) ([]string, error) {
	doc, err := policy.Parse(path, merged)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err)
	}
	warnings, errs := []string{}, []error(nil)
	for _, i := range doc.Lint(ref.Tenant, ref.Policy) {
		line := i.Place + ": " + i.Message
		if i.Severity == "error" {
			errs = append(errs, fault.Hint(fault.New(fault.Usage, "%s", line), i.Hint))
			continue
		}
		warnings = append(warnings, line)
		a.say("cbops: warning: %s", line)
	}
	if len(errs) == 0 {
		return warnings, nil
	}
	for _, e := range errs[1:] {
		a.say("cbops: error: %s", e)
	}
	return nil, fault.Hint(errs[0], "nothing is changed; places are those of the policy as it would be")
}

// confirm asks before a change. Without a terminal nobody can answer, and without
// --yes nobody has.
func (a *app) confirm(ctx context.Context, yes, stdinTaken bool, question string) error {
	if yes {
		return nil
	}
	if !a.StdinTTY || stdinTaken {
		return fault.Hint(fault.New(fault.Usage, "this changes policies and there is no terminal to ask: nothing is changed"),
			"--yes says that it is meant; --dry-run shows what it would do")
	}
	fmt.Fprintf(a.Stderr, "%s [y/N] ", render.Clean(question))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.Stdin).ReadString('\n') // no answer is no
		answer <- line
	}()
	select {
	case <-ctx.Done():
		return fault.New(fault.Interrupted, "interrupted: nothing is changed")
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return fault.New(fault.Interrupted, "declined: nothing is changed")
	}
}

// sayBlock prints several lines on stderr.
func (a *app) sayBlock(s string) {
	fmt.Fprintf(a.Stderr, "%s\n", render.CleanBlock(strings.TrimRight(s, "\n")))
}

package cmd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/policy"
)

// emitApply writes an apply as a change to commit. Holds are respected: what may
// not be enabled here may not be committed either.
func (a *app) emitApply(c *cobra.Command, s *changeSession, o *applyOptions, p prepared) error {
	for _, st := range p.steps {
		if err := s.engine.CheckHold(c.Context(), st.Ref, st.New); err != nil {
			return err
		}
	}
	next := "cbops apply -f " + shellWord(o.file) + " --tenant " + o.tenant + " --policy " + o.policy + " --verify-only" + s.flags() + "   # after the deploy"
	return a.emit(s, o.emit, p.steps[:1], nil, next)
}

// emitRollback writes a rollback as a change to commit, its hold included, so that
// a job that applies from that repository is held too.
func (a *app) emitRollback(c *cobra.Command, s *changeSession, o *rollbackOptions, scope change.Scope) error {
	steps, err := s.engine.Plan(c.Context(), scope)
	if err != nil {
		return err
	}
	var good []change.Step
	for _, st := range steps {
		if st.Problem != "" {
			a.say("cbops: warning: left out: %s", st.Problem)
			continue
		}
		if st.Site == 0 {
			good = append(good, st)
		}
	}
	h := s.engine.NewHold(scope, o.reason)
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	hold := &emitted{path.Join(change.HoldDirName, h.ID+".json"), nil, append(text, '\n')}
	return a.emit(s, o.emit, good, hold, "cbops rollback "+scope.String()+s.flags()+"   # after the deploy: reloads and proves")
}

// emitted is a file of a change to commit; old is nil for a new one.
type emitted struct {
	name     string
	old, new []byte
}

// emit writes files below a directory, or a patch on stdout for `git apply`. Names
// are relative to the policy root, with the root's own name before them where it
// is a relative one: that is how it stands in the repository.
func (a *app) emit(s *changeSession, to string, steps []change.Step, hold *emitted, next string) error {
	root := s.router.Policies
	if s.flagsGiven.policies != "" {
		root = s.flagsGiven.policies
	}
	if filepath.IsAbs(root) || !filepath.IsLocal(root) {
		root = ""
	}
	var files []emitted
	for _, st := range steps {
		if st.Changes() {
			files = append(files, emitted{path.Join(filepath.ToSlash(root), st.Ref.Tenant, st.Ref.Policy+".json"), st.Old, st.New})
		}
	}
	changed := len(files)
	if hold != nil {
		hold.name = path.Join(filepath.ToSlash(root), hold.name)
		files = append(files, *hold)
	}
	out := render.Emitted{Meta: render.NewMeta("Emitted"), Files: []string{}, Changed: changed, Next: []string{next}}
	for _, f := range files {
		out.Files = append(out.Files, f.name)
	}
	if to == "patch" {
		for _, f := range files {
			out.Patch += gitDiff(f)
		}
		return a.show(out, fault.OK)
	}
	out.Dir = to
	for _, f := range files {
		if err := writeEmitted(filepath.Join(a.Path(to), filepath.FromSlash(f.name)), f.new); err != nil {
			return err
		}
	}
	return a.show(out, fault.OK)
}

// gitDiff is a unified diff with the header that `git apply` wants.
func gitDiff(f emitted) string {
	d := policy.Diff(f.name, f.old, f.new)
	_, hunks, ok := strings.Cut(d, "@@")
	if !ok {
		return ""
	}
	head := "diff --git a/" + f.name + " b/" + f.name + "\n"
	from := "--- a/" + f.name + "\n"
	if f.old == nil {
		head += "new file mode 100644\n"
		from = "--- /dev/null\n"
	}
	return head + from + "+++ b/" + f.name + "\n@@" + hunks
}

// writeEmitted writes a file of a change to commit. It is not a policy that a
// router reads: there is nothing to reload.
func writeEmitted(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fault.New(fault.Environment, "cannot write the change: %w", err)
	}
	if st, err := os.Lstat(name); err == nil && !st.Mode().IsRegular() {
		return fault.New(fault.Usage, "cannot write the change: %s is not a regular file", name)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Environment, "cannot write the change: %w", err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return fault.New(fault.Environment, "cannot write the change: %w", err)
	}
	return nil
}

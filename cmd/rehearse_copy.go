package cmd

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/plan"
)

// Bounds of what a rehearsal copies: a plan's directory, not a disk.
const (
	maxCopyFiles = 20000
	maxCopyBytes = 256 << 20
)

// copyPlan copies the plan's directory to dir, under the plan's usual name, and
// returns the policy root in the copy. State and holds (names that start with a
// dot) stay behind: a rehearsal starts fresh.
func (a *app) copyPlan(dir string) (policies string, err error) {
	name := a.Path(a.plan)
	if name == "" {
		name = plan.Find(a.Dir)
	}
	if name == "" {
		return "", fault.Hint(fault.New(fault.Usage, "no plan here or above"), "--plan FILE names it")
	}
	p, err := plan.Load(name)
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return "", fault.New(fault.Environment, "cannot read the plan: %w", err)
	}
	root := cmp.Or(p.Router.Policies, "policies")
	if !filepath.IsLocal(root) {
		return "", fault.Hint(fault.New(fault.Usage, "%s: router.policies %q is not under the plan's directory", name, root),
			"rehearse copies the plan's directory, and only that")
	}
	if err := copyTree(filepath.Dir(name), dir); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, plan.Name), raw, 0o600); err != nil {
		return "", fault.New(fault.Environment, "cannot copy the plan: %w", err)
	}
	return filepath.Join(dir, root), nil
}

// copyTree copies regular files; links and names that start with a dot are left
// out.
func copyTree(from, to string) error {
	files, size := 0, int64(0)
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fault.New(fault.Environment, "cannot read the plan's directory: %w", err)
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return fault.Wrap(fault.Environment, os.MkdirAll(target, 0o700))
		}
		if !e.Type().IsRegular() {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return fault.New(fault.Environment, "cannot read the plan's directory: %w", err)
		}
		files, size = files+1, size+info.Size()
		if files > maxCopyFiles || size > maxCopyBytes {
			return fault.Hint(fault.New(fault.Usage, "%s holds too much to copy for a rehearsal", from), "keep the plan in a directory of its own")
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return fault.New(fault.Environment, "cannot read %s: %w", path, err)
		}
		return fault.Wrap(fault.Environment, os.WriteFile(target, b, 0o600))
	})
}

package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/plan"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

func newValidateCmd(a *app) *cobra.Command {
	var policies string
	var strict bool
	c := &cobra.Command{
		Use:     "validate [PATH…]",
		Short:   "Check policies and plan: syntax, schema, types, ranges",
		GroupID: "prepare",
		Long: `validate checks a plan and policy documents against what the router really reads.
PATH is a policy root, a single policy or fragment, or a plan; without one, the
plan and its policies are checked. Warnings alone exit 0, unless --strict.`,
		Example: `  cbops validate policies
  cbops validate policies/t-acme/chat.json --strict`,
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			v := &validation{app: a, doc: render.NewValidation()}
			if policies != "" {
				args = append(args, policies)
			}
			if err := v.paths(args); err != nil {
				return err
			}
			return a.show(v.doc.Done(strict), v.code(strict))
		},
	}
	c.Flags().StringVar(&policies, "policies", "", "policy root `DIR`")
	c.Flags().BoolVar(&strict, "strict", false, "warnings fail too")
	return c
}

// validation is one run of validate.
type validation struct {
	app *app
	doc render.Validation
}

func (v *validation) code(strict bool) fault.Code {
	if v.doc.Errors > 0 || strict && v.doc.Warnings > 0 {
		return fault.Failed
	}
	return fault.OK
}

// paths checks what was named, or the plan and its policies.
func (v *validation) paths(args []string) error {
	if len(args) == 0 {
		path := v.app.findPlan()
		if path == "" {
			return fault.Hint(fault.New(fault.Usage, "nothing to validate: no path given and no %s here or above", plan.Name),
				"name a policy root: cbops validate DIR")
		}
		p, err := v.plan(path)
		if err != nil || p == nil {
			return err
		}
		if p.Router.Policies == "" {
			return nil
		}
		root := p.Router.Policies
		if !filepath.IsAbs(root) {
			root = filepath.Join(p.Dir, root)
		}
		return v.root(root, p.Router.Policies)
	}
	for _, arg := range args {
		path := v.app.Path(arg)
		st, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fault.Hint(fault.New(fault.Usage, "%s: no such file or directory", arg), "name a policy root, a policy or a plan")
		case err != nil:
			return fault.New(fault.Environment, "cannot read %s: %w", arg, err)
		case st.IsDir():
			err = v.root(path, arg)
		case !st.Mode().IsRegular():
			err = fault.New(fault.Usage, "%s: not a regular file", arg)
		case strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml"):
			_, err = v.plan(path)
		default:
			err = v.file(path, arg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *validation) plan(path string) (*plan.Plan, error) {
	shown := path
	if rel, err := filepath.Rel(v.app.Dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		shown = rel
	}
	p, problems, err := plan.Check(path)
	if err != nil {
		return nil, err
	}
	v.doc.Files++
	for _, x := range problems {
		v.doc.Add(render.Issue{File: shown, Line: x.Line, Column: x.Column, Severity: "error", Message: x.Message, Hint: x.Hint})
	}
	return p, nil
}

// root checks every policy below a policy root, tenant by tenant.
func (v *validation) root(path, shown string) error {
	dir, err := router.OpenDir(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only read
	dir = dir.ShownAs(shown)
	refs, err := dir.List()
	if err != nil && len(refs) == 0 {
		return err
	}
	if err != nil { // one bad tenant does not hide what is wrong with the others
		v.broken(shown, err)
	}
	if len(refs) == 0 {
		return fault.Hint(fault.New(fault.Usage, "%s: no policy in it: nothing was checked", shown), "a policy root holds <tenant>/<policy>.json")
	}
	byTenant := map[string][]*policy.Document{}
	for _, r := range refs {
		raw, err := dir.Read(r)
		if err != nil {
			v.doc.Files++
			v.broken(dir.Path(r), err)
			continue
		}
		if doc := v.document(dir.Path(r), raw, r.Tenant, r.Policy); doc != nil {
			byTenant[r.Tenant] = append(byTenant[r.Tenant], doc)
		}
		v.doc.Tenant(r.Tenant)
	}
	for _, r := range refs {
		v.add(policy.LintTenant(byTenant[r.Tenant]))
		delete(byTenant, r.Tenant)
	}
	return nil
}

// file checks a single policy or fragment, whose path says nothing about ids.
func (v *validation) file(path, shown string) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.New(fault.Environment, "cannot read %s: %w", shown, err)
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := readBounded(f, shown)
	if err != nil {
		return err
	}
	v.document(shown, raw, "", "")
	return nil
}

func (v *validation) document(shown string, raw []byte, tenant, id string) *policy.Document {
	v.doc.Files++
	doc, err := policy.Parse(shown, raw)
	if err != nil {
		v.broken(shown, err)
		return nil
	}
	v.add(doc.Lint(tenant, id))
	return doc
}

// broken reports a document that cannot be read as a policy at all.
func (v *validation) broken(shown string, err error) {
	i := place(err.Error())
	if i.File == "" {
		i.File, i.Message = shown, strings.TrimPrefix(err.Error(), shown+": ")
	}
	i.Severity = "error"
	if h := fault.HintsOf(err); len(h) > 0 {
		i.Hint = h[0]
	}
	v.doc.Add(i)
}

func (v *validation) add(issues []policy.Issue) {
	for _, x := range issues {
		i := place(x.Place + ": " + x.Message)
		i.Severity, i.Hint = string(x.Severity), x.Hint
		v.doc.Add(i)
	}
}

// place splits "file:line:column: message".
func place(s string) render.Issue {
	head, message, ok := strings.Cut(s, ": ")
	parts := strings.Split(head, ":")
	if n := len(parts); ok && n >= 3 {
		line, err1 := strconv.Atoi(parts[n-2])
		col, err2 := strconv.Atoi(parts[n-1])
		if err1 == nil && err2 == nil {
			return render.Issue{File: strings.Join(parts[:n-2], ":"), Line: line, Column: col, Message: message}
		}
	}
	return render.Issue{Message: fmt.Sprint(s)}
}

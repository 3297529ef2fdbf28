// Package plan reads cbops.yaml: what is rolled out, where, and to whom
// (DESIGN.md §4). It reads and checks; it changes nothing and keeps no state.
// A rollback reads only environment and router, and must not be stopped by the
// rest: Rollback is that lenient reading.
package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
)

// Name is the file a plan is looked for under.
const Name = "cbops.yaml"

// MaxBytes bounds a plan, in bytes.
const MaxBytes = 1 << 20

// Plan is what this version understands of a plan.
type Plan struct {
	// Path is where it was read from; Dir is its directory, which relative paths
	// start from.
	Path, Dir   string
	Name        string
	Environment string
	Router      Router
	Prometheus  Prometheus
	Tenants     map[string]Tenant
	Phases      map[int]Phase
	Criteria    Criteria
	Queries     Queries
}

// Tenant is what is known of a tenant.
type Tenant struct {
	Owner    string
	Critical bool
}

// Problem is one thing that is wrong with a plan.
type Problem struct {
	Line, Column  int
	Message, Hint string
}

// Find looks for a plan in dir and above; "" if there is none.
func Find(dir string) string {
	for {
		p := filepath.Join(dir, Name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// Load reads and checks a plan. The error names the first problem's place.
func Load(path string) (*Plan, error) {
	p, problems, err := load(path)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		x := problems[0]
		return nil, fault.Hint(fault.New(fault.Usage, "%s:%d:%d: %s", path, x.Line, x.Column, x.Message), nonEmpty(x.Hint, "see: cbops validate")...)
	}
	return p, nil
}

// Check reads a plan and returns all its problems.
func Check(path string) (*Plan, []Problem, error) { return load(path) }

func nonEmpty(s ...string) []string {
	return slices.DeleteFunc(s, func(x string) bool { return x == "" })
}

func load(path string) (*Plan, []Problem, error) {
	raw, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	return Parse(path, raw)
}

func read(path string) ([]byte, error) {
	// A pipe or a device in a plan's place would block for ever, and a rollback
	// never waits.
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, "cannot read the plan: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, fmt.Errorf("cannot read the plan: %w", err))
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Environment, "cannot read the plan: %w", err)
	}
	if len(raw) > MaxBytes {
		return nil, fault.New(fault.Usage, "%s: larger than %d MiB: not a plan", path, MaxBytes>>20)
	}
	return raw, nil
}

// Parse reads a plan's bytes.
func Parse(path string, raw []byte) (*Plan, []Problem, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, fault.New(fault.Usage, "%s:1:1: the plan is empty", path)
		}
		return nil, nil, fault.New(fault.Usage, "%s: not YAML: %w", path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, nil, fault.New(fault.Usage, "%s: more than one YAML document: a plan is one", path)
	}
	p := &Plan{Path: path, Dir: dirOf(path), Router: newRouter(), Tenants: map[string]Tenant{}, Phases: map[int]Phase{}, Criteria: defaultCriteria()}
	r := &reader{}
	r.plan(doc.Content[0], p)
	return p, r.problems, nil
}

func dirOf(path string) string { return filepath.Dir(path) }

// reader walks the YAML tree. It follows no alias: a plan needs none, and a
// document of aliases to aliases would be without end.
type reader struct{ problems []Problem }

func (r *reader) bad(n *yaml.Node, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// fields calls the reader of each key of a mapping; unknown keys are refused
// with a suggestion, keys of later versions (ignored) are passed over.
func (r *reader) fields(n *yaml.Node, where string, known map[string]func(*yaml.Node), ignored ...string) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "%s: want a mapping", where)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if seen[k.Value] {
			r.bad(k, "", "%s: duplicate key %q", where, k.Value)
			continue
		}
		seen[k.Value] = true
		if read, ok := known[k.Value]; ok {
			read(v)
			continue
		}
		if slices.Contains(ignored, k.Value) {
			continue
		}
		hint := ""
		best := min(3, len(k.Value)) // of a short key nothing would be left
		for name := range known {
			if d := levenshtein.Distance(k.Value, name, nil); len(k.Value) < 64 && (d < best || d == best && hint > name) {
				best, hint = d, name
			}
		}
		if hint != "" {
			hint = fmt.Sprintf("did you mean %q?", hint)
		}
		r.bad(k, hint, "%s: unknown key %q", where, k.Value)
	}
}

func (r *reader) plan(n *yaml.Node, p *Plan) {
	var version, kind string
	r.fields(n, "plan", map[string]func(*yaml.Node){
		"apiVersion":  r.text(&version),
		"kind":        r.text(&kind),
		"name":        r.text(&p.Name),
		"environment": r.text(&p.Environment),
		"router":      func(n *yaml.Node) { r.router(n, &p.Router) },
		"prometheus":  func(n *yaml.Node) { r.prometheus(n, &p.Prometheus) },
		"tenants":     func(n *yaml.Node) { r.tenants(n, p) },
		"phases":      func(n *yaml.Node) { r.phases(n, p) },
		"criteria":    func(n *yaml.Node) { r.criteria(n, p) },
		"queries":     func(n *yaml.Node) { r.queries(n, &p.Queries) },
	})
	for _, l := range p.Queries.loose {
		r.meant(l.n, &p.Criteria, criteria.SettingStability+l.name)
	}
	if version != "cbops/v1" {
		r.bad(n, "", "apiVersion is %q, this cbops reads \"cbops/v1\"", version)
	}
	if kind != "Rollout" {
		r.bad(n, "", "kind is %q, want \"Rollout\"", kind)
	}
}

func (r *reader) text(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.bad(n, "", "want a text")
			return
		}
		if strings.ContainsFunc(n.Value, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
			r.bad(n, "", "control character in a text")
			return
		}
		*to = n.Value
	}
}

func (r *reader) list(to *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			r.bad(n, "", "want a list")
			return
		}
		for _, x := range n.Content {
			var s string
			r.text(&s)(x)
			*to = append(*to, s)
		}
	}
}

func (r *reader) tenants(n *yaml.Node, p *Plan) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "tenants: want a mapping from tenant to owner, critical")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		var t Tenant
		r.fields(n.Content[i+1], "tenant", map[string]func(*yaml.Node){
			"owner": r.text(&t.Owner),
			"critical": func(n *yaml.Node) {
				if n.Decode(&t.Critical) != nil {
					r.bad(n, "", "critical: want true or false")
				}
			},
		}, "notify")
		p.Tenants[n.Content[i].Value] = t
	}
}

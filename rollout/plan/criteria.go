package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// Criteria is what a plan says of how it is judged (docs/evaluate.md).
type Criteria struct {
	MinOutcomesPerDay int
	FailFast          string
	Margins           criteria.Margins
	// Stated are the tenants that are left out, the policies that stay off, and what
	// loosens a margin on purpose.
	Stated statement.Set
}

// Queries are the deployment's own, for what the router does not export.
type Queries struct {
	// Named are PromQL expressions by the names that evidence uses.
	Named []Query
	// Stability says how the stability queries among them are held.
	Stability []criteria.Stability
	// loose are those with a margin above the default.
	loose []looseQuery
}

type looseQuery struct {
	n    *yaml.Node
	name string
}

// Query is one of them.
type Query struct{ Name, Expr string }

func defaultCriteria() Criteria {
	return Criteria{MinOutcomesPerDay: criteria.MinOutcomesPerDay, FailFast: criteria.FailFastUnknown, Margins: criteria.DefaultMargins()}
}

func (r *reader) criteria(n *yaml.Node, p *Plan) {
	c := &p.Criteria
	var margins, volume *yaml.Node
	r.fields(n, "criteria", map[string]func(*yaml.Node){
		"minOutcomesPerDay": func(n *yaml.Node) {
			v, err := strconv.Atoi(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || v < 1 {
				r.bad(n, "", "minOutcomesPerDay: want an integer above 0")
				return
			}
			c.MinOutcomesPerDay, volume = v, n
		},
		"failFast": r.oneOf(&c.FailFast, criteria.FailFastUnknown, criteria.FailFastRescued, criteria.FailFastRejected),
		"margins": func(n *yaml.Node) {
			margins = n
			m := &c.Margins
			r.fields(n, "margins", map[string]func(*yaml.Node){
				"errorRate": func(n *yaml.Node) {
					e := &m.ErrorRate
					r.fields(n, "margins.errorRate", map[string]func(*yaml.Node){
						"floor": r.share(&e.Floor, 0, 1), "relative": r.share(&e.Relative, 0, 10), "cap": r.share(&e.Cap, 0, 1), "half": r.share(&e.Half, 0, 10),
					})
				},
				"latency": r.share(&m.Latency, 0, 10), "consistency": r.share(&m.Consistency, 1, 1000), "containment": r.share(&m.Containment, 0, 1),
			})
		},
		"quiet":     r.each(func(n *yaml.Node) { c.Stated.Quiet = append(c.Stated.Quiet, r.quiet(n)) }),
		"disabled":  r.each(func(n *yaml.Node) { c.Stated.Disabled = append(c.Stated.Disabled, r.disabled(n)) }),
		"overrides": r.each(func(n *yaml.Node) { c.Stated.Overrides = append(c.Stated.Overrides, r.override(n)) }),
	})
	for _, path := range c.Margins.Loosened() {
		r.meant(margins, c, path)
	}
	if c.MinOutcomesPerDay < criteria.MinOutcomesPerDay {
		r.meant(volume, c, criteria.SettingMinOutcomes)
	}
	for _, o := range c.Stated.Overrides {
		if known := criteria.Settings(); !slices.Contains(known, o.Setting) && !strings.HasPrefix(o.Setting, criteria.SettingStability) {
			r.bad(n, "one of "+strings.Join(known, ", ")+", "+criteria.SettingStability+"NAME", "an override of %q: there is no such setting", o.Setting)
		}
	}
}

// meant wants an override for a setting that is looser than the default.
func (r *reader) meant(n *yaml.Node, c *Criteria, path string) {
	if n != nil && !slices.ContainsFunc(c.Stated.Overrides, func(o statement.Override) bool { return o.Setting == path }) {
		r.bad(n, fmt.Sprintf("criteria.overrides: [{setting: %s, by: …, reason: …}] records that it is meant", path),
			"%s is looser than the default, and no override says why", path)
	}
}

// share reads a number or a percentage between two bounds.
func (r *reader) share(to *float64, least, most float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, ok := parseShare(n)
		if !ok || v < least || v > most {
			r.bad(n, "", "want a number or a percentage, from %g to %g", least, most)
			return
		}
		*to = v
	}
}

func parseShare(n *yaml.Node) (float64, bool) {
	text, percent := strings.CutSuffix(strings.TrimSpace(n.Value), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || n.Kind != yaml.ScalarNode || v != v {
		return 0, false
	}
	if percent {
		v /= 100
	}
	return v, true
}

func (r *reader) oneOf(to *string, words ...string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
			r.bad(n, "", "want one of %s", strings.Join(words, ", "))
			return
		}
		*to = n.Value
	}
}

func (r *reader) queries(n *yaml.Node, q *Queries) {
	named := func(name string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if expr := r.expr(n); expr != "" {
				q.Named = append(q.Named, Query{name, expr})
			}
		}
	}
	r.fields(n, "queries", map[string]func(*yaml.Node){
		evidence.Latency: named(evidence.Latency), evidence.TenantErrorRate: named(evidence.TenantErrorRate), evidence.ProviderHealthy: named(evidence.ProviderHealthy),
		"stability": r.each(func(n *yaml.Node) { r.stability(n, q) }),
	})
}

// MaxExpr is how long a PromQL expression may be, in bytes.
const MaxExpr = 10_000

// QueryName reports whether a stability query may be called so: reports show it, and
// flags name it.
func QueryName(s string) bool {
	return len(s) > 0 && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
}

// expr reads a query; whether it is PromQL the server says.
func (r *reader) expr(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" || len(n.Value) > MaxExpr {
		r.bad(n, "", "want a PromQL expression")
		return ""
	}
	return strings.TrimSpace(n.Value)
}

func (r *reader) stability(n *yaml.Node, q *Queries) {
	var name, expr, direction string
	s := criteria.Stability{Margin: criteria.DefaultStability}
	r.fields(n, "stability", map[string]func(*yaml.Node){
		"name":      r.text(&name),
		"query":     func(n *yaml.Node) { expr = r.expr(n) },
		"direction": r.oneOf(&direction, "higher", "lower"),
		"margin":    r.share(&s.Margin, 0, 10),
	})
	if s.Name, s.Higher = name, direction == "higher"; name == "" || expr == "" || direction == "" {
		r.bad(n, "", "stability: want name, query, and the direction that is better: higher or lower")
		return
	}
	if !QueryName(name) {
		r.bad(n, "", "stability: a query's name has 1 to 64 letters, digits, or any of _ . -")
		return
	}
	if slices.ContainsFunc(q.Stability, func(o criteria.Stability) bool { return o.Name == name }) {
		r.bad(n, "", "stability: two queries are called %q", name)
		return
	}
	if s.Margin > criteria.DefaultStability {
		q.loose = append(q.loose, looseQuery{n, name})
	}
	q.Stability = append(q.Stability, s)
	q.Named = append(q.Named, Query{evidence.StabilityPrefix + name, expr})
}

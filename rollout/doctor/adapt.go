package doctor

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/promquery/promlab"
)

// adapt makes an expression of a deployment speak of the histories: names of its
// tenants and providers become names that the histories have, and matchers on labels
// that say nothing here (instance, job, what varies) are taken out. The notes say
// what was done; nothing else of the expression changes.
func (p *Practice) adapt(expr string) (parser.Expr, []string, error) {
	x, err := p.engine.Check(expr)
	if err != nil {
		return nil, nil, err
	}
	if n := nodes(x); n > maxNodes {
		return nil, nil, promlab.BoundError(fmt.Sprintf("an expression of %d parts; at most %d are tried", n, maxNodes))
	}
	d := p.opt.Dialect
	people := []people{
		{d.label("tenant_id"), []string{acme, bolt, dune, cove}, map[string]string{}},
		{d.label("provider_id"), []string{"openai", "anthropic", "cohere"}, map[string]string{}},
	}
	free := append([]string{"instance"}, d.Varying...)
	if _, fixed := d.Extra["job"]; !fixed {
		free = append(free, "job")
	}
	notes := []string{}
	note := func(format string, args ...any) {
		if n := fmt.Sprintf(format, args...); !slices.Contains(notes, n) {
			notes = append(notes, n)
		}
	}
	walk(x, func(n parser.Node) {
		vs, ok := n.(*parser.VectorSelector)
		if !ok {
			return
		}
		kept := vs.LabelMatchers[:0:0]
		for _, m := range vs.LabelMatchers {
			if slices.Contains(free, m.Name) && !slices.Contains(fixedLabels(d), m.Name) {
				note("%s was not compared: it differs from series to series", m)
				continue
			}
			for _, who := range people {
				if m.Name == who.label && m.Name != "" {
					m = who.adapt(m, note)
					break
				}
			}
			if m != nil {
				kept = append(kept, m)
			}
		}
		if vs.Name != "" || anyMatcherLeft(kept) {
			vs.LabelMatchers = kept
		}
	})
	return x, notes, nil
}

func fixedLabels(d Dialect) []string {
	var out []string
	for k := range d.Extra {
		out = append(out, k)
	}
	return out
}

// anyMatcherLeft reports whether a selector with these matchers is allowed: one of
// them must not match the empty string.
func anyMatcherLeft(ms []*labels.Matcher) bool {
	return slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches("") })
}

// people are the names that the histories use under one label, the one that fails
// most first.
type people struct {
	label string
	names []string
	given map[string]string
}

// adapt returns the matcher for the histories, or nil for none.
func (p people) adapt(m *labels.Matcher, note func(string, ...any)) *labels.Matcher {
	switch m.Type {
	case labels.MatchEqual, labels.MatchNotEqual:
		if m.Value == "" {
			return m
		}
		to, known := p.given[m.Value]
		if !known {
			if len(p.given) == len(p.names) {
				note("%s was not compared: the histories have too few names", m)
				return nil
			}
			to = p.names[len(p.given)]
			p.given[m.Value] = to
		}
		if to != m.Value {
			note("%s was tried as %q", m, to)
		}
		return labels.MustNewMatcher(m.Type, m.Name, to)
	case labels.MatchRegexp:
		if m.Matches(p.names[0]) {
			return m
		}
		note("%s was tried as any name", m)
		return labels.MustNewMatcher(labels.MatchRegexp, m.Name, ".+")
	default:
		return m
	}
}

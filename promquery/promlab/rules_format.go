package promlab

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"gopkg.in/yaml.v3"
)

// FormatRules writes groups as a Prometheus rule file; ParseRules reads the same
// groups back, but for their lines.
func FormatRules(groups []Group) ([]byte, error) {
	file := rulefmt.RuleGroups{Groups: []rulefmt.RuleGroup{}}
	for _, g := range groups {
		out := rulefmt.RuleGroup{Name: g.Name, Interval: model.Duration(g.Interval), Limit: g.Limit, Labels: maps.Clone(g.Labels), Rules: []rulefmt.Rule{}}
		if g.QueryOffset != 0 {
			off := model.Duration(g.QueryOffset)
			out.QueryOffset = &off
		}
		for _, r := range g.Rules {
			out.Rules = append(out.Rules, rulefmt.Rule{Record: r.Record, Alert: r.Alert, Expr: r.Expr, For: model.Duration(r.For),
				KeepFiringFor: model.Duration(r.KeepFiringFor), Labels: r.Labels, Annotations: r.Annotations})
		}
		file.Groups = append(file.Groups, out)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(file); err != nil {
		return nil, fmt.Errorf("cannot write the rules as YAML: %w", err)
	}
	return b.Bytes(), enc.Close()
}

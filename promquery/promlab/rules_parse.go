package promlab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/fault"
)

const (
	// MaxRuleBytes bounds a rule file, in bytes.
	MaxRuleBytes = 4 << 20
	// maxRules bounds the rules of a file, aliases counted as often as they are used.
	maxRules = 20_000
	// maxProblems is how many faults of a file are named.
	maxProblems = 10
)

// ParseRules reads a Prometheus rule file. Every fault is named with file, line and
// column, unknown keys included. The shape is read here, for the places; what a
// rule may say (names, expressions, templates) is decided by Prometheus' own
// rulefmt. YAML merge keys ("<<") are not read and are refused.
func ParseRules(file string, data []byte) ([]Group, error) {
	if len(data) > MaxRuleBytes {
		return nil, fault.New(fault.Usage, "%s: a rule file of %d bytes; at most %d are read", file, len(data), MaxRuleBytes)
	}
	if !utf8.Valid(data) {
		return nil, fault.New(fault.Usage, "%s: not UTF-8", file)
	}
	p := &ruleParser{file: file, parser: parser.NewParser(parser.Options{})}
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return []Group{}, nil
	case err != nil:
		return nil, fault.New(fault.Usage, "%s: %s", yamlPlace(file, err), yamlText(err))
	}
	groups := p.document(&root)
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		p.bad(&second, "a second document: Prometheus reads the first only")
	}
	if len(p.problems) > 0 {
		return nil, fault.New(fault.Usage, "%s", strings.Join(p.problems, "\n"))
	}
	return groups, nil
}

// yamlPlace and yamlText take apart the library's "yaml: line 3: did not find …".
func yamlPlace(file string, err error) string {
	var line int
	if _, e := fmt.Sscanf(err.Error(), "yaml: line %d:", &line); e == nil {
		return file + ":" + strconv.Itoa(line)
	}
	return file
}

func yamlText(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(s, "line "); ok {
		if _, text, ok := strings.Cut(rest, ": "); ok {
			return "not YAML: " + text
		}
	}
	return "not YAML: " + s
}

type ruleParser struct {
	file     string
	parser   parser.Parser
	problems []string
	rules    int
}

func (p *ruleParser) bad(n *yaml.Node, format string, args ...any) {
	switch text := fmt.Sprintf(format, args...); {
	case len(p.problems) == maxProblems:
		p.problems = append(p.problems, p.file+": and more")
	case len(p.problems) < maxProblems:
		p.problems = append(p.problems, fmt.Sprintf("%s:%d:%d: %s", p.file, n.Line, n.Column, text))
	}
}

// fields calls f for every key of a mapping that is in known; others are faults.
func (p *ruleParser) fields(n *yaml.Node, what string, known []string, f func(key string, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.bad(n, "%s is %s, not a mapping", what, kindName(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], alias(n.Content[i+1])
		switch {
		case k.Kind != yaml.ScalarNode || !slices.Contains(known, k.Value):
			p.bad(k, "unknown key %s in %s%s", clip(k.Value), what, suggest(k.Value, known))
		case seen[k.Value]:
			p.bad(k, "%s stands twice in %s", k.Value, what)
		default:
			seen[k.Value] = true
			f(k.Value, v)
		}
	}
}

func suggest(key string, known []string) string {
	for _, k := range known {
		if len(key) < 100 && levenshtein.Distance(key, k, nil) <= 2 {
			return ": did you mean " + k + "?"
		}
	}
	return ": known are " + strings.Join(known, ", ")
}

// clip quotes text of a document for a message.
func clip(s string) string {
	const longest = 60
	if len(s) > longest {
		cut := longest
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strconv.Quote(s)
}

func alias(n *yaml.Node) *yaml.Node {
	for range 8 { // an alias of an alias is not written by people
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "empty"
		}
		return "a scalar"
	}
	return "nothing"
}

// list calls f for every element; nothing is an empty list.
func (p *ruleParser) list(n *yaml.Node, what string, f func(*yaml.Node)) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case n.Kind != yaml.SequenceNode:
		p.bad(n, "%s is %s, not a list", what, kindName(n))
	default:
		for _, e := range n.Content {
			if p.rules > maxRules {
				return
			}
			f(alias(e))
		}
	}
}

func (p *ruleParser) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!binary" {
		p.bad(n, "%s is %s, not text", what, kindName(n))
		return ""
	}
	if n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func (p *ruleParser) duration(n *yaml.Node, what string) time.Duration {
	s := p.text(n, what)
	d, err := model.ParseDuration(s)
	if err != nil {
		p.bad(n, "%s: %s is no duration: want one like 30s, 5m or 1h30m", what, clip(s))
	}
	return time.Duration(d)
}

func (p *ruleParser) strings(n *yaml.Node, what string) map[string]string {
	out := map[string]string{}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return out
	}
	if n.Kind != yaml.MappingNode {
		p.bad(n, "%s is %s, not a mapping", what, kindName(n))
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if _, twice := out[k.Value]; twice || k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			p.bad(k, "%s: the key %s is not a text of its own", what, clip(k.Value))
			continue
		}
		out[k.Value] = p.text(alias(n.Content[i+1]), what)
	}
	return out
}

func (p *ruleParser) document(root *yaml.Node) []Group {
	groups := []Group{}
	doc := alias(root.Content[0])
	if doc.Kind == yaml.ScalarNode && doc.Tag == "!!null" {
		return groups
	}
	names := map[string]bool{}
	p.fields(doc, "the file", []string{"groups"}, func(_ string, v *yaml.Node) {
		p.list(v, "groups", func(n *yaml.Node) {
			g := p.group(n)
			if names[g.Name] {
				p.bad(n, "the group %s stands twice in the file", clip(g.Name))
			}
			names[g.Name] = true
			groups = append(groups, g)
		})
	})
	return groups
}

func (p *ruleParser) group(n *yaml.Node) Group {
	g := Group{Rules: []Rule{}}
	p.fields(n, "a group", []string{"name", "interval", "query_offset", "limit", "rules", "labels"}, func(key string, v *yaml.Node) {
		switch key {
		case "name":
			g.Name = p.text(v, "name")
		case "interval":
			g.Interval = p.duration(v, "interval")
		case "query_offset":
			g.QueryOffset = p.duration(v, "query_offset")
		case "limit":
			if err := v.Decode(&g.Limit); err != nil {
				p.bad(v, "limit: %s is no number", clip(v.Value))
			}
		case "labels":
			g.Labels = p.strings(v, "labels")
		case "rules":
			p.list(v, "rules", func(n *yaml.Node) {
				if p.rules++; p.rules > maxRules {
					p.bad(n, "more than %d rules", maxRules)
					return
				}
				g.Rules = append(g.Rules, p.rule(n))
			})
		}
	})
	if n.Kind == yaml.MappingNode && g.Name == "" {
		p.bad(n, "a group without a name")
	}
	return g
}

func (p *ruleParser) rule(n *yaml.Node) Rule {
	r := Rule{Line: n.Line}
	at := n
	p.fields(n, "a rule", []string{"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}, func(key string, v *yaml.Node) {
		switch key {
		case "record":
			r.Record = p.text(v, key)
		case "alert":
			r.Alert = p.text(v, key)
		case "expr":
			r.Expr, at = p.text(v, key), v
		case "for":
			r.For = p.duration(v, key)
		case "keep_firing_for":
			r.KeepFiringFor = p.duration(v, key)
		case "labels":
			r.Labels = p.strings(v, key)
		case "annotations":
			r.Annotations = p.strings(v, key)
		}
	})
	if n.Kind != yaml.MappingNode {
		return r
	}
	if err := checkText(r.Expr); err != nil {
		p.bad(at, "rule %s: %s", clip(r.Name()), err)
		return r
	}
	like := rulefmt.Rule{Record: r.Record, Alert: r.Alert, Expr: r.Expr, For: model.Duration(r.For), KeepFiringFor: model.Duration(r.KeepFiringFor), Labels: r.Labels, Annotations: r.Annotations}
	for _, e := range like.Validate(rulefmt.RuleNode{}, model.UTF8Validation, p.parser) {
		place := n
		if strings.Contains(errors.Unwrap(&e).Error(), "expr") {
			place = at
		}
		p.bad(place, "rule %s: %s", clip(r.Name()), oneLine(errors.Unwrap(&e).Error()))
	}
	return r
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

package doctor

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/promquery/promlab"
)

// query is a panel's query made readable: Grafana's variables are filled in.
type query struct {
	// text has a word of its own for every variable within a string, so that it can
	// be put back; x is text with every such variable standing for anything.
	text string
	x    parser.Expr
	// restore puts the variables back into an expression made from text.
	restore  *strings.Replacer
	problems []Problem
}

// variable reads $name, ${name}, ${name:format}, ${name.field} and [[name:format]].
const variable = `\$(\w+)|\[\[(\w+?)(?::\w+)?\]\]|\$\{(\w+)(?:\.[^:^}]+)?(?::([^}]+))?\}`

// word is what stands for the i-th variable within a string; none begins as another.
func word(i int) string { return "cbopsvar" + strconv.Itoa(i) + "x" }

const (
	// shown is the time that Grafana shows by default.
	shown = time.Hour
	// maxInQuery bounds the variables of one query.
	maxInQuery = 200
)

// fill fills in variables. Durations get odd lengths, a millisecond off, by which they
// are known again.
func (p *Practice) fill(d *Dashboard, expr string, at time.Time) (query, error) {
	q := query{problems: []Problem{}}
	if len(expr) > promlab.MaxExprBytes {
		return q, promlab.BoundError(fmt.Sprintf("a query of %d bytes; at most %d are read", len(expr), promlab.MaxExprBytes))
	}
	var back []string
	re := regexp.MustCompile(variable)
	var b strings.Builder
	last, words := 0, 0
	found := re.FindAllStringSubmatchIndex(expr, maxInQuery+1)
	if len(found) > maxInQuery {
		return q, promlab.BoundError(fmt.Sprintf("more than %d variables in one query", maxInQuery))
	}
	for _, m := range found {
		whole := expr[m[0]:m[1]]
		name := firstOf(group(expr, m, 1), group(expr, m, 2), group(expr, m, 3))
		b.WriteString(expr[last:m[0]])
		last = m[1]
		v, defined := d.variable(name)
		switch with, odd, ok := p.builtIn(name, group(expr, m, 4), at); {
		case ok:
			b.WriteString(with)
			if odd {
				back = append(back, with, whole)
			}
		case !defined && !letter(name): // "$1" of label_replace
			b.WriteString(whole)
		case quotedAt(b.String()):
			if !defined {
				q.problems = append(q.problems, Problem{Kind: Undefined, Text: "the dashboard does not define the variable " + whole + ", so Grafana sends it as it stands"})
			}
			words++
			w := word(words)
			b.WriteString(w)
			back = append(back, w, whole)
			if v.Many && equals(b.String()[:b.Len()-len(w)]) && strings.HasPrefix(expr[m[1]:], `"`) {
				q.problems = append(q.problems, Problem{Kind: Equals, Text: "with All or several values chosen, =\"" + whole + "\" compares with all of them as one text, and nothing is equal to that; use =~"})
			}
		case durationAt(b.String()):
			if !defined {
				q.problems = append(q.problems, Problem{Kind: Undefined, Text: "the dashboard does not define the variable " + whole})
			}
			b.WriteString(durationOf(v.Value))
		default:
			if !defined {
				return q, fmt.Errorf("the dashboard does not define the variable %s", whole)
			}
			b.WriteString(firstOf(v.Value, "1"))
		}
	}
	b.WriteString(expr[last:])
	q.text, q.restore = b.String(), strings.NewReplacer(back...)
	x, err := p.engine.Check(q.text)
	if err != nil {
		return q, fmt.Errorf("%w, after filling in variables: %s", err, clipped(oneLine(q.text)))
	}
	anything(x)
	q.x = x
	return q, nil
}

func group(s string, m []int, i int) string {
	if m[2*i] < 0 {
		return ""
	}
	return s[m[2*i]:m[2*i+1]]
}

func letter(s string) bool {
	return s != "" && (s[0] == '_' || s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
}

func (d *Dashboard) variable(name string) (Variable, bool) {
	for _, v := range d.Variables {
		if v.Name == name {
			return v, true
		}
	}
	return Variable{}, false
}

// builtIn is the value of Grafana's own variables; odd where it can be known again.
func (p *Practice) builtIn(name, format string, at time.Time) (value string, odd, ok bool) {
	ms := func(d time.Duration) string { return model.Duration(d).String() }
	switch name {
	case "__rate_interval":
		return ms(4*p.opt.Scrape + time.Millisecond), true, true
	case "__interval":
		return ms(p.opt.Scrape - time.Millisecond), true, true
	case "__range":
		return ms(shown + time.Millisecond), true, true
	case "__rate_interval_ms":
		return strconv.FormatInt((4 * p.opt.Scrape).Milliseconds(), 10), false, true
	case "__interval_ms":
		return strconv.FormatInt(p.opt.Scrape.Milliseconds(), 10), false, true
	case "__range_s":
		return strconv.Itoa(int(shown.Seconds())), false, true
	case "__range_ms":
		return strconv.FormatInt(shown.Milliseconds(), 10), false, true
	case "__from", "__to":
		if name == "__from" {
			at = at.Add(-shown)
		}
		if strings.HasSuffix(format, "seconds") {
			return strconv.FormatInt(at.Unix(), 10), false, true
		}
		return strconv.FormatInt(at.UnixMilli(), 10), false, true
	}
	return "", false, false
}

// quotedAt reports whether a text that ends here ends within a string.
func quotedAt(s string) bool {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && quote != '`' && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\'' || c == '`'):
			quote = c
		case quote == 0 && c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
		}
	}
	return quote != 0
}

// equals reports whether a text ends with ="
func equals(s string) bool {
	s = strings.TrimRight(strings.TrimSuffix(s, `"`), " ")
	return strings.HasSuffix(s, "=") && !strings.HasSuffix(s, "!=")
}

// durationAt reports whether a duration is due: after [, after a colon within brackets,
// after offset.
func durationAt(s string) bool {
	s = strings.TrimRight(s, " \n\t")
	return strings.HasSuffix(s, "[") || strings.HasSuffix(s, ":") && strings.LastIndexByte(s, '[') > strings.LastIndexByte(s, ']') ||
		strings.HasSuffix(s, "offset") || strings.HasSuffix(s, "offset -")
}

func durationOf(v string) string {
	if _, err := model.ParseDuration(v); err == nil && v != "" {
		return v
	}
	return "5m" // auto, or what people choose first
}

// anything makes matchers on variables match every value: what All stands for.
func anything(x parser.Expr) {
	re := regexp.MustCompile(`cbopsvar\d+x`)
	walk(x, func(n parser.Node) {
		vs, ok := n.(*parser.VectorSelector)
		if !ok {
			return
		}
		kept := vs.LabelMatchers[:0:0]
		for _, m := range vs.LabelMatchers {
			if !re.MatchString(m.Value) {
				kept = append(kept, m)
				continue
			}
			switch m.Type {
			case labels.MatchRegexp, labels.MatchEqual:
				text := m.Value
				if m.Type == labels.MatchEqual {
					text = regexp.QuoteMeta(text)
				}
				if any, err := labels.NewMatcher(labels.MatchRegexp, m.Name, re.ReplaceAllString(text, ".*")); err == nil {
					kept = append(kept, any)
				}
			}
		}
		if vs.Name != "" || anyMatcherLeft(kept) {
			vs.LabelMatchers = kept
		}
	})
}

func clipped(s string) string {
	const longest = 300
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

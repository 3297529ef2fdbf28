package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/internal/fault"
)

// What a scenario file may ask for, so that none runs for ever or takes all memory.
const (
	MaxBytes    = 1 << 20             // of the file
	MaxRequests = 2_000_000           // of all steps
	MaxDuration = 31 * 24 * time.Hour // of virtual time, a circuit
	maxItems    = 1000                // circuits, steps, expectations, workers
	maxProblems = 100                 // that are looked for; the first is told
)

// Parse reads a scenario from YAML (docs/loadtest.md has the format). base is the
// config of circuits for which the file gives none. A file that is malformed,
// contradictory or out of bounds, that has an unknown key, no expectation, or one
// that cannot fail or hold by its form alone, is an error that names
// file:line:column; whether an expectation can fail at all is CannotFail's to say.
func Parse(path string, raw []byte, base breaker.Config) (Scenario, error) {
	s := Scenario{Path: path}
	if len(raw) > MaxBytes {
		return s, fault.New(fault.Usage, "%s:1:1: larger than %d MiB: not a scenario", path, MaxBytes>>20)
	}
	if i := invalidUTF8(raw); i >= 0 {
		return s, fault.New(fault.Usage, "%s: invalid UTF-8: byte 0x%02x", placeOf(path, raw, i), raw[i])
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return s, fault.New(fault.Usage, "%s:1:1: the scenario is empty", path)
		}
		return s, syntaxError(path, err)
	}
	var more yaml.Node
	switch err := dec.Decode(&more); {
	case err == nil:
		return s, fault.New(fault.Usage, "%s:%d:%d: more than one YAML document: a scenario is one", path, more.Line, more.Column)
	case !errors.Is(err, io.EOF):
		return s, syntaxError(path, err)
	}
	r := &reader{path: path, base: base}
	r.scenario(doc.Content[0], &s)
	return s, r.err()
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

func placeOf(path string, raw []byte, at int) string {
	before := string(raw[:at])
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("%s:%d:%d", path, line, column)
}

// syntaxError gives the parser's message a place; it knows the line only.
func syntaxError(path string, err error) error {
	line, text := "1", strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); m != nil {
		line, text = m[1], m[2]
	}
	return fault.New(fault.Usage, "%s:%s:1: not YAML: %s", path, line, text)
}

// reader walks the YAML tree and gathers what is wrong with it. It follows no
// alias: a scenario needs none, and aliases to aliases would be without end.
type reader struct {
	path     string
	base     breaker.Config
	problems []problem
	// requests and items are counted while reading.
	requests float64
	items    int
	judged   int
}

type problem struct {
	line, column int
	text, hint   string
}

// err is the first problem in the file's order, with the number of the others.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int { return (a.line-b.line)*1_000_000 + a.column - b.column })
	p := r.problems[0]
	text := p.text
	if n := len(r.problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return fault.Hint(fault.New(fault.Usage, "%s:%d:%d: %s", r.path, p.line, p.column, text), p.hint)
}

func (r *reader) bad(n *yaml.Node, hint, format string, args ...any) {
	r.problems = append(r.problems, problem{n.Line, n.Column, fmt.Sprintf(format, args...), hint})
}

func (r *reader) place(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", r.path, n.Line, n.Column) }

// mapping calls the reader of each key. An unknown key is refused, with what it
// was probably meant to be.
func (r *reader) mapping(n *yaml.Node, where string, known map[string]func(k, v *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "%s is %s, want a mapping", where, what(n))
		return false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && len(r.problems) < maxProblems; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		read, ok := known[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode:
			r.bad(k, "", "%s: a key is %s, want a word", where, what(k))
		case seen[k.Value]:
			r.bad(k, "", "%s: duplicate key %q", where, clip(k.Value))
		case !ok:
			r.bad(k, suggestion(k.Value, known), "%s: unknown key %q", where, clip(k.Value))
		case v.Kind == yaml.AliasNode:
			r.bad(v, "write the value out", "%s: an alias", k.Value)
		default:
			read(k, v)
		}
		seen[k.Value] = true
	}
	return true
}

func suggestion(key string, known map[string]func(k, v *yaml.Node)) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	best, near := 3, ""
	for _, name := range names {
		if len(key) > 64 {
			break
		}
		if d := levenshtein.Distance(key, name, nil); d < best {
			best, near = d, name
		}
	}
	if near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "there are: " + strings.Join(names, ", ")
}

func what(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!null":
		return "nothing"
	}
	return strconv.Quote(clip(n.Value))
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func (r *reader) text(n *yaml.Node, where string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		r.bad(n, "", "%s is %s, want a text", where, what(n))
		return ""
	}
	if len(n.Value) > 500 || strings.ContainsFunc(n.Value, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		r.bad(n, "", "%s: want one line of at most 500 characters", where)
		return ""
	}
	return n.Value
}

// integer reads a whole number between bounds.
func (r *reader) integer(n *yaml.Node, where string, low, high int64) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		r.bad(n, "", "%s is %s, want a whole number", where, what(n))
		return low
	}
	if v < low || v > high {
		r.bad(n, "", "%s %d is out of bounds, %d to %d", where, v, low, high)
		return low
	}
	return v
}

// float reads a number between bounds.
func (r *reader) float(n *yaml.Node, where string, low, high float64) float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		r.bad(n, "", "%s is %s, want a number", where, what(n))
		return low
	}
	if v < low || v > high {
		r.bad(n, "", "%s %g is out of bounds, %g to %g", where, v, low, high)
		return low
	}
	return v
}

func (r *reader) boolean(n *yaml.Node, where string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.bad(n, "", "%s is %s, want true or false", where, what(n))
	}
	return n.Value == "true"
}

// duration reads a time like 10ms, 2s or 1h30m, in whole milliseconds.
func (r *reader) duration(n *yaml.Node, where string) time.Duration {
	d, err := time.ParseDuration(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil:
		r.bad(n, "", "%s is %s, want a duration like 10ms, 2s or 1h30m", where, what(n))
	case d < 0 || d > MaxDuration:
		r.bad(n, "", "%s %s is out of bounds, 0 to %d days", where, d, MaxDuration/(24*time.Hour))
	case d%time.Millisecond != 0:
		r.bad(n, "", "%s %s: the breaker's clock has milliseconds, no less", where, d)
	default:
		return d
	}
	return 0
}

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
)

// MaxFileBytes bounds a file of faults.
const MaxFileBytes = 1 << 20

// File is what a practice world is told beside its policies: whose traffic comes
// by itself, and which providers fail when.
type File struct {
	Tenants []Tenant
	Faults  []Fault
}

// ParseFile reads kind: Lab (docs/lab.md). Times of faults are counted from start.
// Whatever is wrong is an error that names file:line:column.
func ParseFile(path string, raw []byte, start time.Time) (File, error) {
	var f File
	if len(raw) > MaxFileBytes {
		return f, fault.New(fault.Usage, "%s:1:1: larger than %d MiB: not a lab file", path, MaxFileBytes>>20)
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); err != nil {
		line, text := "1", strings.TrimPrefix(err.Error(), "yaml: ")
		if errors.Is(err, io.EOF) {
			text = "the file is empty"
		}
		if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); m != nil {
			line, text = m[1], m[2]
		}
		return f, fault.New(fault.Usage, "%s:%s:1: not YAML: %s", path, line, text)
	}
	r := &fileReader{path: path, start: start}
	r.file(doc.Content[0], &f)
	return f, r.err
}

// fileReader keeps the first problem. It follows no alias.
type fileReader struct {
	path  string
	start time.Time
	err   error
}

func (r *fileReader) bad(n *yaml.Node, format string, args ...any) {
	if r.err == nil {
		r.err = fault.New(fault.Usage, "%s:%d:%d: %s", r.path, n.Line, n.Column, fmt.Sprintf(format, args...))
	}
}

func (r *fileReader) mapping(n *yaml.Node, where string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "%s: want a mapping", where)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		read, ok := known[k.Value]
		switch {
		case !ok:
			r.bad(k, "%s: unknown key %q", where, k.Value)
		case seen[k.Value]:
			r.bad(k, "%s: duplicate key %q", where, k.Value)
		default:
			read(n.Content[i+1])
		}
		seen[k.Value] = true
	}
}

func (r *fileReader) each(n *yaml.Node, where string, read func(*yaml.Node)) {
	const most = 1000
	if n.Kind != yaml.SequenceNode || len(n.Content) > most {
		r.bad(n, "%s: want a list of at most %d", where, most)
		return
	}
	for _, x := range n.Content {
		read(x)
	}
}

func (r *fileReader) word(to *string, where string, valid func(string) bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !valid(n.Value) {
			r.bad(n, "%s: %q is not one", where, n.Value)
			return
		}
		*to = n.Value
	}
}

func (r *fileReader) number(to *float64, where string, most float64) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || !(v >= 0 && v <= most) {
			r.bad(n, "%s: want a number, 0 to %g", where, most)
			return
		}
		*to = v
	}
}

func (r *fileReader) duration(to *time.Duration, where string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d < 0 || d > 31*24*time.Hour {
			r.bad(n, "%s: want a duration like 30s, 0 to 31 days", where)
			return
		}
		*to = d
	}
}

func (r *fileReader) file(n *yaml.Node, f *File) {
	var version, kind string
	is := func(want string) func(string) bool { return func(s string) bool { return s == want } }
	r.mapping(n, "lab", map[string]func(*yaml.Node){
		"apiVersion": r.word(&version, "apiVersion", is("cbops/v1")),
		"kind":       r.word(&kind, "kind", is("Lab")),
		"tenants":    func(n *yaml.Node) { r.each(n, "tenants", func(n *yaml.Node) { r.tenant(n, f) }) },
		"faults":     func(n *yaml.Node) { r.each(n, "faults", func(n *yaml.Node) { r.fault(n, f) }) },
	})
	if version == "" || kind == "" {
		r.bad(n, "want apiVersion: cbops/v1 and kind: Lab")
	}
}

func (r *fileReader) tenant(n *yaml.Node, f *File) {
	var t Tenant
	r.mapping(n, "tenant", map[string]func(*yaml.Node){
		"id":        r.word(&t.ID, "id", policy.ValidID),
		"policy":    r.word(&t.Policy, "policy", policy.ValidID),
		"perMinute": r.number(&t.PerMinute, "perMinute", 60_000),
		"errorRate": r.number(&t.ErrorRate, "errorRate", 1),
		"providers": func(n *yaml.Node) {
			r.each(n, "providers", func(n *yaml.Node) {
				p := Provider{Weight: 1}
				r.mapping(n, "provider", map[string]func(*yaml.Node){
					"name": r.word(&p.Name, "name", named), "weight": r.number(&p.Weight, "weight", 1e6),
				})
				t.Providers = append(t.Providers, p)
			})
		},
	})
	if t.ID == "" || t.PerMinute == 0 {
		r.bad(n, "tenant: want an id and perMinute above 0")
	}
	f.Tenants = append(f.Tenants, t)
}

func named(s string) bool { return s != "" && len(s) <= maxProvider }

func (r *fileReader) fault(n *yaml.Node, f *File) {
	x := Fault{Share: 1}
	var after, length time.Duration
	r.mapping(n, "fault", map[string]func(*yaml.Node){
		"provider": r.word(&x.Provider, "provider", named),
		"tenant":   r.word(&x.Tenant, "tenant", policy.ValidID),
		"share":    r.number(&x.Share, "share", 1),
		"after":    r.duration(&after, "after"),
		"for":      r.duration(&length, "for"),
	})
	if x.Provider == "" || length == 0 {
		r.bad(n, "fault: want a provider and for above 0")
	}
	x.From, x.To = r.start.Add(after), r.start.Add(after+length)
	f.Faults = append(f.Faults, x)
}

package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/agext/levenshtein"
	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/statement"
)

// Kinds of statements, by the key that holds them in a file.
const (
	Attestations = "attestations"
	Incidents    = "incidents"
	Waivers      = "waivers"
	QuietTenants = "quiet"
	LeftDisabled = "disabled"
	Bakes        = "bakes"
)

// ParseStatements reads a file of statements, YAML or JSON, with nothing but the
// given kinds in it. The error names the first problem's place.
func ParseStatements(path string, raw []byte, kinds ...string) (statement.Set, error) {
	var s statement.Set
	if len(raw) > MaxBytes {
		return s, fault.New(fault.Usage, "%s: larger than %d MiB: not a file of statements", path, MaxBytes>>20)
	}
	if t := bytes.TrimSpace(raw); len(t) > 0 && t[0] == '{' {
		raw = bytes.ReplaceAll(raw, []byte("\t"), []byte(" ")) // tabs indent JSON, and end YAML
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	hint := shapes(kinds)
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return s, fault.Hint(fault.New(fault.Usage, "%s:1:1: the file is empty", path), hint)
		}
		return s, fault.Hint(notYAML(path, err), hint)
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return s, fault.Hint(notYAML(path, err), hint)
		}
		return s, fault.Hint(fault.New(fault.Usage, "%s:%d:%d: more than one document", path, max(second.Line, 1), max(second.Column, 1)), "one document, or a file each")
	}
	r := &reader{}
	// told are the statements in the order of the file, and how many of each kind there
	// were with it.
	var told []toldAt
	tell := func(read func(*yaml.Node)) func(*yaml.Node) {
		return r.each(func(n *yaml.Node) {
			read(n)
			told = append(told, toldAt{n, [...]int{len(s.Attestations), len(s.Incidents), len(s.Bakes)}})
		})
	}
	all := map[string]func(*yaml.Node){
		Attestations: tell(func(n *yaml.Node) { s.Attestations = append(s.Attestations, r.attestation(n)) }),
		Incidents:    tell(func(n *yaml.Node) { s.Incidents = append(s.Incidents, r.incident(n)) }),
		Waivers:      tell(func(n *yaml.Node) { s.Waivers = append(s.Waivers, r.waiver(n)) }),
		QuietTenants: tell(func(n *yaml.Node) { s.Quiet = append(s.Quiet, r.quiet(n)) }),
		LeftDisabled: tell(func(n *yaml.Node) { s.Disabled = append(s.Disabled, r.disabled(n)) }),
		Bakes:        tell(func(n *yaml.Node) { s.Bakes = append(s.Bakes, r.bake(n)) }),
	}
	known := map[string]func(*yaml.Node){"apiVersion": r.oneOf(new(string), "cbops/v1"), "kind": r.oneOf(new(string), "Statements")}
	for k, read := range all {
		known[k] = read
		if !slices.Contains(kinds, k) {
			known[k] = func(n *yaml.Node) { r.bad(n, "give this file to --"+flagOf(k), "%s do not belong here", k) }
		}
	}
	r.fields(doc.Content[0], "statements", known)
	if len(r.problems) > 0 {
		x := r.problems[0]
		if x.Hint == "" {
			x.Hint = hint
		}
		return s, fault.Hint(fault.New(fault.Usage, "%s:%d:%d: %s", path, x.Line, x.Column, x.Message), x.Hint)
	}
	if len(told) > maxStatements {
		return s, fault.New(fault.Usage, "%s:%d:%d: more than %d statements", path, told[maxStatements].n.Line, told[maxStatements].n.Column, maxStatements)
	}
	if len(s.Check()) == 0 {
		return s, nil
	}
	// The first statement that is wrong, by itself or with one before it.
	first := sort.Search(len(told)-1, func(i int) bool {
		k := told[i].counts
		return len(statement.Set{Attestations: s.Attestations[:k[0]], Incidents: s.Incidents[:k[1]], Bakes: s.Bakes[:k[2]]}.Check()) > 0
	})
	k := told[first]
	bad := statement.Set{Attestations: s.Attestations[:k.counts[0]], Incidents: s.Incidents[:k.counts[1]], Bakes: s.Bakes[:k.counts[2]]}.Check()
	return s, fault.Hint(fault.New(fault.Usage, "%s:%d:%d: %s", path, k.n.Line, k.n.Column, bad[0]), "correct it, or leave it out: nothing is judged on statements that contradict each other")
}

// toldAt is where a statement stands, and how many attestations, incidents and bakes
// there were with it.
type toldAt struct {
	n      *yaml.Node
	counts [3]int
}

const (
	// maxStatements bounds the statements of a file: they are compared with each other.
	maxStatements = 2000
	// maxWords bounds a text that people wrote, in bytes.
	maxWords = 1000
)

// shapes are what a file of some kinds looks like, for a hint.
func shapes(kinds []string) string {
	of := map[string]string{
		Attestations: "{id, by, reason, from, until}", Incidents: "{provider, by, reason, from, to, declared}", Waivers: "{id, tenant, by, reason, expires}",
		QuietTenants: "{tenant, by, reason}", LeftDisabled: "{tenant, policy, by, reason}", Bakes: "{tenant, from, to, reason}",
	}
	var out []string
	for _, k := range kinds {
		out = append(out, k+": ["+of[k]+", …]")
	}
	return "want " + strings.Join(out, ", or ")
}

// flagOf is the flag of evaluate that takes a kind.
func flagOf(kind string) string {
	switch kind {
	case Attestations:
		return "attest"
	case QuietTenants, LeftDisabled:
		return Waivers
	}
	return kind
}

// notYAML is an error of the YAML parser with its place; the parser tells the line in
// its words only.
func notYAML(path string, err error) error {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), "1"
	if m := regexp.MustCompile(`^yaml: line (\d+): `).FindStringSubmatch(err.Error()); m != nil {
		text, line = err.Error()[len(m[0]):], m[1]
	}
	return fault.New(fault.Usage, "%s:%s:1: neither YAML nor JSON: %s", path, line, text)
}

// hidden is a character that a terminal acts on and does not show: a control, also one
// of the C1 set, or one that reorders a line.
func hidden(c rune) bool {
	return unicode.IsControl(c) || c == 0x200e || c == 0x200f || c >= 0x2028 && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c == 0xfeff
}

// words reads a text that people wrote: one line that shows all that is in it, and not
// without end. JSON and YAML show it as it is.
func (r *reader) words(to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, hidden) {
			r.bad(n, "write it on one line, in plain text", "control character in a text")
			return
		}
		if len(n.Value) > maxWords {
			r.bad(n, "say it in a sentence, and link to the rest", "a text of %d bytes: at most %d", len(n.Value), maxWords)
			return
		}
		r.text(to)(n)
	}
}

// criterion reads the id of one; phased ids are an attestation's.
func (r *reader) criterion(to *string, phased bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.words(to)(n)
		short, known := *to, criteria.AllIDs()
		if i := strings.IndexByte(short, '/'); i >= 0 && phased {
			if short[:i] == "preflight" {
				return
			}
			if slices.Contains([]string{"phase1", "phase2", "phase3", "phase4"}, short[:i]) {
				short = short[i+1:]
			}
		}
		if n.Kind == yaml.ScalarNode && *to != "" && !slices.Contains(known, short) {
			hint := "one of " + strings.Join(known, ", ")
			for _, k := range known {
				if len(short) < 64 && levenshtein.Distance(short, k, nil) < 3 {
					hint = fmt.Sprintf("did you mean %q?", k)
				}
			}
			r.bad(n, hint, "there is no criterion %q", *to)
		}
	}
}

// needed are the fields of a statement that must not be empty.
func (r *reader) needed(n *yaml.Node, what string, fields ...string) {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] == "" {
			r.bad(n, "", "%s: %s is needed", what, fields[i])
			return
		}
	}
}

// instant reads RFC 3339, or a day in UTC.
func (r *reader) instant(to *time.Time) func(*yaml.Node) {
	return func(n *yaml.Node) {
		for _, form := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(form, n.Value); err == nil && n.Kind == yaml.ScalarNode {
				*to = t.UTC()
				return
			}
		}
		r.bad(n, "", "want a time like 2026-03-08T00:00:00Z, or a day like 2026-03-08")
	}
}

func (r *reader) count(to **int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.Atoi(n.Value)
		if err != nil || v < 0 || n.Kind != yaml.ScalarNode {
			r.bad(n, "", "want a count: an integer of 0 or more")
			return
		}
		*to = &v
	}
}

func (r *reader) attestation(n *yaml.Node) (a statement.Attestation) {
	r.fields(n, "attestation", map[string]func(*yaml.Node){
		"id": r.criterion(&a.ID, true), "by": r.words(&a.By), "reason": r.words(&a.Reason), "from": r.instant(&a.From), "until": r.instant(&a.Until),
		"baselineCount": r.count(&a.BaselineCount), "windowCount": r.count(&a.WindowCount),
	})
	r.needed(n, "attestation", "id", a.ID, "by", a.By, "reason", a.Reason, "from", said(a.From), "until", said(a.Until))
	if (a.BaselineCount != nil || a.WindowCount != nil) && !strings.HasSuffix(a.ID, "no-customer-reports") {
		r.bad(n, "", "attestation %s: counts are for no-customer-reports only", a.ID)
	}
	return a
}

func said(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprint(t)
}

func (r *reader) incident(n *yaml.Node) (i statement.Incident) {
	r.fields(n, "incident", map[string]func(*yaml.Node){
		"provider": r.words(&i.Provider), "by": r.words(&i.By), "reason": r.words(&i.Reason),
		"from": r.instant(&i.From), "to": r.instant(&i.To), "declared": r.instant(&i.Declared),
		"drill": func(n *yaml.Node) {
			if n.Decode(&i.Drill) != nil {
				r.bad(n, "", "drill: want true or false")
			}
		},
	})
	r.needed(n, "incident", "provider", i.Provider, "by", i.By, "reason", i.Reason, "from", said(i.From))
	return i
}

func (r *reader) waiver(n *yaml.Node) (w statement.Waiver) {
	r.fields(n, "waiver", map[string]func(*yaml.Node){
		"id": r.criterion(&w.ID, false), "tenant": r.words(&w.Tenant), "by": r.words(&w.By), "reason": r.words(&w.Reason), "expires": r.instant(&w.Expires),
	})
	r.needed(n, "waiver", "id", w.ID, "by", w.By, "reason", w.Reason, "expires", said(w.Expires))
	return w
}

func (r *reader) quiet(n *yaml.Node) (q statement.Quiet) {
	r.fields(n, "quiet", map[string]func(*yaml.Node){"tenant": r.words(&q.Tenant), "by": r.words(&q.By), "reason": r.words(&q.Reason)})
	r.needed(n, "quiet", "tenant", q.Tenant, "reason", q.Reason)
	return q
}

func (r *reader) disabled(n *yaml.Node) (d statement.Disabled) {
	r.fields(n, "disabled", map[string]func(*yaml.Node){"tenant": r.words(&d.Tenant), "policy": r.words(&d.Policy), "by": r.words(&d.By), "reason": r.words(&d.Reason)})
	r.needed(n, "disabled", "tenant", d.Tenant, "reason", d.Reason)
	return d
}

func (r *reader) bake(n *yaml.Node) (b statement.Bake) {
	r.fields(n, "bake", map[string]func(*yaml.Node){"tenant": r.words(&b.Tenant), "from": r.instant(&b.From), "to": r.instant(&b.To), "reason": r.words(&b.Reason)})
	r.needed(n, "bake", "tenant", b.Tenant, "from", said(b.From))
	return b
}

func (r *reader) override(n *yaml.Node) (o statement.Override) {
	r.fields(n, "override", map[string]func(*yaml.Node){"setting": r.words(&o.Setting), "by": r.words(&o.By), "reason": r.words(&o.Reason)})
	r.needed(n, "override", "setting", o.Setting, "by", o.By, "reason", o.Reason)
	return o
}

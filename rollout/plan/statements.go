package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/fault"
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
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return s, fault.New(fault.Usage, "%s:1:1: the file is empty", path)
		}
		return s, fault.New(fault.Usage, "%s: neither YAML nor JSON: %w", path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return s, fault.New(fault.Usage, "%s: more than one document", path)
	}
	r := &reader{}
	all := map[string]func(*yaml.Node){
		Attestations: r.each(func(n *yaml.Node) { s.Attestations = append(s.Attestations, r.attestation(n)) }),
		Incidents:    r.each(func(n *yaml.Node) { s.Incidents = append(s.Incidents, r.incident(n)) }),
		Waivers:      r.each(func(n *yaml.Node) { s.Waivers = append(s.Waivers, r.waiver(n)) }),
		QuietTenants: r.each(func(n *yaml.Node) { s.Quiet = append(s.Quiet, r.quiet(n)) }),
		LeftDisabled: r.each(func(n *yaml.Node) { s.Disabled = append(s.Disabled, r.disabled(n)) }),
		Bakes:        r.each(func(n *yaml.Node) { s.Bakes = append(s.Bakes, r.bake(n)) }),
	}
	known := map[string]func(*yaml.Node){"apiVersion": func(*yaml.Node) {}, "kind": func(*yaml.Node) {}}
	for k, read := range all {
		if slices.Contains(kinds, k) {
			known[k] = read
		}
	}
	r.fields(doc.Content[0], "statements", known)
	if len(r.problems) > 0 {
		x := r.problems[0]
		return s, fault.Hint(fault.New(fault.Usage, "%s:%d:%d: %s", path, x.Line, x.Column, x.Message), x.Hint)
	}
	if bad := s.Check(); len(bad) > 0 {
		return s, fault.New(fault.Usage, "%s: %s", path, bad[0])
	}
	return s, nil
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
		"id": r.text(&a.ID), "by": r.text(&a.By), "reason": r.text(&a.Reason), "from": r.instant(&a.From), "until": r.instant(&a.Until),
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
		"provider": r.text(&i.Provider), "by": r.text(&i.By), "reason": r.text(&i.Reason),
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
		"id": r.text(&w.ID), "tenant": r.text(&w.Tenant), "by": r.text(&w.By), "reason": r.text(&w.Reason), "expires": r.instant(&w.Expires),
	})
	r.needed(n, "waiver", "id", w.ID, "by", w.By, "reason", w.Reason, "expires", said(w.Expires))
	return w
}

func (r *reader) quiet(n *yaml.Node) (q statement.Quiet) {
	r.fields(n, "quiet", map[string]func(*yaml.Node){"tenant": r.text(&q.Tenant), "by": r.text(&q.By), "reason": r.text(&q.Reason)})
	r.needed(n, "quiet", "tenant", q.Tenant, "reason", q.Reason)
	return q
}

func (r *reader) disabled(n *yaml.Node) (d statement.Disabled) {
	r.fields(n, "disabled", map[string]func(*yaml.Node){"tenant": r.text(&d.Tenant), "policy": r.text(&d.Policy), "by": r.text(&d.By), "reason": r.text(&d.Reason)})
	r.needed(n, "disabled", "tenant", d.Tenant, "reason", d.Reason)
	return d
}

func (r *reader) bake(n *yaml.Node) (b statement.Bake) {
	r.fields(n, "bake", map[string]func(*yaml.Node){"tenant": r.text(&b.Tenant), "from": r.instant(&b.From), "to": r.instant(&b.To), "reason": r.text(&b.Reason)})
	r.needed(n, "bake", "tenant", b.Tenant, "from", said(b.From))
	return b
}

func (r *reader) override(n *yaml.Node) (o statement.Override) {
	r.fields(n, "override", map[string]func(*yaml.Node){"setting": r.text(&o.Setting), "by": r.text(&o.By), "reason": r.text(&o.Reason)})
	r.needed(n, "override", "setting", o.Setting, "by", o.By, "reason", o.Reason)
	return o
}

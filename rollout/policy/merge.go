package policy

import (
	"bytes"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/cbops/cbops/internal/fault"
)

const breakerKey = "circuit_breaker"

// Merge puts the members of the fragment's circuit_breaker into the document's,
// one by one: members of the old object that the fragment does not name stay as
// they are, and so does every byte outside circuit_breaker. The fragment's other
// keys are not looked at. A value that is already equal keeps its spelling.
func Merge(doc, fragment *Document) (merged []byte, changed bool, err error) {
	frag := fragment.root.get(breakerKey)
	if frag == nil {
		return nil, false, fault.Hint(fault.New(fault.Usage, "%s: no circuit_breaker: nothing to apply", fragment.place(fragment.root.start)),
			`a fragment looks like {"circuit_breaker": {"enabled": true}}`)
	}
	if frag.kind != object {
		return nil, false, fault.New(fault.Usage, "%s: circuit_breaker is %s, not an object", fragment.place(frag.start), frag.kind)
	}
	var set []setting
	for _, m := range frag.members {
		set = append(set, setting{
			key:   m.key,
			name:  string(fragment.raw[m.keyStart:keyEnd(fragment.raw, m)]),
			value: string(fragment.raw[m.value.start:m.value.end]),
		})
	}
	return doc.set(set)
}

// keyEnd is the offset after a member's quoted key.
func keyEnd(raw []byte, m member) int {
	return m.keyStart + bytes.LastIndexByte(raw[m.keyStart:m.value.start], '"') + 1
}

// Disable sets circuit_breaker.enabled to false and nothing else. A document
// without circuit_breaker is disabled already.
func Disable(doc *Document) (out []byte, changed bool, err error) {
	cb := doc.root.get(breakerKey)
	if cb == nil {
		return doc.raw, false, nil
	}
	if cb.kind == object {
		if e := cb.get("enabled"); e == nil {
			return doc.raw, false, nil // the router's default is false
		}
	}
	return doc.set([]setting{{"enabled", `"enabled"`, "false"}})
}

// setting is one member to set, as JSON text.
type setting struct{ key, name, value string }

// edit replaces raw[start:end].
type edit struct {
	start, end int
	text       string
}

func (d *Document) set(set []setting) ([]byte, bool, error) {
	cb := d.root.get(breakerKey)
	if cb != nil && cb.kind != object {
		return nil, false, fault.Hint(fault.New(fault.Usage, "%s: circuit_breaker is %s, not an object", d.place(cb.start), cb.kind),
			"mend the document first: cbops validate "+d.path)
	}
	if cb == nil {
		return d.insertBreaker(set), true, nil
	}
	var edits []edit
	var fresh []setting
	for _, s := range set {
		old := cb.get(s.key)
		switch {
		case old == nil:
			fresh = append(fresh, s)
		case string(d.raw[old.start:old.end]) != s.value:
			edits = append(edits, edit{old.start, old.end, s.value})
		}
	}
	if len(fresh) > 0 {
		edits = append(edits, d.appendMembers(cb, fresh))
	}
	if len(edits) == 0 {
		return d.raw, false, nil
	}
	return splice(d.raw, edits), true, nil
}

// splice applies edits that do not overlap.
func splice(raw []byte, edits []edit) []byte {
	out := make([]byte, 0, len(raw)+256)
	at := 0
	for len(edits) > 0 {
		first := 0
		for i := range edits {
			if edits[i].start < edits[first].start {
				first = i
			}
		}
		e := edits[first]
		out = append(append(out, raw[at:e.start]...), e.text...)
		at = e.end
		edits = append(edits[:first:first], edits[first+1:]...)
	}
	return append(out, raw[at:]...)
}

// appendMembers adds members to the end of an object in the object's own style:
// the white space before its last member, or none.
func (d *Document) appendMembers(obj *node, set []setting) edit {
	if len(obj.members) == 0 {
		// {} or { }: the object's own white space goes, and a line each is used
		// only where the document has lines.
		outer := d.indentOf(obj.start)
		return edit{obj.start + 1, obj.end - 1, d.lines(set, outer, d.multiline())}
	}
	last := obj.members[len(obj.members)-1]
	lead := d.lead(last.keyStart)
	colon := string(d.raw[keyEnd(d.raw, last):last.value.start])
	var b strings.Builder
	for _, s := range set {
		b.WriteString("," + lead + s.name + colon + s.value)
	}
	return edit{last.value.end, last.value.end, b.String()}
}

// insertBreaker adds circuit_breaker as the last member of the document.
func (d *Document) insertBreaker(set []setting) []byte {
	root := d.root
	if len(root.members) == 0 {
		body := `"` + breakerKey + `": {` + d.lines(set, d.unit(), d.multiline()) + "}"
		if d.multiline() {
			body = d.newline() + d.unit() + body + d.newline()
		}
		return splice(d.raw, []edit{{root.start + 1, root.end - 1, body}})
	}
	last := root.members[len(root.members)-1]
	lead := d.lead(last.keyStart)
	colon := string(d.raw[keyEnd(d.raw, last):last.value.start])
	inner := strings.TrimLeft(lead, "\r\n")
	body := "," + lead + `"` + breakerKey + `"` + colon + "{" + d.lines(set, inner, strings.Contains(lead, "\n")) + "}"
	return splice(d.raw, []edit{{last.value.end, last.value.end, body}})
}

// lines writes members between braces: a line each, or all on one.
func (d *Document) lines(set []setting, outer string, multi bool) string {
	var b strings.Builder
	for i, s := range set {
		if i > 0 {
			b.WriteByte(',')
			if !multi {
				b.WriteByte(' ')
			}
		}
		if multi {
			b.WriteString(d.newline() + outer + d.unit())
		}
		b.WriteString(s.name + ": " + s.value)
	}
	if multi && len(set) > 0 {
		b.WriteString(d.newline() + outer)
	}
	return b.String()
}

// lead is the white space before an offset, from the last line break on where
// there is one.
func (d *Document) lead(off int) string {
	start := off
	for start > 0 && strings.IndexByte(" \t\r\n", d.raw[start-1]) >= 0 {
		start--
	}
	ws := string(d.raw[start:off])
	if i := strings.LastIndexByte(ws, '\n'); i > 0 && ws[i-1] == '\r' {
		return ws[i-1:]
	} else if i >= 0 {
		return ws[i:]
	}
	return ws
}

// indentOf is the white space at the start of the line of an offset.
func (d *Document) indentOf(off int) string {
	start := bytes.LastIndexByte(d.raw[:off], '\n') + 1
	end := start
	for end < len(d.raw) && (d.raw[end] == ' ' || d.raw[end] == '\t') {
		end++
	}
	return string(d.raw[start:end])
}

// unit is one step of indentation: that of the root's first member, else two spaces.
func (d *Document) unit() string {
	if len(d.root.members) > 0 {
		if l := d.lead(d.root.members[0].keyStart); strings.Contains(l, "\n") {
			if in := strings.TrimLeft(l, "\r\n"); in != "" {
				return in
			}
		}
	}
	return "  "
}

func (d *Document) multiline() bool {
	return bytes.IndexByte(d.raw[d.root.start:d.root.end], '\n') >= 0
}

func (d *Document) newline() string {
	if bytes.Contains(d.raw, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// Diff is the unified diff of two versions of a document; empty when equal.
func Diff(path string, before, after []byte) string {
	if bytes.Equal(before, after) {
		return ""
	}
	return udiff.Unified("a/"+path, "b/"+path, string(before), string(after))
}

// Outside returns the document without its circuit_breaker member and the comma
// and white space that joined it: the bytes that no merge may change.
func (d *Document) Outside() []byte {
	for i, m := range d.root.members {
		if m.key != breakerKey {
			continue
		}
		start, end := m.keyStart, m.value.end
		switch {
		case i > 0:
			start = d.root.members[i-1].value.end
		case len(d.root.members) > 1:
			end = d.root.members[1].keyStart
		default:
			start, end = d.root.start+1, d.root.end-1
		}
		return splice(d.raw, []edit{{start, end, ""}})
	}
	if len(d.root.members) == 0 {
		return splice(d.raw, []edit{{d.root.start + 1, d.root.end - 1, ""}})
	}
	return d.raw
}

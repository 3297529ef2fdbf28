// Package policy reads, checks and edits the router's policy documents
// (ROUTER.md §1). It is pure: bytes in, bytes out, no files. It keeps every byte
// that it was not asked to change, which is why it has a parser of its own: the
// libraries at hand either lose spelling and order, accept what the router's
// parser refuses (comments, trailing commas), or refuse legal JSON such as lone
// surrogate escapes. Where files are and how they are written is rollout/router's.
package policy

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cbops/cbops/internal/fault"
)

// MaxBytes bounds a policy document, in bytes. Real ones are a few kilobytes.
const MaxBytes = 4 << 20

// maxDepth bounds nesting; a policy nests five levels deep.
const maxDepth = 100

// maxID is the length of the longest tenant or policy id.
const maxID = 255

// ValidID reports whether s can be a tenant or policy id: 1-255 of
// [A-Za-z0-9_.-], not starting with a dot (ROUTER.md §1).
func ValidID(s string) bool {
	if s == "" || len(s) > maxID || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// kind is the kind of a JSON value.
type kind byte

const (
	object kind = iota
	array
	text
	number
	boolean
	null
)

func (k kind) String() string {
	return [...]string{"an object", "a list", "a string", "a number", "a boolean", "null"}[k]
}

// node is a value with its place in the document.
type node struct {
	kind       kind
	start, end int // offsets in raw
	members    []member
	elems      []*node
	str        string // of a text, decoded
}

type member struct {
	key      string
	keyStart int
	value    *node
}

// get returns the member of an object, or nil.
func (n *node) get(key string) *node {
	if n == nil || n.kind != object {
		return nil
	}
	for i := range n.members {
		if n.members[i].key == key {
			return n.members[i].value
		}
	}
	return nil
}

// Document is a policy or a fragment of one, with its bytes.
type Document struct {
	path string
	raw  []byte
	root *node
}

// Bytes returns the document as it was read. It must not be changed.
func (d *Document) Bytes() []byte { return d.raw }

// Path is the name the document was parsed under.
func (d *Document) Path() string { return d.path }

// place is file:line:column of an offset; columns count characters from 1.
func place(path string, raw []byte, off int) string {
	line, col := 1, 1
	for i := 0; i < off && i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		i += size
		switch {
		case r == '\n':
			line, col = line+1, 1
		case r == 0xFEFF && i == 3: // a byte order mark has no column
		default:
			col++
		}
	}
	return fmt.Sprintf("%s:%d:%d", path, line, col)
}

func (d *Document) place(off int) string { return place(d.path, d.raw, off) }

// Parse reads a document. It accepts exactly JSON (RFC 8259) in UTF-8, with a
// byte order mark or without, whose root is an object, without duplicate keys.
// An error names file:line:column.
func Parse(path string, raw []byte) (*Document, error) {
	p := &parser{path: path, raw: raw}
	if len(raw) > MaxBytes {
		return nil, fault.Hint(fault.New(fault.Usage, "%s: larger than %d MiB: not a policy", path, MaxBytes>>20), "check the path")
	}
	if len(raw) >= 3 && string(raw[:3]) == "\xef\xbb\xbf" {
		p.off = 3
	}
	if i := invalidUTF8(raw); i >= 0 {
		return nil, p.fail(i, "invalid UTF-8: byte 0x%02x", raw[i])
	}
	p.space()
	if p.off == len(raw) {
		return nil, fault.Hint(p.fail(p.off, "the document is empty"), "a policy is a JSON object")
	}
	root, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.off < len(raw) {
		return nil, p.fail(p.off, "%s after the end of the document", p.here())
	}
	if root.kind != object {
		return nil, p.fail(root.start, "a policy is an object, this is %s", root.kind)
	}
	return &Document{path: path, raw: raw, root: root}, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

type parser struct {
	path string
	raw  []byte
	off  int
}

func (p *parser) fail(off int, format string, args ...any) error {
	return fault.Hint(fault.New(fault.Usage, "%s: "+format, append([]any{place(p.path, p.raw, off)}, args...)...),
		"the router's policy store crashes on malformed JSON; nothing was changed")
}

// here names the character at the offset, safely.
func (p *parser) here() string {
	if p.off >= len(p.raw) {
		return "the end of the document"
	}
	r, _ := utf8.DecodeRune(p.raw[p.off:])
	if r == '/' {
		return "a comment or slash (JSON has no comments)"
	}
	return fmt.Sprintf("%q", r)
}

func (p *parser) space() {
	for p.off < len(p.raw) && strings.IndexByte(" \t\r\n", p.raw[p.off]) >= 0 {
		p.off++
	}
}

func (p *parser) peek() byte {
	if p.off < len(p.raw) {
		return p.raw[p.off]
	}
	return 0
}

func (p *parser) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, p.fail(p.off, "nested deeper than %d levels", maxDepth)
	}
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		start := p.off
		s, err := p.text()
		return &node{kind: text, start: start, end: p.off, str: s}, err
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, w := range []struct {
		word string
		kind kind
	}{{"true", boolean}, {"false", boolean}, {"null", null}} {
		if strings.HasPrefix(string(p.raw[p.off:min(len(p.raw), p.off+5)]), w.word) {
			p.off += len(w.word)
			return &node{kind: w.kind, start: p.off - len(w.word), end: p.off, str: w.word}, nil
		}
	}
	return nil, p.fail(p.off, "want a value, found %s", p.here())
}

func (p *parser) object(depth int) (*node, error) {
	n := &node{kind: object, start: p.off}
	seen := map[string]bool{}
	p.off++
	p.space()
	if p.peek() == '}' {
		p.off++
		n.end = p.off
		return n, nil
	}
	for {
		p.space()
		at := p.off
		if p.peek() != '"' {
			return nil, p.fail(p.off, "want a key in double quotes, found %s", p.here())
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, p.fail(at, "duplicate key %q: the router would silently take one of them", key)
		}
		seen[key] = true
		if p.space(); p.peek() != ':' {
			return nil, p.fail(p.off, "want a colon after the key %q, found %s", key, p.here())
		}
		p.off++
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, member{key, at, v})
		p.space()
		switch p.peek() {
		case ',':
			p.off++
		case '}':
			p.off++
			n.end = p.off
			return n, nil
		default:
			return nil, p.fail(p.off, "want a comma or a closing brace, found %s", p.here())
		}
	}
}

func (p *parser) array(depth int) (*node, error) {
	n := &node{kind: array, start: p.off}
	p.off++
	p.space()
	if p.peek() == ']' {
		p.off++
		n.end = p.off
		return n, nil
	}
	for {
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.elems = append(n.elems, v)
		p.space()
		switch p.peek() {
		case ',':
			p.off++
		case ']':
			p.off++
			n.end = p.off
			return n, nil
		default:
			return nil, p.fail(p.off, "want a comma or a closing bracket, found %s", p.here())
		}
	}
}

func (p *parser) number() (*node, error) {
	start := p.off
	digits := func() int {
		n := 0
		for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
			p.off++
			n++
		}
		return n
	}
	if p.peek() == '-' {
		p.off++
	}
	zero := p.peek() == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return nil, p.fail(start, "malformed number")
	}
	if p.peek() == '.' {
		if p.off++; digits() == 0 {
			return nil, p.fail(start, "malformed number: no digit after the point")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		if p.off++; p.peek() == '+' || p.peek() == '-' {
			p.off++
		}
		if digits() == 0 {
			return nil, p.fail(start, "malformed number: no digit in the exponent")
		}
	}
	return &node{kind: number, start: start, end: p.off, str: string(p.raw[start:p.off])}, nil
}

// text reads a string. A lone surrogate escape is legal JSON and is kept apart
// from every other character by its WTF-8 form.
func (p *parser) text() (string, error) {
	start := p.off
	p.off++
	var b strings.Builder
	for {
		if p.off >= len(p.raw) {
			return "", p.fail(start, "string without an end")
		}
		c := p.raw[p.off]
		switch {
		case c == '"':
			p.off++
			return b.String(), nil
		case c < 0x20:
			return "", p.fail(p.off, "control character 0x%02x in a string: write it as an escape", c)
		case c != '\\':
			b.WriteByte(c)
			p.off++
			continue
		}
		if p.off+1 >= len(p.raw) {
			return "", p.fail(start, "string without an end")
		}
		esc := p.raw[p.off+1]
		if i := strings.IndexByte(`"\/bfnrt`, esc); i >= 0 {
			b.WriteByte("\"\\/\b\f\n\r\t"[i])
			p.off += 2
			continue
		}
		r, ok := p.hex(p.off)
		if !ok {
			return "", p.fail(p.off, "unknown escape in a string")
		}
		p.off += 6
		if utf16.IsSurrogate(r) {
			if low, ok := p.hex(p.off); ok {
				if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
					p.off += 6
					b.WriteRune(full)
					continue
				}
			}
			b.Write([]byte{0xE0 | byte(r>>12), 0x80 | byte(r>>6)&0x3F, 0x80 | byte(r)&0x3F})
			continue
		}
		b.WriteRune(r)
	}
}

// hex reads \uXXXX at an offset.
func (p *parser) hex(at int) (rune, bool) {
	if at+6 > len(p.raw) || p.raw[at] != '\\' || p.raw[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range p.raw[at+2 : at+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

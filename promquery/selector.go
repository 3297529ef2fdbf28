package promquery

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/cbops/cbops/internal/fault"
)

const (
	nameLabel = "__name__"
	// maxMatcher bounds a matcher's text, in bytes.
	maxMatcher = 4 << 10
	// nothing is a value that no label has.
	nothing = "\x00"
)

// Matcher is a matcher as an operator writes it: any of = != =~ !~.
type Matcher struct{ Label, Op, Value string }

// String is the matcher in PromQL.
func (m Matcher) String() string { return labelName(m.Label) + m.Op + strconv.Quote(m.Value) }

// ParseMatcher reads one matcher in PromQL's spelling, such as cluster="prod". The
// value stands in double quotes or backquotes; a regular expression must compile.
func ParseMatcher(s string) (Matcher, error) {
	bad := func(why string) (Matcher, error) {
		return Matcher{}, fault.Hint(fault.New(fault.Usage, "matcher %q: %s", clean(s, 100), why), `like cluster="prod" or region=~"eu-.*"; any of = != =~ !~`)
	}
	if len(s) > maxMatcher {
		return bad("too long")
	}
	s = strings.TrimSpace(s)
	n := strings.IndexAny(s, "=!")
	if n < 0 {
		return bad("no operator")
	}
	m := Matcher{Label: strings.TrimSpace(s[:n])}
	if !legacyLabel(m.Label) {
		return bad("not the name of a label before the operator")
	}
	if m.Label == nameLabel {
		return bad("metric names are chosen by the query")
	}
	rest := s[n:]
	for _, op := range []string{"=~", "!~", "!=", "="} {
		if after, ok := strings.CutPrefix(rest, op); ok {
			m.Op, rest = op, strings.TrimSpace(after)
			break
		}
	}
	if m.Op == "" {
		return bad("no operator")
	}
	if len(rest) < 2 || rest[0] != '"' && rest[0] != '`' {
		return bad("the value is not in double quotes")
	}
	v, err := strconv.Unquote(rest)
	if err != nil {
		return bad("the quoted value does not end, or something follows it")
	}
	if m.Value = v; m.Op == "=~" || m.Op == "!~" {
		if _, err := regexp.Compile("^(?s:" + v + ")$"); err != nil {
			return bad("not a regular expression")
		}
	}
	return m, nil
}

// legacyLabel reports whether a label name may stand unquoted in every PromQL.
func legacyLabel(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func legacyMetric(s string) bool { return s != "" && legacyLabel(strings.ReplaceAll(s, ":", "_")) }

func labelName(s string) string {
	if legacyLabel(s) {
		return s
	}
	return strconv.Quote(s)
}

// selector renders matchers in PromQL, the extra ones last. split replaces the
// values of the positive matcher on by, if not nil.
func selector(ms []Match, extra []Matcher, by string, split []string) string {
	var b strings.Builder
	rest := ms
	if len(ms) > 0 && ms[0].Label == nameLabel && !ms[0].Not && len(ms[0].Values) == 1 && legacyMetric(ms[0].Values[0]) && (by != nameLabel || split == nil) {
		b.WriteString(ms[0].Values[0])
		rest = ms[1:]
	}
	var parts []string
	for _, m := range rest {
		values := m.Values
		if split != nil && m.Label == by && !m.Not {
			values = split
		}
		if m.Not && len(values) == 0 {
			continue
		}
		parts = append(parts, m.render(values))
	}
	for _, m := range extra {
		parts = append(parts, m.String())
	}
	if len(parts) > 0 || b.Len() == 0 {
		b.WriteString("{" + strings.Join(parts, ",") + "}")
	}
	return b.String()
}

func (m Match) render(values []string) string {
	one, many := "=", "=~"
	if m.Not {
		one, many = "!=", "!~"
	}
	if m.pattern != "" {
		return labelName(m.Label) + many + strconv.Quote(m.pattern)
	}
	values = sortedUnique(values)
	switch len(values) {
	case 0:
		return labelName(m.Label) + one + strconv.Quote(nothing)
	case 1:
		return labelName(m.Label) + one + strconv.Quote(values[0])
	}
	n := 0
	for _, v := range values {
		n += len(v) + 1
	}
	var b strings.Builder
	b.Grow(n)
	for i, v := range values {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(regexp.QuoteMeta(v))
	}
	return labelName(m.Label) + many + strconv.Quote(b.String())
}

func sortedUnique(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// matchesNothing: a positive matcher without values; there is nothing to ask.
func matchesNothing(ms []Match) bool {
	return slices.ContainsFunc(ms, func(m Match) bool { return !m.Not && len(m.Values) == 0 && m.pattern == "" })
}

// Check refuses a header that could not be sent, or would change the request; the
// zero value is fine.
func (h Header) Check() error {
	if h == (Header{}) {
		return nil
	}
	if !httpguts.ValidHeaderFieldName(h.Name) || !httpguts.ValidHeaderFieldValue(h.Value) || h.Value == "" {
		return fault.New(fault.Usage, "tenant header %q: not the name and value of an HTTP header", clean(h.Name, 100))
	}
	switch strings.ToLower(h.Name) {
	case "authorization", "host", "content-type", "content-length", "transfer-encoding", "cookie", "accept-encoding":
		return fault.New(fault.Usage, "tenant header %q: this header has another purpose", h.Name)
	}
	return nil
}

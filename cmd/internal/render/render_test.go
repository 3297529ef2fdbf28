package render

import (
	"encoding/json"
	"encoding/xml"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

type doc struct {
	Meta
	Values []any          `json:"values"`
	Map    map[string]any `json:"map"`
	page   Page
}

func (d doc) Page() Page { return d.page }

// TestYAMLSaysWhatJSONSays: a string that looks like something else stays one.
func TestYAMLSaysWhatJSONSays(t *testing.T) {
	words := []any{"no", "yes", "on", "y", "1e3", "1", "1.5", "null", "~", "true", "0x10", "0o7", "017", "1_000", "2024-01-01",
		"2024-01-01T00:00:00Z", "", " ", "a: b", "- a", "#c", "a\nb", "a\n", "\t", ".inf", ".nan", "<<", "=", "é", "1:30", "{", "*a", "&a", "!a",
		"\u0085", "\u2028", "\ufeff", 1.0, true, nil, []any{}, map[string]any{}}
	m := map[string]any{}
	for _, w := range words {
		if s, ok := w.(string); ok {
			m[s] = s
		}
	}
	sameInYAML(t, doc{Meta: NewMeta("Test"), Values: words, Map: m})
}

func TestYAMLOfAnyString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sameInYAML(t, doc{Meta: NewMeta("Test"), Values: []any{rapid.String().Draw(t, "s")}})
	})
}

func sameInYAML(t interface {
	Helper()
	Fatal(...any)
	Errorf(string, ...any)
}, d doc) {
	t.Helper()
	j, err := Bytes(d, Options{Format: JSON})
	if err != nil {
		t.Fatal(err)
	}
	y, err := Bytes(d, Options{Format: YAML})
	if err != nil {
		t.Fatal(err)
	}
	var fromJSON, fromYAML any
	if err := json.Unmarshal(j, &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(y, &fromYAML); err != nil {
		t.Fatal(err, string(y))
	}
	again, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	var back any
	if err := json.Unmarshal(again, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromJSON, back) {
		t.Errorf("YAML differs from JSON:\n%s\n%s", j, y)
	}
}

func TestCleanLeavesNothingHostile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s") + rapid.SampledFrom([]string{"\x1b[2J", "\u202e", "\x9b", "\r", "\xff", "\n", "\u2028"}).Draw(t, "bad")
		c := Clean(s)
		if !utf8.ValidString(c) || strings.ContainsAny(c, "\x1b\r\n\t\u202e\u009b\u2028\x00") {
			t.Fatalf("%q becomes %q", s, c)
		}
		if Clean(c) != c {
			t.Fatalf("not stable: %q", c)
		}
	})
}

func TestTextKeepsTo80Columns(t *testing.T) {
	long := strings.Repeat("words that go on ", 30)
	p := Page{Answer: long, Context: long, Rows: []Row{{Mark: Bad, Name: "row", Text: long}},
		Sections: []Section{{Mark: Bad, Title: long, Lines: []string{long}, Hints: []string{long}}}, Notes: []string{long}}
	for _, width := range []int{0, 80, 200} {
		b, err := Bytes(doc{page: p}, Options{Width: width})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if n := utf8.RuneCountInString(line); n > max(width, 80) {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
	}
}

func TestJUnitIsGreenOnlyForPasses(t *testing.T) {
	for _, m := range []Mark{None, Good, Wait, Stuck, Unknown, Bad} {
		for _, p := range []Page{{Name: "x", Answer: "a", Verdict: m}, {Name: "x", Rows: []Row{{Mark: m, Name: "r", Text: "\x00\x1b]]>"}}}} {
			b, err := Bytes(doc{page: p}, Options{Format: JUnit})
			if err != nil {
				t.Fatal(err)
			}
			var s struct {
				Failures int `xml:"failures,attr"`
				Errors   int `xml:"errors,attr"`
				Skipped  int `xml:"skipped,attr"`
				Tests    int `xml:"tests,attr"`
			}
			if err := xml.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			if green := s.Failures+s.Errors+s.Skipped == 0; s.Tests != 1 || green != (m == Good) {
				t.Errorf("mark %d: %s", m, b)
			}
		}
	}
}

func TestGitHubAnnotationsCannotBeForged(t *testing.T) {
	p := Page{Name: "x", Answer: "a\n::error::forged", Verdict: Bad, Rows: []Row{
		{Mark: Bad, Place: "a,b%.json:3:7", Name: "n", Text: "100%\r\n::set-output::x"}}}
	b, err := Bytes(doc{page: p}, Options{Format: GitHub})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 2 || strings.Contains(string(b), "\r") {
		t.Fatalf("%q", b)
	}
	if !strings.HasPrefix(lines[0], "::error file=a%2Cb%25.json,line=3,col=7,title=cbops x::") || !strings.Contains(lines[0], "100%25") {
		t.Errorf("%q", lines[0])
	}
}

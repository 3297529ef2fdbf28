package criteria

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pageOf is a criterion's page.
func pageOf(t *testing.T, id string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "criteria", id+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func folded(s string) string { return strings.Join(strings.Fields(s), " ") }

// TestPages: pages, ids and code are one list. Every criterion has a page, every page
// a criterion; a page quotes the guide and says when it is asked, has every section, and
// names no counterexample and no route that does not exist.
func TestPages(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "criteria", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, f := range files {
		pages = append(pages, strings.TrimSuffix(filepath.Base(f), ".md"))
	}
	ids := AllIDs()
	slices.Sort(ids)
	if !slices.Equal(pages, ids) {
		t.Fatalf("pages %q\ncriteria %q", pages, ids)
	}
	code := sources(t)
	for _, e := range catalogue() {
		t.Run(e.judge.ID(), func(t *testing.T) {
			page := pageOf(t, e.judge.ID())
			for _, wrong := range pageFaults(page, e, code) {
				t.Error(wrong)
			}
		})
	}
}

// sections are what each page has, in this order.
func sections() []string {
	return []string{"The rule", "Reading the output", "How a pass is proven", "What it cannot see", "Making it measurable"}
}

// pageFaults lists what is wrong with a page.
func pageFaults(page string, e entry, code string) []string {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if !strings.HasPrefix(page, "# "+e.judge.ID()+"\n") {
		bad("does not begin with # %s", e.judge.ID())
	}
	head, _, _ := strings.Cut(page, "\n## ")
	if !strings.Contains(folded(head), `"`+e.guide+`"`) {
		bad("does not quote the guide: %q", e.guide)
	}
	asked := fmt.Sprintf("Asked in phases %d to 4", e.from)
	if e.from == 4 {
		asked = "Asked in phase 4"
	}
	if e.advisory {
		asked += ", advisory before phase 3"
	}
	if at := folded(head); !strings.Contains(at, asked) || !e.advisory && strings.Contains(at, "advisory") {
		bad("does not say: %s", asked)
	}
	var have []string
	for _, s := range strings.Split(page, "\n## ")[1:] {
		title, _, _ := strings.Cut(s, "\n")
		have = append(have, title)
	}
	if !slices.Equal(have, sections()) {
		bad("sections %q, want %q", have, sections())
	}
	names := counterexamplesOn(page)
	if len(names) == 0 {
		bad("names no counterexample")
	}
	for _, name := range names {
		if !strings.Contains(code, `"`+name+`"`) {
			bad("no such counterexample in the code: %q", name)
		}
	}
	if e.judge.ID() == (Opens{}).ID() {
		wrong = append(wrong, routeFaults(page, code)...)
	}
	return wrong
}

// counterexamplesOn are the items of the list under "How a pass is proven".
func counterexamplesOn(page string) (names []string) {
	_, rest, _ := strings.Cut(page, "\n## How a pass is proven\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, m := range regexp.MustCompile(`(?m)^- (.+)$`).FindAllStringSubmatch(rest, -1) {
		names = append(names, m[1])
	}
	return names
}

// routeFaults holds the table of routes against the constants, both ways and in order.
func routeFaults(page, code string) []string {
	var want, have []string
	for _, m := range regexp.MustCompile(`(?m)^\troute[A-Z]\w* += "(\w+)"$`).FindAllStringSubmatch(code, -1) {
		want = append(want, m[1])
	}
	rule, _, _ := strings.Cut(page, "\n## Reading")
	_, rule, _ = strings.Cut(rule, "| route | shows |\n")
	rule, _, _ = strings.Cut(rule, "\n\n")
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(rule, -1) {
		have = append(have, m[1])
	}
	if len(want) < 5 || !slices.Equal(want, have) {
		return []string{fmt.Sprintf("routes %q, the code has %q", have, want)}
	}
	return nil
}

// sources is the package's code, tests left out.
func sources(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}

// TestPagesCanFail: each fault of a page is found.
func TestPagesCanFail(t *testing.T) {
	e, code := catalogue()[0], sources(t)
	page := pageOf(t, e.judge.ID())
	for name, broken := range map[string]string{
		"title":           strings.Replace(page, "# "+e.judge.ID(), "# opens", 1),
		"guide":           strings.Replace(page, "No unexpected", "No surprising", 1),
		"phases":          strings.Replace(page, "phases 1 to 4", "phases 2 to 4", 1),
		"advisory":        strings.Replace(page, "phases 1 to 4", "phases 1 to 4, advisory before phase 3", 1),
		"section":         strings.Replace(page, "## What it cannot see", "## Limits", 1),
		"counterexample":  strings.Replace(page, "- an open on a single failure\n", "- an open on a single success\n", 1),
		"a route missing": strings.Replace(page, "| `tail` |", "| tail |", 1),
		"a route made up": strings.Replace(page, "| `tail` |", "| `oracle` |", 1),
	} {
		if broken == page {
			t.Errorf("%s: nothing was changed", name)
		}
		if len(pageFaults(broken, e, code)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

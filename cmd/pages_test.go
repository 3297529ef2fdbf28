package cmd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
)

// quoted are the pages' examples of output, by the story of internal/history that they
// are from: each indented block after <!-- story: NAME -->, up to the next heading, in
// one line.
func quoted(t *testing.T) map[string][]quote {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "docs", "criteria", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]quote{}
	for _, f := range append(files, filepath.Join("..", "docs", "evaluate.md"), filepath.Join("..", "docs", "statements.md")) {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for name, texts := range quotesIn(string(raw)) {
			for _, text := range texts {
				out[name] = append(out[name], quote{filepath.Base(f), text})
			}
		}
	}
	return out
}

type quote struct{ page, text string }

func quotesIn(page string) map[string][]string {
	out := map[string][]string{}
	story := ""
	var block []string
	for _, line := range append(strings.Split(page, "\n"), "# end") {
		if strings.HasPrefix(line, "    ") {
			block = append(block, strings.Fields(line)...)
			continue
		}
		if story != "" && len(block) > 0 {
			out[story] = append(out[story], strings.Join(block, " "))
		}
		block = nil
		if m := regexp.MustCompile(`^<!-- story: (.+) -->$`).FindStringSubmatch(line); m != nil {
			story = m[1]
		} else if strings.HasPrefix(line, "#") {
			story = ""
		}
	}
	return out
}

// checkQuotes holds what the pages say that a story prints against what it prints.
func checkQuotes(t *testing.T, quotes []quote, e criteria.Evaluation) {
	t.Helper()
	said := ""
	for _, doc := range []render.Document{render.Evaluation{Evaluation: e}, render.Explanation{Evaluation: render.Evaluation{Evaluation: e}, Criterion: explainAll}} {
		b, err := render.Bytes(doc, render.Options{})
		if err != nil {
			t.Fatal(err)
		}
		said += strings.Join(strings.Fields(string(b)), " ") + " "
	}
	for _, q := range quotes {
		if !strings.Contains(said, q.text) {
			t.Errorf("docs: %s shows what is not printed: %s\nprinted: %s", q.page, q.text, nearest(said, q.text))
		}
	}
	common := readPage(t, "evaluate.md")
	for _, f := range e.Criteria {
		page := readPage(t, filepath.Join("criteria", f.ID+".md"))
		for _, name := range f.Counterexamples {
			if !strings.Contains(page, "\n- "+name+"\n") && !strings.Contains(common, "\n- "+name+"\n") {
				t.Errorf("docs: no page of %s names its counterexample %q", f.ID, name)
			}
		}
	}
}

// nearest is what was printed that begins as a quote does, as far as it does.
func nearest(said, quote string) string {
	for n := len(quote); n > 8; n-- {
		if i := strings.Index(said, quote[:n]); i >= 0 {
			return said[i:min(len(said), i+len(quote)+40)]
		}
	}
	return "nothing like it"
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// The page of evaluate names each of its flags, and no other.
func TestEvaluatePageNamesItsFlags(t *testing.T) {
	page := readPage(t, "evaluate.md")
	flags := newEvaluateCmd(&app{}).Flags()
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !regexp.MustCompile("`--"+f.Name+"[`\\[ ]").MatchString(page) {
			t.Errorf("--%s is not on the page", f.Name)
		}
	})
	for _, m := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(page, -1) {
		if flags.Lookup(m[1]) == nil {
			t.Errorf("--%s is on the page, and evaluate has no such flag", m[1])
		}
	}
}

// Every page of a criterion shows output, and each story that a page names exists.
func TestPagesQuoteStories(t *testing.T) {
	var names []string
	for _, s := range history.Stories() {
		names = append(names, s.Name)
	}
	pages := map[string]bool{}
	for name, quotes := range quoted(t) {
		if !slices.Contains(names, name) {
			t.Errorf("no such story: %q", name)
		}
		for _, q := range quotes {
			pages[q.page] = true
		}
	}
	for _, id := range criteria.AllIDs() {
		if !pages[id+".md"] {
			t.Errorf("%s.md shows no output", id)
		}
	}
}

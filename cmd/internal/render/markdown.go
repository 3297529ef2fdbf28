package render

import (
	"fmt"
	"slices"
	"strings"
)

// markdown shows a page as a Markdown document: for tickets, pull requests and
// the CI summary.
func markdown(p Page, opt Options) string {
	if p.Markdown != "" {
		return CleanBlock(p.Markdown)
	}
	var b strings.Builder
	if p.Name != "" {
		fmt.Fprintf(&b, "# cbops %s\n\n", escapeMarkdown(Clean(p.Name)))
	}
	if p.Answer != "" {
		fmt.Fprintf(&b, "**%s**\n\n", escapeMarkdown(Clean(p.Answer)))
	}
	for _, line := range []string{p.Context, p.Aside} {
		if line != "" {
			fmt.Fprintf(&b, "%s\n\n", escapeMarkdown(Clean(line)))
		}
	}
	if len(p.Rows) > 0 {
		b.WriteString("| | what | finding |\n|---|---|---|\n")
		for _, r := range p.Rows {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", symbol(r.Mark, opt.ASCII), cell(label(r)), cell(r.Text))
		}
		b.WriteByte('\n')
	}
	if p.Matrix != nil && p.Matrix.Note != "" {
		fmt.Fprintf(&b, "%s\n\n", escapeMarkdown(Clean(p.Matrix.Note)))
	}
	if m := p.Matrix; m != nil && len(m.Columns) > 0 {
		b.WriteString("| |")
		for _, c := range m.Columns {
			b.WriteString(" " + cell(c) + " |")
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(m.Columns)) + "\n")
		for _, r := range m.Rows {
			b.WriteString("| " + cell(r.Name) + " |")
			for _, k := range r.Marks {
				b.WriteString(" " + strings.TrimSpace(symbol(k, opt.ASCII)) + " |")
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	sections := p.Sections
	if len(p.Stated) > 0 {
		sections = append(slices.Clone(sections), Section{Title: "stated", Lines: p.Stated})
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "## %s\n\n", escapeMarkdown(Clean(strings.TrimSpace(symbol(s.Mark, opt.ASCII)+" "+s.Title))))
		for _, l := range s.Lines {
			fmt.Fprintf(&b, "- %s\n", escapeMarkdown(Clean(strings.TrimSpace(l))))
		}
		for _, h := range s.Hints {
			fmt.Fprintf(&b, "- hint: %s\n", escapeMarkdown(Clean(h)))
		}
		b.WriteByte('\n')
		for _, q := range s.Pastes {
			fmt.Fprintf(&b, "%s: %s\n\n", q.Lead, escapeMarkdown(Clean(q.Shows)))
			if q.Text != "" {
				b.WriteString(fence(Clean(q.Text)))
			}
		}
	}
	if p.Verbatim != "" {
		b.WriteString(fence(CleanBlock(p.Verbatim)))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "%s\n\n", escapeMarkdown(Clean(n)))
	}
	if len(p.Next) > 0 {
		next := make([]string, len(p.Next))
		for i, n := range p.Next {
			next[i] = Clean(n) // a command is one line, whatever is in it
		}
		b.WriteString("Next:\n\n" + fence(strings.Join(next, "\n")))
	}
	return b.String()
}

// fence wraps s in a code fence longer than any run of backticks within.
func fence(s string) string {
	longest, run := 2, 0
	for _, r := range s {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	f := strings.Repeat("`", longest+1)
	return f + "\n" + strings.TrimRight(s, "\n") + "\n" + f + "\n\n"
}

func cell(s string) string { return strings.ReplaceAll(escapeMarkdown(Clean(s)), "|", `\|`) }

func escapeMarkdown(s string) string {
	return strings.NewReplacer(`\`, `\\`, "<", "&lt;", ">", "&gt;", "*", `\*`, "`", "\\`", "[", `\[`, "]", `\]`, "_", `\_`).Replace(s)
}

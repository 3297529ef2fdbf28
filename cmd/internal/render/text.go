package render

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Manners of text: the answer is the first line; rows are indented by two;
// sections follow after an empty line; the next command comes last; nothing is
// wider than the terminal or 80 columns, whichever is less, save what must be
// pasted whole (commands, verbatim blocks).

const (
	maxWidth = 80
	// narrowest is the least that a column of words may have.
	narrowest = 24
)

// symbols are the marks; the words beside them carry the meaning.
func symbol(m Mark, ascii bool) string {
	set := [...]string{None: " ", Good: "✓", Wait: "…", Stuck: "!", Unknown: "?", Bad: "✗"}
	if ascii {
		set = [...]string{None: " ", Good: "+", Wait: ".", Stuck: "!", Unknown: "?", Bad: "x"}
	}
	return set[m]
}

type printer struct {
	strings.Builder
	opt   Options
	width int
	lip   *lipgloss.Renderer
}

func text(p Page, opt Options) string {
	if p.Raw != "" {
		return p.Raw
	}
	pr := &printer{opt: opt, width: maxWidth}
	if opt.Width > 0 && opt.Width < maxWidth {
		pr.width = max(opt.Width, 40)
	}
	pr.lip = lipgloss.NewRenderer(&pr.Builder)
	pr.lip.SetColorProfile(termenv.Ascii)
	if opt.Color {
		pr.lip.SetColorProfile(termenv.ANSI)
	}
	pr.page(p)
	out := pr.String()
	if opt.ASCII {
		out = toASCII(out)
	}
	return out
}

func (p *printer) page(pg Page) {
	if pg.Answer != "" {
		p.paragraph("", "", pg.Answer, func(s string) string { return p.paint(pg.Verdict, s, true) })
	}
	if pg.Context != "" {
		p.paragraph("", "", pg.Context, p.faint)
	}
	if pg.Aside != "" {
		p.paragraph("", "", pg.Aside, plain)
	}
	if len(pg.Rows) > 0 {
		p.gap(pg.Answer != "" || pg.Context != "")
		p.rows(pg.Rows)
	}
	if pg.Matrix != nil {
		p.gap(true)
		p.matrix(pg.Matrix)
	}
	for _, s := range pg.Sections {
		p.gap(true)
		p.section(s)
	}
	if len(pg.Stated) > 0 {
		p.gap(true)
		p.section(Section{Title: "stated", Lines: pg.Stated})
	}
	if pg.Verbatim != "" {
		p.gap(pg.Answer != "" || len(pg.Rows) > 0)
		p.WriteString(strings.TrimRight(CleanBlock(pg.Verbatim), "\n") + "\n")
	}
	if len(pg.Notes) > 0 {
		p.gap(true)
		for _, n := range pg.Notes {
			p.paragraph("", "", n, plain)
		}
	}
	if len(pg.Next) > 0 {
		p.gap(true)
		for i, n := range pg.Next {
			lead := "       "
			if i == 0 {
				lead = "next   "
			}
			// Commands are never wrapped: they are there to be pasted.
			p.WriteString(lead + Clean(n) + "\n")
		}
	}
	if p.opt.Exit != 0 {
		fmt.Fprintf(p, "exit %d\n", p.opt.Exit)
	}
}

func (p *printer) gap(want bool) {
	if want && p.Len() > 0 {
		p.WriteByte('\n')
	}
}

func (p *printer) rows(rows []Row) {
	name := 0
	for _, r := range rows {
		name = max(name, lipgloss.Width(label(r)))
	}
	name = min(name, 28)
	if p.width < name+6+narrowest {
		name = 0 // no room beside the names
	}
	for _, r := range rows {
		l := label(r)
		lead := "  " + p.paint(r.Mark, symbol(r.Mark, p.opt.ASCII), false) + " " + l
		if w := lipgloss.Width(l); w > name {
			// A long name has a line of its own.
			p.WriteString(strings.TrimRight(lead, " ") + "\n")
			if r.Text != "" {
				p.paragraph(strings.Repeat(" ", name+6), strings.Repeat(" ", name+6), r.Text, plain)
			}
			continue
		} else {
			lead += strings.Repeat(" ", name-w+2)
		}
		p.paragraph(lead, strings.Repeat(" ", name+6), r.Text, plain)
	}
}

// matrix: columns have letters, since names are long; the names stand over it.
func (p *printer) matrix(m *Matrix) {
	if m.Note != "" {
		p.paragraph("  ", "  ", m.Note, plain)
	}
	if len(m.Columns) == 0 {
		return
	}
	var legend []string
	letters := ""
	for i, c := range m.Columns {
		letter := string(rune('a' + i))
		legend = append(legend, letter+" "+c)
		letters += " " + letter
	}
	name := 0
	for _, r := range m.Rows {
		name = max(name, lipgloss.Width(r.Name))
	}
	p.paragraph("  ", "  ", strings.Join(legend, "  "), plain)
	p.WriteString("  " + strings.Repeat(" ", name+1) + letters + "\n")
	for _, r := range m.Rows {
		line := "  " + Clean(r.Name) + strings.Repeat(" ", name-lipgloss.Width(r.Name)+1)
		for _, k := range r.Marks {
			sym := symbol(k, p.opt.ASCII)
			if k == None {
				sym = "-"
			}
			line += " " + p.paint(k, sym, false)
		}
		p.WriteString(line + "\n")
	}
	yes, wait, stuck, unknown, no := symbol(Good, p.opt.ASCII), symbol(Wait, p.opt.ASCII), symbol(Stuck, p.opt.ASCII), symbol(Unknown, p.opt.ASCII), symbol(Bad, p.opt.ASCII)
	p.paragraph("  ", "  ", yes+" passes  "+no+" fails  "+wait+" waits  "+stuck+" stuck  "+unknown+" not measurable  - does not count", p.faint)
}

func label(r Row) string {
	if r.Place != "" && r.Name != "" {
		return Clean(r.Place + ": " + r.Name)
	}
	return Clean(r.Place + r.Name)
}

func (p *printer) section(s Section) {
	lead, rest := "", "  "
	if s.Mark != None {
		lead = p.paint(s.Mark, symbol(s.Mark, p.opt.ASCII), false) + " "
	}
	if s.Title != "" {
		p.paragraph(lead, rest, s.Title, plain)
	}
	for _, l := range s.Lines {
		indent := "  " + l[:len(l)-len(strings.TrimLeft(l, " "))]
		p.paragraph(indent, indent+"  ", strings.TrimLeft(l, " "), plain)
	}
	for _, q := range s.Pastes {
		p.paragraph("  "+q.Lead+": ", "    ", q.Shows, plain)
		if q.Text != "" {
			p.WriteString("    " + Clean(q.Text) + "\n")
		}
	}
	for _, h := range s.Hints {
		p.paragraph("  hint: ", "        ", h, plain)
	}
}

// paragraph writes s after lead, wrapped at the page's width, further lines
// after rest.
func (p *printer) paragraph(lead, rest, s string, style func(string) string) {
	s = Clean(s)
	room := p.width - lipgloss.Width(lead)
	for first := true; ; first = false {
		line, tail := cut(s, max(room, 20))
		if !first {
			lead = rest
		}
		p.WriteString(strings.TrimRight(lead+style(line), " ") + "\n")
		if tail == "" {
			return
		}
		s, room = tail, p.width-lipgloss.Width(rest)
	}
}

// cut breaks s at the last space that fits in width columns. Runs of spaces
// inside a line stay: they align columns.
func cut(s string, width int) (line, tail string) {
	if lipgloss.Width(s) <= width {
		return s, ""
	}
	col, space := 0, -1
	for i, r := range s {
		if r == ' ' {
			space = i
		}
		col += lipgloss.Width(string(r))
		if col > width && space > 0 {
			return strings.TrimRight(s[:space], " "), strings.TrimLeft(s[space:], " ")
		}
	}
	return s, "" // one long word: better whole than torn
}

func plain(s string) string { return s }

func (p *printer) faint(s string) string { return p.lip.NewStyle().Faint(true).Render(s) }

func (p *printer) paint(m Mark, s string, bold bool) string {
	st := p.lip.NewStyle().Bold(bold && p.opt.Color)
	switch m {
	case Good:
		st = st.Foreground(lipgloss.Color("2"))
	case Wait, Stuck, Unknown:
		st = st.Foreground(lipgloss.Color("3"))
	case Bad:
		st = st.Foreground(lipgloss.Color("1"))
	}
	if !p.opt.Color {
		return s
	}
	return st.Render(s)
}

// toASCII replaces what a terminal without UTF-8 cannot show.
func toASCII(s string) string {
	s = strings.NewReplacer("·", "-", "→", "->", "±", "+/-", "×", "x", "≥", ">=", "≤", "<=",
		"…", "...", "–", "-", "—", "-", "✓", "+", "✗", "x", "“", `"`, "”", `"`, "’", "'",
		"─", "-", "╴", "-", "╶", "-", "│", "|", "┤", "|", "┼", "+", "╭", "+", "╮", "+", "╰", "+", "╯", "+").Replace(s)
	return strings.Map(func(r rune) rune {
		if r > 126 {
			return '?'
		}
		return r
	}, s)
}

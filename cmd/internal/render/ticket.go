package render

import (
	"fmt"
	"strings"

	"github.com/cbops/cbops/tickets"
)

// Ticket is the answer of `cbops ticket draft`.
type Ticket struct{ tickets.Draft }

// Page implements Document: the ticket's body, ready to paste.
func (t Ticket) Page() Page {
	var b strings.Builder
	fmt.Fprintf(&b, "Labels: %s\nPriority: %s\nFingerprint: %s\n", strings.Join(t.Labels, ", "), t.Priority, t.Fingerprint)
	for _, s := range t.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		for _, l := range s.Lines {
			lead, rest := "- ", "  "
			for line := Clean(l); line != ""; lead = rest {
				var head string
				head, line = cut(line, maxWidth-len(lead))
				b.WriteString(lead + head + "\n")
			}
		}
	}
	return Page{Name: "ticket", Answer: t.Title, Verbatim: b.String(),
		Markdown: "# " + Clean(t.Title) + "\n\n" + b.String()}
}

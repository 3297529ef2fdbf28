package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
)

// Evaluation is the answer of `cbops evaluate`.
type Evaluation struct {
	criteria.Evaluation
	// Rejudged is set where a bundle was judged otherwise, or by another version.
	Rejudged *Rejudged `json:"rejudged,omitempty"`
}

// maxRows is how many tenants or episodes are named one by one.
const maxRows = 10

// Page implements Document: the answer, a line per criterion, and an
// explanation of each that did not pass.
func (e Evaluation) Page() Page {
	p := Page{
		Name: "evaluate", Answer: e.answer(), Verdict: MarkOf(e.Verdict, ""), Next: e.Next,
		Context: e.context(), Notes: e.Rejudged.notes(),
	}
	for _, f := range e.Criteria {
		p.Rows = append(p.Rows, Row{
			Mark: MarkOf(f.Verdict, f.State), Name: f.ID, Text: e.rowText(f), Detail: details(f),
		})
	}
	unjudged := 0
	for _, f := range e.Criteria {
		if f.Verdict == criteria.Pass {
			continue
		}
		if len(f.Tenants) == 0 {
			unjudged++
			continue
		}
		p.Sections = append(p.Sections, e.section(f))
	}
	if unjudged > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf(
			"%d criteria are not judged by this version, so no phase can pass yet.", unjudged))
	}
	return p
}

// MarkOf is the mark of a verdict.
func MarkOf(v criteria.Verdict, s criteria.State) Mark {
	switch v {
	case criteria.Pass:
		return Good
	case criteria.Fail:
		return Bad
	case criteria.Unmeasurable:
		return Unknown
	}
	if s == criteria.Stuck {
		return Stuck
	}
	return Wait
}

func (e Evaluation) answer() string {
	count := map[criteria.Verdict]int{}
	for _, f := range e.Criteria {
		count[f.Verdict]++
	}
	n := len(e.Criteria)
	if e.Verdict == criteria.Pass {
		if e.Partial {
			return fmt.Sprintf("%d of %d criteria asked for pass; partial: no phase passes on a subset.", n, n)
		}
		return fmt.Sprintf("Phase %d can advance: %d of %d criteria pass.", e.Phase, n, n)
	}
	var parts []string
	add := func(v criteria.Verdict, one, many string) {
		if c := count[v]; c > 0 {
			word := many
			if c == 1 {
				word = one
			}
			if len(parts) == 0 {
				word = fmt.Sprintf("%d of %d criteria %s", c, n, strings.TrimPrefix(word, " "))
			} else {
				word = fmt.Sprintf("%d %s", c, word)
			}
			parts = append(parts, word)
		}
	}
	add(criteria.Fail, "fails", "fail")
	add(criteria.Unmeasurable, "is not measurable", "are not measurable")
	add(criteria.Inconclusive, "is undecided", "are undecided")
	lead := fmt.Sprintf("Phase %d cannot advance: ", e.Phase)
	if e.Partial {
		lead = fmt.Sprintf("Phase %d, partial: ", e.Phase)
	}
	return lead + strings.Join(parts, ", ") + "."
}

func (e Evaluation) context() string {
	who := fmt.Sprintf("%d tenants", len(e.Tenants))
	if len(e.Tenants) <= 2 {
		who = strings.Join(e.Tenants, ", ")
	}
	parts := []string{}
	if e.Environment != "" {
		parts = append(parts, e.Environment)
	}
	parts = append(parts, who, span(e.Window.From, e.Window.To),
		fmt.Sprintf("%d measured hours of %d needed", e.Coverage.MeasuredHours, e.Coverage.RequiredHours))
	return strings.Join(parts, " · ")
}

func span(from, to time.Time) string {
	const f = "2 Jan 15:04"
	return from.UTC().Format(f) + " to " + to.UTC().Format(f) + " UTC"
}

func (e Evaluation) rowText(f criteria.Finding) string {
	text := f.Summary
	switch {
	case f.Verdict == criteria.Inconclusive && f.State != "" && len(f.Tenants) > 0:
		text = string(f.State) + ": " + text
	case f.Verdict == criteria.Inconclusive:
		text = "inconclusive: " + text
	case f.Broken:
		text = "broken: " + text
	}
	if f.Basis != criteria.Measured && f.Basis != "" {
		text += " (basis: " + string(f.Basis) + ")"
	}
	return text
}

func (e Evaluation) section(f criteria.Finding) Section {
	s := Section{Mark: MarkOf(f.Verdict, f.State), Title: f.ID + ": " + f.Summary}
	shown := 0
	for _, t := range f.Tenants {
		if t.Verdict == criteria.Pass || shown == maxRows {
			continue
		}
		shown++
		if len(f.Tenants) > 1 {
			s.Lines = append(s.Lines, t.Tenant+"  "+string(t.Verdict)+": "+t.Summary)
		}
		s.Lines = append(s.Lines, byProvider(t)...)
		if len(byProvider(t)) == 0 || f.ID != "no-unexpected-opens" {
			for _, fact := range t.Evidence {
				s.Lines = append(s.Lines, fact.Text)
			}
		}
	}
	if f.ID == "no-unexpected-opens" && f.Verdict == criteria.Fail {
		s.Lines = append(s.Lines,
			"Neither the outcomes around these opens, nor failed probes, nor other tenants show a failing provider.")
		if anyPremature(f) {
			s.Lines = append(s.Lines,
				"The router has no minimum volume: one failure in an empty window is 100 %, whatever failure_threshold says.")
		}
	}
	if f.Needs != "" {
		s.Hints = append(s.Hints, "needs "+f.Needs)
	}
	return s
}

// byProvider counts a tenant's unexpected opens per provider, with an example.
func byProvider(t criteria.TenantFinding) []string {
	type tally struct {
		n     int
		first criteria.EpisodeFinding
	}
	seen := map[string]*tally{}
	var names []string
	for _, e := range t.Episodes {
		if e.Expected == nil || *e.Expected {
			continue
		}
		if seen[e.Provider] == nil {
			seen[e.Provider] = &tally{first: e}
			names = append(names, e.Provider)
		}
		seen[e.Provider].n++
	}
	slices.Sort(names)
	var lines []string
	for _, n := range names {
		x := seen[n]
		lines = append(lines, fmt.Sprintf("%-10s %4d   %s, e.g. %s UTC", n, x.n, x.first.Reason,
			x.first.OpenedTo.UTC().Format("2 Jan 15:04:05")))
	}
	return lines
}

func anyPremature(f criteria.Finding) bool {
	for _, t := range f.Tenants {
		for _, e := range t.Episodes {
			if e.Premature && e.Expected != nil && !*e.Expected {
				return true
			}
		}
	}
	return false
}

func details(f criteria.Finding) []string {
	var d []string
	for _, fact := range f.Evidence {
		d = append(d, fact.Text)
	}
	if f.Needs != "" {
		d = append(d, "needs: "+f.Needs)
	}
	return d
}

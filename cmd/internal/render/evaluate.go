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

// Page implements Document: the answer, a line per criterion, the tenants in a
// matrix, an explanation of each criterion that did not pass, and what people
// stated.
func (e Evaluation) Page() Page {
	p := Page{
		Name: "evaluate", Answer: e.answer(), Verdict: MarkOf(e.Verdict, e.State), Next: e.Next,
		Context: e.context(), Matrix: e.matrix(),
	}
	for i := range e.Criteria {
		f := &e.Criteria[i]
		p.Rows = append(p.Rows, Row{Mark: rowMark(f), Name: f.ID, Text: rowText(f), Detail: details(f)})
	}
	for i := range e.Criteria {
		if f := &e.Criteria[i]; f.Verdict != criteria.Pass {
			p.Sections = append(p.Sections, e.section(f))
		}
	}
	if s := e.stated(); len(s.Lines) > 0 {
		p.Sections = append(p.Sections, s)
	}
	p.Notes = append(p.Notes, e.Rejudged.notes()...)
	for _, n := range e.Notes {
		p.Notes = append(p.Notes, "note: "+n)
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

// rowMark: what does not count has no mark, so that no format calls it an error.
func rowMark(f *criteria.Finding) Mark {
	if f.Verdict != criteria.Pass && !f.Counts() {
		return None
	}
	return MarkOf(f.Verdict, f.State)
}

func (e Evaluation) answer() string {
	count := map[string]int{}
	n, waived := 0, 0
	for i := range e.Criteria {
		f := &e.Criteria[i]
		if f.Waived != nil {
			waived++
		}
		if !f.Counts() {
			continue
		}
		n++
		switch {
		case f.Verdict == criteria.Inconclusive && f.State == criteria.Waiting:
			count["waiting"]++
		case f.Verdict == criteria.Inconclusive:
			count["stuck"]++
		default:
			count[string(f.Verdict)]++
		}
	}
	less := ""
	if waived > 0 {
		less = fmt.Sprintf("; %d waived", waived)
	}
	if e.Verdict == criteria.Pass {
		if e.Partial {
			return fmt.Sprintf("%d of %d criteria asked for pass%s; partial: no phase passes on a subset.", n, n, less)
		}
		return fmt.Sprintf("Phase %d can advance: %d of %d criteria pass%s.", e.Phase, n, n, less)
	}
	if n == 0 {
		return fmt.Sprintf("Phase %d cannot advance: nothing that counts was judged%s.", e.Phase, less)
	}
	var parts []string
	for _, x := range []struct{ key, one, many string }{
		{"fail", "fails", "fail"}, {"unmeasurable", "is not measurable", "are not measurable"},
		{"stuck", "is stuck", "are stuck"}, {"waiting", "waits", "wait"},
	} {
		c := count[x.key]
		if c == 0 {
			continue
		}
		word := x.many
		if c == 1 {
			word = x.one
		}
		part := fmt.Sprintf("%d %s", c, word)
		if len(parts) == 0 {
			part = fmt.Sprintf("%d of %d criteria %s", c, n, word)
		}
		if x.key == "waiting" {
			if left := e.left(); left != "" {
				part += " " + left
			}
		}
		parts = append(parts, part)
	}
	lead := fmt.Sprintf("Phase %d cannot advance: ", e.Phase)
	if e.Partial {
		lead = fmt.Sprintf("Phase %d, partial: ", e.Phase)
	}
	return lead + strings.Join(parts, ", ") + less + "."
}

// left is how long the waiting criteria wait at least.
func (e Evaluation) left() string {
	var last time.Time
	for i := range e.Criteria {
		if f := &e.Criteria[i]; f.Counts() && f.State == criteria.Waiting && f.ETA != nil && f.ETA.After(last) {
			last = *f.ETA
		}
	}
	if last.IsZero() {
		return ""
	}
	return about(last.Sub(e.At))
}

// about rounds a time that is left up.
func about(d time.Duration) string {
	switch days := int((d + 24*time.Hour - 1) / (24 * time.Hour)); {
	case d < time.Hour:
		return "less than an hour"
	case d <= 24*time.Hour:
		h := int((d + time.Hour - 1) / time.Hour)
		if h == 1 {
			return "about an hour"
		}
		return fmt.Sprintf("about %d hours", h)
	default:
		return fmt.Sprintf("about %d days", days)
	}
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

func rowText(f *criteria.Finding) string {
	text := f.Summary
	switch {
	case f.Waived != nil:
		text = fmt.Sprintf("waived until %s (%s): %s", f.Waived.Expires.UTC().Format("2 Jan"), f.Verdict, text)
	case f.Advisory && f.Verdict != criteria.Pass && f.Verdict != criteria.Fail:
		text = "advisory in this phase: " + text
	case f.Verdict == criteria.Inconclusive && f.State != "":
		text = string(f.State) + ": " + text
	case f.Broken:
		text = "broken: " + text
	}
	if f.Basis != criteria.Measured && f.Basis != "" && !strings.HasPrefix(text, string(f.Basis)) {
		text += " (basis: " + string(f.Basis) + ")"
	}
	return text
}

// matrix shows the tenants against the criteria that are judged for each: all of
// them up to ten, beyond that those with something to look at, worst first.
func (e Evaluation) matrix() *Matrix {
	if len(e.Tenants) < 2 {
		return nil
	}
	type column struct {
		tenant string
		worst  int
	}
	worst := map[string]int{}
	for i := range e.Criteria {
		f := &e.Criteria[i]
		for j := range f.Tenants {
			if t := &f.Tenants[j]; f.Counts() || t.Verdict == criteria.Fail {
				if t.Waived == nil && !leftOut(f, t.Tenant) {
					worst[t.Tenant] = max(worst[t.Tenant], int(MarkOf(t.Verdict, t.State)))
				}
			}
		}
	}
	var columns []column
	for _, t := range e.Tenants {
		columns = append(columns, column{t, worst[t]})
	}
	m := &Matrix{}
	if len(columns) > maxRows {
		columns = slices.DeleteFunc(columns, func(c column) bool { return c.worst <= int(Good) })
		m.Note = fmt.Sprintf("%d of %d tenants pass everything that counts", len(e.Tenants)-len(columns), len(e.Tenants))
		slices.SortStableFunc(columns, func(a, b column) int { return b.worst - a.worst })
		if len(columns) > maxRows {
			m.Note += fmt.Sprintf("; the %d worst of the others:", maxRows)
			columns = columns[:maxRows]
		}
	}
	for _, c := range columns {
		m.Columns = append(m.Columns, c.tenant)
	}
	for i := range e.Criteria {
		f := &e.Criteria[i]
		if len(f.Tenants) == 0 || f.Tenants[0].Tenant == "" {
			continue
		}
		r := MatrixRow{Name: f.ID}
		for _, c := range columns {
			mark := None
			for j := range f.Tenants {
				if t := &f.Tenants[j]; t.Tenant == c.tenant && t.Waived == nil && !leftOut(f, t.Tenant) {
					mark = MarkOf(t.Verdict, t.State)
				}
			}
			r.Marks = append(r.Marks, mark)
		}
		m.Rows = append(m.Rows, r)
	}
	return m
}

func leftOut(f *criteria.Finding, tenant string) bool {
	return slices.ContainsFunc(f.LeftOut, func(l criteria.LeftOut) bool { return l.Tenant == tenant })
}

func details(f *criteria.Finding) []string {
	var d []string
	for _, fact := range f.Evidence {
		d = append(d, fact.Text)
	}
	if f.Detectable != "" {
		d = append(d, "smallest effect that would show: "+f.Detectable)
	}
	if f.Needs != "" {
		d = append(d, "needs: "+f.Needs)
	}
	return d
}

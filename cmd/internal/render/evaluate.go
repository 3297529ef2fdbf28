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

// Page implements Document: the answer, a line per criterion, the tenants in a
// matrix, an explanation of each criterion that did not pass, and what people
// stated.
func (e Evaluation) Page() Page {
	p, sections := e.page()
	p.Sections = together(sections)
	return p
}

// page is a page without its sections, and those.
func (e Evaluation) page() (Page, []Section) {
	p := Page{
		Name: "evaluate", Answer: e.answer(), Verdict: MarkOf(e.Verdict, e.State), Next: e.Next,
		Context: e.context(), Matrix: e.matrix(), Stated: e.stated(),
	}
	var sections []Section
	for i := range e.Criteria {
		f := &e.Criteria[i]
		r := Row{Mark: rowMark(f), Name: f.ID, Text: rowText(f), Notice: rowMark(f) == None || !measured(f) || len(f.LeftOut) > 0}
		if f.Verdict != criteria.Pass {
			s := e.section(f)
			sections = append(sections, s)
			r.Detail = s.details()
		}
		p.Rows = append(p.Rows, r)
	}
	p.Notes = append(p.Notes, e.Rejudged.notes()...)
	for _, n := range e.Notes {
		p.Notes = append(p.Notes, "note: "+n)
	}
	return p, sections
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
	if f.Fragile && !strings.HasPrefix(text, "fragile") {
		text = "fragile: " + text
	}
	if f.Broken {
		text = "broken: " + text
	}
	if f.Verdict == criteria.Inconclusive && f.State != "" {
		text = string(f.State) + ": " + text
	}
	switch {
	case f.Waived != nil:
		text = fmt.Sprintf("waived until %s (%s): %s", f.Waived.Expires.UTC().Format("2 Jan 2006"), f.Verdict, text)
	case f.Advisory && f.Verdict != criteria.Pass && f.Verdict != criteria.Fail:
		text = "advisory in this phase: " + text
	}
	if b := bases(f); !measured(f) && (len(b) > 1 || !strings.Contains(text, b[0]+" by")) {
		text += " (basis: " + strings.Join(b, ", ") + ")"
	}
	if n := len(f.LeftOut); n > 0 && f.Waived == nil {
		var who []string
		for _, l := range f.LeftOut {
			who = append(who, l.Tenant)
		}
		text += "; left out: " + names(who)
	}
	return text
}

// bases are what the tenants' verdicts that make up a finding's rest on.
func bases(f *criteria.Finding) []string {
	out := []string{}
	for i := range f.Tenants {
		t := &f.Tenants[i]
		if b := string(t.Basis); b != "" && t.Verdict == f.Verdict && !leftOut(f, t.Tenant) && !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	if len(out) == 0 && f.Basis != "" {
		out = append(out, string(f.Basis))
	}
	return out
}

// measured reports whether a finding rests on metrics alone.
func measured(f *criteria.Finding) bool {
	b := bases(f)
	return len(b) == 0 || len(b) == 1 && b[0] == string(criteria.Measured)
}

// names lists a few, and how many more there are.
func names(who []string) string {
	if len(who) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(who[:3], ", "), len(who)-3)
	}
	return strings.Join(who, ", ")
}

func leftOut(f *criteria.Finding, tenant string) bool {
	return slices.ContainsFunc(f.LeftOut, func(l criteria.LeftOut) bool { return l.Tenant == tenant })
}

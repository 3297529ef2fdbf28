package render

import (
	"fmt"
	"slices"
)

// Validation is the answer of `cbops validate`.
type Validation struct {
	Meta
	Verdict  string  `json:"verdict"`
	Files    int     `json:"files"`
	Tenants  int     `json:"tenants"`
	Errors   int     `json:"errors"`
	Warnings int     `json:"warnings"`
	Issues   []Issue `json:"issues"`
	seen     []string
}

// Issue is one thing that is wrong, with its place; Line is 0 where a whole file is meant.
type Issue struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
}

// NewValidation returns a validation of nothing yet.
func NewValidation() Validation {
	return Validation{Meta: NewMeta("Validation"), Issues: []Issue{}}
}

// Add adds an issue.
func (v *Validation) Add(i Issue) {
	if i.Severity == "warning" {
		v.Warnings++
	} else {
		v.Errors++
	}
	v.Issues = append(v.Issues, i)
}

// Tenant notes that a policy of a tenant was read.
func (v *Validation) Tenant(id string) {
	if !slices.Contains(v.seen, id) {
		v.seen = append(v.seen, id)
		v.Tenants = len(v.seen)
	}
}

// Done sets the verdict.
func (v Validation) Done(strict bool) Validation {
	v.Verdict = "pass"
	if v.Errors > 0 || strict && v.Warnings > 0 {
		v.Verdict = "fail"
	}
	return v
}

// Page implements Document.
func (v Validation) Page() Page {
	p := Page{Name: "validate", Verdict: Good}
	p.Answer = fmt.Sprintf("%s: %s, %s.", amount(v.Files, "file"), amount(v.Errors, "error"), amount(v.Warnings, "warning"))
	if v.Tenants > 0 {
		p.Answer = fmt.Sprintf("%s in %s: %s, %s.", amount(v.Files, "file"), amount(v.Tenants, "tenant"), amount(v.Errors, "error"), amount(v.Warnings, "warning"))
	}
	if v.Verdict != "pass" {
		p.Verdict = Bad
	}
	for _, i := range v.Issues {
		r := Row{Mark: Bad, Place: i.File, Name: i.Severity, Text: i.Message}
		if i.Line > 0 {
			r.Place = fmt.Sprintf("%s:%d:%d", i.File, i.Line, i.Column)
		}
		if i.Severity == "warning" {
			r.Mark = Stuck
		}
		if i.Hint != "" {
			r.Text += " (hint: " + i.Hint + ")"
		}
		p.Rows = append(p.Rows, r)
	}
	return p
}

func amount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

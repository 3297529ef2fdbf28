package render

// Diff is the answer of `cbops diff`.
type Diff struct {
	Meta
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	Diff    string `json:"diff"`
}

// NewDiff makes a Diff.
func NewDiff(file, diff string, changed bool) Diff {
	return Diff{Meta: NewMeta("Diff"), File: file, Changed: changed, Diff: diff}
}

// Page implements Document.
func (d Diff) Page() Page {
	if !d.Changed {
		return Page{Name: "diff", Verdict: Good, Answer: "No changes: " + d.File + " already says so."}
	}
	return Page{Name: "diff", Verdict: Bad, Answer: d.File + " would change.", Verbatim: d.Diff}
}

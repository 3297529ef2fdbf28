package render

import "fmt"

// Emitted is the answer of --emit: a change to commit, and not made.
type Emitted struct {
	Meta
	// Dir is where the files were written; "" for a patch.
	Dir     string   `json:"dir"`
	Files   []string `json:"files"`
	Changed int      `json:"changed"`
	Patch   string   `json:"patch"`
	Next    []string `json:"next"`
}

// Page implements Document. A patch stands alone, so that it can be piped.
func (e Emitted) Page() Page {
	if e.Dir == "" {
		return Page{Name: "emit", Raw: e.Patch, Verbatim: e.Patch}
	}
	p := Page{Name: "emit", Answer: fmt.Sprintf("%d %s of %d written to %s. No router is touched.",
		e.Changed, noun(e.Changed, "changed policy", "changed policies"), len(e.Files), e.Dir), Verdict: Good, Next: e.Next}
	for _, f := range e.Files {
		p.Rows = append(p.Rows, Row{Mark: Good, Name: f})
	}
	return p
}

package render

// Rules is the answer of `cbops export alerts`: a Prometheus rule file.
type Rules struct {
	Meta
	// File is the rule file's text.
	File string `json:"file"`
	// Left names the alerts that are not in it, and why.
	Left []string `json:"left"`
}

// NewRules makes Rules.
func NewRules(file string, left []string) Rules {
	return Rules{Meta: NewMeta("Rules"), File: file, Left: append([]string{}, left...)}
}

// Page implements Document: nothing but the file, so that it can be redirected.
func (r Rules) Page() Page {
	return Page{Name: "rules", Verdict: Good, Verbatim: r.File}
}

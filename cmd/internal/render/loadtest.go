package render

import (
	"fmt"

	"github.com/cbops/cbops/breaker/scenario"
)

// LoadTest is the answer of `cbops loadtest`.
type LoadTest struct {
	Meta
	Verdict   string            `json:"verdict"`
	Scenarios []scenario.Result `json:"scenarios"`
}

// Page implements Document.
func (l LoadTest) Page() Page {
	p := Page{Name: "loadtest", Verdict: Good}
	failed, requests := 0, 0
	var deviations []string
	for _, s := range l.Scenarios {
		row := Row{Mark: Good, Name: s.Name, Seconds: s.DurationMS / 1000, Text: fmt.Sprintf("%s: %d of %d checks, %d requests, ends %s",
			s.Title, len(s.Checks), len(s.Checks), s.Requests, s.FinalState)}
		if !s.TargetMet {
			row.Text += fmt.Sprintf(" (took %.0f ms, target %d)", s.DurationMS, s.TargetMS)
		}
		requests += s.Requests
		bad := 0
		for _, c := range s.Checks {
			line := fmt.Sprintf("%s: %s, expected %s", c.Text, c.Actual, c.Expected)
			row.Detail = append(row.Detail, line)
			if !c.OK {
				bad++
			}
		}
		if s.Verdict != "pass" {
			failed++
			row.Mark = Bad
			row.Text = fmt.Sprintf("%s: %d of %d checks failed", s.Title, bad, len(s.Checks))
			sec := Section{Mark: Bad, Title: s.Name}
			for _, c := range s.Checks {
				if !c.OK {
					sec.Lines = append(sec.Lines, fmt.Sprintf("%s: %s, expected %s", c.Text, c.Actual, c.Expected))
				}
			}
			p.Sections = append(p.Sections, sec)
		}
		p.Rows = append(p.Rows, row)
		for _, d := range s.Deviations {
			deviations = append(deviations, s.Name+": "+d)
		}
	}
	p.Answer = fmt.Sprintf("The breaker behaves: %d of %d scenarios pass.", len(l.Scenarios)-failed, len(l.Scenarios))
	if failed > 0 {
		p.Verdict = Bad
		p.Answer = fmt.Sprintf("Do not proceed: %d of %d scenarios fail.", failed, len(l.Scenarios))
	}
	p.Context = fmt.Sprintf("exact twin of the router's breaker · virtual time · %d requests", requests)
	if len(deviations) > 0 {
		p.Sections = append(p.Sections, Section{Mark: Stuck, Title: "Known deviations from the guide", Lines: deviations})
	}
	return p
}

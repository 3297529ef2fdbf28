package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/breaker/scenario"
)

// LoadTest is the answer of `cbops loadtest`.
type LoadTest struct {
	Meta
	Verdict string `json:"verdict"`
	// Started is when the run began, RFC 3339, and DurationMS how long it took.
	Started    string  `json:"started"`
	DurationMS float64 `json:"durationMs"`
	Versions   Version `json:"versions"`
	Seed       uint64  `json:"seed"`
	// Subject is what was tested.
	Subject Subject `json:"subject"`
	// Live is the router that was driven; nil where the twin was.
	Live      *LiveTarget       `json:"live,omitempty"`
	Warnings  []string          `json:"warnings"`
	Scenarios []scenario.Result `json:"scenarios"`
	// Planned is how many scenarios there were to run.
	Planned int `json:"planned"`
	// Plot asks for pictures in text.
	Plot bool `json:"-"`
}

// Subject is whose config was tested.
type Subject struct {
	// Config is "guide" or "own".
	Config string `json:"config"`
	Tenant string `json:"tenant,omitempty"`
	Policy string `json:"policy,omitempty"`
	// Source is the file the config comes from.
	Source  string `json:"source,omitempty"`
	Enabled *bool  `json:"enabled,omitempty"`
}

// LiveTarget is a router that was driven over HTTP.
type LiveTarget struct {
	URL string `json:"url"`
	// MaxRate is the bound on requests a second, Limit that on the whole run.
	MaxRate  float64 `json:"maxRate"`
	Limit    string  `json:"limit"`
	Requests int     `json:"requests"`
	// Failed is how many requests got no answer of the router.
	Failed int `json:"failed"`
}

func (s Subject) text() string {
	switch {
	case s.Config == "guide":
		return "the guide's parameters"
	case s.Tenant != "" && s.Policy != "":
		return s.Tenant + "/" + s.Policy + " (" + s.Source + ")"
	}
	return s.Source
}

// subject says whose config was tested; a scenario file may have its own.
func (l LoadTest) subject() string {
	files := slices.ContainsFunc(l.Scenarios, func(s scenario.Result) bool { return s.Source != "" })
	gate := slices.ContainsFunc(l.Scenarios, func(s scenario.Result) bool { return s.Source == "" })
	switch {
	case files && !gate && l.Subject.Config == "guide":
		return "configs of the files"
	case files:
		return l.Subject.text() + ", files their own"
	}
	return l.Subject.text()
}

// counts are what the answer is made of.
type counts struct{ pass, fail, inconclusive, report, skipped, interrupted, requests int }

func (l LoadTest) counts() counts {
	var c counts
	for _, s := range l.Scenarios {
		c.requests += s.Requests
		switch s.Verdict {
		case scenario.Pass:
			c.pass++
		case scenario.Fail:
			c.fail++
		case scenario.Reports:
			c.report++
		case scenario.Skipped:
			c.skipped++
		case scenario.Interrupted:
			c.interrupted++
		default:
			c.inconclusive++
		}
	}
	return c
}

func (c counts) judged() int { return c.pass + c.fail + c.inconclusive + c.interrupted }

// Page implements Document.
func (l LoadTest) Page() Page {
	p := Page{Name: "loadtest", Markdown: l.Report()}
	p.Answer, p.Verdict = l.answer()
	p.Context = l.context()
	for _, s := range l.Scenarios {
		p.Rows = append(p.Rows, l.row(s))
		if sec, ok := failures(s); ok {
			p.Sections = append(p.Sections, sec)
		}
	}
	p.Sections = append(p.Sections, l.tells()...)
	if sec, ok := l.deviations(); ok {
		p.Sections = append(p.Sections, sec)
	}
	if l.Plot {
		p.Verbatim = l.plots()
	}
	for _, w := range l.Warnings {
		p.Notes = append(p.Notes, "warning: "+w)
	}
	if l.Verdict == scenario.Fail && l.Live == nil {
		p.Notes = append(p.Notes, "The guide: do not proceed with the rollout; investigate, fix, and run again until all pass.")
	}
	return p
}

func (l LoadTest) answer() (string, Mark) {
	c := l.counts()
	rest := ""
	if c.report > 0 {
		rest = fmt.Sprintf(", %d only reports", c.report)
	}
	if c.skipped > 0 {
		rest += fmt.Sprintf(", %d cannot be run live", c.skipped)
	}
	of := counted(c.judged(), "scenario")
	switch l.Verdict {
	case scenario.Fail:
		return fmt.Sprintf("Do not proceed: %d of %s failed%s.", c.fail, of, rest), Bad
	case scenario.Interrupted:
		return fmt.Sprintf("Interrupted: %d of %s were judged until then.", c.pass+c.fail, counted(l.Planned, "scenario")), Wait
	case scenario.Inconclusive:
		if c.judged() == 0 {
			return fmt.Sprintf("Nothing was judged%s.", rest), Unknown
		}
		return fmt.Sprintf("Not decided: %d of %s inconclusive%s.", c.inconclusive, of, rest), Unknown
	case scenario.Reports:
		return fmt.Sprintf("Nothing was judged: %s only reported.", counted(c.report, "scenario")), None
	}
	return fmt.Sprintf("The breaker behaves: %d of %s passed%s.", c.pass, of, rest), Good
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (l LoadTest) context() string {
	where := "exact twin"
	if l.Live != nil {
		where = "live, " + l.Live.URL
	}
	text := fmt.Sprintf("%s · %s · seed %d · %s", where, l.subject(), l.Seed, counted(l.counts().requests, "request"))
	if l.DurationMS > 0 { // the practice world's clock stands still
		text += " in " + ms(l.DurationMS)
	}
	return text
}

// ms is a duration as a person reads it.
func ms(x float64) string {
	switch {
	case x == 0:
		return "not measured"
	case x < 10:
		return fmt.Sprintf("%.1f ms", x)
	case x < 10_000:
		return fmt.Sprintf("%.0f ms", x)
	}
	return fmt.Sprintf("%.1f s", x/1000)
}

func mark(verdict string) Mark {
	switch verdict {
	case scenario.Pass:
		return Good
	case scenario.Fail:
		return Bad
	case scenario.Reports, scenario.Skipped:
		return None
	case scenario.Interrupted:
		return Wait
	}
	return Unknown
}

func (l LoadTest) row(s scenario.Result) Row {
	row := Row{Mark: mark(s.Verdict), Name: s.Name, Seconds: s.DurationMS / 1000, Text: s.Title + ": "}
	n := map[string]int{}
	for _, c := range s.Checks {
		n[c.Verdict]++
		row.Detail = append(row.Detail, checkLine(c))
		if c.Verdict == scenario.Fail && row.Place == "" {
			row.Place = c.Place
		}
	}
	judged := counted(len(s.Checks)-n[scenario.Reports], "check")
	switch s.Verdict {
	case scenario.Reports:
		row.Text += "not judged"
		if s.Name == "low-traffic" {
			row.Text += " without --rate"
		}
		for _, c := range s.Checks {
			estimate, _, _ := strings.Cut(c.Actual, " (")
			row.Text += fmt.Sprintf("; %s %s at %s", estimate, c.Text, c.Circuit)
		}
	case scenario.Pass:
		row.Text += judged
	case scenario.Skipped:
		row.Text = "not run live: " + skipped(s.Skipped)
		return row
	case scenario.Interrupted:
		row.Text += "interrupted after " + counted(len(s.Checks), "check")
	default:
		row.Text += fmt.Sprintf("%d of %s failed", n[scenario.Fail], judged)
		if u := n[scenario.Inconclusive]; u > 0 {
			row.Text += fmt.Sprintf(", %d undecided", u)
		}
	}
	if s.TargetMet != nil && !*s.TargetMet {
		row.Text += fmt.Sprintf(" (took %s, target %s)", ms(s.DurationMS), time.Duration(s.TargetMS)*time.Millisecond)
	}
	if n := len(s.Skipped); n > 0 {
		row.Text += fmt.Sprintf("; in part: %s left out, see the report", counted(n, "item"))
	}
	for _, k := range s.Skipped {
		row.Detail = append(row.Detail, "not run: "+skipLine(k))
	}
	return row
}

// skipped says in a line why nothing of a scenario was run.
func skipped(all []scenario.Skip) string {
	if len(all) == 0 {
		return "it has no circuit"
	}
	text := all[0].Why
	for _, k := range all[1:] {
		if k.Why != all[0].Why {
			return text + "; the rest of it for other reasons, see the report"
		}
	}
	return text
}

func skipLine(k scenario.Skip) string {
	if k.Circuit == "" {
		return k.Why
	}
	return k.Circuit + ": " + k.Why
}

func checkLine(c scenario.Check) string {
	line := fmt.Sprintf("%s: %s, expected %s", c.Text, c.Actual, c.Expected)
	if c.Verdict == scenario.Reports {
		line = fmt.Sprintf("%s: %s, not judged", c.Text, c.Actual)
	}
	if c.Circuit != "" {
		line = c.Circuit + ": " + line
	}
	if c.Guide != "" {
		line += "; the guide says " + c.Guide
	}
	return line
}

// failures is what went wrong in a scenario.
func failures(s scenario.Result) (Section, bool) {
	sec := Section{Mark: mark(s.Verdict), Title: s.Name}
	for _, c := range s.Checks {
		if c.Verdict != scenario.Fail && c.Verdict != scenario.Inconclusive {
			continue
		}
		line := checkLine(c)
		if c.Place != "" {
			line = c.Place + ": " + line
		}
		sec.Lines = append(sec.Lines, line)
	}
	return sec, len(sec.Lines) > 0
}

// tells is what the config does: at which failure it opens, and for an own one
// whatever was measured and not judged.
func (l LoadTest) tells() []Section {
	sec := Section{Title: "What this config does"}
	for _, s := range l.Scenarios {
		if s.Name == "error-spike" {
			sec.Lines = append(sec.Lines, s.Tells...)
		}
		for _, c := range s.Checks {
			if l.Subject.Config == "own" && (c.Verdict == scenario.Reports || c.Verdict == scenario.Pass && s.Name == "low-traffic") {
				sec.Lines = append(sec.Lines, s.Name+", "+checkLine(c))
			}
		}
	}
	if len(sec.Lines) == 0 {
		return nil
	}
	return []Section{sec}
}

// deviations are the known ones: those of scenarios where what was seen differs
// from the guide, and how many more the report has.
func (l LoadTest) deviations() (Section, bool) {
	sec := Section{Mark: Stuck, Title: "Known deviations from the guide"}
	more := 0
	for _, s := range l.Scenarios {
		differs := len(l.Scenarios) <= 2
		for _, c := range s.Checks {
			differs = differs || c.Guide != ""
		}
		for _, d := range s.Deviations {
			if !differs {
				more++
				continue
			}
			sec.Lines = append(sec.Lines, s.Name+": "+d)
		}
	}
	if more > 0 {
		sec.Lines = append(sec.Lines, fmt.Sprintf("%d more that changed no answer here: --report FILE lists them all", more))
	}
	return sec, len(sec.Lines) > 0
}

// ScenarioList is the answer of `cbops loadtest --list`.
type ScenarioList struct {
	Meta
	Scenarios []ScenarioInfo `json:"scenarios"`
}

// ScenarioInfo is one scenario that can be run.
type ScenarioInfo struct {
	Name         string   `json:"name"`
	Title        string   `json:"title"`
	Source       string   `json:"source,omitempty"`
	Expectations int      `json:"expectations"`
	Circuits     int      `json:"circuits"`
	VirtualMS    int64    `json:"virtualMs"`
	Deviations   []string `json:"deviations"`
}

// Page implements Document.
func (l ScenarioList) Page() Page {
	p := Page{Name: "loadtest --list", Answer: counted(len(l.Scenarios), "scenario") + "."}
	for _, s := range l.Scenarios {
		p.Rows = append(p.Rows, Row{Name: s.Name, Text: fmt.Sprintf("%s: %s on %s, %s of virtual time", s.Title,
			counted(s.Expectations, "expectation"), counted(s.Circuits, "circuit"), time.Duration(s.VirtualMS)*time.Millisecond)})
	}
	return p
}

// ScenarioFile is the answer of `cbops loadtest --show`: a scenario as a file.
type ScenarioFile struct {
	Meta
	Name string `json:"name"`
	File string `json:"file"`
}

// Page implements Document.
func (s ScenarioFile) Page() Page { return Page{Name: s.Name, Verbatim: strings.TrimSpace(s.File)} }

package render

import (
	"fmt"
	"strings"
)

// Rehearsal is the answer of `cbops rehearse`: a rollout on the practice world.
type Rehearsal struct {
	Meta
	// OK: every step came out as it should.
	OK     bool             `json:"ok" yaml:"ok"`
	Steps  []RehearsalStep  `json:"steps" yaml:"steps"`
	Faults []RehearsalFault `json:"faults" yaml:"faults"`
}

// RehearsalStep is one command that was really run, or virtual time that passed.
type RehearsalStep struct {
	// Name is short: "evaluate t-acme".
	Name string `json:"name" yaml:"name"`
	// Command is as one would type it; empty for time that passed.
	Command string `json:"command,omitempty" yaml:"command,omitempty"`
	// Title says what happens here and why.
	Title  string `json:"title" yaml:"title"`
	Exit   int    `json:"exit" yaml:"exit"`
	Wanted int    `json:"wanted" yaml:"wanted"`
	OK     bool   `json:"ok" yaml:"ok"`
	// Problem says how the step differs from what it should be.
	Problem string `json:"problem,omitempty" yaml:"problem,omitempty"`
	// Output is what the command printed.
	Output string `json:"output" yaml:"output"`
}

// RehearsalFault is trouble that the practice world made, and who noticed.
type RehearsalFault struct {
	Name   string `json:"name" yaml:"name"`
	Caught bool   `json:"caught" yaml:"caught"`
	// By is the criterion that saw it.
	By string `json:"by" yaml:"by"`
	// After is how long the evidence was gathered for.
	After string `json:"after" yaml:"after"`
	// Told: a ticket was drafted.
	Told       bool `json:"told" yaml:"told"`
	RolledBack bool `json:"rolledBack" yaml:"rolledBack"`
}

// NewRehearsal makes a Rehearsal.
func NewRehearsal(steps []RehearsalStep, faults []RehearsalFault) Rehearsal {
	r := Rehearsal{Meta: NewMeta("Rehearsal"), OK: len(steps) > 0, Steps: steps, Faults: faults}
	for _, s := range steps {
		r.OK = r.OK && s.OK
	}
	return r
}

// Page implements Document.
func (r Rehearsal) Page() Page {
	good := 0
	var b strings.Builder
	p := Page{Name: "rehearse", Verdict: Good}
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "%s\n", strings.Repeat("-", maxWidth))
		fmt.Fprintf(&b, "%d. %s\n\n", i+1, s.Title)
		if s.Command != "" {
			fmt.Fprintf(&b, "$ %s\n", fold(s.Command))
		}
		b.WriteString(s.Output)
		if s.Output != "" && !strings.HasSuffix(s.Output, "\n") {
			b.WriteByte('\n')
		}
		mark := Good
		if s.OK {
			good++
		} else {
			mark, p.Verdict = Bad, Bad
			fmt.Fprintf(&b, "rehearsal: this step is wrong: %s\n", s.Problem)
			p.Sections = append(p.Sections, Section{Mark: Bad, Title: fmt.Sprintf("step %d, %s", i+1, s.Name), Lines: []string{s.Problem}})
		}
		b.WriteByte('\n')
		p.Rows = append(p.Rows, Row{Mark: mark, Name: s.Name, Text: s.result()})
	}
	p.Answer = fmt.Sprintf("The rehearsal went as it should: %d of %d steps.", good, len(r.Steps))
	if !r.OK {
		p.Answer = fmt.Sprintf("The rehearsal went wrong: only %d of %d steps came out as they should.", good, len(r.Steps))
	}
	p.Context = "practice router, practice Prometheus, virtual time; nothing real was touched"
	p.Verbatim = b.String()
	return p
}

// result is the step in a few words.
func (s RehearsalStep) result() string {
	switch {
	case !s.OK:
		return s.Problem
	case s.Command == "":
		return "as it should be"
	}
	return fmt.Sprintf("exit %d, as it should be", s.Exit)
}

// fold breaks a long command the way a shell reads it back: at " --", with a
// backslash.
func fold(command string) string {
	const room = maxWidth - 4 // "$ " before, " \" after
	var lines []string
	line := ""
	for i, part := range strings.Split(command, " --") {
		if i > 0 {
			part = "--" + part
		}
		if line != "" && len(line)+1+len(part) > room {
			lines = append(lines, line)
			line = "    " + part
			continue
		}
		line = strings.TrimPrefix(line+" "+part, " ")
	}
	return strings.Join(append(lines, line), " \\\n")
}

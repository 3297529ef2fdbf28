package render

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cbops/cbops/breaker/scenario"
)

// Report is the record that the guide asks for (ROUTER.md §6), as Markdown:
// expected results as a checklist with actual values, error rates a window,
// requests, final states, durations and targets, deviations, versions, seed and
// the exact configs. The same seed makes the same report, but for date and
// durations, which stand in lines and a section of their own.
func (l LoadTest) Report() string {
	var b strings.Builder
	answer, _ := l.answer()
	fmt.Fprintf(&b, "# Circuit breaker load test report\n\n**%s**\n\n", escapeMarkdown(answer))
	l.reportRun(&b)
	l.reportSummary(&b)
	for _, s := range l.Scenarios {
		reportScenario(&b, s, l.Plot)
	}
	b.WriteString("## Known deviations from the guide\n\n")
	n := 0
	for _, s := range l.Scenarios {
		for _, d := range s.Deviations {
			fmt.Fprintf(&b, "- **%s**: %s\n", inline(s.Name), inline(d))
			n++
		}
	}
	if n == 0 {
		b.WriteString("None of the scenarios above has one.\n")
	}
	l.reportDurations(&b)
	if l.Live == nil {
		b.WriteString("\nThe scenarios ran on the exact twin of the router's breaker (ROUTER.md §4), not on a router: they say what its rules do with a config, and nothing of a network or of another version.\n")
	}
	return b.String()
}

// inline is text from outside in a line of Markdown.
func inline(s string) string { return escapeMarkdown(Clean(s)) }

func (l LoadTest) reportRun(b *strings.Builder) {
	b.WriteString("| | |\n|---|---|\n")
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(b, "| %s | %s |\n", k, cell(v))
		}
	}
	row("date", l.Started)
	row("cbops", l.Versions.Version)
	row("built with", l.Versions.Go+", "+l.Versions.Platform)
	if l.Live != nil {
		row("router", l.Live.URL)
		row("bounds", fmt.Sprintf("%g requests a second, %s", l.Live.MaxRate, l.Live.Limit))
		row("requests without an answer", fmt.Sprint(l.Live.Failed))
	} else {
		row("breaker", "exact twin, virtual time")
	}
	row("config", l.subject())
	if l.Subject.Enabled != nil {
		row("enabled in the policy", fmt.Sprint(*l.Subject.Enabled))
	}
	row("seed", fmt.Sprint(l.Seed))
	b.WriteByte('\n')
	for _, w := range l.Warnings {
		fmt.Fprintf(b, "- warning: %s\n", inline(w))
	}
	if len(l.Warnings) > 0 {
		b.WriteByte('\n')
	}
}

func (l LoadTest) reportSummary(b *strings.Builder) {
	b.WriteString("## Summary\n\n| scenario | verdict | checks | requests | final state | virtual time |\n|---|---|---|---|---|---|\n")
	for _, s := range l.Scenarios {
		passed, judged := 0, 0
		for _, c := range s.Checks {
			if c.Verdict != scenario.Reports {
				judged++
			}
			if c.Verdict == scenario.Pass {
				passed++
			}
		}
		state := s.FinalState
		if state == "" {
			state = "several"
		}
		fmt.Fprintf(b, "| %s | %s | %d of %d | %d | %s | %s |\n", cell(s.Name), s.Verdict, passed, judged, s.Requests, cell(state), virtual(s.VirtualMS))
	}
	b.WriteByte('\n')
}

// reportDurations is what the clock said, with the guide's targets.
func (l LoadTest) reportDurations(b *strings.Builder) {
	b.WriteString("\n## Durations\n\n| scenario | took | target | met |\n|---|---|---|---|\n")
	for _, s := range l.Scenarios {
		target, met := "none", "-"
		if s.TargetMS > 0 {
			target = "under " + virtual(s.TargetMS)
		}
		if s.TargetMet != nil {
			met = map[bool]string{true: "yes", false: "**no**"}[*s.TargetMet]
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", cell(s.Name), ms(s.DurationMS), target, met)
	}
	fmt.Fprintf(b, "| all | %s | none | - |\n", ms(l.DurationMS))
}

// virtual is a duration in whole milliseconds: a target, or one of the virtual
// clock, which is the same in every run.
func virtual(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

func reportScenario(b *strings.Builder, s scenario.Result, pictures bool) {
	fmt.Fprintf(b, "## %s: %s\n\n", inline(s.Name), inline(s.Title))
	if s.Source != "" {
		fmt.Fprintf(b, "From %s.\n\n", inline(s.Source))
	}
	b.WriteString("Expected results:\n\n")
	for _, c := range s.Checks {
		box := " "
		if c.Verdict == scenario.Pass {
			box = "x"
		}
		tail := ""
		if c.Verdict != scenario.Pass {
			tail = " (" + c.Verdict + ")"
		}
		fmt.Fprintf(b, "- [%s] %s%s\n", box, inline(checkLine(c)), tail)
	}
	if len(s.Checks) == 0 {
		b.WriteString("- nothing was checked\n")
	}
	for _, k := range s.Skipped {
		fmt.Fprintf(b, "- not run: %s\n", inline(skipLine(k)))
	}
	b.WriteString("\nActual values:\n\n| circuit | window | requests | successes | failures | fail-fasts | error rate | held | final state | opened at |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range s.Circuits {
		reportCircuit(b, c)
	}
	b.WriteString("\nConfigs:\n\n")
	for _, c := range configsOf(s) {
		b.WriteString("- " + c + "\n")
	}
	b.WriteByte('\n')
	if pictures {
		if pic := plotScenario(s); pic != "" {
			b.WriteString(fence(pic))
		}
	}
}

func reportCircuit(b *strings.Builder, c scenario.CircuitResult) {
	name, state, opened := c.Name, c.FinalState, "-"
	if name == "" {
		name = "one"
	}
	if state == "" {
		state = "not one"
	}
	if o := c.Opened; o != nil {
		opened = fmt.Sprintf("failure %d, %d of %d failed: %s", o.AtFailure, o.WindowFailures, o.WindowRequests, o.Reason)
	}
	if c.Counted == nil {
		// Goroutines: the split depends on their order, so no report is like another.
		fmt.Fprintf(b, "| %s | %d s | %d | by order | by order | by order | by order | by order | %s | by order |\n", cell(name), c.Config.WindowSeconds, c.Requests, cell(state))
		return
	}
	held := "-"
	if c.Counted.Held != nil {
		held = fmt.Sprint(*c.Counted.Held)
	}
	fmt.Fprintf(b, "| %s | %d s | %d | %d | %d | %d | %.3f | %s | %s | %s |\n", cell(name), c.Config.WindowSeconds, c.Requests,
		c.Counted.Successes, c.Counted.Failures, c.Counted.FailFasts, c.Counted.ErrorRate, held, cell(state), cell(opened))
}

// configsOf are the configs of a scenario, each once, with the circuits that had it.
func configsOf(s scenario.Result) []string {
	var configs []scenario.Config
	circuits := map[scenario.Config][]string{}
	for _, c := range s.Circuits {
		if _, seen := circuits[c.Config]; !seen {
			configs = append(configs, c.Config)
		}
		circuits[c.Config] = append(circuits[c.Config], c.Name)
	}
	var lines []string
	for _, c := range configs {
		raw, err := json.Marshal(c)
		if err != nil { // cannot happen: numbers only
			continue
		}
		line := "`" + string(raw) + "`"
		if names := strings.Join(circuits[c], ", "); names != "" {
			line += ": " + inline(names)
		}
		lines = append(lines, line)
	}
	return lines
}

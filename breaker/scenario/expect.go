package scenario

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// kind of a measure's value.
type kind int

const (
	count kind = iota // 0, 1, 2, …
	share             // 0 to 1
	rate              // 0 and above
	word              // one of some words
	list              // words in order
	set               // words in any order
)

// Measure is something that can be seen of a circuit.
type Measure struct {
	Name string
	// Text is what a report calls it.
	Text string
	kind kind
	// words are the words that there are, for word and list.
	words []string
	// Live measures can be read from a router's metrics endpoint; the others only
	// from the twin.
	Live bool
}

// Measures returns everything that can be expected, in the order of the manual.
func Measures() []Measure {
	states := []string{"closed", "open", "half_open"}
	reasons := []string{"latency_threshold_exceeded", "failure_threshold_exceeded", "error_rate_threshold_exceeded", "half_open_failure", "timeout_elapsed"}
	return []Measure{
		{"state", "state", word, states, true},
		{"asks", "asks of the last step", word, []string{"allowed", "denied", "mixed"}, true},
		{"states", "states in order", list, states, true},
		{"reasons", "reasons seen", set, reasons, true},
		{"opens", "opens (closed to open)", count, nil, true},
		{"reopens", "reopens (half-open to open)", count, nil, true},
		{"half_opens", "half-opens", count, nil, true},
		{"closes", "closes (half-open to closed)", count, nil, true},
		{"opens_per_day", "opens a day", rate, nil, false},
		{"opened_at_failure", "opened at failure", count, nil, true},
		{"successes", "successes counted", count, nil, true},
		{"failures", "failures counted", count, nil, true},
		{"fail_fasts", "fail-fasts counted", count, nil, true},
		{"events", "events counted", count, nil, true},
		{"error_rate", "error rate", share, nil, true},
		{"window_requests", "requests added to the window counter", count, nil, true},
		{"window_failures", "failures added to the window counter", count, nil, true},
		{"held", "outcomes held in the window", count, nil, false},
		{"memory_bytes", "bytes of the window", count, nil, false},
		{"probes", "probes admitted", count, nil, false},
		{"consecutive_failures", "failures in a row", count, nil, false},
		{"circuits", "circuits", count, nil, false},
		{"metrics", "metrics against the state", word, []string{"consistent", "inconsistent"}, false},
		{"series", "metrics emitted", set, metricNames(), true},
	}
}

// metricNames are the metrics of ROUTER.md §5, without their prefix.
func metricNames() []string {
	return []string{"error_rate", "events_total", "state", "state_transitions_total", "timeout_remaining_ms",
		"timeout_transitions_total", "trigger_reason", "window_failures_total", "window_requests_total"}
}

// MeasureNamed finds a measure.
func MeasureNamed(name string) (Measure, bool) {
	all := Measures()
	i := slices.IndexFunc(all, func(m Measure) bool { return m.Name == name })
	if i < 0 {
		return Measure{}, false
	}
	return all[i], true
}

// Expectation is what must be seen: one of some words, words in order, or a number
// between two bounds.
type Expectation struct {
	Measure string
	// Text is what it is called in a report; "" for the measure's own.
	Text  string
	Words []string
	// Min and Max are inclusive, NaN where there is none.
	Min, Max float64
	// Guide is what the guide expects where the router is known to differ.
	Guide string
	// Report only: shown, and decides nothing.
	Report bool
	// Place is file:line:column of one that was read from a file.
	Place string
}

// Is expects a word, or words in order.
func Is(measure string, words ...string) Expectation {
	return Expectation{Measure: measure, Words: words, Min: math.NaN(), Max: math.NaN()}
}

// Equals expects a number.
func Equals(measure string, x float64) Expectation {
	return Expectation{Measure: measure, Min: x, Max: x}
}

// AtMost expects a number that is not above x.
func AtMost(measure string, x float64) Expectation {
	return Expectation{Measure: measure, Min: math.NaN(), Max: x}
}

// AtLeast expects a number that is not below x.
func AtLeast(measure string, x float64) Expectation {
	return Expectation{Measure: measure, Min: x, Max: math.NaN()}
}

// Reported shows a measure without judging it.
func Reported(measure, text string) Expectation {
	return Expectation{Measure: measure, Text: text, Min: math.NaN(), Max: math.NaN(), Report: true}
}

func (e Expectation) named(text string) Expectation {
	e.Text = text
	return e
}

func (e Expectation) insteadOf(guide string) Expectation {
	e.Guide = guide
	return e
}

// Value is a measure's value: a number, or words.
type Value struct {
	Number float64
	Words  []string
	// Low and High bound a number that was estimated; both 0 where it is exact.
	Low, High float64
	// Note is shown beside it.
	Note string
}

// Observation is what was seen of a circuit, by measure; what could not be seen
// is not in it.
type Observation map[string]Value

// tolerance is the rounding of a share in the router's metrics (6 decimals).
const tolerance = 1e-6

// Check verdicts.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
	// Reports only: nothing is judged.
	Reports = "reported"
	// Skipped: not run, and the result says why.
	Skipped = "skipped"
	// Interrupted: a signal came before the end.
	Interrupted = "interrupted"
)

// Check is one expectation with what was seen.
type Check struct {
	Circuit  string `json:"circuit,omitempty"`
	Text     string `json:"text"`
	Expected string `json:"expected"`
	Actual   string `json:"actual"`
	Verdict  string `json:"verdict"`
	// Guide is what the guide expects, where that is known to differ.
	Guide string `json:"guide,omitempty"`
	// Place is file:line:column of an expectation from a file.
	Place string `json:"place,omitempty"`
}

// Judge holds an expectation against what was seen.
func (e Expectation) Judge(o Observation) Check {
	m, _ := MeasureNamed(e.Measure)
	c := Check{Text: e.Text, Expected: e.expected(m), Guide: e.Guide, Place: e.Place}
	if c.Text == "" {
		c.Text = m.Text
	}
	v, ok := o[e.Measure]
	switch {
	case !ok:
		c.Actual, c.Verdict = "not measured", Inconclusive
		if e.Report {
			c.Verdict = Reports
		}
		return c
	case m.kind == word:
		c.Actual = words(v.Words)
		c.Verdict = verdict(len(v.Words) == 1 && slices.Contains(e.Words, v.Words[0]))
	case m.kind == list:
		c.Actual = words(v.Words)
		c.Verdict = verdict(slices.Equal(v.Words, e.Words))
	case m.kind == set:
		c.Actual = words(slices.Sorted(slices.Values(v.Words)))
		c.Verdict = verdict(slices.Equal(slices.Sorted(slices.Values(v.Words)), slices.Sorted(slices.Values(e.Words))))
	default:
		c.Actual = number(m.kind, v.Number)
		low, high := v.Number, v.Number
		if v.Low != 0 || v.High != 0 {
			low, high = v.Low, v.High
			c.Actual += fmt.Sprintf(" (95 %%: %s to %s)", number(m.kind, low), number(m.kind, high))
		}
		c.Verdict = e.between(low, high)
	}
	if v.Note != "" {
		c.Actual += ": " + v.Note
	}
	if e.Report {
		c.Verdict = Reports
	}
	return c
}

// whateverTheOrder takes out of a check what depends on the order of goroutines, so
// that the same seed makes the same report: where more than one value would do, the
// one that came says nothing.
func (e Expectation) whateverTheOrder(c Check) Check {
	switch m, _ := MeasureNamed(e.Measure); {
	case e.Report:
		c.Actual = "depends on the order of the goroutines"
	case c.Verdict == Pass && (m.kind == word && len(e.Words) > 1 || m.kind < word && e.Min != e.Max):
		c.Actual = c.Expected
	}
	return c
}

func verdict(ok bool) string {
	if ok {
		return Pass
	}
	return Fail
}

// between judges an interval: all of it inside the bounds passes, all of it
// outside fails, and otherwise nothing is known.
func (e Expectation) between(low, high float64) string {
	lo, hi := math.Inf(-1), math.Inf(1)
	if !math.IsNaN(e.Min) {
		lo = e.Min - tolerance
	}
	if !math.IsNaN(e.Max) {
		hi = e.Max + tolerance
	}
	switch {
	case math.IsNaN(low) || math.IsNaN(high):
		return Fail
	case low >= lo && high <= hi:
		return Pass
	case high < lo || low > hi:
		return Fail
	}
	return Inconclusive
}

func (e Expectation) expected(m Measure) string {
	switch {
	case e.Report:
		return "not judged"
	case m.kind == word:
		return strings.Join(e.Words, " or ")
	case m.kind == list:
		return words(e.Words)
	case m.kind == set:
		return words(slices.Sorted(slices.Values(e.Words)))
	case math.IsNaN(e.Min):
		return "at most " + number(m.kind, e.Max)
	case math.IsNaN(e.Max):
		return "at least " + number(m.kind, e.Min)
	case e.Min == e.Max:
		return number(m.kind, e.Min)
	}
	return number(m.kind, e.Min) + " to " + number(m.kind, e.Max)
}

func words(w []string) string {
	if len(w) == 0 {
		return "none"
	}
	return strings.Join(w, ", ")
}

// number prints a value with no more digits than it has meaning.
func number(k kind, x float64) string {
	switch {
	case k == count && x == math.Trunc(x) && math.Abs(x) < 1<<53:
		return strconv.FormatInt(int64(x), 10)
	case k == rate:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(x, 'f', 3, 64), "0"), ".")
}

// Flaw says why an expectation is no test: it holds whatever is seen, or it can
// never hold. "" where nothing is wrong with it.
func (e Expectation) Flaw() string {
	m, ok := MeasureNamed(e.Measure)
	if !ok {
		return "there is no measure " + strconv.Quote(e.Measure)
	}
	low, high := 0.0, math.Inf(1)
	if m.kind == share {
		high = 1
	}
	switch {
	case m.kind >= word:
		for _, w := range e.Words {
			if !slices.Contains(m.words, w) {
				return fmt.Sprintf("%s is never %q; there are %s", m.Name, w, strings.Join(m.words, ", "))
			}
		}
		if m.kind == word && len(e.Words) == 0 {
			return "it names nothing that could be seen, so it can never hold"
		}
		if m.kind == word && !slices.ContainsFunc(m.words, func(w string) bool { return !slices.Contains(e.Words, w) }) {
			return "it cannot fail: " + m.Name + " is always one of these"
		}
	case math.IsNaN(e.Min) && math.IsNaN(e.Max):
		return "it cannot fail: it has no bound"
	case math.IsInf(e.Min, 0) || math.IsInf(e.Max, 0):
		return "a bound is infinite"
	case e.Min > e.Max:
		return fmt.Sprintf("it can never hold: its least, %s, is above its most, %s", number(m.kind, e.Min), number(m.kind, e.Max))
	case e.Max < low || e.Min > high:
		return fmt.Sprintf("it can never hold: %s is %s", m.Name, m.domain())
	case m.kind == count && e.Min == e.Max && e.Min != math.Trunc(e.Min):
		return fmt.Sprintf("it can never hold: %s is a whole number", m.Name)
	case !(e.Min > low) && (math.IsNaN(e.Max) || e.Max >= high):
		return fmt.Sprintf("it cannot fail: %s is %s anyway", m.Name, m.domain())
	}
	return ""
}

func (m Measure) domain() string {
	if m.kind == share {
		return "0 to 1"
	}
	return "0 or more"
}

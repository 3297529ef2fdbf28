package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

// A picture in text is 80 columns wide at most and needs no colour: the error rate
// as a line (asciigraph), and below it, column by column, what was decided and in
// which state the circuit was. Letters carry the meaning.

const plotColumns = 64

// column is what happened in one column of a picture.
type column struct {
	scenario.Bin
	states map[breaker.State]bool
}

// columns spreads the bins over the picture's width.
func columns(t *scenario.Timeline, width int) []column {
	out := make([]column, width)
	state := breaker.Closed
	for i := range out {
		from, to := i*len(t.Bins)/width, (i+1)*len(t.Bins)/width
		c := column{states: map[breaker.State]bool{}}
		if to == from { // fewer bins than columns: each is drawn several times
			to = from + 1
		}
		for _, b := range t.Bins[from:to] {
			c.Successes += b.Successes
			c.Failures += b.Failures
			c.Denied += b.Denied
			c.Unanswered += b.Unanswered
			c.AtOnce += b.AtOnce
			if b.Opens > 0 {
				c.states[breaker.Open] = true
			}
			if b.Closes > 0 {
				c.states[breaker.Closed] = true
			}
			c.states[b.State] = true
			c.State, c.ErrorRate = b.State, b.ErrorRate
			state = b.State
		}
		c.State = state
		out[i] = c
	}
	return out
}

// plots are the pictures of all circuits to which something happened over time.
func (l LoadTest) plots() string {
	var parts []string
	for _, s := range l.Scenarios {
		if p := plotScenario(s); p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "nothing to draw: everything happened at one instant"
	}
	return strings.Join(parts, "\n\n") + "\n\n" + plotLegend
}

const plotLegend = `s success  F failure  D denied  ? no answer (yet)  = from goroutines, at once
state: - closed  # open  ~ half-open  * more than one of them`

func plotScenario(s scenario.Result) string {
	var parts []string
	for _, c := range s.Circuits {
		if c.Timeline != nil && c.Timeline.LengthMS > 0 {
			parts = append(parts, plotCircuit(s.Name, c))
		}
	}
	return strings.Join(parts, "\n\n")
}

func plotCircuit(name string, c scenario.CircuitResult) string {
	title := name
	if c.Name != "" {
		title += ", " + c.Name
	}
	cols := columns(c.Timeline, plotColumns)
	rates := make([]float64, len(cols))
	for i, col := range cols {
		rates[i] = 100 * col.ErrorRate
	}
	graph := asciigraph.Plot(rates, asciigraph.Height(4), asciigraph.LowerBound(0), asciigraph.UpperBound(100),
		asciigraph.YAxisValueFormatter(func(v float64) string { return fmt.Sprintf("error rate %3.0f %%", v) }),
		asciigraph.Offset(0))
	// The graph's own labels are wide; everything below begins where its axis is.
	lines := strings.Split(graph, "\n")
	for i := range lines {
		lines[i] = shorten(lines[i])
	}
	lines = append(lines,
		lane("success", cols, 's', func(c column) int { return c.Successes }),
		lane("failure", cols, 'F', func(c column) int { return c.Failures }),
		lane("denied", cols, 'D', func(c column) int { return c.Denied }),
		lane("no answer", cols, '?', func(c column) int { return c.Unanswered }),
		lane("at once", cols, '=', func(c column) int { return c.AtOnce }),
		stateLane(cols), axis(c.Timeline.LengthMS))
	kept := lines[:0]
	for _, l := range lines {
		if l != "" {
			kept = append(kept, l)
		}
	}
	return title + "\n" + strings.Join(kept, "\n")
}

const laneLabel = 11

// shorten keeps the percent of a graph line and the words only on the first.
func shorten(l string) string {
	i := strings.IndexAny(l, "┤┼")
	if i < 0 {
		return l
	}
	label := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l[:i]), "error rate"))
	return fmt.Sprintf("%*s ", laneLabel-1, label) + l[i:]
}

// lane is one line of marks; "" where nothing of its kind happened.
func lane(label string, cols []column, mark rune, of func(column) int) string {
	var b strings.Builder
	sum := 0
	for _, c := range cols {
		if of(c) > 0 {
			b.WriteRune(mark)
		} else {
			b.WriteByte(' ')
		}
		sum += of(c)
	}
	if sum == 0 {
		return ""
	}
	return strings.TrimRight(fmt.Sprintf("%*s  %s", laneLabel-1, label, b.String()), " ")
}

func stateLane(cols []column) string {
	var b strings.Builder
	for _, c := range cols {
		switch {
		case len(c.states) > 1:
			b.WriteByte('*')
		case c.State == breaker.Open:
			b.WriteByte('#')
		case c.State == breaker.HalfOpen:
			b.WriteByte('~')
		default:
			b.WriteByte('-')
		}
	}
	return fmt.Sprintf("%*s  %s", laneLabel-1, "state", b.String())
}

// axis is the time from left to right.
func axis(lengthMS int64) string {
	end := (time.Duration(lengthMS) * time.Millisecond).String()
	return fmt.Sprintf("%*s  0s%*s", laneLabel-1, "time", plotColumns-2, end)
}

package render

import (
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/cbops/cbops/rollout/change"
)

// Live shows how far a change has come while it runs, on stderr: bars on a
// terminal, lines in a pipe, one JSON object a line with -o json. The result
// itself is on stdout and stays one document.
type Live interface {
	// Event shows an event; calls come one at a time.
	Event(change.Event)
	// Writer is where other lines for stderr go meanwhile.
	Writer() io.Writer
	// Close leaves the last picture standing.
	Close()
}

// NewLive picks the form.
func NewLive(w io.Writer, opt Options, terminal bool) Live {
	switch {
	case opt.Format == JSON:
		return &eventLines{w: w, last: map[string]change.Event{}}
	case terminal:
		return newBars(w, opt)
	}
	return &plainLines{w: w, last: map[string]time.Duration{}}
}

// ChangeEvent is a line of -o json on stderr.
type ChangeEvent struct {
	Meta
	change.Event
	// After is in seconds since the change began.
	After float64 `json:"after"`
}

// eventEvery bounds how often a stage that only counts up is told.
const eventEvery = 200 * time.Millisecond

type eventLines struct {
	w    io.Writer
	last map[string]change.Event
}

func (l *eventLines) Event(e change.Event) {
	key := string(e.Stage) + "\x00" + e.Where
	old, seen := l.last[key]
	if seen && e.Done < e.Total && e.Failed == old.Failed && e.After-old.After < eventEvery {
		return
	}
	l.last[key] = e
	b, err := json.Marshal(ChangeEvent{Meta: NewMeta("ChangeEvent"), Event: e, After: e.After.Seconds()})
	if err != nil {
		return // numbers and texts: it cannot fail, and a picture stops nothing
	}
	fmt.Fprintf(l.w, "%s\n", b)
}

func (l *eventLines) Writer() io.Writer { return l.w }

func (l *eventLines) Close() {}

// plainLines says when a stage of a place is done, and every few seconds how far
// it is.
type plainLines struct {
	w    io.Writer
	last map[string]time.Duration
}

const lineEvery = 5 * time.Second

func (l *plainLines) Event(e change.Event) {
	if e.Stage == change.StageRead || e.Stage == change.StageHold || e.Stage == change.StageDisabled || e.Total == 0 {
		return
	}
	key := string(e.Stage) + "\x00" + e.Where
	if e.Done < e.Total && e.After-l.last[key] < lineEvery {
		return
	}
	l.last[key] = e.After
	fmt.Fprintf(l.w, "%s\n", liveText(e))
}

func (l *plainLines) Writer() io.Writer { return l.w }

func (l *plainLines) Close() {}

// stageWord is what a stage is called for people.
func stageWord(s change.Stage) string {
	if s == change.StageWritten {
		return "disabled"
	}
	return string(s)
}

func liveText(e change.Event) string {
	s := fmt.Sprintf("%-9s %d/%d", stageWord(e.Stage), e.Done-e.Failed, e.Total)
	switch e.Stage {
	case change.StageDisabled:
		s = "all disabled on disk"
	case change.StageSafe:
		return fmt.Sprintf("%s: %d of %d proven loaded", e.Note, e.Done, e.Total)
	case change.StageCleared:
		s += " circuits"
	}
	if e.Where != "" {
		s += "  " + Clean(e.Where)
	}
	if e.Failed > 0 && e.Stage != change.StageDisabled {
		s += fmt.Sprintf("  %d failed", e.Failed)
	}
	return s + fmt.Sprintf("  after %.1f s", e.After.Seconds())
}

// maxBars bounds the picture: a terminal has about that many lines.
const maxBars = 18

// bars is the picture on a terminal: a bar per stage and place.
type bars struct {
	p    *mpb.Progress
	bars map[string]*bar
	// hidden are places that found no room; done counts those that are done.
	hidden map[string]bool
	ascii  bool
	w      io.Writer
	safe   string
}

type bar struct {
	*mpb.Bar
	text atomic.Pointer[string]
}

func newBars(w io.Writer, opt Options) *bars {
	width := opt.Width
	if width <= 0 || width > maxWidth {
		width = maxWidth
	}
	return &bars{
		p:    mpb.New(mpb.WithOutput(w), mpb.WithWidth(width), mpb.WithRefreshRate(80*time.Millisecond), mpb.WithAutoRefresh()),
		bars: map[string]*bar{}, hidden: map[string]bool{}, ascii: opt.ASCII, w: w,
	}
}

func (b *bars) Writer() io.Writer { return b.p }

func (b *bars) Event(e change.Event) {
	switch {
	case e.Stage == change.StageRead, e.Stage == change.StageHold, e.Total == 0:
		return
	case e.Stage == change.StageDisabled:
		fmt.Fprintf(b.p, "%s\n", b.fit(liveText(e)))
		return
	case e.Stage == change.StageSafe:
		b.safe = b.fit(liveText(e)) // the last word, under the bars
		return
	}
	key := string(e.Stage) + "\x00" + e.Where
	x, ok := b.bars[key]
	if !ok {
		if len(b.bars) >= maxBars {
			b.hidden[key] = e.Done < e.Total
			return
		}
		x = b.add(e)
		b.bars[key] = x
	}
	text := fmt.Sprintf(" %d/%d  %.1f s", e.Done-e.Failed, e.Total, e.After.Seconds())
	if e.Failed > 0 {
		text += fmt.Sprintf("  %d failed", e.Failed)
	}
	x.text.Store(&text)
	x.SetCurrent(int64(e.Done))
}

// add makes a bar: "loaded    node-1  [=====>   ] 274/412  1.8 s".
func (b *bars) add(e change.Event) *bar {
	x := &bar{}
	x.text.Store(new(string))
	name := fmt.Sprintf("%-9s %-16s ", stageWord(e.Stage), b.fit(short(Clean(e.Where), 16)))
	x.Bar = b.p.New(int64(e.Total), mpb.BarStyle(),
		mpb.BarPriority(len(b.bars)),
		mpb.PrependDecorators(decor.Name(name)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return *x.text.Load() })))
	return x
}

func (b *bars) fit(s string) string {
	if b.ascii {
		return toASCII(s)
	}
	return s
}

func (b *bars) Close() {
	for _, x := range b.bars {
		x.Abort(false) // what is not complete stays as it is
	}
	b.p.Wait()
	if left := len(b.hidden); left > 0 {
		unfinished := 0
		for _, u := range b.hidden {
			if u {
				unfinished++
			}
		}
		fmt.Fprintf(b.w, "%d more not shown, %d of them unfinished\n", left, unfinished)
	}
	if b.safe != "" {
		fmt.Fprintf(b.w, "%s\n", b.safe)
	}
}

// short keeps the end of a text: that is where names differ.
func short(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return "…" + string(r[len(r)-n+1:])
}

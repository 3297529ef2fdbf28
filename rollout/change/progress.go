package change

import (
	"sync"
	"time"
)

// Stage is a stretch of a change that is counted on its own.
type Stage string

// The stages, in order. Disabled is counted per store, the rest per node.
const (
	StageHold     Stage = "hold"
	StageRead     Stage = "read"
	StageWritten  Stage = "written"
	StageReloaded Stage = "reloaded"
	StageLoaded   Stage = "loaded"
	StageCleared  Stage = "cleared"
	StageRestart  Stage = "restarted"
	// StageDisabled and StageSafe are moments: every store says disabled, and every
	// policy is proven loaded on every node.
	StageDisabled Stage = "disabled"
	StageSafe     Stage = "safe"
)

// Event tells how far a stage has come.
type Event struct {
	Stage Stage `json:"stage"`
	// Where is the store or node; "" where there is only one without a name.
	Where string `json:"where"`
	// Done includes Failed; both are counted in policies, or in circuits for
	// StageCleared, or in nodes for StageRestart.
	Done   int `json:"done"`
	Failed int `json:"failed"`
	Total  int `json:"total"`
	// After is how long the change has been running.
	After time.Duration `json:"-"`
	// Note says what a number cannot.
	Note string `json:"note"`
}

// tracker counts what happens and tells Progress, one event at a time.
type tracker struct {
	mu    sync.Mutex
	tell  func(Event)
	now   func() time.Time
	began time.Time
}

func (e *Engine) track(began time.Time) *tracker {
	return &tracker{tell: e.Progress, now: e.Now, began: began}
}

func (t *tracker) after() time.Duration { return t.now().Sub(t.began) }

func (t *tracker) say(ev Event) {
	if t.tell == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ev.After = t.after()
	t.tell(ev)
}

// counter counts one stage of one place.
type counter struct {
	t  *tracker
	mu sync.Mutex
	ev Event
}

func (t *tracker) counter(s Stage, where string, total int) *counter {
	c := &counter{t: t, ev: Event{Stage: s, Where: where, Total: total}}
	t.say(c.ev)
	return c
}

func (c *counter) add(failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ev.Done++
	if failed {
		c.ev.Failed++
	}
	c.t.say(c.ev)
}

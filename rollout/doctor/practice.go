package doctor

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/cbops/cbops/promquery/promlab"
)

// warm is how long a history runs before rules are evaluated on it: at the first
// scrapes of a server every series is new, and that says nothing about a rule.
const warm = 30 * time.Minute

// PracticeOptions say what the deployment is like.
type PracticeOptions struct {
	Dialect Dialect
	// Scrape is the scrape interval, Evaluation the server's evaluation interval; 0
	// for a minute.
	Scrape, Evaluation time.Duration
	// Hold is the longest `for` that will be tried: outages last longer than it.
	Hold time.Duration
}

// Practice is a set of histories in a deployment's dialect, on which expressions are
// tried. It is safe for concurrent use.
type Practice struct {
	opt       PracticeOptions
	engine    *promlab.Engine
	histories []history
}

// NewPractice tells the histories: some hundred milliseconds of work. The same
// options make the same histories.
func NewPractice(ctx context.Context, opt PracticeOptions) (*Practice, error) {
	if opt.Scrape <= 0 {
		opt.Scrape = time.Minute
	}
	if opt.Evaluation <= 0 {
		opt.Evaluation = time.Minute
	}
	length := min(max(opt.Hold+lead/2, shortest), longest)
	hs, err := tellAll(ctx, opt.Scrape, length)
	if err != nil {
		return nil, err
	}
	for i, h := range hs {
		if hs[i], err = h.relabelled(opt.Dialect); err != nil {
			return nil, fmt.Errorf("the dialect %s: %w", opt.Dialect.name(), err)
		}
	}
	return &Practice{opt: opt, engine: promlab.NewEngine(opt.Evaluation), histories: hs}, nil
}

// each calls f for every history, several at once, and returns the first error in
// their order.
func (p *Practice) each(f func(i int, h history) error) error {
	errs := make([]error, len(p.histories))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, h := range p.histories {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = f(i, h)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Trial is what an alert did in one history.
type Trial struct {
	History string `json:"history"`
	Story   string `json:"story"`
	// Fires during or after the fault; After is how long after its begin: "11m".
	Fires bool   `json:"fires"`
	After string `json:"after,omitempty"`
	// Early: it fired before anything was wrong.
	Early bool `json:"early,omitempty"`
	// Resolves: it had ended when the history had been well for two hours. Absent
	// where it did not fire, or where the history does not end well.
	Resolves *bool `json:"resolves,omitempty"`
	// Must is "fire" or "be silent" where the alert's intent says so.
	Must string `json:"must,omitempty"`
	// Error is why it could not be evaluated.
	Error string `json:"error,omitempty"`
	// costly: the error is a bound of this process, not a fault of the expression.
	costly bool
	// held is the longest time that one alert was active.
	held time.Duration
}

// wrong says what the alert did that it must not; "" for nothing.
func (t Trial) wrong() string {
	switch {
	case t.Error != "":
		return "cannot be evaluated: " + t.Error
	case t.Early:
		return "fires before anything is wrong"
	case t.Must == "fire" && !t.Fires:
		return "does not fire, and must"
	case t.Must == "be silent" && t.Fires:
		return "fires, and must be silent"
	case t.Resolves != nil && !*t.Resolves:
		return "does not resolve"
	}
	return ""
}

// tried is a rule with what it came to.
type tried struct {
	rule   promlab.Rule
	trials []Trial
	// stores are what the rule saw in each history: scraped and recorded series.
	stores []promlab.Queryable
}

// try runs the last rule of a group over every history.
func (p *Practice) try(ctx context.Context, g promlab.Group, in intent) (tried, error) {
	last := len(g.Rules) - 1
	t := tried{rule: g.Rules[last], trials: make([]Trial, len(p.histories)), stores: make([]promlab.Queryable, len(p.histories))}
	every := g.Interval
	if every <= 0 {
		every = p.opt.Evaluation
	}
	err := p.each(func(i int, h history) error {
		ev, err := promlab.NewEvaluator(p.engine, h.store, promlab.NewStore(), g)
		if err != nil {
			return err
		}
		tr := Trial{History: h.name, Story: h.text, Must: in.must(h.name)}
		firing := false
		err = ev.Run(ctx, h.from.Add(warm), h.to, every, func(rule int, at time.Time, as []promlab.Alert, err error) {
			if rule != last {
				return
			}
			if err != nil && tr.Error == "" {
				tr.Error, tr.costly = oneLine(err.Error()), promlab.Costly(err)
			}
			firing = false
			for _, a := range as {
				tr.held = max(tr.held, at.Sub(a.ActiveAt))
				firing = firing || a.State == promlab.Firing
			}
			switch {
			case !firing:
			case at.Before(h.fault):
				tr.Early = tr.Early || !h.dirty
			case !tr.Fires:
				tr.Fires, tr.After = true, model.Duration(at.Sub(h.fault).Round(time.Second)).String()
			}
		})
		if tr.Fires && !h.lasting {
			over := !firing
			tr.Resolves = &over
		}
		t.trials[i], t.stores[i] = tr, ev.Queryable()
		return err
	})
	return t, err
}

func (in intent) must(history string) string {
	for _, h := range in.fire {
		if h == history {
			return "fire"
		}
	}
	for _, h := range in.silent {
		if h == history {
			return "be silent"
		}
	}
	return ""
}

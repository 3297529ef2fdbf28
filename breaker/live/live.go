// Package live drives the scenarios of package scenario through a router over
// HTTP, in real time, and judges them from the router's metrics endpoint: that of
// the practice router (cbops lab serve), or one's own staging. What a scenario
// needs that a router cannot give (a look into the window, a new config, hours of
// traffic) is left out, and the result says so.
//
// It is bounded in rate and time and stops by itself. It decides nothing about
// which hosts may be driven, and reaches the network only through the client that
// it is given.
package live

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

// MetricsPath is the router's metrics endpoint (ROUTER.md §5).
const MetricsPath = "/metrics/router_metrics_http/metrics"

// RequestPath is where the practice router takes requests.
const RequestPath = "/v1/requests"

// Tenant is the practice router's tenant whose policies have the configs of the
// gate; see PolicyFor.
const Tenant = "loadtest"

// PolicyFor is the practice policy with the config of a scenario's circuit.
func PolicyFor(scenarioName string, circuit int) string {
	return fmt.Sprintf("%s-%d", scenarioName, circuit)
}

// Options of a run.
type Options struct {
	// URL is the router's base.
	URL *url.URL
	// Client sends the requests; it must not follow redirects.
	Client *http.Client
	// Now is the clock, Sleep waits or returns ctx's error.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
	// MaxRate bounds the requests a second of the whole run; Limit bounds its time.
	MaxRate float64
	Limit   time.Duration
	// Request says how a request looks.
	Request Request
	// Tenant, Policy and Config are the policy that the router has loaded: only what
	// has this config can be run. Config nil is for the practice router, which has a
	// policy for each circuit of the gate.
	Tenant, Policy string
	Config         *breaker.Config
	// Providers are those to use, one for each circuit, because a circuit is new only
	// once; none means names that are made up from the time, which the practice
	// router takes.
	Providers []string
	Seed      uint64
	// Watch reads the metrics while time passes too, four times a second and circuit,
	// for a picture; otherwise only where something is judged.
	Watch bool
	// Progress is told what is going on; nil for nobody.
	Progress func(string)
}

// NotRouterError says that what answers is no router.
type NotRouterError struct{ URL, Why string }

// Error implements error.
func (e *NotRouterError) Error() string { return e.URL + " is not a router: " + e.Why }

// Stats are what was sent.
type Stats struct {
	Requests int
	// Failed got no answer of the router.
	Failed int
}

// driver is one run under way.
type driver struct {
	Options
	began    time.Time
	pace     *pacer
	requests atomic.Int64
	failed   atomic.Int64
	mu       sync.Mutex
	used     int // providers
}

// Run drives the scenarios, one after the other; the circuits of one at once. When
// ctx ends it returns what was seen until then. A NotRouterError means that
// nothing could be judged at all.
func Run(ctx context.Context, scenarios []scenario.Scenario, o Options) ([]scenario.Result, Stats, error) {
	d := &driver{Options: o, began: o.Now(), pace: &pacer{now: o.Now, sleep: o.Sleep, every: time.Duration(float64(time.Second) / o.MaxRate)}}
	if o.Progress == nil {
		d.Progress = func(string) {}
	}
	if _, err := d.scrape(ctx); err != nil {
		return nil, d.stats(), err
	}
	results := []scenario.Result{}
	for _, s := range scenarios {
		if ctx.Err() != nil {
			break
		}
		r, err := d.scenario(ctx, s)
		if err != nil {
			return results, d.stats(), err
		}
		results = append(results, r)
	}
	return results, d.stats(), nil
}

func (d *driver) stats() Stats {
	return Stats{Requests: int(d.requests.Load()), Failed: int(d.failed.Load())}
}

// left is how much of the time limit is left.
func (d *driver) left() time.Duration { return d.Limit - d.Now().Sub(d.began) }

func (d *driver) scenario(ctx context.Context, s scenario.Scenario) (scenario.Result, error) {
	began := d.Now()
	res := scenario.NewResult(s, d.Seed)
	parts, skipped := d.prepare(s)
	res.Skipped = append(res.Skipped, skipped...)
	if len(parts) == 0 {
		res.Finish(0)
		res.Verdict = scenario.Skipped
		return res, nil
	}
	d.Progress(fmt.Sprintf("%s: %s", s.Name, s.Title))
	type outcome struct {
		result scenario.CircuitResult
		checks []scenario.Check
		err    error
	}
	outcomes := make([]outcome, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			c := &circuit{driver: d, part: p}
			o := &outcomes[i]
			o.err = c.run(ctx)
			o.result, o.checks = c.result(), c.checks
		})
	}
	wg.Wait()
	for _, o := range outcomes {
		if o.err != nil && ctx.Err() == nil {
			return res, o.err
		}
		res.Add(o.result, o.checks)
	}
	res.Finish(d.Now().Sub(began))
	if ctx.Err() != nil {
		res.Verdict = scenario.Interrupted
	}
	return res, nil
}

// pacer spaces requests out over the whole run.
type pacer struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
	every time.Duration
	mu    sync.Mutex
	next  time.Time
}

// wait takes the next free slot and waits for it.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	now := p.now()
	slot := p.next
	if slot.Before(now) {
		slot = now
	}
	p.next = slot.Add(p.every)
	p.mu.Unlock()
	// A timer is not finer than this, and a late request makes up for it.
	if d := slot.Sub(now); d > time.Millisecond {
		return p.sleep(ctx, d)
	}
	return ctx.Err()
}

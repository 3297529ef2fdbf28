package criteria

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// The routes by which an open is shown to have a failing provider behind it,
// after JUDGING.md, "Is an open expected?". Any one suffices. Routes that need
// configuration (providerHealthy, declared incidents) are not in this version.
const (
	routeRate   = "rate"
	routeRun    = "run"
	routeTail   = "tail"
	routeProbes = "probes"
	routeOthers = "others"
)

const (
	// maxGrow bounds how many scrapes the rate interval grows after the open.
	maxGrow = 10
)

// proof is the result of asking all routes about one open.
type proof struct {
	expected bool
	// undecided: not shown, but the evidence around the open is missing or not
	// complete yet, so that "unexpected" would claim too much.
	undecided bool
	waiting   bool // undecided only because the open is so recent
	route     string
	reason    string
	premature bool
}

// open is one episode with all that the routes look at.
type open struct {
	ev    *evidence.Evidence
	t     *evidence.Tenant
	c     *evidence.Circuit
	ep    evidence.Episode
	base  evidence.Baseline
	alpha float64
	// window is what the breaker saw when it opened; exact says whether the
	// counters tell it (one open and no close between two scrapes).
	wr, wf float64
	exact  bool
}

// alpha is the error allowed per scrape of a circuit, fixed by the phase's
// minimum length so that a pass does not turn into a fail only because time
// goes on (JUDGING.md, "Symbols").
func alpha(p Params, interval time.Duration) float64 {
	if interval <= 0 {
		interval = time.Minute
	}
	return 0.05 / (float64(p.MinDays) * 24 * float64(time.Hour) / float64(interval))
}

func newOpen(ev *evidence.Evidence, t *evidence.Tenant, c *evidence.Circuit, ep evidence.Episode, base evidence.Baseline, p Params) open {
	o := open{ev: ev, t: t, c: c, ep: ep, base: base, alpha: alpha(p, ev.Interval)}
	if d := c.Delta(ep.Opened.From, ep.Opened.To); d.OK && d.CO == 1 && d.HC == 0 && d.WindowRequests > 0 {
		o.wr, o.wf, o.exact = d.WindowRequests, d.WindowFailures, true
	}
	return o
}

func (o open) step() time.Duration {
	if o.ev.Interval > 0 {
		return o.ev.Interval
	}
	return time.Minute
}

// judge asks every route.
func (o open) judge() proof {
	pr := proof{premature: o.exact && o.wr < float64(o.t.Config.FailureThreshold)}
	for _, r := range []struct {
		name string
		ask  func() (string, bool)
	}{
		{routeRate, o.rate}, {routeRun, o.run}, {routeTail, o.tail},
		{routeProbes, o.probes}, {routeOthers, o.others},
	} {
		if reason, ok := r.ask(); ok {
			pr.expected, pr.route, pr.reason = true, r.name, reason
			return pr
		}
	}
	pr.reason = o.seen()
	around := o.c.Delta(o.ep.Opened.From.Add(-o.step()), o.ep.Opened.To.Add(o.step()))
	switch {
	case o.ep.Opened.From.IsZero() || o.ep.Opened.Length() > o.step()*5/2:
		pr.undecided = true
		pr.reason = "opened inside a scrape gap; what the provider did then is not known"
	case !around.OK:
		pr.undecided = true
		pr.reason = "no outcomes were read around the open"
	case o.base.Outcomes == 0 && around.Failure >= evidence.MinFailures:
		pr.undecided = true
		pr.reason += "; no baseline to hold that against"
	case o.ev.At.Sub(o.ep.Opened.To) < maxGrow*o.step() && o.ep.Closed == nil:
		pr.undecided, pr.waiting = true, true
		pr.reason += "; too recent to tell"
	}
	return pr
}

// seen says what the breaker saw when it opened.
func (o open) seen() string {
	if o.exact {
		return fmt.Sprintf("opened at %.0f failed of %.0f in its window", o.wf, o.wr)
	}
	d := o.c.Delta(o.ep.Opened.From, o.ep.Opened.To)
	if !d.OK {
		return "opened"
	}
	return fmt.Sprintf("opened in a scrape with %.0f failed of %.0f outcomes", d.Failure, d.Success+d.Failure)
}

// rate: the outcomes around the open reach the configured error rate. The
// interval begins a window before the open and grows scrape by scrape, because
// after an open the flow stops and the first minute rarely shows it.
func (o open) rate() (string, bool) {
	thr := o.t.Config.ErrorRateThreshold
	if thr > 1 {
		return "", false // this trigger is switched off; a share cannot reach it
	}
	from := o.ep.Opened.From.Add(-time.Duration(o.t.Config.WindowSeconds) * time.Second)
	for i := range maxGrow + 1 {
		to := o.ep.Opened.To.Add(time.Duration(i) * o.step())
		if o.ep.Closed != nil && i > 0 && to.After(o.ep.Closed.From) || to.After(o.ev.At) {
			break
		}
		d := o.c.Delta(from, to)
		n := d.Success + d.Failure
		if !d.OK || n < evidence.MinOutcomes || d.Failure < evidence.MinFailures || d.Failure/n < thr {
			continue
		}
		// A threshold near the everyday error rate proves nothing by being reached.
		if thr < 0.25 && o.base.Tail(d.Failure, n) >= o.alpha {
			continue
		}
		return fmt.Sprintf("%.0f of %.0f outcomes failed around the open, %.0f %% and the config says %.0f %%",
			d.Failure, n, 100*d.Failure/n, 100*thr), true
	}
	return "", false
}

// run: the trigger was k consecutive failures, and the circuit's own baseline
// makes such a run improbable in the whole bake.
func (o open) run() (string, bool) {
	k := o.t.Config.FailureThreshold
	if !o.exact || k < 2 || k > 1000 || o.base.Outcomes == 0 || o.wf < float64(k) || o.wf/o.wr >= o.t.Config.ErrorRateThreshold {
		return "", false
	}
	bake := o.c.Delta(o.t.Since, o.ev.At)
	want := (bake.Success + bake.Failure) * o.base.RunProbability(int(k))
	if !bake.OK || want >= 0.05 {
		return "", false
	}
	return fmt.Sprintf("%d failures in a row; at its baseline error rate of %.2f %% that happens %s times in this bake",
		k, 100*o.base.P, small(want)), true
}

// tail: more failures in the scrapes around the open than the baseline explains.
func (o open) tail() (string, bool) {
	if o.base.Outcomes == 0 {
		return "", false
	}
	d := o.c.Delta(o.ep.Opened.From.Add(-o.step()), o.ep.Opened.To.Add(o.step()))
	n := d.Success + d.Failure
	if !d.OK || d.Failure < evidence.MinFailures {
		return "", false
	}
	p := o.base.Tail(d.Failure, n)
	if p >= o.alpha {
		return "", false
	}
	return fmt.Sprintf("%.0f of %.0f outcomes failed within a scrape of the open; chance %s at a baseline of %.2f %%",
		d.Failure, n, small(p), 100*o.base.P), true
}

// probes: the provider went on failing when it was asked again.
func (o open) probes() (string, bool) {
	failed, n := float64(o.ep.FailedProbes), float64(o.ep.FailedProbes)
	if o.ep.Closed != nil {
		n++
	}
	if failed < 3 || o.base.Outcomes == 0 || o.base.Tail(failed, n) >= o.alpha {
		return "", false
	}
	return fmt.Sprintf("%.0f of %.0f probes failed, which its baseline of %.2f %% cannot explain",
		failed, n, 100*o.base.P), true
}

// others: the provider failed for other tenants at the same time.
func (o open) others() (string, bool) {
	s := o.peers(o.ep.Opened.From.Add(-o.step()), o.ep.Opened.To.Add(o.step()))
	if !s.Failing(o.alpha) {
		return "", false
	}
	return fmt.Sprintf("%s failed for %d other tenants then too: %.0f of %.0f outcomes",
		o.c.Provider, s.FailingTenants, s.Failed, s.Outcomes), true
}

// peers is what every other tenant saw of the provider.
func (o open) peers(from, to time.Time) evidence.Share {
	return o.ev.Seen(o.c.Provider, o.t.ID, o.t.Baseline, from, to)
}

// small prints a probability or a rare count without pretending to digits.
func small(x float64) string {
	if x < 1e-6 {
		return "under 0.000001"
	}
	return fmt.Sprintf("%.2g", x)
}

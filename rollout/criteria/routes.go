package criteria

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// The routes by which an open is shown to have a failing provider behind it,
// after JUDGING.md, "Is an open expected?". Any one suffices.
const (
	routeRate     = "rate"
	routeRun      = "run"
	routeTail     = "tail"
	routeProbes   = "probes"
	routeOthers   = "others"
	routeHealth   = "providerHealthy"
	routeIncident = "incident"
	routeAfter    = "aftershock"
)

const (
	// maxGrow bounds how many scrapes the rate interval grows after the open.
	maxGrow = 10
	// brokenWitness is the share of failures that a witness must not have had in the hours
	// before: one that fails all the time says nothing about this open.
	brokenWitness = 0.25
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
	s     *Study
	t     *evidence.Tenant
	f     *circuitFacts
	c     *evidence.Circuit
	ep    evidence.Episode
	i     int // the episode's index in f
	alpha float64
	// window is what the breaker saw when it opened; exact says whether the
	// counters tell it (one open and no close between two scrapes).
	wr, wf float64
	exact  bool
}

func (s *Study) open(f *tenantFacts, c *circuitFacts, i int) open { return s.openOf(f.t, c, i) }

func (s *Study) openOf(t *evidence.Tenant, c *circuitFacts, i int) open {
	o := open{s: s, t: t, f: c, c: c.c, ep: c.episodes[i], i: i, alpha: s.alpha()}
	if d := o.c.Delta(o.ep.Opened.From, o.ep.Opened.To); d.OK && d.CO == 1 && d.HC == 0 && d.WindowRequests > 0 && !o.ep.Opened.From.IsZero() {
		o.wr, o.wf, o.exact = d.WindowRequests, d.WindowFailures, true
	}
	return o
}

// proof asks the routes about an episode, once.
func (s *Study) proof(f *tenantFacts, c *circuitFacts, i int) proof { return s.episodeProof(f.t, c, i) }

func (s *Study) episodeProof(t *evidence.Tenant, c *circuitFacts, i int) proof {
	if c.proofs[i] == nil {
		p := s.openOf(t, c, i).judge()
		c.proofs[i] = &p
	}
	return *c.proofs[i]
}

func (o open) base() evidence.Baseline { return o.s.normal(o.f) }

// judge asks every route.
func (o open) judge() proof {
	pr := proof{premature: o.exact && o.wr < float64(o.t.Config.FailureThreshold)}
	for _, r := range []struct {
		name string
		ask  func() (string, bool)
	}{
		{routeRate, o.rate}, {routeRun, o.run}, {routeTail, o.tail},
		{routeProbes, o.probes}, {routeOthers, o.others}, {routeHealth, o.unhealthy}, {routeIncident, o.declared}, {routeAfter, o.aftershock},
	} {
		if reason, ok := r.ask(); ok {
			pr.expected, pr.route, pr.reason = true, r.name, reason
			return pr
		}
	}
	pr.reason = o.shown()
	if d, ok := o.s.incident(o.c.Provider, o.ep.Opened.From, o.ep.Opened.To); ok {
		pr.reason += fmt.Sprintf("; the incident declared by %s does not count alone: %s", d.By, d.Marked)
	}
	around := o.c.Delta(o.ep.Opened.From.Add(-o.s.step()), o.ep.Opened.To.Add(o.s.step()))
	switch {
	case o.ep.Opened.From.IsZero() || o.ep.Opened.Length() > o.s.step()*5/2:
		pr.undecided = true
		pr.reason = "opened inside a scrape gap; what the provider did then is not known"
	case !around.OK:
		pr.undecided = true
		pr.reason = "no outcomes were read around the open"
	case o.base().Outcomes == 0 && around.Failure >= evidence.MinFailures:
		pr.undecided = true
		pr.reason += "; no baseline to hold that against"
	case o.s.Evidence.At.Sub(o.ep.Opened.To) < maxGrow*o.s.step() && o.ep.Closed == nil:
		pr.undecided, pr.waiting = true, true
		pr.reason += "; too recent to tell"
	}
	return pr
}

// shown says what the breaker saw when it opened.
func (o open) shown() string {
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
		to := o.ep.Opened.To.Add(time.Duration(i) * o.s.step())
		if o.ep.Closed != nil && i > 0 && to.After(o.ep.Closed.From) || to.After(o.s.Evidence.At) {
			break
		}
		d := o.c.Delta(from, to)
		n := d.Success + d.Failure
		if !d.OK || n < evidence.MinOutcomes || d.Failure < evidence.MinFailures || d.Failure/n < thr {
			continue
		}
		// A threshold near the everyday error rate proves nothing by being reached.
		if (thr < 0.5 || o.base().PUp > 0.25) && o.base().Tail(d.Failure, n) >= o.alpha {
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
	if !o.exact || k < 2 || k > 1000 || o.wf < float64(k) || o.wf/o.wr >= o.t.Config.ErrorRateThreshold || o.base().Outcomes == 0 {
		return "", false
	}
	bake := o.c.Delta(o.t.Since, o.s.Evidence.At)
	want := (bake.Success + bake.Failure) * o.base().RunProbability(int(k))
	if !bake.OK || want >= 0.05 {
		return "", false
	}
	return fmt.Sprintf("%d failures in a row; at its baseline error rate of %s that happens %s times in this bake",
		k, percent(o.base().P), small(want)), true
}

// tail: more failures in the scrapes around the open than the baseline explains.
func (o open) tail() (string, bool) {
	d := o.c.Delta(o.ep.Opened.From.Add(-o.s.step()), o.ep.Opened.To.Add(o.s.step()))
	n := d.Success + d.Failure
	if !d.OK || d.Failure < evidence.MinFailures || o.base().Outcomes == 0 {
		return "", false
	}
	p := o.base().Tail(d.Failure, n)
	if p >= o.alpha {
		return "", false
	}
	return fmt.Sprintf("%.0f of %.0f outcomes failed within a scrape of the open; chance %s at a baseline of %s",
		d.Failure, n, small(p), percent(o.base().P)), true
}

// probes: the provider went on failing when it was asked again.
func (o open) probes() (string, bool) {
	failed, n := float64(o.ep.FailedProbes), float64(o.ep.FailedProbes)
	if o.ep.Closed != nil {
		n++
	}
	if failed < 3 || o.base().Outcomes == 0 || o.base().Tail(failed, n) >= o.alpha {
		return "", false
	}
	return fmt.Sprintf("%.0f of %.0f probes failed, which its baseline of %s cannot explain",
		failed, n, percent(o.base().P)), true
}

// others: the provider failed for other tenants at the same time.
func (o open) others() (string, bool) {
	from, to := o.ep.Opened.From.Add(-o.s.step()), o.ep.Opened.To.Add(o.s.step())
	if o.ep.Opened.From.IsZero() {
		return "", false
	}
	s := o.peers(from, to)
	if !s.Failing(o.alpha) {
		return "", false
	}
	if s.FailingTenants == 1 { // alone, or beside some who hardly called
		before := o.s.seenWithin(o.c.Provider, o.t.ID, o.t.Baseline, from.Add(-6*time.Hour), from.Add(-time.Hour))
		if before.Outcomes > 0 && before.Failed/before.Outcomes >= brokenWitness {
			return "", false // the one witness fails all the time
		}
	}
	if o.s.alwaysFailing(o.c.Provider, o.t, from) {
		return "", false
	}
	return fmt.Sprintf("%s failed for %s then too: %.0f of %.0f outcomes",
		o.c.Provider, plural(s.FailingTenants, "other tenant"), s.Failed, s.Outcomes), true
}

// unhealthy: the deployment's own query says that the provider was failing.
func (o open) unhealthy() (string, bool) {
	h := o.s.health()
	if h == nil || h.problem != "" || o.ep.Opened.From.IsZero() {
		return "", false
	}
	slack := h.slack(o.s.step())
	if !h.failed(o.c.Provider, o.ep.Opened.From.Add(-slack), o.ep.Opened.To.Add(slack)) {
		return "", false
	}
	return "providerHealthy says that " + o.c.Provider + " was failing", true
}

// declared: an incident of the provider was declared in time, and is short enough to
// be about this open.
func (o open) declared() (string, bool) {
	if o.ep.Opened.From.IsZero() {
		return "", false
	}
	d, ok := o.s.incident(o.c.Provider, o.ep.Opened.From, o.ep.Opened.To)
	if !ok || d.Marked != "" {
		return "", false
	}
	return fmt.Sprintf("an incident of %s was declared by %s at %s: %s", o.c.Provider, d.By, stamp(d.Declared), d.Reason), true
}

// aftershock: the circuit had just closed after a failure of its provider that another
// route shows, and its window still held that failure: a close does not clear it, so
// that one failure right after opens it again (ROUTER.md §4).
func (o open) aftershock() (string, bool) {
	window := time.Duration(o.t.Config.WindowSeconds) * time.Second
	for j := o.i - 1; j >= 0; j-- {
		before := o.f.episodes[j]
		if before.Closed == nil || o.ep.Opened.From.Sub(before.Closed.To) > window {
			return "", false
		}
		if before.Shadow {
			continue
		}
		if pr := o.s.episodeProof(o.t, o.f, j); pr.expected && pr.route != routeAfter {
			return fmt.Sprintf("opened again at most %s after it closed at %s, with the failure of then still in its window of %s",
				round(o.ep.Opened.To.Sub(before.Closed.From)), stamp(before.Closed.To), round(window)), true
		}
	}
	return "", false
}

// peers is what every other tenant saw of the provider.
func (o open) peers(from, to time.Time) evidence.Share {
	return o.s.seen(o.c.Provider, o.t.ID, o.t.Baseline, from, to)
}

// alwaysFailing reports whether a provider failed for the others a day before as well:
// they are broken, and say nothing about now.
func (s *Study) alwaysFailing(provider string, t *evidence.Tenant, at time.Time) bool {
	x := s.seenWithin(provider, t.ID, t.Baseline, at.Add(-30*time.Hour), at.Add(-24*time.Hour))
	return x.Outcomes > 0 && x.Failed/x.Outcomes >= brokenWitness
}

// seenWithin is seen over hours, where counts need not be fine.
func (s *Study) seenWithin(provider, except string, before evidence.Interval, from, to time.Time) evidence.Share {
	from, to = from.Truncate(time.Hour), to.Truncate(time.Hour).Add(time.Hour)
	return evidence.ShareOf(s.world.ev.Tallies(provider, before, from, to), except, s.world.baseline)
}

// small prints a probability or a rare count without pretending to digits.
func small(x float64) string {
	if x < 1e-6 {
		return "under 0.000001"
	}
	return fmt.Sprintf("%.2g", x)
}

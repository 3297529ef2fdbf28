package criteria

import (
	"fmt"
	"sort"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/evidence"
)

// Closes is closes-after-recovery: "circuit closes successfully after provider
// recovery" (guide, Phase 1 step 3). Every episode, unexpected and shadow ones
// too, must close in the time that timeout, probes and traffic allow once the
// provider is back.
type Closes struct{}

// ID implements Criterion.
func (Closes) ID() string { return "closes-after-recovery" }

// wedgeScrapes is how many scrapes of fail_fast without any outcome make a
// half-open circuit a wedge (JUDGING.md, "Does it close?").
const wedgeScrapes = 5

// closing is the judgement of one episode.
type closing struct {
	verdict Verdict
	state   State
	reason  string
	took    time.Duration // from recovery to close, upper bound; 0 if it has not closed
	// silent: it ended otherwise, before its time was over, and says nothing.
	silent bool
}

// Judge implements Criterion.
func (Closes) Judge(s *Study, k int) TenantFinding {
	f := s.tenant(k)
	tf := TenantFinding{Tenant: f.t.ID, Basis: Measured, Evidence: s.healthFact(), Episodes: []EpisodeFinding{}}
	type item struct {
		ep  evidence.Episode
		res closing
	}
	var items []item
	total, silent, drilled := 0, 0, 0
	for _, c := range f.circuits {
		total += len(c.episodes)
	}
	for _, c := range f.circuits {
		for i, ep := range c.episodes {
			res := s.open(f, c, i).closes(total)
			if res.silent {
				silent++
			}
			if d, ok := s.incident(c.c.Provider, ep.Opened.From, ep.Opened.To); ok && d.Drill && !res.silent {
				drilled++
			}
			items = append(items, item{ep, res})
		}
	}
	var slowest time.Duration
	count := map[Verdict]int{}
	stuck := false
	worst := Pass
	for _, it := range items {
		ef := episodeFinding(it.ep)
		ef.Reason = it.res.reason
		tf.Episodes = append(tf.Episodes, ef)
		if it.res.silent {
			continue
		}
		count[it.res.verdict]++
		worst = Worst(worst, it.res.verdict)
		stuck = stuck || it.res.state == Stuck
		slowest = max(slowest, it.res.took)
	}
	for _, v := range []Verdict{Fail, Inconclusive, Pass} {
		for _, it := range items {
			if it.res.verdict == v && len(tf.Evidence) < maxFacts {
				tf.Evidence = append(tf.Evidence, closeFact(it.ep, it.res))
			}
		}
	}
	r := s.ready(k)
	n := len(items) - silent
	b := r.blocked(readsTransitions)
	switch {
	case worst == Fail && !r.cannotFail(readsTransitions) && r.off == nil:
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("%d of %s did not close after the provider was back", count[Fail], plural(n, "episode"))
		tf.Needs = "a config that can close, a reset of the circuit, or traffic that asks the breaker"
	case b != nil:
		b.Episodes, b.Evidence = tf.Episodes, append(b.Evidence, tf.Evidence...)
		return *b
	case worst == Inconclusive:
		tf.Verdict, tf.State = Inconclusive, Waiting
		if stuck {
			tf.State = Stuck
		}
		tf.Summary = fmt.Sprintf("%d of %s closed; %d undecided: %s",
			count[Pass], plural(n, "episode"), count[Inconclusive], tf.Evidence[0].Text)
		tf.Needs = "the circuit to close, or a sign that the provider is back"
	case n == 0:
		tf = s.noEpisode(k, tf)
	default:
		tf.Verdict = Pass
		tf.Summary = fmt.Sprintf("%d of %d closed, slowest at most %s after recovery", n, n, round(slowest))
		if drilled == n {
			tf.Basis = Drill
			tf.Summary += ", in drills"
		}
	}
	if silent > 0 {
		tf.Summary += fmt.Sprintf(" (%d ended by a restart or a reset)", silent)
	}
	return tf
}

// noEpisode: in phases 1 and 2 the twin runs the normalization scenario with the
// tenant's own config; from phase 3 on a real or drilled episode somewhere in the
// rollout is required besides.
func (s *Study) noEpisode(k int, tf TenantFinding) TenantFinding {
	tf.Basis = Twin
	how, ok := normalizes(s.Evidence.Tenants[k].Config)
	tf.Summary = "no episode; on the twin this config " + how
	tf.Evidence = append(tf.Evidence, Fact{Text: "twin: " + how})
	switch {
	case !ok:
		tf.Verdict = Fail
		tf.Needs = "a config that can open and close"
		return tf
	case s.Request.Phase < 3:
		tf.Verdict = Pass
		return tf
	}
	who, when, ok := s.closedElsewhere(k)
	if !ok {
		tf.Verdict, tf.State, tf.Basis = Inconclusive, Stuck, Measured
		tf.Summary = "nobody has seen an open close; from phase 3 on one real or drilled episode must have"
		tf.Needs = "a drill: let one circuit of a judged tenant open and close"
		return tf
	}
	tf.Verdict = Pass
	tf.Summary += fmt.Sprintf("; a circuit of %s closed in time on %s", who, stamp(when))
	return tf
}

// closedElsewhere finds an episode of another judged tenant that closed in time.
func (s *Study) closedElsewhere(k int) (who string, when time.Time, ok bool) {
	for j := range s.Evidence.Tenants {
		if j == k {
			continue
		}
		f := s.tenant(j)
		for _, c := range f.circuits {
			for i, ep := range c.episodes {
				if ep.Closed != nil && s.open(f, c, i).closes(len(c.episodes)).verdict == Pass {
					return f.t.ID, ep.Closed.To, true
				}
			}
		}
	}
	return "", time.Time{}, false
}

// normalizes runs scenario 2 of ROUTER.md §6 on the twin with a config: fail
// until open, wait for the timeout, then answer every probe with a success.
func normalizes(c evidence.Config) (string, bool) {
	const patience = 10_000 // outcomes; a threshold above is never reached in practice
	k := breaker.Key{Tenant: "twin", Provider: "twin"}
	reg := breaker.NewRegistry(breaker.Options{})
	now := int64(1_000_000_000)
	reg.Configure(k, breaker.Config{
		FailureThreshold: c.FailureThreshold, SuccessThreshold: c.SuccessThreshold, TimeoutMS: c.TimeoutMS,
		HalfOpenMaxCalls: c.HalfOpenMaxCalls, WindowSeconds: c.WindowSeconds, ErrorRateThreshold: c.ErrorRateThreshold,
		LatencyThresholdMS: c.LatencyThresholdMS,
	}, now)
	state := func() string { s, _ := reg.Status(k); return string(s.State) }
	failures := 0
	for ; state() != "open"; failures++ {
		if failures == patience {
			return fmt.Sprintf("does not open after %d failures in a row", failures), false
		}
		now++
		reg.Failure(k, now)
	}
	now += max(c.TimeoutMS, 0)
	probes := 0
	for ; state() != "closed"; probes++ {
		if probes == patience || !reg.Allow(k, now) {
			return fmt.Sprintf("never closes: denied after %s", plural(probes, "probe")), false
		}
		now++
		reg.Success(k, now)
	}
	return fmt.Sprintf("opens at failure %d and closes at probe %d, %d ms after opening",
		failures, probes, c.TimeoutMS), true
}

// closes judges one episode of n.
func (o open) closes(n int) closing {
	from := o.ep.Opened.To
	if o.ep.Shadow && from.Before(o.t.Since) {
		from = o.t.Since // before enabling nothing asks, so nothing could close
	}
	if o.ep.Ended != nil {
		res := o.stillOpen(n, from, o.ep.Ended.From)
		if res.verdict == Fail {
			return res // too late already when it was ended
		}
		how := "a restart of the router, which clears every circuit"
		if o.ep.Reset {
			how = "a reset: no close was counted"
		}
		return closing{verdict: Pass, silent: true, reason: "ended by " + how + "; says nothing about closing"}
	}
	if o.ep.Closed == nil {
		return o.stillOpen(n, from, o.s.Evidence.At)
	}
	back, known := o.recovery(from, o.ep.Closed.To)
	if !known {
		// It closed, which takes successes: the provider was back by then.
		return closing{verdict: Pass, reason: "closed", took: o.ep.Closed.To.Sub(from)}
	}
	allowed := o.allowed(n, back.From)
	least, most := o.ep.Closed.From.Sub(back.To), o.ep.Closed.To.Sub(back.From)
	res := closing{verdict: Pass, took: most,
		reason: fmt.Sprintf("closed at most %s after the provider was back, %s allowed", round(most), round(allowed))}
	switch {
	case least > allowed:
		res.verdict = Fail
		res.reason = fmt.Sprintf("closed at least %s after the provider was back, %s allowed", round(least), round(allowed))
	case most > allowed+2*o.s.step():
		res.verdict, res.state = Inconclusive, Stuck
		res.reason = fmt.Sprintf("closed between %s and %s after the provider was back, %s allowed: the scrapes do not tell",
			round(least), round(most), round(allowed))
	}
	return res
}

// stillOpen judges an episode that had not closed by `at`.
func (o open) stillOpen(n int, from, at time.Time) closing {
	step := o.s.step()
	if o.ep.HalfOpen {
		d := o.c.Delta(at.Add(-(wedgeScrapes+2)*step), at)
		if d.OK && d.FailFast > 0 && d.Outcomes() == 0 && d.OH == 0 {
			return closing{verdict: Fail, reason: fmt.Sprintf(
				"wedged: half-open, and in the last %d scrapes %.0f requests were denied while no probe returned", wedgeScrapes, d.FailFast)}
		}
	}
	since := o.c.Delta(from, at)
	if !since.OK {
		return closing{verdict: Inconclusive, state: Stuck, reason: "still open, and no outcomes were read since"}
	}
	if since.Outcomes()+since.FailFast == 0 {
		return closing{verdict: Inconclusive, state: Stuck,
			reason: "still open, and no traffic asks it: an open circuit closes only when asked"}
	}
	back, known := o.recovery(from, at)
	if !known {
		return closing{verdict: Inconclusive, state: Waiting, reason: "open at the end; no sign yet that the provider is back"}
	}
	allowed := o.allowed(n, back.From)
	waited := at.Sub(back.To)
	if waited <= allowed {
		return closing{verdict: Inconclusive, state: Waiting, reason: fmt.Sprintf(
			"open at the end, %s after the provider was back; %s allowed", round(waited), round(allowed))}
	}
	if since.OH == 0 && since.FailFast == 0 {
		return closing{verdict: Fail, reason: fmt.Sprintf(
			"never asked: open while %.0f outcomes were recorded on it, the provider back for %s", since.Success+since.Failure, round(waited))}
	}
	return closing{verdict: Fail, reason: fmt.Sprintf(
		"still open %s after the provider was back, %s allowed; %.0f failed probes", round(waited), round(allowed), since.HO)}
}

// recovery bounds when the provider was back, in (from, to]: by other tenants'
// outcomes where they proved the failure, by providerHealthy where that did, else by
// the circuit's own first success after its last bad scrape.
func (o open) recovery(from, to time.Time) (evidence.Interval, bool) {
	step := o.s.step()
	if _, ok := o.others(); ok {
		var back evidence.Interval
		known := false
		// Walk the scrapes; the last stretch of health that reaches `to` counts. Far
		// from both ends others were not read at every scrape, and say nothing.
		for t := from; !t.After(to.Add(step)); t = t.Add(step) {
			s := o.peers(t.Add(-step), t)
			switch {
			case s.Failing(o.alpha):
				known = false
			case s.Healthy(o.alpha) && !known:
				back, known = evidence.Interval{From: t.Add(-step), To: t}, true
			}
		}
		if known {
			return back, true
		}
	}
	if _, ok := o.unhealthy(); ok {
		return o.s.health().back(o.c.Provider, from, to)
	}
	return o.ownRecovery(from, to)
}

func (o open) ownRecovery(from, to time.Time) (evidence.Interval, bool) {
	var back evidence.Interval
	known := false
	all := o.c.Outcomes
	i := sort.Search(len(all), func(i int) bool { return all[i].At().After(from) })
	for ; i < len(all) && !all[i].At().After(to); i++ {
		if i == 0 || all[i-1].Epoch != all[i].Epoch {
			continue
		}
		prev, p := &all[i-1], &all[i]
		failed, fine := p.Failure-prev.Failure, p.Success-prev.Success
		if failed > 0 && failed >= fine {
			known = false // a bad scrape: whatever came before was not the recovery
		}
		if fine > failed && !known {
			back, known = evidence.Interval{From: prev.At(), To: p.At()}, true
		}
	}
	return back, known
}

// allowed is how long a healthy breaker may take to close after recovery:
// (1 + k)·timeout for k probes that still failed, the time that traffic needs to
// bring the successes (a Gamma quantile; `success_threshold` times a 95 % gap is
// too tight over many episodes), and two scrapes.
func (o open) allowed(n int, back time.Time) time.Duration {
	k := float64(o.c.Delta(back, o.ep.Until(o.s.Evidence.At)).HO)
	timeout := time.Duration(o.t.Config.TimeoutMS) * time.Millisecond
	hour := o.c.Delta(o.ep.Opened.From.Add(-time.Hour), o.ep.Opened.From)
	rate := (hour.Success + hour.Failure + hour.FailFast) / time.Hour.Seconds()
	// What traffic there was since counts where it is less: an outage may end at night.
	until := o.ep.Until(o.s.Evidence.At)
	if since := o.c.Delta(back, until); since.OK && until.After(back) {
		rate = min(rate, (since.Outcomes()+since.FailFast)/until.Sub(back).Seconds())
	}
	var traffic time.Duration
	if rate > 0 {
		q := distuv.Gamma{Alpha: float64(max(o.t.Config.SuccessThreshold, 1)) + k, Beta: rate}.
			Quantile(1 - 0.01/float64(max(n, 1)))
		traffic = time.Duration(q * float64(time.Second))
	} else {
		traffic = 24 * time.Hour // nothing to derive it from: do not fail on it
	}
	return time.Duration((1+k)*float64(timeout)) + traffic + 2*o.s.step()
}

func closeFact(ep evidence.Episode, res closing) Fact {
	from, to := ep.Opened.From, ep.Opened.To
	return Fact{
		Text:     fmt.Sprintf("%s, opened %s: %s", ep.Provider, stamp(to), res.reason),
		Provider: ep.Provider, Node: ep.Node, From: &from, To: &to,
	}
}

// Counterexamples implements Criterion.
func (Closes) Counterexamples(s *Study, k int) []Counterexample {
	base := s.common(k)
	ces := base
	for i := range s.tenant(k).circuits {
		at, ok := s.quietMoment(k, i)
		if !ok {
			continue
		}
		ces = append(ces,
			Counterexample{"a half-open circuit that denies for ever", func(c *Case) { plant(c.Evidence, c.Circuit(i), at, planted{wedge: true}) }},
			Counterexample{"an open circuit that nothing asks", func(c *Case) { plant(c.Evidence, c.Circuit(i), at, planted{}) }})
		break
	}
	if len(ces) == len(base) {
		return nil
	}
	return ces
}

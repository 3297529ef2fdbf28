package scenario

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/breaker"
)

// stress is what the guide's report wishes for: 100 workers and more, at once.
func stress(p Params) Scenario {
	const workers, circuits = 128, 64
	each := 100
	if p.Live {
		each = 10
	}
	n := workers * each
	c := p.config(10, 0)
	load := Send{Count: n, Workers: workers, Parallel: true, Outcomes: mixed()}
	failures := 0
	for i := range n {
		if f, _ := load.Outcome(i).Failed(); f {
			failures++
		}
	}
	at := func(v Verb, spread int) Send {
		s := load
		s.Verb, s.Spread = v, spread
		return s
	}
	counted := []Expectation{Equals("failures", float64(failures)), Equals("successes", float64(n-failures))}
	return Scenario{
		Name: "stress", Title: "128 workers at once", Target: p.target(5 * time.Second),
		Circuits: []Circuit{
			{Name: "one circuit", Config: c, Steps: []Step{at(Record, 1), expect(append(counted, Equals("held", float64(n)))...), expect(endsOpen(c, load)...)}},
			{Name: "one circuit, asking first", Config: c, Steps: []Step{at(Requests, 1), expect(Equals("events", float64(n))), expect(endsOpen(c, load)...)}},
			{Name: "64 circuits", Config: c, Steps: []Step{at(Record, circuits), expect(append(counted, Equals("circuits", circuits))...)}},
		},
	}
}

// longWindow is hours of traffic: the window is cleaned, and memory does not grow.
func longWindow(p Params) Scenario {
	c := p.config(10, 0)
	window := windowOf(c)
	every, length := 100*time.Millisecond, p.Length
	if 2*window > length { // as many requests as for the longest window that is documented, 1 h
		length = 2 * window
		every = max(every, (length / 72_000).Round(time.Millisecond))
	}
	n := int(length / every)
	outcomes := make([]Outcome, 20)
	for i := range outcomes {
		outcomes[i] = Success
	}
	outcomes[19] = Failure
	load := Send{Verb: Record, Count: n, Outcomes: outcomes, Every: every}
	// Looked at when the last has been recorded and another interval has passed.
	held := eventsIn(window, every, n)
	failures := 0
	for i := n - held; i < n; i++ {
		if f, _ := load.Outcome(i).Failed(); f {
			failures++
		}
	}
	burst := Send{Verb: Record, Count: 20_000, Outcomes: []Outcome{Success}, Every: time.Millisecond}
	const small = 512
	return Scenario{
		Name: "long-window", Title: fmt.Sprintf("%s of traffic: the window is cleaned", length), Target: p.target(10 * time.Second),
		Circuits: []Circuit{{Config: c, Steps: []Step{
			load,
			expect(Equals("held", float64(held)).named(fmt.Sprintf("held of %d recorded", n)), Equals("error_rate", float64(failures)/float64(held)),
				AtMost("memory_bytes", float64(16*held+small))),
			wait(window), ask(1),
			expect(Equals("held", 0).named("held after a quiet window"), AtMost("memory_bytes", small).named("bytes after a quiet window")),
			burst, wait(window), ask(1),
			expect(AtMost("memory_bytes", small).named("bytes after a burst and a quiet window")),
		}}},
	}
}

// providerFaults are the ways in which a provider fails and comes back.
func providerFaults(p Params) Scenario {
	c := p.config(5, 2000)
	n := max(20, failuresToOpen(c))
	every := 500 * time.Millisecond / time.Duration(n)
	every = every.Truncate(time.Millisecond)
	st, to := successesToClose(c), timeout(c)
	open := fail(failuresToOpen(c))
	probes := int(min(max(c.HalfOpenMaxCalls, 1), patience))
	slow := func(o Outcome) Send {
		s := requests(n, o).each(every)
		s.Latency = time.Second
		return s
	}
	var flapping []Step
	for range 3 {
		flapping = append(flapping, requests(n, ServerError).each(every), p.after(to), requests(st+5, Success).each(time.Millisecond))
	}
	return Scenario{
		Name: "provider-faults", Title: "timeouts, 5xx, slow answers, flapping", Target: p.target(5 * time.Second),
		Circuits: []Circuit{
			{Name: "timeouts", Config: c, Steps: []Step{
				slow(Timeout), wait(time.Second), ask(1),
				// All were admitted before the first was known to have failed.
				expect(Equals("opens", 1), Equals("failures", float64(n)).named("failures counted, those in flight included"),
					isState(breaker.Open), Is("asks", "denied")),
			}},
			{Name: "5xx, then recovery", Config: c, Steps: []Step{
				requests(n, ServerError).each(every), expect(Equals("opens", 1), isState(breaker.Open)),
				p.after(to), requests(st, Success), expect(Equals("closes", 1), isState(breaker.Closed)),
			}},
			{Name: "slow answers", Config: c, Steps: []Step{
				slow(Slow), wait(time.Second),
				expect(Equals("opens", 0).insteadOf("opens on latency"), Equals("successes", float64(n)), isState(breaker.Closed)),
			}},
			{Name: "flapping", Config: c, Steps: append(flapping,
				expect(Equals("opens", 3), Equals("closes", 3), isState(breaker.Closed)))},
			{Name: "partial recovery", Config: c, Steps: []Step{
				open, p.after(to), requests(1, Failure), p.after(to), requests(1, Failure),
				expect(Equals("reopens", 2).named("reopens at the first probe that fails"), isState(breaker.Open)),
				p.after(to), requests(st, Success), expect(Equals("closes", 1), isState(breaker.Closed)),
			}},
			{Name: "a probe that never answers", Config: c, Steps: []Step{
				open, p.after(to), ask(probes), wait(p.many() * to), ask(1),
				expect(isState(breaker.HalfOpen).named("still half-open").insteadOf("open or closed"), Is("asks", "denied").insteadOf("allowed"), Equals("closes", 0)),
				succeed(st), expect(isState(breaker.Closed).named("late answers close it")),
			}},
		},
		Deviations: []string{
			"the guide expects slow answers to count; latency_threshold_ms compares the router's global publish latency, not the provider's",
			"the guide expects half-open to end; if every probe that is admitted stays without an answer, the router denies for ever",
		},
	}
}

// metricsScenario checks every metric of ROUTER.md §5 against the state, operation
// by operation.
func metricsScenario(p Params) Scenario {
	c := p.config(5, 2000)
	n, st, to := failuresToOpen(c), successesToClose(c), timeout(c)
	onLatency := c
	onLatency.LatencyThresholdMS = 5000
	consistent := Is("metrics", "consistent")
	first, why := openingFailure(breaker.DefaultConfig(), 0, 1)
	return Scenario{
		Name: "metrics", Title: "every metric is emitted when it should be", Target: p.target(time.Second),
		Circuits: []Circuit{
			{Name: "through all states", Config: c, Steps: []Step{
				fail(n), ask(2), p.after(to), ask(1), fail(1), p.after(to), requests(st, Success), requests(3, Success, Failure),
				expect(consistent, Is("series", metricNames()...)),
			}},
			{Name: "opens on failures in a row", Config: c, Steps: []Step{succeed(20), fail(n), ask(1), expect(consistent)}},
			{Name: "opens on latency", Config: onLatency, Steps: []Step{
				succeed(20), Publish{5001 * time.Millisecond}, fail(1),
				expect(consistent, Is("reasons", "latency_threshold_exceeded").named("because")),
			}},
			{Name: "never configured, first a failure", Unconfigured: true, Steps: []Step{
				fail(1), ask(1), expect(consistent, Equals("opened_at_failure", float64(first)), Is("reasons", why).named("because")),
			}},
			{Name: "never configured, first a success", Unconfigured: true, Steps: []Step{
				succeed(1), ask(1), fail(1), expect(consistent),
			}},
		},
		Deviations: []string{
			"the documents select state_transitions_total by state; the router emits from and to",
			"state and trigger_reason are never taken back: after a recovery state=\"open\" still reads 1, and trigger_reason stays 1 for ever",
		},
	}
}

// wedge looks for a config that can never close: probes whose answers all come,
// and all are good, must close it.
func wedge(p Params) Scenario {
	c := p.config(5, 2000)
	known := func(st, calls int64) Circuit {
		k := guide(5)
		k.TimeoutMS, k.SuccessThreshold, k.HalfOpenMaxCalls = 2000, st, calls
		return Circuit{Name: fmt.Sprintf("known wedge: %d of %d probes", st, calls), Config: k, Steps: []Step{
			fail(10), p.after(timeout(k)), requests(20, Success), wait(p.many() * timeout(k)), ask(1),
			expect(isState(breaker.HalfOpen).named("never closes"), Is("asks", "denied"), Equals("closes", 0)),
		}}
	}
	circuits := []Circuit{
		{Name: "this config", Config: c, Steps: []Step{
			fail(failuresToOpen(c)), p.after(timeout(c)), requests(successesToClose(c), Success),
			expect(isState(breaker.Closed).named("can close"), Is("states", "open", "half_open", "closed")),
		}},
	}
	// Lost probes: as many as the config can spare, and one more.
	if spare := int(min(max(c.HalfOpenMaxCalls, 0), patience)) - successesToClose(c); spare > 0 {
		circuits = append(circuits, Circuit{Name: fmt.Sprintf("%d of its probes lost", spare), Config: c, Steps: []Step{
			fail(failuresToOpen(c)), p.after(timeout(c)), ask(spare), requests(successesToClose(c), Success),
			expect(isState(breaker.Closed).named("closes nevertheless")),
		}})
	}
	return Scenario{
		Name: "wedge", Title: "the config can close again", Target: p.target(time.Second),
		Circuits:   append(circuits, known(4, 3), known(2, 0), known(2, 1)),
		Deviations: []string{"the router admits half_open_max_calls probes an open and no more, so success_threshold above it never closes; it does not warn"},
	}
}

// configSwap changes the config under a live circuit: only the config changes.
func configSwap(p Params) Scenario {
	long, short := guide(5), guide(5)
	short.TimeoutMS = 2000
	if p.own() {
		short = *p.Config
	}
	narrow := guide(10)
	narrow.ErrorRateThreshold = 1.01
	second := narrow
	second.WindowSeconds = 1
	strict := guide(5)
	strict.ErrorRateThreshold = 0.1
	st, to := successesToClose(short), timeout(short)
	s := Scenario{
		Name: "config-swap", Title: "a new config under a live circuit", Target: p.target(time.Second),
		Circuits: []Circuit{
			{Name: "under an open circuit", Config: long, Steps: []Step{
				fail(5), expect(isState(breaker.Open)), Configure{short},
				expect(isState(breaker.Open).named("the swap leaves it open"), Equals("consecutive_failures", 5), Equals("held", 5)),
				wait(to), requests(st, Success),
				expect(Is("states", "open", "half_open", "closed").named("the new timeout and thresholds count"), isState(breaker.Closed)),
			}},
		},
		Deviations: []string{"the guide takes a new policy for a new start; the router swaps the config only, and an open circuit stays open under it"},
	}
	if p.own() {
		return s
	}
	s.Circuits = append(s.Circuits,
		Circuit{Name: "a longer timeout", Config: short, Steps: []Step{
			fail(5), Configure{long}, wait(2 * time.Second), ask(1), expect(Is("asks", "denied").named("the old timeout no longer counts")),
			wait(28 * time.Second), ask(1), expect(Is("asks", "allowed").named("counted from the opening")),
		}},
		Circuit{Name: "a shorter window", Config: narrow, Steps: []Step{
			succeed(50).each(100 * time.Millisecond), Configure{second}, expect(Equals("held", 50).named("held until touched")),
			ask(1), expect(Equals("held", 10).named("held once touched")),
		}},
		Circuit{Name: "stricter, while closed", Config: guide(5), Steps: []Step{
			succeed(3), fail(1), Configure{strict}, expect(isState(breaker.Closed).named("a swap opens nothing")),
			succeed(1), expect(isState(breaker.Closed).named("a success opens nothing")),
			fail(1), expect(isState(breaker.Open).named("the next failure does")),
		}})
	return s
}

// lowTraffic counts the opens of a provider that is never down, at a tenant's
// rate: the router has no minimum volume.
func lowTraffic(p Params) Scenario {
	c := p.config(5, 0)
	s := Scenario{Name: "low-traffic", Title: "opens without an outage", Target: p.target(10 * time.Second),
		Deviations: []string{"the guide picks a low-traffic canary as the safe one; with no minimum volume it is the one that opens on noise"}}
	add := func(t TenantTraffic, c breaker.Config, but string, e Expectation) {
		s.Circuits = append(s.Circuits, Circuit{
			Name:   but + t.String(),
			Config: c,
			Steps: []Step{
				Traffic{PerMinute: t.PerMinute, Trough: t.Trough, FailureShare: t.ErrorRate, For: t.length(), Spread: t.Providers, Weights: t.Weights},
				expect(e.named("false opens a day")),
			}})
	}
	if p.Rate != nil {
		add(*p.Rate, c, "", AtMost("opens_per_day", p.Rate.MaxOpensPerDay))
		if c.ErrorRateThreshold <= 1 {
			off := c
			off.ErrorRateThreshold = 1.01
			add(*p.Rate, off, "with error_rate_threshold 1.01, which is off: ", Reported("opens_per_day", ""))
		}
		return s
	}
	for _, perMinute := range []float64{6, 60} {
		add(TenantTraffic{PerMinute: perMinute, Providers: 3, ErrorRate: 0.01, Trough: 0.2}, c, "", Reported("opens_per_day", ""))
	}
	return s
}

// String says what traffic it is.
func (t TenantTraffic) String() string {
	providers := "1 provider"
	if t.Providers > 1 {
		providers = fmt.Sprintf("%d providers", t.Providers)
	}
	return fmt.Sprintf("%g req/min over %s, %g %% errors", t.PerMinute, providers, 100*t.ErrorRate)
}

// length is how much of the traffic is simulated: a week, or as many days as a
// budget of requests allows, and less than a day only for a very busy tenant.
func (t TenantTraffic) length() time.Duration {
	if t.For > 0 {
		return t.For
	}
	const budget = 60_000 // requests
	minutes := min(budget/max(t.PerMinute, 0.001), 7*24*60)
	return time.Duration(minutes) * time.Minute
}

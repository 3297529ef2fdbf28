package history

import (
	"maps"
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/statement"
)

// Stories are pasts with planted causes; the order of verdicts in each is the
// phase's, then opens, closes, error rate, metrics, effective.
func Stories() []Story {
	out := quiet()
	out = append(out, outages()...)
	out = append(out, faults()...)
	out = append(out, rates()...)
	out = append(out, statements()...)
	out = append(out, fleets()...)
	out = append(out, sly()...)
	return out
}

// quiet are pasts in which nothing is wrong with the providers.
func quiet() []Story {
	steady := story("steady", "nothing happens to t-acme", enabled("t-acme", 60), others(), pass, pass, pass, pass, pass, inconclusive)

	bolt := enabled("t-bolt", 3)
	bolt.Errors = errors("t-bolt", 0.01)
	noise := story("noise on low traffic", "3 requests a minute and 1 % errors: single failures open the breaker", bolt, others(),
		fail, fail, pass, inconclusive, pass, pass)
	noise.Options.Seed = 12

	one := enabled("t-acme", 20)
	lone := later(30)
	one.Traffic = func(at time.Time) float64 {
		if d := lone.Sub(at); d > 0 && d <= 3*time.Minute {
			return 0
		}
		return 1
	}
	one.Errors = func(p string, at time.Time) float64 {
		if p == "openai" && at.Equal(lone) {
			return 1
		}
		return 0.0002
	}
	lonely := story("a single first open", "one open in three days, on a series that first appears at 1", one, others(), fail, fail, pass, pass, pass, pass)

	gaps := story("scrape gaps", "the node is not scraped for 20 of 72 hours", enabled("t-acme", 60), others(),
		inconclusive, inconclusive, inconclusive, inconclusive, inconclusive, inconclusive)
	gaps.Options.Blind = func(_ string, at time.Time) bool { return at.After(later(30)) && at.Before(later(50)) }

	none := story("no series", "t-none is not in the metrics", enabled("t-acme", 60), others(),
		unmeasurable, unmeasurable, unmeasurable, unmeasurable, unmeasurable, unmeasurable)
	none.Judged = []Judged{{ID: "t-none", Since: Enabled()}}
	none.Options.Tenants = append(none.Options.Tenants, Tenant{ID: "t-none", Providers: Two(), Errors: errors("", 0), Configs: []Loaded{{At: Enabled(), Enabled: true, Config: GuideConfig()}}})

	stops := enabled("t-acme", 60)
	stops.Traffic = func(at time.Time) float64 {
		if at.After(later(10)) {
			return 0
		}
		return 1
	}
	stopped := story("traffic stops", "no request after ten hours", stops, others(),
		inconclusive, inconclusive, inconclusive, inconclusive, inconclusive, inconclusive)

	restart := story("a restart", "the node restarts on the first day", enabled("t-acme", 60), others(), pass, pass, pass, pass, pass, inconclusive)
	restart.Options.Restarts = map[string][]time.Time{"node-1:9001": {later(20)}}

	early := story("an hour after enabling", "nothing happens, and hardly any time has passed", enabled("t-acme", 60), others(),
		inconclusive, inconclusive, inconclusive, inconclusive, inconclusive, inconclusive)
	early.At = later(1)
	early.Options.End = early.At
	early.Stated.Attestations[0].From, early.Stated.Attestations[1].From = Enabled(), Enabled()

	changed := bolt
	changed.ID = "t-bolt"
	tuned := GuideConfig()
	tuned.ErrorRateThreshold = 1.01
	changed.Configs = []Loaded{{At: Enabled(), Enabled: true, Config: GuideConfig()}, {At: later(48), Enabled: true, Config: tuned}}
	changed.PerMinute, changed.Errors = 8, errors("t-bolt", usual)
	second := story("a config changed on day 2", "noise opened the breaker until its config was tuned on day 2; the bake begins anew", changed, others(),
		inconclusive, inconclusive, inconclusive, inconclusive, inconclusive, inconclusive)
	second.Judged = []Judged{{ID: "t-bolt", Since: later(48)}}
	second.At = later(48 + 36)
	second.Options.End = second.At
	for i := range second.Stated.Attestations {
		second.Stated.Attestations[i].From = later(50)
	}
	second.Stated.Bakes = []statement.Bake{{Tenant: "t-bolt", From: Enabled(), To: later(48), Reason: "opened on noise"}, {Tenant: "t-bolt", From: later(48)}}

	tunedIn := second
	tunedIn.Name, tunedIn.Planted = "a tuned tenant", "the same, three days after its config was tuned"
	tunedIn.At = later(48 + 72)
	tunedIn.Options.End = tunedIn.At
	tunedIn.Verdict, tunedIn.Want = pass, map[string]criteria.Verdict{"no-unexpected-opens": pass, "closes-after-recovery": pass, "error-rate-not-increased": pass,
		"metrics-accurate": pass, "breaker-effective": inconclusive, "latency-not-degraded": pass, "logs-useful": pass}
	tunedIn.Options.Tenants = slices.Clone(second.Options.Tenants)
	more := changed
	more.PerMinute = 12
	tunedIn.Options.Tenants[0] = more
	return []Story{steady, noise, lonely, gaps, none, stopped, restart, early, second, tunedIn}
}

// outages are pasts in which a provider really fails.
func outages() []Story {
	bad := outageFor(later(40), 25*time.Minute)
	all := story("outage for all", "openai fails for everybody for 25 minutes", enabled("t-acme", 60, bad), others(bad), pass, pass, pass, pass, pass, pass)

	alone := Fault{Provider: "openai", From: later(40), For: 25 * time.Minute, Share: 1, Tenant: "t-acme"}
	own := story("outage for one", "openai fails for t-acme alone", enabled("t-acme", 60, alone), others(), pass, pass, pass, pass, pass, pass)

	during := story("a restart during an open", "the node restarts in the middle of an outage", enabled("t-acme", 60, bad), others(bad), pass, pass, pass, pass, pass, pass)
	during.Options.Restarts = map[string][]time.Time{"node-1:9001": {later(40).Add(10 * time.Minute)}}

	nodes := story("two nodes", "openai fails for everybody; two nodes serve", enabled("t-acme", 120, bad), others(bad), pass, pass, pass, pass, pass, pass)
	nodes.Options.Nodes = []string{"node-1:9001", "node-2:9001"}

	// Before enabling nothing asks, so that a circuit that trips stays open.
	trip := Fault{Provider: "openai", From: Enabled().Add(-20 * time.Hour), For: 10 * time.Minute, Share: 1}
	shadow := story("a shadow open", "a circuit tripped before enabling and was still open then", enabled("t-acme", 60, trip), others(trip), pass, pass, pass, pass, pass, pass)

	long := outageFor(later(30), 10*time.Hour)
	tenHours := story("a long outage", "openai fails for everybody for ten hours, and every fail_fast is an error", enabled("t-acme", 60, long), others(long), pass, pass, pass, pass, pass, pass)
	tenHours.FailFast = criteria.FailFastRejected

	partly := Fault{Provider: "openai", From: later(40), For: 40 * time.Minute, Share: 0.6}
	partial := story("a partial outage", "six of ten calls to openai fail for everybody for 40 minutes", enabled("t-acme", 60, partly), others(partly), pass, pass, pass, pass, pass, pass)
	partial.FailFast = criteria.FailFastRescued
	unsaid := partial
	unsaid.Name, unsaid.Planted = "a partial outage, fail_fast unknown", "the same; the four of ten calls that would have succeeded were denied, and nobody says what became of them"
	unsaid.FailFast, unsaid.Verdict, unsaid.Want = "", inconclusive, maps.Clone(partial.Want)
	unsaid.Want["error-rate-not-increased"] = inconclusive

	twice := all
	twice.Name, twice.Planted = "scraped twice", "openai fails for everybody; the one router is scraped under two names"
	twice.Again = func(l map[string]string) map[string]string {
		l = maps.Clone(l)
		l["instance"] = "10.0.0.7:9001"
		return l
	}
	return []Story{all, own, during, nodes, twice, shadow, tenHours, partial, unsaid}
}

// faults are pasts in which the breaker or its metrics are at fault.
func faults() []Story {
	bad := outageFor(later(40), 25*time.Minute)
	stuck := enabled("t-acme", 60, bad)
	stuck.Silent = func(p string, at time.Time) float64 {
		if p == "openai" && at.After(later(40).Add(2*time.Minute)) {
			return 1
		}
		return 0
	}
	wedge := story("a wedge", "probes are admitted and never report; the circuit denies for ever", stuck, others(bad), fail, pass, fail, inconclusive, pass, pass)

	bypass := enabled("t-acme", 60, bad)
	bypass.Bypass = 1
	inert := story("an inert breaker", "no request names its provider, so that nobody asks the gate", bypass, others(bad), fail, pass, fail, pass, pass, fail)

	dropped := story("impossible counters", "closed to open transitions of t-acme are dropped on the way", enabled("t-acme", 60, bad), others(bad),
		fail, inconclusive, inconclusive, inconclusive, fail, inconclusive)
	dropped.Relabel = func(l map[string]string) (map[string]string, bool) {
		return l, l["tenant_id"] != "t-acme" || l["from"] != "closed"
	}

	// Nothing of the transitions arrives, though a failing provider must have opened it.
	silent := story("transitions lost", "no transition of t-acme arrives", enabled("t-acme", 60, bad), others(bad),
		fail, inconclusive, inconclusive, inconclusive, fail, inconclusive)
	silent.Relabel = func(l map[string]string) (map[string]string, bool) {
		lost := l["from"] != "" || l["__name__"] == prefix+"window_requests_total" || l["__name__"] == prefix+"window_failures_total"
		return l, l["tenant_id"] != "t-acme" || !lost
	}

	dead := story("the failure series dies", "failures of t-acme are no longer exported after enabling", enabled("t-acme", 60), others(),
		inconclusive, pass, pass, inconclusive, pass, inconclusive)
	dead.Lost = func(l map[string]string, at time.Time) bool {
		return l["tenant_id"] == "t-acme" && l["event_type"] == "failure" && at.After(later(2))
	}

	renamed := story("another dialect", "a recording layer renamed metrics and labels", enabled("t-acme", 60, bad), others(bad), pass, pass, pass, pass, pass, pass)
	renamed.Relabel = func(l map[string]string) (map[string]string, bool) {
		out := map[string]string{}
		for k, v := range l {
			switch k {
			case "tenant_id":
				k = "tenant"
			case "provider_id":
				k = "upstream"
			case "__name__":
				if v != "up" {
					v = "llm_cb_" + v[len(prefix):]
				}
			}
			out[k] = v
		}
		return out, true
	}

	documented := story("the documented dialect", "transitions carry state in place of from and to", enabled("t-acme", 60, bad), others(bad),
		unmeasurable, unmeasurable, unmeasurable, inconclusive, unmeasurable, unmeasurable)
	documented.Relabel = func(l map[string]string) (map[string]string, bool) {
		if l["from"] == "" {
			return l, true
		}
		if l["from"] == "half_open" && l["to"] == "open" {
			return l, false // its state would be that of another series
		}
		out := map[string]string{"state": l["to"]}
		for k, v := range l {
			if k != "from" && k != "to" {
				out[k] = v
			}
		}
		return out, true
	}

	// Two opens a day from a router with a minimum volume would look like the twin; one
	// that opens below its thresholds does not.
	other := enabled("t-acme", 60, bad)
	low := GuideConfig()
	low.FailureThreshold, low.ErrorRateThreshold = 2, 0.5
	other.Configs = []Loaded{{At: Enabled(), Enabled: true, Config: low}}
	other.Errors = errors("t-acme", 0.03, bad)
	changed := story("another config than on disk", "the router runs failure_threshold 2, the policy on disk says 5", other, others(bad), fail, fail, inconclusive, inconclusive, fail, inconclusive)
	changed.Options.Tenants[0].Configs = append(changed.Options.Tenants[0].Configs, Loaded{At: changed.At, Enabled: true, Config: GuideConfig()})
	return []Story{wedge, inert, dropped, silent, dead, renamed, documented, changed}
}

// rates are pasts of error rates.
func rates() []Story {
	up := func(id string, share float64) Tenant {
		t := enabled(id, 60)
		t.Errors = func(_ string, at time.Time) float64 {
			if at.Before(Enabled()) {
				return usual
			}
			return share
		}
		return t
	}
	two := story("errors up by 2 points", "2.4 % of t-acme's calls fail after enabling, 0.4 % before", up("t-acme", 0.024), others(), fail, pass, pass, fail, pass, inconclusive)
	within := story("errors up within the margin", "0.44 % after, 0.4 % before", up("t-acme", 0.0044), others(), pass, pass, pass, pass, pass, inconclusive)

	bursts := func(share float64, every, lasts time.Duration) Tenant {
		t := enabled("t-acme", 60)
		t.Errors = func(p string, at time.Time) float64 {
			if p == "openai" && at.Sub(Enabled().Add(-Before))%every < lasts {
				return share
			}
			return usual
		}
		return t
	}
	small := story("bursts before and during", "6 % of the calls to openai fail for five minutes, every seven hours, before and after", bursts(0.06, 7*time.Hour, 5*time.Minute), others(), pass, pass, pass, pass, pass, inconclusive)

	// Every provider fails a little more for everybody: not the breaker's doing.
	drift := Fault{Provider: "openai", From: later(20), For: 3 * time.Hour, Share: 0.2}
	everybody := story("a bad afternoon for all", "a fifth of the calls to openai fail for three hours, for everybody", enabled("t-acme", 60, drift), others(drift), pass, pass, pass, pass, pass, pass)

	// A control that is broken all the time excuses nothing.
	broken := others()
	broken[0].Errors = errors("t-cove", 0.6)
	masked := story("a broken control", "errors are up by 2 points, and a control's calls fail all the time", up("t-acme", 0.024), broken, fail, pass, pass, fail, pass, inconclusive)

	lost := story("baseline lost", "what was before enabling is beyond retention", enabled("t-acme", 60), others(), inconclusive, pass, pass, inconclusive, pass, inconclusive)
	lost.Options.Start = Enabled().Add(-2 * time.Hour)
	return []Story{two, within, small, everybody, masked, lost}
}

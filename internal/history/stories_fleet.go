package history

import (
	"fmt"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/statement"
)

// fleet is a story of several tenants in phase 2 to 4, at the guide's minimum. All of
// it passes until the story says otherwise.
func fleet(name, planted string, phase int, judged, rest []Tenant) Story {
	s := Story{Name: name, Planted: planted, Phase: phase, Verdict: pass, At: Enabled().AddDate(0, 0, criteria.MinDays(phase)), Want: map[string]criteria.Verdict{}}
	s.Options = Options{Seed: 21, Start: Enabled().Add(-Before), End: s.At, Tenants: append(append([]Tenant{}, judged...), rest...)}
	for _, t := range judged {
		s.Judged = append(s.Judged, Judged{ID: t.ID, Since: Enabled()})
	}
	for _, id := range criteria.IDs(phase) {
		s.Want[id] = pass
	}
	for _, id := range []string{"logs-useful", "latency-not-degraded", "stability-improved", "docs-updated", "team-trained"} {
		s.Stated.Attestations = append(s.Stated.Attestations, attested(id))
	}
	reports := attested("no-customer-reports")
	before, after := 4, 3
	reports.BaselineCount, reports.WindowCount = &before, &after
	s.Stated.Attestations = append(s.Stated.Attestations, reports)
	return s
}

// but changes what is wanted of some criteria; the phase's verdict follows.
func (s Story) but(v criteria.Verdict, ids ...string) Story {
	want := map[string]criteria.Verdict{}
	for id, w := range s.Want {
		want[id] = w
	}
	for _, id := range ids {
		want[id] = v
	}
	s.Want = want
	s.Verdict = pass
	for id, w := range want {
		advisory := s.Phase < 3 && (id == "breaker-effective" || id == "consistent-across-tenants") && w != fail
		if !advisory {
			s.Verdict = criteria.Worst(s.Verdict, w)
		}
	}
	return s
}

// judged are n tenants with the guide's config.
func judged(n int, perMinute float64, faults ...Fault) []Tenant {
	var out []Tenant
	for i := range n {
		out = append(out, enabled(fmt.Sprintf("t-%02d", i+1), perMinute, faults...))
	}
	return out
}

// fleets are pasts of phases 2 to 4.
func fleets() []Story {
	return append(append(limited(), broader()...), full()...)
}

// limited are pasts of phase 2.
func limited() []Story {
	bad := outageFor(later(60), 25*time.Minute)
	other := Fault{Provider: "anthropic", From: bad.From.Add(5 * time.Minute), For: 15 * time.Minute, Share: 1}

	quiet := fleet("five steady tenants", "nothing happens to five tenants", 2, judged(5, 60), others()).but(inconclusive, "breaker-effective", "consistent-across-tenants")
	outage := fleet("five tenants in an outage", "openai fails for everybody", 2, judged(5, 60, bad), others(bad))
	both := fleet("all providers fail for all", "both providers fail for everybody, at the same time", 2, judged(5, 60, bad, other), others(bad, other))

	lone := func(p string) Fault {
		return Fault{Provider: p, From: later(60), For: 3 * time.Minute, Share: 1, Tenant: "t-03"}
	}
	alone := fleet("all providers fail for one", "the credentials of t-03 are refused by both providers for three minutes", 2, judged(5, 60, lone("openai"), lone("anthropic")), others()).
		but(fail, "no-tenant-wide-open").but(inconclusive, "consistent-across-tenants")

	solo := func(faults ...Fault) []Tenant {
		ts := judged(5, 60, faults...)
		ts[4].Providers = []Provider{{Name: "openai", Weight: 1}}
		return ts
	}
	one := fleet("a tenant with one provider", "openai, its only provider, fails for everybody", 2, solo(bad), others(bad))
	own := bad
	own.Tenant, own.For = "t-05", 4*time.Minute
	oneAlone := fleet("a tenant with one provider, alone", "openai fails for t-05 alone, which has no other", 2, solo(own), others()).
		but(fail, "no-tenant-wide-open").but(inconclusive, "consistent-across-tenants")

	strange := judged(5, 60)
	strange[4].Providers = []Provider{{Name: "inhouse", Weight: 1}}
	strange[4].Errors = errors("t-05", usual, Fault{Provider: "inhouse", From: later(60), For: 4 * time.Minute, Share: 1})
	nobody := fleet("a provider that nobody else uses", "the only provider of t-05 fails, and nobody else uses it", 2, strange, others()).
		but(inconclusive, "no-tenant-wide-open", "consistent-across-tenants")

	low := judged(5, 60)
	low[4].PerMinute, low[4].Errors = 3, errors("t-05", 0.01)
	// Open for less than a scrape, so that whether both were at once cannot be proven.
	noise := fleet("noise in one of five", "the breaker of t-05 opens on single failures, now and then of both providers within a minute", 2, low, others()).
		but(fail, "no-unexpected-opens", "no-false-positives").but(inconclusive, "no-tenant-wide-open", "error-rate-not-increased", "consistent-across-tenants")

	// The router runs another timeout for t-05 than its policy on disk says.
	odd := judged(5, 60, bad)
	fast := GuideConfig()
	fast.TimeoutMS = 2000
	odd[4].Configs = []Loaded{{At: Enabled(), Enabled: true, Config: fast}, {At: Enabled().AddDate(0, 0, 7), Enabled: true, Config: GuideConfig()}}
	differs := fleet("one tenant behaves differently", "the breaker of t-05 probes fifteen times as often in an outage that all share", 2, odd, others(bad)).
		but(fail, "consistent-across-tenants")

	sparse := judged(5, 60, bad)
	sparse[4].PerMinute = 0.05
	sparse[4].Errors = errors("t-05", 0)
	quietOne := fleet("a quiet tenant", "t-05 has three requests an hour, and is left out by name", 2, sparse, others(bad))
	quietOne.Stated.Quiet = []statement.Quiet{{Tenant: "t-05", Reason: "a test tenant"}}
	return []Story{quiet, outage, both, alone, one, oneAlone, nobody, noise, differs, quietOne}
}

// broader are pasts of phase 3.
func broader() []Story {
	before := outageFor(Enabled().AddDate(0, 0, -3), 20*time.Minute)
	bad := outageFor(later(100), 30*time.Minute)
	tuned := judged(8, 60, before, bad)
	cfg := GuideConfig()
	cfg.FailureThreshold, cfg.ErrorRateThreshold, cfg.WindowSeconds, cfg.TimeoutMS = 10, 0.6, 120, 60_000
	for i := 4; i < 8; i++ {
		tuned[i].Configs = []Loaded{{At: Enabled(), Enabled: true, Config: cfg}}
	}
	two := fleet("tuned tenants", "four tenants with the guide's config and four with the medium-traffic one, in an outage that all share", 3, tuned, others(before, bad))

	calm := fleet("two weeks without a failure", "no provider fails in phase 3", 3, judged(4, 60), others()).
		but(inconclusive, "closes-after-recovery", "breaker-effective", "consistent-across-tenants", "wasted-calls-reduced")

	half := judged(4, 60, bad)
	half[3].Bypass = 0.6
	leaky := fleet("a breaker that most requests pass by", "six of ten requests of t-04 name no provider, and never ask the gate", 3, half, others(bad)).
		but(fail, "wasted-calls-reduced")

	more := fleet("more customer reports", "customers reported nine times, four times before", 3, judged(4, 60, bad), others(bad)).but(fail, "no-customer-reports")
	n := 9
	more.Stated.Attestations[len(more.Stated.Attestations)-1].WindowCount = &n

	level := func(name, planted string, v func(time.Time) float64, want criteria.Verdict) Story {
		s := fleet(name, planted, 3, judged(4, 60, bad), others(bad)).but(want, "stability-improved")
		s.Stated.Attestations = append(s.Stated.Attestations[:2:2], s.Stated.Attestations[3:]...)
		s.Measures = map[string]string{"stability/uptime": "gateway_uptime"}
		s.Extra = []Extra{{Labels: map[string]string{"__name__": "gateway_uptime", "job": "gateway", "instance": "gw:1"}, Value: v}}
		return s
	}
	change := func(by float64) func(time.Time) float64 {
		base := ripple(0.9)
		return func(at time.Time) float64 {
			v := base(at)
			if at.After(Enabled()) {
				v *= by
			}
			return v
		}
	}
	better := level("stability better", "uptime is up a little, and a provider failed", change(1.01), pass)
	worse := level("stability worse", "uptime is down by a tenth", change(0.9), fail)
	slightly := level("stability no better", "uptime is down by half a percent, and a provider failed", change(0.995), inconclusive)
	return []Story{two, calm, leaky, more, better, worse, slightly}
}

// full are pasts of phase 4: nobody is without a breaker.
func full() []Story {
	before := outageFor(Enabled().AddDate(0, 0, -3), 20*time.Minute)
	bad := outageFor(later(60), 25*time.Minute)
	all := fleet("everybody enabled", "nobody is left without a breaker; openai failed before and after", 4, judged(8, 60, before, bad), nil)

	off := fleet("one policy off", "one policy is off and not listed", 4, judged(8, 60, before, bad), []Tenant{tenant("t-cove", 20, before, bad)}).but(fail, "enabled-by-default")

	listed := fleet("one policy off with a reason", "one policy is off, and listed", 4, judged(8, 60, before, bad), []Tenant{tenant("t-cove", 20, before, bad)})
	listed.Stated.Disabled = []statement.Disabled{{Tenant: "t-cove", Reason: "contract"}}

	untrained := fleet("nobody trained", "the team was trained in preflight, not for phase 4", 4, judged(8, 60, before, bad), nil).but(unmeasurable, "team-trained")
	for i, a := range untrained.Stated.Attestations {
		if a.ID == "team-trained" {
			untrained.Stated.Attestations[i].ID = "preflight/team-trained"
		}
	}
	return []Story{all, off, listed, untrained}
}

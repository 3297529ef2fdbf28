package history

import (
	"time"

	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// sly are pasts in which one thing hides behind another.
func sly() []Story {
	return append(append(slyOpens(), slyStatements()...), slyFleets()...)
}

// single is t-acme with one open in the bake, on one failure in an empty window.
func single(name, planted string, rest []Tenant) Story {
	lone := later(30)
	t := enabled("t-acme", 20)
	t.Traffic = func(at time.Time) float64 {
		if d := lone.Sub(at); d > 0 && d <= 3*time.Minute {
			return 0
		}
		return 1
	}
	t.Errors = func(p string, at time.Time) float64 {
		if p == "openai" && at.Equal(lone) {
			return 1
		}
		return 0.0002
	}
	return story(name, planted, t, rest, fail, fail, pass, pass, pass, pass)
}

// slyOpens are opens on noise that something else seems to explain.
func slyOpens() []Story {
	rest := []Tenant{tenant("t-cove", 60), tenant("t-dune", 0.5)}
	rest[0].Errors = errors("t-cove", 0.7)
	witness := single("a broken control beside a tiny one", "one open on noise; one other tenant fails all the time, and the other hardly calls", rest)

	restart := single("an open that a restart clears", "one open on noise, and the node restarts ninety seconds later", others())
	restart.Options.Restarts = map[string][]time.Time{"node-1:9001": {later(30).Add(90 * time.Second)}}

	flaps := single("a health query that flaps", "one open on noise; the health query says for five minutes of every 25 that openai fails", others())
	flaps.Measures = map[string]string{evidence.ProviderHealthy: `min by (provider_id) (provider_healthy)`}
	flaps.Extra = []Extra{{Labels: map[string]string{"__name__": "provider_healthy", "provider_id": "openai", "job": "probe", "instance": "p:1"}, Value: func(at time.Time) float64 {
		if d := at.Sub(later(30).Add(-100 * 25 * time.Hour)); d%(25*time.Minute) < 5*time.Minute {
			return 0
		}
		return 1
	}}}
	return []Story{witness, restart, flaps}
}

// slyStatements are statements and queries that say less than they seem to.
func slyStatements() []Story {
	pauses := single("incidents with pauses", "one open on noise; incidents of 20 hours, 7 hours apart, are declared all through the bake", others())
	for at := Enabled(); at.Before(pauses.At); at = at.Add(27 * time.Hour) {
		pauses.Stated.Incidents = append(pauses.Stated.Incidents, statement.Incident{Provider: "openai", By: "on-call", Reason: "5xx", From: at, To: at.Add(20 * time.Hour), Declared: at})
	}

	again := story("an attestation of a bake that was rolled back", "phase 1 was attested in a bake that was rolled back; it began anew a week later", enabled("t-acme", 60), others(), unmeasurable, pass, pass, pass, pass, inconclusive)
	for i := range again.Stated.Attestations {
		a := &again.Stated.Attestations[i]
		a.ID, a.From = "phase1/"+a.ID, Enabled().AddDate(0, 0, -7)
	}
	again.Stated.Bakes = []statement.Bake{{Tenant: "t-acme", From: Enabled().AddDate(0, 0, -9), To: Enabled().AddDate(0, 0, -5), Reason: "rolled back"}, {Tenant: "t-acme", From: Enabled()}}
	again.Want["logs-useful"], again.Want["latency-not-degraded"] = unmeasurable, unmeasurable

	still := story("a latency query that stands still", "what records the latency stops an hour after enabling, and its last value is answered from then on", enabled("t-acme", 60), others(), unmeasurable, pass, pass, pass, pass, inconclusive)
	still.Stated.Attestations = still.Stated.Attestations[:1]
	still.Measures = map[string]string{evidence.Latency: `avg by (tenant_id) (gateway_latency_seconds)`}
	still.Extra = []Extra{{Labels: map[string]string{"__name__": "gateway_latency_seconds", "tenant_id": "t-acme", "job": "gateway", "instance": "gw:1"}, Value: func(at time.Time) float64 {
		if at.After(later(1)) {
			at = later(1)
		}
		return 0.27 + ripple(0.03)(at)
	}}}
	still.Want["latency-not-degraded"] = unmeasurable
	return []Story{pauses, again, still}
}

// slyFleets are failures of all providers of a tenant.
func slyFleets() []Story {
	both := func(tenant string, from time.Time, d time.Duration) []Fault {
		return []Fault{{Provider: "openai", From: from, For: d, Share: 1, Tenant: tenant}, {Provider: "anthropic", From: from, For: d, Share: 1, Tenant: tenant}}
	}
	all := both("", later(60), 5*time.Minute)
	behind := fleet("one tenant fails on behind an outage", "both providers fail for everybody for five minutes, and for t-03 for twenty more", 2,
		judged(5, 60, append(both("t-03", later(60), 25*time.Minute), all...)...), others(all...)).
		but(fail, "no-tenant-wide-open").but(inconclusive, "error-rate-not-increased")

	var revoked []Fault
	for _, t := range judged(5, 60) {
		revoked = append(revoked, both(t.ID, later(60), 3*time.Minute)...)
	}
	shared := fleet("one credential of all judged tenants", "both providers refuse the five tenants with a breaker for three minutes, and nobody else", 2, judged(5, 60, revoked...), others()).
		but(inconclusive, "no-tenant-wide-open", "error-rate-not-increased")

	alone := fleet("all providers fail for one of all", "nobody is without a breaker, and both providers refuse t-03 for three minutes", 4, judged(5, 60, both("t-03", later(60), 3*time.Minute)...), nil).
		but(fail, "no-tenant-wide-open").but(inconclusive, "consistent-across-tenants", "wasted-calls-reduced")

	total := both("", later(100), 25*time.Minute)
	dark := fleet("all providers fail for all in phase 3", "both providers fail for everybody: a request that is denied goes to a provider whose gate is not asked", 3, judged(3, 60, total...), others(total...)).
		but(inconclusive, "wasted-calls-reduced")
	return []Story{behind, shared, alone, dark}
}

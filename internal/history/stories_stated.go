package history

import (
	"time"

	"github.com/cbops/cbops/rollout/statement"
)

// statements are pasts about which people say something.
func statements() []Story {
	lone := func(name, planted string) Story {
		for _, s := range quiet() {
			if s.Name == "a single first open" {
				s.Name, s.Planted = name, planted
				return s
			}
		}
		panic("no such story")
	}
	open := later(30)
	incident := func(from, to, declared time.Time) statement.Incident {
		return statement.Incident{Provider: "openai", By: "on-call", Reason: "5xx from openai", From: from, To: to, Declared: declared}
	}
	inTime := lone("an incident declared in time", "the one open lies in an incident that was declared before it")
	inTime.Stated.Incidents = []statement.Incident{incident(open.Add(-time.Hour), open.Add(time.Hour), open.Add(-30*time.Minute))}
	inTime.Verdict, inTime.Want["no-unexpected-opens"] = pass, pass

	after := lone("an incident declared afterwards", "the incident was declared the day after")
	after.Stated.Incidents = []statement.Incident{incident(open.Add(-time.Hour), open.Add(time.Hour), open.AddDate(0, 0, 1))}

	everything := lone("an incident for everything", "one incident spans the whole bake")
	everything.Stated.Incidents = []statement.Incident{incident(Enabled(), time.Time{}, Enabled())}

	elsewhere := lone("an incident of another provider", "an incident of anthropic explains no open of openai")
	i := incident(open.Add(-time.Hour), open.Add(time.Hour), open.Add(-30*time.Minute))
	i.Provider = "anthropic"
	elsewhere.Stated.Incidents = []statement.Incident{i}

	against := lone("an attestation against a fail", "somebody attests that there were no unexpected opens")
	against.Stated.Attestations = append(against.Stated.Attestations, attested("no-unexpected-opens"))

	waived := lone("a waiver", "the failed criterion is waived")
	waived.Stated.Waivers = []statement.Waiver{{ID: "no-unexpected-opens", By: "on-call", Reason: "known deployment", Expires: Enabled().AddDate(0, 0, 10)}}
	waived.Verdict = pass

	expired := lone("a waiver expired", "the waiver of the failed criterion has expired")
	expired.Stated.Waivers = []statement.Waiver{{ID: "no-unexpected-opens", By: "on-call", Reason: "known deployment", Expires: later(60)}}

	steady := func(name, planted string) Story {
		return story(name, planted, enabled("t-acme", 60), others(), pass, pass, pass, pass, pass, inconclusive)
	}
	nobody := steady("nothing attested", "nobody looked at the logs, and latency is not measured")
	nobody.Stated.Attestations = nil
	nobody.Verdict, nobody.Want["logs-useful"], nobody.Want["latency-not-degraded"] = unmeasurable, unmeasurable, unmeasurable

	old := steady("an attestation of an earlier phase", "the logs were attested a week before this bake")
	old.Stated.Attestations[0].From = Enabled().AddDate(0, 0, -7)
	old.Verdict, old.Want["logs-useful"] = unmeasurable, unmeasurable
	return append([]Story{inTime, after, everything, elsewhere, against, waived, expired, nobody, old}, queries()...)
}

// queries are pasts with the deployment's own queries.
func queries() []Story {
	latency := func(name, planted, expr string, series ...Extra) Story {
		s := story(name, planted, enabled("t-acme", 60), others(), pass, pass, pass, pass, pass, inconclusive)
		s.Stated.Attestations = s.Stated.Attestations[:1]
		s.Measures, s.Extra = map[string]string{"latency": expr}, series
		return s
	}
	gateway := func(tenant string, v func(time.Time) float64) Extra {
		return Extra{Labels: map[string]string{"__name__": "gateway_latency_seconds", "tenant_id": tenant, "job": "gateway", "instance": "gw:1"}, Value: v}
	}
	const byTenant = `avg by (tenant_id) (gateway_latency_seconds)`
	same := latency("latency as before", "the gateway answers as fast as before", byTenant, gateway("t-acme", ripple(0.3)), gateway("t-cove", ripple(0.2)))

	slower := latency("latency up by a tenth", "the gateway answers 10 % slower after enabling", byTenant, gateway("t-acme", func(at time.Time) float64 {
		v := ripple(0.3)(at)
		if at.After(Enabled()) {
			v *= 1.1
		}
		return v
	}))
	slower.Verdict, slower.Want["latency-not-degraded"] = fail, fail

	bad := func(name, planted, expr string, series ...Extra) Story {
		s := latency(name, planted, expr, series...)
		s.Verdict, s.Want["latency-not-degraded"] = unmeasurable, unmeasurable
		return s
	}
	several := bad("a latency query of several series", "the query answers one series an instance", `gateway_latency_seconds`,
		Extra{Labels: map[string]string{"__name__": "gateway_latency_seconds", "instance": "gw:1", "job": "gateway"}, Value: ripple(0.3)},
		Extra{Labels: map[string]string{"__name__": "gateway_latency_seconds", "instance": "gw:2", "job": "gateway"}, Value: ripple(0.3)})
	nothing := bad("a latency query of nothing", "the query selects nothing", `gateway_latency_minutes`)
	nan := bad("a latency query of NaN", "the query divides by nothing", byTenant+` / 0 * 0`, gateway("t-acme", ripple(0.3)))
	text := bad("a latency query of a string", "the query is a string", `"fast"`)
	wrong := bad("a latency query that is none", "the query is no PromQL", `avg(gateway_latency_seconds`)
	counter := bad("a latency query of a counter", "the query is a counter without a rate", byTenant, gateway("t-acme", func(at time.Time) float64 { return float64(at.Unix() - Enabled().Add(-Before).Unix() + 1) }))
	constant := bad("a latency query that never changes", "a recording rule stands still", byTenant, gateway("t-acme", func(time.Time) float64 { return 0.3 }))

	unit := latency("a latency query that changes its unit", "milliseconds before enabling, seconds after", byTenant, gateway("t-acme", func(at time.Time) float64 {
		v := ripple(300)(at)
		if at.After(Enabled()) {
			v /= 1000
		}
		return v
	}))
	unit.Verdict, unit.Want["latency-not-degraded"] = inconclusive, inconclusive
	return []Story{same, slower, several, nothing, nan, text, wrong, counter, constant, unit}
}

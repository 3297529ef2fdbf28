package criteria_test

import (
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// mutations are what could be wrong with evidence that passes. Each matters by
// construction: what it hurts cannot be true any more.
func mutations() []mutation {
	return slices.Concat(opensMutations(), countsMutations(), scrapesMutations(), seriesMutations(), statedMutations(), measureMutations())
}

func opensMutations() []mutation {
	never := []string{"no-unexpected-opens", "closes-after-recovery", "breaker-effective"}
	return []mutation{
		{"an open on noise that closes at its first probes", []string{"no-unexpected-opens", "no-false-positives"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if ok {
				opens(c, at, 1, 1+m.rng.IntN(3))
			}
			return ok
		}},
		{"an open in a full window, on one failure", []string{"no-unexpected-opens", "metrics-accurate"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			// Only a circuit that was asked since enabling must have its config.
			if d := m.t(); ok && c.Delta(d.Since, at).OH > 0 {
				opens(c, at, 30, 2)
				return true
			}
			return false
		}},
		{"an open that nobody asks", never, func(m *mutant) bool {
			c, at, ok := m.calm()
			if ok {
				opens(c, at, 1, 0)
			}
			return ok
		}},
		{"several opens on noise", []string{"no-unexpected-opens", "no-false-positives"}, func(m *mutant) bool {
			any := false
			for range 5 {
				if c, at, ok := m.calm(); ok {
					opens(c, at, 1, 2)
					any = true
				}
			}
			return any
		}},
		{"a wedge: half-open for ever, denying", []string{"closes-after-recovery"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if !ok {
				return false
			}
			opens(c, at, 1, 0)
			after(c, at.Add(time.Minute), nil, func(x *evidence.Transition) { x.OH++ })
			i := slices.IndexFunc(c.Outcomes, func(o evidence.Outcome) bool { return o.T > at.Add(time.Minute).UnixMilli() })
			last := c.Outcomes[i-1]
			c.Outcomes = c.Outcomes[:i]
			for t := evidence.Instant(last.T).Add(time.Minute); t.Before(m.ev.At); t = t.Add(time.Minute) {
				last.T, last.FailFast = t.UnixMilli(), last.FailFast+5
				c.Outcomes = append(c.Outcomes, last)
			}
			return true
		}},
		{"a close that comes hours after the provider was back", []string{"closes-after-recovery"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if !ok {
				return false
			}
			if at.Add(5 * time.Hour).After(m.ev.At) {
				return false
			}
			opens(c, at, 1, 240)
			return true
		}},
		{"all providers open together", []string{"no-tenant-wide-open"}, func(m *mutant) bool {
			_, at, ok := m.calm()
			if !ok {
				return false
			}
			for i := range m.t().Circuits {
				opens(&m.t().Circuits[i], at, 1, 10)
			}
			return true
		}},
		{"a breaker that flaps in a shared outage", []string{"consistent-across-tenants"}, func(m *mutant) bool {
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				for _, ep := range evidence.Episodes(c, m.t().Since, m.ev.At) {
					if ep.Closed != nil && ep.Opened.From.After(m.t().Since) && ep.Closed.To.Sub(ep.Opened.To) > 15*time.Minute {
						for j := range 8 { // closes and opens again, eight times
							at := ep.Opened.To.Add(time.Duration(2*j+1) * time.Minute)
							after(c, at, nil, func(x *evidence.Transition) { x.HC++; x.OH++; x.CO++; x.WindowRequests += 5; x.WindowFailures += 5 })
						}
						return true
					}
				}
			}
			return false
		}},
		{"an outage in which the breaker of one tenant never opened", []string{"consistent-across-tenants", "metrics-accurate"}, func(m *mutant) bool {
			any := false
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				any = any || len(evidence.Episodes(c, m.t().Since, m.ev.At)) > 0
				c.Transitions = []evidence.Transition{{T: c.Outcomes[0].T}, {T: c.Outcomes[len(c.Outcomes)-1].T}}
				for j := range c.Outcomes { // its calls went on, and failed
					c.Outcomes[j].Failure += c.Outcomes[j].FailFast
					c.Outcomes[j].FailFast = 0
				}
			}
			return any
		}},
	}
}

func countsMutations() []mutation {
	rate := []string{"error-rate-not-increased"}
	up := func(m *mutant, share, from, to float64) bool {
		for i := range m.t().Circuits {
			a, b := m.t().Since, m.ev.At
			bake := b.Sub(a)
			spread(&m.t().Circuits[i], a.Add(time.Duration(from*float64(bake))), a.Add(time.Duration(to*float64(bake))), share)
		}
		return true
	}
	return []mutation{
		{"errors up by 1 point", rate, func(m *mutant) bool { return up(m, 0.01, 0, 1) }},
		{"errors up by 0.4 points", rate, func(m *mutant) bool { return up(m, 0.004, 0, 1) }},
		{"errors up by 2 points in the second half", rate, func(m *mutant) bool { return up(m, 0.02, 0.5, 1) }},
		{"errors up by 3 points in the first third", rate, func(m *mutant) bool { return up(m, 0.03, 0, 0.33) }},
		{"errors up by 2 points on one provider", rate, func(m *mutant) bool {
			spread(m.circuit(), m.t().Since, m.ev.At, 0.02)
			return true
		}},
		{"errors up by 2 points, and a control that fails all the time", rate, func(m *mutant) bool {
			if len(m.ev.Others) == 0 {
				return false
			}
			id := m.ev.Others[0].Tenant
			for i := range m.ev.Others {
				if m.ev.Others[i].Tenant == id {
					spread(&m.ev.Others[i], m.ev.Tenants[m.k].Baseline.From, m.ev.At, 0.7)
				}
			}
			return up(m, 0.02, 0, 1)
		}},
		{"failures that are counted no more", rate, func(m *mutant) bool {
			at := m.when(0, 0.2)
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				still := c.Delta(c.Outcomes[0].At(), at).Failure
				for j := range c.Outcomes {
					if o := &c.Outcomes[j]; o.T > at.UnixMilli() {
						o.Failure = min(o.Failure, still)
					}
				}
			}
			return true
		}},
		{"a fail_fast on a closed circuit", []string{"metrics-accurate"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if ok {
				after(c, at, func(o *evidence.Outcome) { o.FailFast += 3 }, nil)
			}
			return ok
		}},
		{"an open without a failure", []string{"metrics-accurate", "no-unexpected-opens"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if !ok {
				return false
			}
			opens(c, at, 1, 1)
			lo, hi := at.Add(-10*time.Minute), at.Add(10*time.Minute)
			i := c.InsertOutcome(lo.UnixMilli())
			base := c.Outcomes[i].Failure
			for ; c.Outcomes[i].T <= hi.UnixMilli(); i++ {
				c.Outcomes[i].Success += c.Outcomes[i].Failure - base
				c.Outcomes[i].Failure = base
			}
			return true
		}},
		{"a close that follows no open", []string{"metrics-accurate"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if ok {
				after(c, at, nil, func(x *evidence.Transition) { x.HC++ })
			}
			return ok
		}},
		{"an open that is counted twice", []string{"metrics-accurate", "no-unexpected-opens"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if ok {
				after(c, at, nil, func(x *evidence.Transition) { x.CO += 2 })
			}
			return ok
		}},
		{"a circuit that stays closed through ten failures in a row", []string{"metrics-accurate"}, func(m *mutant) bool {
			c, at, ok := m.calm()
			if !ok {
				return false
			}
			c.InsertOutcome(at.Add(-time.Minute).UnixMilli())
			after(c, at, func(o *evidence.Outcome) { o.Failure += 10; o.Success -= 10 }, nil)
			i := c.InsertOutcome(at.UnixMilli())
			c.Outcomes[i].Success = c.Outcomes[i-1].Success // ten failures and nothing else
			return true
		}},
		{"requests that pass by the gate in an outage", []string{"wasted-calls-reduced"}, func(m *mutant) bool {
			any := false
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				since := c.Delta(c.Outcomes[0].At(), m.t().Since).FailFast
				for j := range c.Outcomes {
					o := &c.Outcomes[j]
					passed := float64(int(0.6 * max(0, o.FailFast-since)))
					any = any || passed > 0
					o.FailFast -= passed
					o.Failure += passed
				}
			}
			return any
		}},
		{"traffic that stops", measured(), func(m *mutant) bool {
			at := m.when(0.05, 0.2)
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				d := slices.IndexFunc(c.Outcomes, func(o evidence.Outcome) bool { return o.T > at.UnixMilli() })
				for j := d; j < len(c.Outcomes); j++ {
					t := c.Outcomes[j].T
					c.Outcomes[j] = c.Outcomes[d-1]
					c.Outcomes[j].T = t
				}
				k := slices.IndexFunc(c.Transitions, func(x evidence.Transition) bool { return x.T > at.UnixMilli() })
				for j := k; j < len(c.Transitions) && k > 0; j++ {
					t := c.Transitions[j].T
					c.Transitions[j] = c.Transitions[k-1]
					c.Transitions[j].T = t
				}
			}
			return true
		}},
		{"hardly any traffic", measured(), func(m *mutant) bool {
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				for j := range c.Outcomes {
					o := &c.Outcomes[j]
					o.Success, o.Failure, o.FailFast = float64(int(o.Success/2000)), 0, 0
				}
			}
			return true
		}},
	}
}

func scrapesMutations() []mutation {
	return []mutation{
		{"half a day without scrapes", measured(), func(m *mutant) bool {
			at := m.when(0.1, 0.8)
			gone(&m.ev.Nodes[m.rng.IntN(len(m.ev.Nodes))], at, at.Add(12*time.Hour))
			return true
		}},
		{"an hour with too few scrapes", measured(), func(m *mutant) bool {
			at := m.when(0.1, 0.8)
			gone(&m.ev.Nodes[0], at, at.Add(90*time.Minute))
			return true
		}},
		{"every fifth scrape missing", measured(), func(m *mutant) bool {
			n := &m.ev.Nodes[0]
			n.Scrapes = slices.DeleteFunc(n.Scrapes, func(t int64) bool { return t/60000%5 == 0 })
			return true
		}},
		{"an answer that was partial", measured(), func(m *mutant) bool {
			at := m.when(0.1, 0.9)
			m.ev.Gaps = append(m.ev.Gaps, evidence.Gap{Interval: evidence.Interval{From: at, To: at.Add(time.Minute)}, Reason: "the server warned"})
			return true
		}},
		{"scrapes that ended hours ago", measured(), func(m *mutant) bool {
			for i := range m.ev.Nodes {
				gone(&m.ev.Nodes[i], m.ev.At.Add(-3*time.Hour), m.ev.At)
			}
			return true
		}},
		{"no node", measured(), func(m *mutant) bool { m.ev.Nodes = nil; return true }},
		{"an unknown interval", measured(), func(m *mutant) bool { m.ev.Interval = 0; return true }},
		{"a look a day too early", measured(), func(m *mutant) bool {
			*m.ev = *m.ev.AsOf(m.ev.At.AddDate(0, 0, -1))
			return true
		}},
		{"a node that went away", measured(), func(m *mutant) bool {
			at := m.when(0.2, 0.7)
			n := &m.ev.Nodes[0]
			gone(n, at, m.ev.At)
			n.Last = at.UnixMilli()
			return true
		}},
	}
}

func seriesMutations() []mutation {
	return []mutation{
		{"no series of a tenant", measured(), func(m *mutant) bool { m.t().Circuits = nil; return true }},
		{"a provider whose series end", []string{"no-unexpected-opens", "closes-after-recovery", "error-rate-not-increased", "metrics-accurate"}, func(m *mutant) bool {
			c, at := m.circuit(), m.when(0.1, 0.7)
			i := slices.IndexFunc(c.Outcomes, func(o evidence.Outcome) bool { return o.T > at.UnixMilli() })
			c.Outcomes = c.Outcomes[:i]
			c.Transitions = slices.DeleteFunc(c.Transitions, func(x evidence.Transition) bool { return x.T > at.UnixMilli() })
			return true
		}},
		{"closed to open dropped on the way", []string{"metrics-accurate", "no-unexpected-opens"}, func(m *mutant) bool {
			return drop(m, func(x *evidence.Transition) *float64 { return &x.CO })
		}},
		{"open to half-open dropped on the way", []string{"metrics-accurate", "no-unexpected-opens"}, func(m *mutant) bool {
			return drop(m, func(x *evidence.Transition) *float64 { return &x.OH })
		}},
		{"half-open to closed dropped on the way", []string{"closes-after-recovery"}, func(m *mutant) bool {
			return drop(m, func(x *evidence.Transition) *float64 { return &x.HC })
		}},
		{"every transition dropped on the way", []string{"metrics-accurate", "no-unexpected-opens"}, func(m *mutant) bool {
			any := false
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				any = any || len(evidence.Episodes(c, m.t().Since, m.ev.At)) > 0
				c.Transitions = []evidence.Transition{{T: c.Outcomes[0].T}, {T: c.Outcomes[len(c.Outcomes)-1].T}}
			}
			return any
		}},
		{"no transitions of anybody", []string{"no-unexpected-opens", "closes-after-recovery", "metrics-accurate"}, func(m *mutant) bool { m.ev.Dialect.Kind = ""; return true }},
		{"the documented dialect", []string{"no-unexpected-opens", "closes-after-recovery", "metrics-accurate"}, func(m *mutant) bool {
			m.ev.Dialect.Kind = evidence.Documented
			return true
		}},
		{"a dialect that cannot be told", measured(), func(m *mutant) bool { m.ev.Dialect.Problems = []string{"two candidates"}; return true }},
		{"no baseline", []string{"error-rate-not-increased"}, func(m *mutant) bool {
			since := m.t().Since.UnixMilli()
			for i := range m.t().Circuits {
				c := &m.t().Circuits[i]
				c.Outcomes = slices.DeleteFunc(c.Outcomes, func(o evidence.Outcome) bool { return o.T < since })
			}
			for i := range m.ev.Nodes {
				gone(&m.ev.Nodes[i], time.Time{}, m.t().Since)
			}
			return true
		}},
		{"a breaker that is off", measured(), func(m *mutant) bool { m.t().Config.Enabled = false; return true }},
		{"a config that cannot close", []string{"metrics-accurate"}, func(m *mutant) bool {
			// Episodes closed with two successes: under this config they cannot have.
			any := false
			for i := range m.t().Circuits {
				for _, ep := range evidence.Episodes(&m.t().Circuits[i], m.t().Since, m.ev.At) {
					any = any || ep.Closed != nil && ep.Probed > 0
				}
			}
			m.t().Config.SuccessThreshold = 1000
			return any
		}},
		{"a bake that began an hour ago", measured(), func(m *mutant) bool { m.t().Since = m.ev.At.Add(-time.Hour); return true }},
	}
}

// drop takes a counter away from the circuits that moved it.
func drop(m *mutant, of func(*evidence.Transition) *float64) bool {
	any := false
	for i := range m.t().Circuits {
		c := &m.t().Circuits[i]
		for j := range c.Transitions {
			v := of(&c.Transitions[j])
			any = any || *v > 0 && c.Transitions[j].T > m.t().Since.UnixMilli()
			*v = 0
		}
	}
	return any
}

func statedMutations() []mutation {
	attested := func(id string, with func(m *mutant, a *statement.Attestation)) func(m *mutant) bool {
		return func(m *mutant) bool {
			any := false
			for i := range m.r.Statements.Attestations {
				if a := &m.r.Statements.Attestations[i]; strings.HasSuffix(a.ID, id) {
					with(m, a)
					any = true
				}
			}
			return any
		}
	}
	return []mutation{
		{"nobody attests", []string{"logs-useful", "docs-updated", "team-trained", "no-customer-reports"}, func(m *mutant) bool {
			m.r.Statements.Attestations = nil
			return true
		}},
		{"an attestation that expired", []string{"logs-useful"}, attested("logs-useful", func(m *mutant, a *statement.Attestation) { a.Until = m.ev.At })},
		{"an attestation of the future", []string{"logs-useful"}, attested("logs-useful", func(m *mutant, a *statement.Attestation) { a.From = m.ev.At.Add(time.Hour) })},
		{"an attestation of an earlier bake", []string{"logs-useful"}, attested("logs-useful", func(m *mutant, a *statement.Attestation) { a.From = m.t().Since.AddDate(0, 0, -2) })},
		{"an attestation of another phase", []string{"team-trained"}, attested("team-trained", func(_ *mutant, a *statement.Attestation) { a.ID = "preflight/team-trained" })},
		{"more customer reports", []string{"no-customer-reports"}, attested("no-customer-reports", func(_ *mutant, a *statement.Attestation) {
			n := *a.BaselineCount + 1
			a.WindowCount = &n
		})},
		{"customer reports without counts", []string{"no-customer-reports"}, attested("no-customer-reports", func(_ *mutant, a *statement.Attestation) { a.BaselineCount = nil })},
		{"a policy that is off", []string{"enabled-by-default"}, func(m *mutant) bool {
			m.r.Policies[m.rng.IntN(len(m.r.Policies))].Enabled = false
			return true
		}},
		{"a policy that cannot be read", []string{"enabled-by-default"}, func(m *mutant) bool {
			m.r.Policies = append(m.r.Policies, criteria.Policy{Tenant: "t-new", Policy: "chat", Problem: "not JSON"})
			return true
		}},
		{"policies that nobody knows", []string{"enabled-by-default"}, func(m *mutant) bool { m.r.Policies = nil; return true }},
	}
}

func measureMutations() []mutation {
	latency := []string{"latency-not-degraded"}
	change := func(with func(s *evidence.MeasureSeries)) func(m *mutant) bool {
		return func(m *mutant) bool {
			q := m.ev.Measure(evidence.Latency)
			if q == nil {
				return false
			}
			for i := range q.Series {
				with(&q.Series[i])
			}
			return true
		}
	}
	return []mutation{
		{"latency up by a tenth", latency, func(m *mutant) bool { return worsen(m, evidence.Latency, 1.1) }},
		{"latency in another unit", latency, func(m *mutant) bool { return worsen(m, evidence.Latency, 0.001) }},
		{"latency that nobody measures", latency, func(m *mutant) bool {
			any := m.ev.Measure(evidence.Latency) != nil
			m.ev.Measures = slices.DeleteFunc(m.ev.Measures, func(x evidence.Measure) bool { return x.Name == evidence.Latency })
			return any
		}},
		{"latency that is no number", latency, change(func(s *evidence.MeasureSeries) { s.NotNumbers, s.Times, s.Values = len(s.Values), nil, nil })},
		{"latency that stands still", latency, change(func(s *evidence.MeasureSeries) {
			for i := range s.Values {
				s.Values[i] = 0.3
			}
		})},
		{"latency that only grows", latency, change(addUp)},
		{"latency that ends early", latency, func(m *mutant) bool {
			q := m.ev.Measure(evidence.Latency)
			if q == nil {
				return false
			}
			for i := range q.Series {
				s := &q.Series[i]
				n := 0
				for n < len(s.Times) && s.Times[n] < m.ev.At.AddDate(0, 0, -1).UnixMilli() {
					n++
				}
				s.Times, s.Values = s.Times[:n], s.Values[:n]
			}
			return true
		}},
		{"latency of two series", latency, func(m *mutant) bool {
			q := m.ev.Measure(evidence.Latency)
			if q == nil {
				return false
			}
			q.Series = append(q.Series, q.Series...)
			return true
		}},
		{"a latency query that the server refuses", latency, func(m *mutant) bool {
			q := m.ev.Measure(evidence.Latency)
			if q != nil {
				q.Series, q.Refused = nil, "parse error"
			}
			return q != nil
		}},
		{"stability down by a tenth", []string{"stability-improved"}, func(m *mutant) bool { return worsen(m, "stability/uptime", 0.9) }},
	}
}

// addUp adds a series up, as a counter would be.
func addUp(s *evidence.MeasureSeries) {
	sum := 0.0
	for i := range s.Values {
		sum += s.Values[i]
		s.Values[i] = sum
	}
}

package criteria_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// fleetOf is the evidence of a fleet in phase 3 as a gatherer would read it: outcomes
// every 20 minutes, and at every scrape around one outage of half an hour that all
// share.
func fleetOf(tenants, others int) (*evidence.Evidence, criteria.Request) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	since := start.AddDate(0, 0, 7)
	at := since.AddDate(0, 0, 14)
	bad := since.AddDate(0, 0, 9)
	ev := &evidence.Evidence{At: at, Interval: time.Minute, Dialect: evidence.Dialect{Kind: evidence.Emitted}, Skew: evidence.Skew{Measured: true},
		Windows: []evidence.Interval{{From: bad.Add(-20 * time.Minute), To: bad.Add(time.Hour)}}, OtherTenants: others}
	node := evidence.Node{Name: "router/node-1:9001"}
	for t := start; !t.After(at); t = t.Add(time.Minute) {
		node.Scrapes = append(node.Scrapes, t.UnixMilli())
	}
	node.First, node.Last = node.Scrapes[0], node.Scrapes[len(node.Scrapes)-1]
	ev.Nodes = []evidence.Node{node}
	rng := rand.New(rand.NewPCG(1, 2))
	r := criteria.NewRequest(3)
	cfg := evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 30000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}
	for k := range tenants + others {
		id := fmt.Sprintf("t-%04d", k)
		judged := k < tenants
		step := 20 * time.Minute
		if !judged {
			step = time.Hour
		}
		t := evidence.Tenant{ID: id, Since: since, Baseline: evidence.Interval{From: start, To: since}, Config: cfg}
		for _, p := range []string{"anthropic", "cohere", "openai"} {
			c := evidence.Circuit{Node: node.Name, Tenant: id, Provider: p, Step: step}
			var o evidence.Outcome
			last := start
			add := func(at time.Time, share float64, open bool) {
				n := 20 * at.Sub(last).Minutes()
				f := float64(int(n*share + rng.Float64()))
				if open {
					o.FailFast += n
					n, f = 2, 2
				}
				o.Success, o.Failure, o.T = o.Success+n-f, o.Failure+f, at.UnixMilli()
				last = at
				c.Outcomes = append(c.Outcomes, o)
			}
			fails := p == "openai"
			for t := start.Add(step); t.Before(at); t = t.Add(step) {
				if d := t.Sub(bad); fails && d > -20*time.Minute && d <= 60*time.Minute {
					for m := t.Add(-step + time.Minute); !m.After(t); m = m.Add(time.Minute) {
						in := m.After(bad) && !m.After(bad.Add(30*time.Minute))
						share := 0.004
						if in {
							share = 0.98
						}
						add(m, share, in && judged && m.After(bad.Add(time.Minute)))
					}
					continue
				}
				add(t, 0.004, false)
			}
			if judged {
				c.Transitions = []evidence.Transition{{T: start.UnixMilli()}}
				if fails {
					x := evidence.Transition{T: bad.UnixMilli()}
					c.Transitions = append(c.Transitions, x)
					for m := bad.Add(time.Minute); !m.After(bad.Add(32 * time.Minute)); m = m.Add(time.Minute) {
						switch d := m.Sub(bad); {
						case d == time.Minute:
							x.CO, x.WindowRequests, x.WindowFailures = 1, 30, 16
						case d <= 30*time.Minute:
							x.OH, x.HO = x.OH+2, x.HO+2
						case d == 31*time.Minute:
							x.OH, x.HC, x.WindowRequests = x.OH+1, 1, x.WindowRequests+4
						}
						x.T = m.UnixMilli()
						c.Transitions = append(c.Transitions, x)
					}
				}
				end := c.Transitions[len(c.Transitions)-1]
				end.T = node.Scrapes[len(node.Scrapes)-2]
				c.Transitions = append(c.Transitions, end)
				t.Circuits = append(t.Circuits, c)
			} else {
				ev.Others = append(ev.Others, c)
			}
		}
		if judged {
			ev.Tenants = append(ev.Tenants, t)
		}
		r.Policies = append(r.Policies, criteria.Policy{Tenant: id, Policy: "chat", Enabled: judged})
	}
	return ev, r
}

// A thousand tenants on three providers over two weeks, with an outage that all share:
// every criterion of phase 3, each pass proven and looked at again.
func BenchmarkEvaluateFleet(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d tenants", n), func(b *testing.B) {
			ev, r := fleetOf(n, min(n, 300))
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var e criteria.Evaluation
			for b.Loop() {
				e = criteria.Evaluate(ev, r)
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(before.HeapAlloc)/(1<<20), "MiB-evidence")
			b.ReportMetric(float64(after.HeapSys)/(1<<20), "MiB-heap")
			passes := 0
			for _, f := range e.Criteria {
				if f.Verdict == criteria.Pass {
					passes++
				}
			}
			b.ReportMetric(float64(passes), "passes")
		})
	}
}

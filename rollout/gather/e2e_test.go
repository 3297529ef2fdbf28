package gather_test

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// told is what a real Prometheus told of a story.
type told struct {
	*testing.T
	s  *story
	ev *evidence.Evidence
	d  promquery.Dialect
}

// circuit is t-acme's on a provider, of the node at index i.
func (x told) circuit(provider string, i int) *evidence.Circuit {
	x.Helper()
	for j := range x.ev.Tenants[0].Circuits {
		c := &x.ev.Tenants[0].Circuits[j]
		if c.Provider == provider && i == 0 {
			return c
		} else if c.Provider == provider {
			i--
		}
	}
	x.Fatalf("no circuit %s %d in %d", provider, i, len(x.ev.Tenants[0].Circuits))
	return nil
}

func (x told) episodes(provider string) []evidence.Episode {
	x.Helper()
	c := x.circuit(provider, 0)
	return x.ev.Tenants[0].Episodes(c, x.ev.At, 0)
}

// asItWas checks every episode of the bake against the scrapes at which the router's
// own counter grew.
func (x told) asItWas(provider string) []evidence.Episode {
	x.Helper()
	var want []time.Time
	for _, t := range x.s.opens["node-1:9001 "+provider] {
		if t.After(histEnabled) && t.Before(histEnd.Add(-time.Minute)) {
			want = append(want, t)
		}
	}
	eps := slices.DeleteFunc(x.episodes(provider), func(e evidence.Episode) bool { return e.Shadow })
	if len(want) == 0 || len(eps) != len(want) {
		x.Fatalf("%d episodes on %s, the router opened %d times", len(eps), provider, len(want))
	}
	for i, e := range eps {
		if !e.Opened.To.Equal(want[i]) || !e.Opened.From.Equal(want[i].Add(-time.Minute)) {
			x.Errorf("episode %d opened in %v, seen at %v", i, e.Opened, want[i])
		}
	}
	return eps
}

func (x told) hours(want int) evidence.Measured {
	x.Helper()
	m := x.ev.Coverage(histEnabled)
	if m.Hours != want {
		x.Errorf("%d hours measured, want %d; gaps %v", m.Hours, want, m.Gaps)
	}
	return m
}

func (x told) contradictions() (n int) {
	for i := range x.ev.Tenants[0].Circuits {
		for _, c := range evidence.Contradictions(&x.ev.Tenants[0].Circuits[i], x.ev.Tenants[0].Config, histEnabled, x.ev.Interval) {
			x.Logf("contradiction at %s: %s", c.At, c.Text)
			n++
		}
	}
	return n
}

// The whole bake but its last hour, which lacks the newest scrape: 90 % suffice.
const allHours = 36

// expectations say of each story, beforehand, what the evidence must be.
func expectations() map[string]func(told) {
	outageAt := histEnabled.Add(10 * time.Hour)
	failed := func(x told, tenants int) {
		x.Helper()
		f := x.ev.ProviderFailures(histEnabled, 1e-5)
		if len(f) != 1 || f[0].Provider != "openai" || f[0].From.After(outageAt.Add(2*time.Minute)) || f[0].To.Before(outageAt.Add(17*time.Minute)) ||
			f[0].From.Before(outageAt.Add(-2*time.Minute)) || f[0].FailingTenants != tenants {
			x.Errorf("failures of providers: %+v, want openai from %s for %d tenants", f, outageAt, tenants)
		}
	}
	return map[string]func(told){
		"steady": func(x told) {
			x.hours(allHours)
			if n := len(x.episodes("openai")) + len(x.episodes("anthropic")); n != 0 || x.contradictions() != 0 || len(x.ev.Nodes[0].Restarts) != 0 {
				x.Errorf("%d episodes, restarts %v", n, x.ev.Nodes[0].Restarts)
			}
			if f := x.ev.ProviderFailures(histEnabled, 1e-5); len(f) != 0 {
				x.Errorf("providers failed: %+v", f)
			}
			c := x.circuit("openai", 0)
			d := c.Delta(histEnabled, histEnd)
			want := x.s.last["node-1:9001router_circuit_breaker_events_totalsuccess"+"t-acmeopenai"]
			if all := c.Delta(histStart, histEnd); math.Abs(all.Success-want) > want/100 || d.Success < want/3 || !d.OK {
				x.Errorf("%g successes read, %g counted", all.Success, want)
			}
		},
		"outage for all": func(x told) {
			x.hours(allHours)
			eps := x.asItWas("openai")
			if e := eps[0]; e.Closed == nil || e.Closed.To.Before(outageAt.Add(20*time.Minute)) || e.Reopens < 5 {
				x.Errorf("the first episode: %+v", e)
			}
			k := eps[0].Containment(x.circuit("openai", 0), x.ev.Tenants[0].Config, histEnabled, x.ev.At)
			if !k.Known || k.Lower < 0.8 || k.FailFast < 100 {
				x.Errorf("containment %+v", k)
			}
			failed(x, 4)
			if len(x.ev.Others) != 6 || x.ev.OtherTenants != 3 {
				x.Errorf("%d circuits of %d other tenants", len(x.ev.Others), x.ev.OtherTenants)
			}
		},
		"outage for one": func(x told) {
			eps := x.asItWas("openai")
			s := x.ev.Seen("openai", "t-acme", x.ev.Tenants[0].Baseline, eps[0].Opened.From.Add(-time.Minute), eps[0].Opened.To.Add(time.Minute))
			if s.Outcomes < evidence.MinOutcomes || !s.Healthy(1e-5) {
				x.Errorf("others saw openai: %+v", s)
			}
		},
		"noise": func(x told) {
			if eps := append(x.asItWas("openai"), x.asItWas("anthropic")...); len(eps) < 10 {
				x.Errorf("only %d episodes", len(eps))
			}
			if x.contradictions() != 0 {
				x.Error("noise contradicts itself")
			}
		},
		"a single open": func(x told) {
			if eps := x.asItWas("openai"); len(eps) != 1 {
				x.Errorf("%d episodes", len(eps))
			}
		},
		"scrape gap": func(x told) {
			if m := x.hours(allHours - 3); len(m.Gaps) != 1 || m.Gaps[0].Reason != "scrapes are missing" || m.Gaps[0].Length() != 3*time.Hour || len(x.ev.Nodes[0].Restarts) != 0 {
				x.Errorf("gaps %+v, restarts %v", m.Gaps, x.ev.Nodes[0].Restarts)
			}
		},
		"silent gap": func(x told) { x.hours(allHours - 3) },
		"no series": func(x told) {
			if len(x.ev.Tenants[0].Circuits) != 0 || len(x.ev.Nodes) != 0 || x.ev.Coverage(histEnabled).Hours != 0 {
				x.Errorf("evidence out of nothing: %+v", x.ev.Tenants[0])
			}
		},
		"traffic stops": func(x told) {
			x.hours(allHours)
			for _, p := range []string{"openai", "anthropic"} {
				c := x.circuit(p, 0)
				if d := c.Delta(histEnabled.Add(20*time.Hour+time.Minute), histEnd); d.Outcomes() != 0 || !d.OK {
					x.Errorf("%s went on: %+v", p, d)
				}
			}
		},
		"restart": func(x told) {
			want := histEnabled.Add(9*time.Hour + time.Minute).UnixMilli()
			if r := x.ev.Nodes[0].Restarts; len(r) != 1 || r[0] != want {
				x.Errorf("restarts %v, want %v", r, want)
			}
			x.hours(allHours)
			c := x.circuit("openai", 0)
			if least, most := c.Between(histEnabled.Add(8*time.Hour), histEnabled.Add(10*time.Hour)); most.OK || least.Restarts != 1 || least.Success < 3000 {
				x.Errorf("counts across a restart: %+v, %+v", least, most)
			}
		},
		"restart in open": func(x told) {
			eps := x.episodes("openai")
			if len(eps) < 2 || !eps[0].Lost || eps[0].Ended == nil || eps[0].Ended.To.Sub(outageAt).Round(time.Minute) != 16*time.Minute || eps[1].Closed == nil {
				x.Errorf("episodes %+v", eps)
			}
		},
		"wedge": func(x told) {
			eps := x.asItWas("openai")
			if e := eps[len(eps)-1]; !e.StillOpen || !e.HalfOpen {
				x.Errorf("not half-open for ever: %+v", e)
			}
			if d := x.circuit("openai", 0).Delta(histEnd.Add(-15*time.Minute), histEnd); d.FailFast < 50 || d.Outcomes() != 0 {
				x.Errorf("the last minutes: %+v", d)
			}
		},
		"inert": func(x told) {
			eps := x.asItWas("openai")
			k := eps[0].Containment(x.circuit("openai", 0), x.ev.Tenants[0].Config, histEnabled, x.ev.At)
			if !eps[0].StillOpen || !k.Known || k.Upper != 0 || k.Outcomes < 1000 {
				x.Errorf("containment %+v of %+v", k, eps[0])
			}
		},
		"shadow": func(x told) {
			eps := x.episodes("openai")
			if len(eps) != 1 || !eps[0].Shadow || eps[0].Closed == nil || eps[0].Closed.To.Sub(histEnabled) > 5*time.Minute {
				x.Errorf("episodes %+v", eps)
			}
		},
		"impossible": func(x told) {
			if x.contradictions() == 0 {
				x.Error("half-open out of nowhere contradicts nothing")
			}
		},
		"two nodes": func(x told) {
			if len(x.ev.Nodes) != 2 || len(x.ev.Doubles) != 0 || len(x.ev.Tenants[0].Circuits) != 4 {
				x.Fatalf("%d nodes, %d circuits, doubles %v", len(x.ev.Nodes), len(x.ev.Tenants[0].Circuits), x.ev.Doubles)
			}
			for i, node := range []string{"node-1:9001", "node-2:9001"} {
				c := x.circuit("openai", i)
				if eps := evidence.Episodes(c, histEnabled, histEnd); len(eps) == 0 || len(eps) != len(x.s.opens[node+" openai"]) || !strings.HasSuffix(c.Node, node) {
					x.Errorf("%s: %d episodes, opened %d times", c.Node, len(eps), len(x.s.opens[node+" openai"]))
				}
			}
		},
		"scraped twice": func(x told) {
			if len(x.ev.Doubles) != 1 || len(x.ev.Nodes) != 1 || len(x.ev.Tenants[0].Circuits) != 2 {
				x.Fatalf("doubles %+v, %d nodes, %d circuits", x.ev.Doubles, len(x.ev.Nodes), len(x.ev.Tenants[0].Circuits))
			}
			if x.contradictions() != 0 {
				x.Error("contradictions")
			}
		},
		"renamed": func(x told) {
			x.asItWas("openai")
			for _, want := range []string{"tenant_id is called tenant", "provider_id is called exported_provider", "router_circuit_breaker_events_total is called llm_circuit_breaker_events_total"} {
				if !slices.Contains(x.ev.Dialect.Renames, want) {
					x.Errorf("%q is not among %q", want, x.ev.Dialect.Renames)
				}
			}
			failed(x, 4)
		},
		"documented names": func(x told) {
			if x.ev.Dialect.Kind != evidence.Documented {
				x.Errorf("dialect %q", x.ev.Dialect.Kind)
			}
		},
	}
}

// TestHistoriesOnARealPrometheus: every history of the evidence work, backfilled into
// a real Prometheus, gives the evidence that was stated before.
func TestHistoriesOnARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("real Prometheus: skipped by -short")
	}
	promtest.Binary(t, "prometheus")
	h := promtest.NewHistory()
	all, wants := stories(t, h), expectations()
	for name, s := range all {
		if wants[name] == nil {
			t.Fatalf("nobody says what must be seen of %q", name)
		}
		s.live()
	}
	url := promtest.Start(t, h)
	for name, want := range wants {
		t.Run(name, func(t *testing.T) {
			m, err := promquery.ParseMatcher(`scenario="` + name + `"`)
			if err != nil {
				t.Fatal(err)
			}
			c, err := promquery.New(promquery.Options{URL: url, Transport: http.DefaultTransport, Matchers: []promquery.Matcher{m}})
			if err != nil {
				t.Fatal(err)
			}
			x := told{T: t, s: all[name]}
			var problems []promquery.Problem
			x.d, problems, err = promquery.Detect(t.Context(), c, promquery.Hints{Tenants: []string{"t-acme"}, At: histEnd, Window: histEnd.Sub(histStart)})
			if err != nil || len(problems) > 0 {
				t.Fatalf("dialect: %v %v", problems, err)
			}
			cfg := evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 30000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}
			if x.s.name == "wedge" {
				cfg.SuccessThreshold, cfg.HalfOpenMaxCalls = 9, 2
			}
			x.ev, err = gather.Gather(t.Context(), c, gather.Request{At: histEnd, Baseline: 24 * time.Hour, Dialect: x.d, DialectProblems: problems,
				Tenants: []gather.TenantRequest{{ID: "t-acme", Since: histEnabled, Config: cfg}}})
			if err != nil {
				t.Fatal(err)
			}
			want(x)
		})
	}
}

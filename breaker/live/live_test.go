package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/live"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// policies are those of the practice tenant, in memory.
type policies map[router.Ref][]byte

func (p policies) List() ([]router.Ref, error) {
	var refs []router.Ref
	for r := range p {
		refs = append(refs, r)
	}
	return refs, nil
}

func (p policies) Read(r router.Ref) ([]byte, error) { return p[r], nil }

// practice has a policy for each circuit; change may alter the config.
func practice(scenarios []scenario.Scenario, enabled bool, change func(*breaker.Config)) policies {
	p := policies{}
	for _, s := range scenarios {
		for i, c := range s.Circuits {
			cfg := c.Config
			if change != nil {
				change(&cfg)
			}
			raw, err := json.Marshal(map[string]any{"circuit_breaker": struct {
				Enabled bool `json:"enabled"`
				scenario.Config
			}{enabled, scenario.Config(cfg)}})
			if err != nil {
				panic(err)
			}
			p[router.Ref{Tenant: live.Tenant, Policy: live.PolicyFor(s.Name, i)}] = raw
		}
	}
	return p
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func newLab(t testing.TB, p policies) *lab.Server {
	t.Helper()
	w, err := lab.NewWorld(lab.Options{Start: time.Now(), Policies: p})
	if err != nil {
		t.Fatal(err)
	}
	return lab.NewServer(w, 1, time.Now, sleep)
}

// direct carries requests to a handler without a network, so that a bubble with a
// clock of its own (synctest) can hold both ends.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func options(u string, tr http.RoundTripper) live.Options {
	base, err := url.Parse(u)
	if err != nil {
		panic(err)
	}
	return live.Options{URL: base, Client: &http.Client{Transport: tr}, Now: time.Now, Sleep: sleep, MaxRate: 5000, Limit: 2 * time.Minute}
}

func gate() []scenario.Scenario { return scenario.Gate(scenario.Params{Live: true}) }

func only(all []scenario.Scenario, names ...string) []scenario.Scenario {
	var out []scenario.Scenario
	for _, s := range all {
		for _, n := range names {
			if s.Name == n {
				out = append(out, s)
			}
		}
	}
	return out
}

func notPassed(r scenario.Result) string {
	var b strings.Builder
	for _, c := range r.Checks {
		if c.Verdict != scenario.Pass && c.Verdict != scenario.Reports {
			fmt.Fprintf(&b, "\n  %s: %s: %s, expected %s", c.Circuit, c.Text, c.Actual, c.Expected)
		}
	}
	return b.String()
}

// The whole gate, waits included, through the practice router: what a router can
// run passes, what it cannot is skipped and says why.
func TestTheGateLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		results, stats, err := live.Run(t.Context(), gate(), options("http://lab", direct{newLab(t, practice(gate(), true, nil))}))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"long-window": scenario.Skipped, "config-swap": scenario.Skipped, "low-traffic": scenario.Skipped}
		sent := 0
		for _, r := range results {
			w := want[r.Name]
			if w == "" {
				w = scenario.Pass
			}
			if r.Verdict != w {
				t.Errorf("%s: %s, want %s%s", r.Name, r.Verdict, w, notPassed(r))
			}
			if w == scenario.Skipped && (len(r.Skipped) == 0 || r.Skipped[0].Why == "") {
				t.Errorf("%s: skipped without a reason", r.Name)
			}
			sent += r.Requests
		}
		if len(results) != 11 || stats.Failed != 0 || stats.Requests != sent || sent < 1000 {
			t.Errorf("%d results, %+v, %d requests", len(results), stats, sent)
		}
		if took := time.Since(began); took > 2*time.Minute || took < 10*time.Second {
			t.Errorf("took %s of the router's time", took)
		}
	})
}

// rewriting is a router whose metrics are changed on the way.
type rewriting struct {
	http.Handler
	change func(string) string
}

func (x rewriting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != live.MetricsPath {
		x.Handler.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	x.Handler.ServeHTTP(rec, r)
	fmt.Fprint(w, x.change(rec.Body.String()))
}

func without(part string) func(string) string {
	return func(text string) string {
		var kept []string
		for _, l := range strings.Split(text, "\n") {
			if !strings.Contains(l, part) {
				kept = append(kept, l)
			}
		}
		return strings.Join(kept, "\n")
	}
}

// A router that does not do, or does not tell, what the breaker does is found out.
func TestBrokenRoutersDoNotPass(t *testing.T) {
	four := []string{"error-spike", "normalization", "window-sizes", "concurrent-load", "provider-faults"}
	for name, build := range map[string]func(t *testing.T) http.Handler{
		"breaker not enabled": func(t *testing.T) http.Handler { return newLab(t, practice(gate(), false, nil)) },
		"no such policies":    func(t *testing.T) http.Handler { return newLab(t, policies{}) },
		"never opens": func(t *testing.T) http.Handler {
			return newLab(t, practice(gate(), true, func(c *breaker.Config) { c.FailureThreshold, c.ErrorRateThreshold = 1<<40, 2 }))
		},
		"never closes": func(t *testing.T) http.Handler {
			return newLab(t, practice(gate(), true, func(c *breaker.Config) { c.SuccessThreshold = 100 }))
		},
		"half-opens at once": func(t *testing.T) http.Handler {
			return newLab(t, practice(gate(), true, func(c *breaker.Config) { c.TimeoutMS = 1 }))
		},
		"tells no transitions": func(t *testing.T) http.Handler {
			return rewriting{newLab(t, practice(gate(), true, nil)), without("state_transitions_total")}
		},
		"tells no fail-fasts": func(t *testing.T) http.Handler {
			return rewriting{newLab(t, practice(gate(), true, nil)), without("fail_fast")}
		},
		"tells nothing": func(t *testing.T) http.Handler {
			return rewriting{newLab(t, practice(gate(), true, nil)), func(string) string { return "" }}
		},
		"tells of others only": func(t *testing.T) http.Handler {
			return rewriting{newLab(t, practice(gate(), true, nil)), func(s string) string { return strings.ReplaceAll(s, `tenant_id="loadtest"`, `tenant_id="t-other"`) }}
		},
		"loses requests": func(t *testing.T) http.Handler {
			l := newLab(t, practice(gate(), true, nil))
			n := 0
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n++; r.Method == http.MethodPost && n%10 == 0 {
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				l.ServeHTTP(w, r)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scenarios := only(gate(), four...)
				if name == "loses requests" { // one after the other: the counter above is no atomic
					scenarios = only(gate(), "window-sizes")
					scenarios[0].Circuits = scenarios[0].Circuits[:1]
				}
				results, _, err := live.Run(t.Context(), scenarios, options("http://lab", direct{build(t)}))
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range results {
					if r.Verdict == scenario.Pass {
						name1 := name == "half-opens at once" && (r.Name == "window-sizes" || r.Name == "concurrent-load") ||
							name == "never closes" && r.Name != "normalization" && r.Name != "provider-faults" ||
							name == "tells no fail-fasts" && r.Name == "window-sizes" ||
							(name == "breaker not enabled" || name == "no such policies" || name == "never opens" || name == "tells no transitions") && r.Name == "window-sizes"
						if !name1 { // what the scenario is not about, it need not notice
							t.Errorf("%s passes", r.Name)
						}
					}
				}
				if len(results) != len(scenarios) {
					t.Errorf("%d results", len(results))
				}
			})
		})
	}
}

func TestNotARouter(t *testing.T) {
	page := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for name, tt := range map[string]struct {
		h    http.Handler
		says string
	}{
		"404":               {page(404, "no"), "answered 404 Not Found"},
		"HTML":              {page(200, "<html>\n<body>log in</body>"), "answered no metrics: line 1"},
		"JSON":              {page(200, `{"status":"ok"}`), "answered no metrics"},
		"others":            {page(200, "node_cpu_seconds_total{cpu=\"0\"} 1\n"), "none of them is a router's"},
		"a redirect":        {http.RedirectHandler("http://elsewhere.example/", http.StatusFound), "answered 302 Found"},
		"no requests":       {onlyMetrics("router_x 1"), "POST /v1/requests answered 404"},
		"not allowed":       {onlyMetricsAnd("", 405), "POST /v1/requests answered 405"},
		"too large":         {page(200, strings.Repeat("router_x 1\n", 7_000_000)), "more than 64 MiB"},
		"binary":            {page(200, "\x00\xff\xfe"), "answered no metrics"},
		"501 like /metrics": {page(501, "Not Implemented"), "answered 501"},
	} {
		s := httptest.NewServer(tt.h)
		o := options(s.URL, http.DefaultTransport)
		o.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		results, _, err := live.Run(t.Context(), only(gate(), "error-spike"), o)
		s.Close()
		var not *live.NotRouterError
		if !errors.As(err, &not) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") || len(results) > 0 {
			t.Errorf("%s: %v, %d results; want … %s", name, err, len(results), tt.says)
		}
	}
}

func onlyMetrics(text string) http.Handler { return onlyMetricsAnd(text, 404) }

func onlyMetricsAnd(text string, status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, text)
			return
		}
		w.WriteHeader(status)
	})
}

// Nobody there is another matter: it may be a router, and is not up.
func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	_, _, err := live.Run(t.Context(), gate(), options(s.URL, http.DefaultTransport))
	var not *live.NotRouterError
	if err == nil || errors.As(err, &not) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// A signal ends the run at once, and what was seen until then is kept.
func TestCancelKeepsWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		began := time.Now()
		results, _, err := live.Run(ctx, gate(), options("http://lab", direct{newLab(t, practice(gate(), true, nil))}))
		if err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if len(results) != 2 || results[0].Verdict != scenario.Pass || results[1].Verdict != scenario.Interrupted || len(results[1].Checks) == 0 {
			t.Errorf("%+v", results)
		}
	})
}

// Where a request got no answer, or the router tells nothing of the circuit, no
// expectation passes, not even one that nothing happened.
func TestNoEvidenceIsNoPass(t *testing.T) {
	for name, change := range map[string]func(http.Handler) http.Handler{
		"one request lost": func(h http.Handler) http.Handler {
			var posts atomic.Int64
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && posts.Add(1) == 3 {
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				h.ServeHTTP(w, r)
			})
		},
		"tells nothing": func(h http.Handler) http.Handler {
			return rewriting{h, func(string) string { return "" }}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := only(gate(), "provider-faults")
			s[0].Circuits = s[0].Circuits[2:3] // slow answers: nothing opens
			results, _, err := live.Run(t.Context(), s, options("http://lab", direct{change(newLab(t, practice(s, true, nil)))}))
			if err != nil || len(results) != 1 || len(results[0].Checks) < 3 || results[0].Verdict == scenario.Pass {
				t.Fatalf("%s: %v %+v", name, err, results)
			}
			for _, c := range results[0].Checks {
				if c.Verdict != scenario.Inconclusive {
					t.Errorf("%s: %s: %s, expected %s: %s", name, c.Text, c.Actual, c.Expected, c.Verdict)
				}
			}
		})
	}
}

// A router that takes its time for each request passes the guide's four too.
func TestASlowNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, practice(gate(), true, nil))
		far := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(40 * time.Millisecond)
			l.ServeHTTP(w, r)
			time.Sleep(40 * time.Millisecond)
		})
		results, _, err := live.Run(t.Context(), only(gate(), "error-spike", "normalization", "window-sizes", "concurrent-load"), options("http://lab", direct{far}))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Verdict != scenario.Pass {
				t.Errorf("%s: %s%s", r.Name, r.Verdict, notPassed(r))
			}
		}
	})
}

// Watched, the picture knows when the circuit opened, not only when it was judged,
// and the verdict is the same.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options("http://lab", direct{newLab(t, practice(gate(), true, nil))})
		o.Watch = true
		results, _, err := live.Run(t.Context(), only(gate(), "normalization"), o)
		if err != nil || results[0].Verdict != scenario.Pass {
			t.Fatalf("%v %+v", err, results)
		}
		moves := results[0].Circuits[0].Timeline.Moves
		if len(moves) != 3 || moves[0].AtMS > 100 || moves[1].AtMS < 2000 || moves[2].AtMS < moves[1].AtMS {
			t.Errorf("%+v", moves)
		}
	})
}

// It keeps to its bounds: never more requests a second than allowed, and what does
// not fit into the time is left out, with the reason.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options("http://lab", direct{newLab(t, practice(gate(), true, nil))})
		o.MaxRate, o.Limit = 20, 20*time.Second
		began := time.Now()
		results, stats, err := live.Run(t.Context(), only(gate(), "concurrent-load", "stress", "wedge"), o)
		took := time.Since(began)
		if err != nil || float64(stats.Requests) > 20*took.Seconds()+1 || took > 25*time.Second {
			t.Errorf("%v: %d requests in %s", err, stats.Requests, took)
		}
		for _, r := range results {
			if r.Name == "stress" && (r.Verdict != scenario.Skipped || !strings.Contains(r.Skipped[0].Why, "of the limit")) {
				t.Errorf("%s: %s, %v", r.Name, r.Verdict, r.Skipped)
			}
		}
	})
}

// With a policy of one's own only what has its config is run, and a circuit that
// is not new is not judged.
func TestOwnPolicyAndProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := breaker.PolicyDefaults()
		c.TimeoutMS, c.FailureThreshold, c.ErrorRateThreshold = 1000, 7, 1.01
		raw, err := json.Marshal(map[string]any{"circuit_breaker": struct {
			Enabled bool `json:"enabled"`
			scenario.Config
		}{true, scenario.Config(c)}})
		if err != nil {
			t.Fatal(err)
		}
		server := newLab(t, policies{{Tenant: "t-own", Policy: "chat"}: raw})
		o := options("http://lab", direct{server})
		o.Tenant, o.Policy, o.Config = "t-own", "chat", &c
		o.Providers = []string{"openai", "anthropic", "used", "cohere"}
		used := lab.Request{Tenant: "t-own", Policy: "chat", Provider: "used"}
		if err := server.Do(func(r *lab.Router, now int64) error { r.Record(now, used, "used", false); return nil }); err != nil {
			t.Fatal(err)
		}
		all := scenario.Gate(scenario.Params{Config: &c, Live: true})
		results, _, err := live.Run(t.Context(), only(all, "error-spike", "wedge", "normalization"), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != 3 || results[0].Verdict != scenario.Pass || results[0].Circuits[0].Opened.AtFailure != 7 {
			t.Errorf("error-spike: %+v", results[0])
		}
		if r := results[1]; r.Verdict != scenario.Inconclusive || !strings.Contains(notPassed(r), "metrics of provider used already") {
			t.Errorf("normalization on a used circuit: %s%s", r.Verdict, notPassed(r))
		}
		wedge := fmt.Sprint(results[2].Skipped)
		if results[2].Verdict != scenario.Pass || !strings.Contains(wedge, "another config") || !strings.Contains(wedge, "no provider is left") {
			t.Errorf("wedge: %s, %s", results[2].Verdict, wedge)
		}
	})
}

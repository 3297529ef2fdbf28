package promquery_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

// deployment is a store of a few circuits under names of its own: each series of
// the router's goes through rename before it is stored.
func deployment(t testing.TB, tenants int, rename func(labels map[string]string)) *promlab.Store {
	t.Helper()
	s := promlab.NewStore()
	add := func(name string, labels ...string) {
		for i := range tenants {
			for _, provider := range []string{"openai", "anthropic"} {
				l := map[string]string{"__name__": "router_circuit_breaker_" + name, "job": "router", "instance": "n1:9001", "tenant_id": fmt.Sprintf("t-%05d", i), "provider_id": provider}
				for i := 0; i < len(labels); i += 2 {
					l[labels[i]] = labels[i+1]
				}
				if rename != nil {
					rename(l)
				}
				if l["__name__"] == "" {
					continue
				}
				if err := s.Append(l, start.Add(-time.Minute), 1); err != nil && !strings.Contains(err.Error(), "not newer") { // renames may merge series
					t.Fatal(err)
				}
			}
		}
	}
	for _, kind := range []string{"success", "failure", "fail_fast"} {
		add("events_total", "event_type", kind)
	}
	for _, tr := range [][2]string{{"closed", "open"}, {"open", "half_open"}, {"half_open", "closed"}} {
		add("state_transitions_total", "from", tr[0], "to", tr[1])
	}
	add("state", "state", "open")
	add("trigger_reason", "reason", "timeout_elapsed")
	add("error_rate")
	add("window_requests_total")
	add("window_failures_total")
	add("timeout_transitions_total", "transition_type", "open_to_half_open")
	add("timeout_remaining_ms")
	return s
}

// label renames a label.
func label(from, to string) func(map[string]string) {
	return func(l map[string]string) {
		if v, ok := l[from]; ok {
			delete(l, from)
			l[to] = v
		}
	}
}

func each(fs ...func(map[string]string)) func(map[string]string) {
	return func(l map[string]string) {
		for _, f := range fs {
			f(l)
		}
	}
}

func name(f func(string) string) func(map[string]string) {
	return func(l map[string]string) { l["__name__"] = f(l["__name__"]) }
}

func documented(l map[string]string) {
	if strings.Contains(l["__name__"], "transitions_total") && l["to"] != "" {
		l["state"] = l["to"]
		delete(l, "from")
		delete(l, "to")
	}
}

func TestDetect(t *testing.T) {
	hints := promquery.Hints{Tenants: []string{"t-00001", "t-other"}, Providers: []string{"openai"}}
	for _, c := range []struct {
		name     string
		rename   func(map[string]string)
		hints    promquery.Hints
		kind     string
		renames  string // joined by "; "
		problems string
		node     string
	}{
		{name: "emitted", kind: "emitted", hints: hints, node: "router/n1:9001"},
		{name: "emitted, nothing known", kind: "emitted", node: "router/n1:9001"},
		{name: "documented", rename: documented, kind: "documented", node: "router/n1:9001"},
		{name: "no transitions", rename: func(l map[string]string) {
			if strings.Contains(l["__name__"], "state_transitions") {
				l["__name__"] = ""
			}
		}, node: "router/n1:9001"},
		{name: "prefix and no suffix", rename: name(func(s string) string {
			return "acme_" + strings.TrimSuffix(s, "_total")
		}), kind: "emitted", node: "router/n1:9001",
			renames: "router_circuit_breaker_error_rate is called acme_router_circuit_breaker_error_rate; router_circuit_breaker_events_total is called acme_router_circuit_breaker_events; router_circuit_breaker_state is called acme_router_circuit_breaker_state; router_circuit_breaker_state_transitions_total is called acme_router_circuit_breaker_state_transitions; router_circuit_breaker_timeout_remaining_ms is called acme_router_circuit_breaker_timeout_remaining_ms; router_circuit_breaker_timeout_transitions_total is called acme_router_circuit_breaker_timeout_transitions; router_circuit_breaker_trigger_reason is called acme_router_circuit_breaker_trigger_reason; router_circuit_breaker_window_failures_total is called acme_router_circuit_breaker_window_failures; router_circuit_breaker_window_requests_total is called acme_router_circuit_breaker_window_requests"},
		{name: "recording rules without nodes", kind: "emitted", node: "all", hints: hints,
			rename: each(label("instance", ""), label("job", ""), func(l map[string]string) {
				delete(l, "")
				switch {
				case strings.HasSuffix(l["__name__"], "events_total"):
					l["__name__"] = "tenant:cb_events:sum"
				case strings.HasSuffix(l["__name__"], "state_transitions_total"):
					l["__name__"] = "tenant:circuit_breaker_transitions:sum"
				default:
					l["__name__"] = ""
				}
			}),
			renames: "no label tells the router's nodes apart: they are added up; router_circuit_breaker_events_total is called tenant:cb_events:sum; router_circuit_breaker_state_transitions_total is called tenant:circuit_breaker_transitions:sum"},
		{name: "relabelled", kind: "emitted", node: "router/n1:9001",
			rename:  each(label("tenant_id", "tenant"), label("provider_id", "exported_provider"), label("event_type", "kind"), label("from", "old_state"), label("to", "new_state")),
			renames: "event_type is called kind; from is called old_state; provider_id is called exported_provider; tenant_id is called tenant; to is called new_state"},
		{name: "a tenant under any name", kind: "emitted", node: "router/n1:9001", hints: hints,
			rename:  each(label("tenant_id", "customer"), label("provider_id", "upstream")),
			renames: "provider_id is called upstream; tenant_id is called customer"},
		{name: "a tenant under any name, nothing known", kind: "emitted", node: "router/n1:9001",
			rename:   label("tenant_id", "customer"),
			problems: "prometheus.dialect.labels.tenant_id: no label is called like tenant_id, and none has a value that the policies name [customer event_type from instance job provider_id to]"},
		{name: "exported beside the scraper's own", kind: "emitted", node: "router/n1:9001", hints: hints,
			rename:  each(label("tenant_id", "exported_tenant_id"), func(l map[string]string) { l["tenant_id"] = "platform" }),
			renames: "tenant_id is called exported_tenant_id"},
		{name: "exported beside the scraper's own, nothing known", kind: "emitted", node: "router/n1:9001",
			rename:   each(label("tenant_id", "exported_tenant_id"), func(l map[string]string) { l["tenant_id"] = "platform" }),
			problems: "prometheus.dialect.labels.tenant_id: tenant_id may be any of exported_tenant_id, tenant_id, and none has a value that the policies name [exported_tenant_id tenant_id]"},
		{name: "two labels hold tenants", kind: "emitted", node: "router/n1:9001", hints: hints,
			rename:   each(label("tenant_id", "customer"), func(l map[string]string) { l["owner"] = l["customer"] }),
			problems: "prometheus.dialect.labels.tenant_id: tenant_id may be any of customer, owner: all have values that the policies name [customer owner]"},
		{name: "another label of the tenant's does no harm", kind: "emitted", node: "router/n1:9001",
			rename: func(l map[string]string) { l["tenant_tier"] = "gold" }},
		{name: "documented, renamed", kind: "documented", node: "router/n1:9001",
			rename: each(documented, func(l map[string]string) {
				if strings.Contains(l["__name__"], "state_transitions") {
					label("state", "target_state")(l)
				}
			}), renames: "state is called target_state"},
		{name: "states that nobody can tell apart", node: "router/n1:9001",
			rename:   each(label("from", "a"), label("to", "b")),
			problems: "prometheus.dialect.labels.to: which of a, b is the state that a transition leads to is not clear [a b]"},
		{name: "pods", kind: "emitted", node: "router/n1:9001", rename: label("instance", "pod"),
			renames: "instance is called pod; nodes are told apart by job and pod"},
		{name: "instances without job", kind: "emitted", node: "n1:9001", rename: func(l map[string]string) { delete(l, "job") },
			renames: "nodes are told apart by instance"},
		{name: "two families", kind: "emitted", node: "router/n1:9001", rename: name(func(s string) string {
			if strings.HasSuffix(s, "events_total") {
				return "a_circuit_breaker_events_total"
			}
			if strings.HasSuffix(s, "error_rate") {
				return "b_circuit_breaker_events_total"
			}
			return s
		}),
			problems: "prometheus.dialect.metrics.events_total: router_circuit_breaker_events_total may be any of a_circuit_breaker_events_total, b_circuit_breaker_events_total [a_circuit_breaker_events_total b_circuit_breaker_events_total]"},
		{name: "two families, decided", kind: "emitted", node: "router/n1:9001",
			hints: promquery.Hints{Config: promquery.DialectConfig{Metrics: map[string]string{"events_total": "a_circuit_breaker_events_total"}}},
			rename: name(func(s string) string {
				if strings.HasSuffix(s, "events_total") {
					return "a_circuit_breaker_events_total"
				}
				if strings.HasSuffix(s, "error_rate") {
					return "b_circuit_breaker_events_total"
				}
				return s
			}), renames: "router_circuit_breaker_events_total is called a_circuit_breaker_events_total"},
		{name: "canonical beside derived", kind: "emitted", node: "router/n1:9001", rename: name(func(s string) string {
			if strings.HasSuffix(s, "error_rate") {
				return "tenant:router_circuit_breaker_events:rate5m"
			}
			if strings.HasSuffix(s, "_remaining_ms") {
				return "tenant:router_circuit_breaker_events:sum"
			}
			return s
		})},
		{name: "the plan decides", kind: "emitted", node: "router/n1:9001",
			hints: promquery.Hints{Config: promquery.DialectConfig{
				Metrics: map[string]string{"router_circuit_breaker_events_total": "odd", "state_transitions_total": "odder"},
				Labels:  map[string]string{"from": "a", "to": "b", "tenant_id": "customer", "event_type": "what", "provider_id": "p", "reason": "why"}}},
			rename: each(label("from", "a"), label("to", "b"), label("tenant_id", "customer"), label("event_type", "what"), label("provider_id", "p"), name(func(s string) string {
				return strings.NewReplacer("router_circuit_breaker_events_total", "odd", "router_circuit_breaker_state_transitions_total", "odder").Replace(s)
			})),
			renames: "event_type is called what; from is called a; provider_id is called p; reason is called why; router_circuit_breaker_events_total is called odd; router_circuit_breaker_state_transitions_total is called odder; tenant_id is called customer; to is called b"},
		{name: "the plan is wrong", kind: "emitted", node: "router/n1:9001",
			hints:    promquery.Hints{Config: promquery.DialectConfig{Metrics: map[string]string{"error_rate": "gone"}, Labels: map[string]string{"tenant_id": "gone"}}},
			renames:  "router_circuit_breaker_error_rate is called gone; tenant_id is called gone",
			problems: "prometheus.dialect.labels.tenant_id: tenant_id is set to gone, but the series have no such label [event_type from instance job provider_id tenant_id to]; prometheus.dialect.metrics.error_rate: error_rate is set to gone, but there is no such series [router_circuit_breaker_error_rate]"},
		{name: "other words", kind: "emitted", node: "router/n1:9001", rename: func(l map[string]string) {
			if l["event_type"] != "" {
				l["event_type"] = strings.ToUpper(l["event_type"])
			}
		}, problems: "prometheus.dialect.labels.event_type: event_type has values other than success, failure, fail_fast []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.hints.At = start
			d, problems, err := promquery.Detect(t.Context(), lab(t, deployment(t, 3, c.rename)), c.hints)
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, p := range problems {
				said = append(said, fmt.Sprintf("%s: %s %v", p.Setting, p.Text, p.Candidates))
			}
			if d.Kind != c.kind || strings.Join(d.Renames, "; ") != c.renames || strings.Join(said, "; ") != c.problems || d.Aggregated != (c.node == "all") {
				t.Errorf("kind %q\nrenames  %s\nproblems %s\naggregated %v", d.Kind, strings.Join(d.Renames, "; "), strings.Join(said, "; "), d.Aggregated)
			}
			if c.problems != "" || c.kind == "" {
				return
			}
			asCanonical(t, d, c.rename, c.node)
		})
	}
}

// asCanonical: asked in canonical terms, a deployment answers in them.
func asCanonical(t *testing.T, d promquery.Dialect, rename func(map[string]string), node string) {
	t.Helper()
	c := lab(t, deployment(t, 3, rename))
	seen, all := map[string]int{}, []map[string]string{}
	tenant := promquery.Match{Label: "tenant_id", Values: []string{"t-00001"}}
	for _, q := range [][]promquery.Match{
		d.Match("events_total", tenant, promquery.Match{Label: "event_type", Values: []string{"failure"}}),
		d.Match("state_transitions_total", tenant),
	} {
		_, err := c.Instant(t.Context(), promquery.Query{Name: "x", Select: q, To: start}, func(s promquery.Series) error {
			all = append(all, maps.Clone(s.Labels))
			l := d.Canonical(s.Labels)
			if d.Kind == "documented" {
				l["to"] = l["state"]
			}
			seen[l["__name__"]+" "+l["tenant_id"]+" "+l["provider_id"]+" "+l["event_type"]+l["to"]]++
			if n := d.Node(s.Labels); n != node {
				t.Errorf("node %q, want %q", n, node)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{}
	for _, p := range []string{"openai", "anthropic"} {
		want["router_circuit_breaker_events_total t-00001 "+p+" failure"] = 1
		for _, s := range []string{"open", "half_open", "closed"} {
			want["router_circuit_breaker_state_transitions_total t-00001 "+p+" "+s] = 1
		}
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("%v", seen)
	}
	up := d.UpMatch(all)
	if (up == nil) != d.Aggregated || len(up) > 0 && (fmt.Sprint(up[0].Values) != "[up]" || len(up) != 1+strings.Count(node, "/")+1) {
		t.Errorf("up: %+v", up)
	}
}

// Nothing there: the canonical dialect, of no kind, and no guess.
func TestDetectNothing(t *testing.T) {
	d, problems, err := promquery.Detect(t.Context(), lab(t, promlab.NewStore()), promquery.Hints{At: start, Tenants: []string{"t"}})
	if err != nil || len(problems) > 0 || d.Kind != "" || len(d.Renames) > 0 || d.Metric("events_total") != "router_circuit_breaker_events_total" {
		t.Errorf("%+v %v %v", d, problems, err)
	}
	if _, _, err := promquery.Detect(t.Context(), client(t, answers(t, "<html>")), promquery.Hints{At: start}); err == nil {
		t.Error("a page is taken for a dialect")
	}
}

// A partial answer is said to be one.
func TestDetectPartial(t *testing.T) {
	c := client(t, answers(t, `{"status":"success","data":[],"warnings":["store down"]}`))
	_, problems, err := promquery.Detect(t.Context(), c, promquery.Hints{At: start})
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].Text, "store down") {
		t.Errorf("%+v %v", problems, err)
	}
}

// Of an ambiguous metric nothing is asked.
func TestAmbiguousMatchesNothing(t *testing.T) {
	d := promquery.Dialect{Metrics: map[string]string{"events_total": ""}}
	c := lab(t, deployment(t, 1, nil))
	a, err := c.Instant(t.Context(), promquery.Query{Name: "x", Select: d.Match("events_total"), To: start}, data{}.visit)
	if err != nil || a.Series != 0 || a.Requests != 0 || a.Planned != 0 {
		t.Errorf("%+v %v", a, err)
	}
}

// A canonical name without its meaning is kept, but not taken for it.
func TestCanonicalKeepsTheOther(t *testing.T) {
	d := promquery.Dialect{Labels: map[string]string{"tenant_id": "exported_tenant_id", "state": "target_state"}}
	got := d.Canonical(map[string]string{"__name__": "x", "tenant_id": "platform", "exported_tenant_id": "t-acme", "state": "open", "zone": "z"})
	want := map[string]string{"__name__": "x", "tenant_id": "t-acme", "other_tenant_id": "platform", "state": "open", "zone": "z"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

// The number and size of questions do not grow with the fleet.
func TestDetectIsBounded(t *testing.T) {
	ask := func(tenants int, rename func(map[string]string)) (requests int, bytes int64) {
		h := promlab.NewServer(deployment(t, tenants, rename), promlab.Options{Now: func() time.Time { return start }})
		m := &measured{next: promlab.Transport(h)}
		hints := promquery.Hints{At: start, Tenants: []string{fmt.Sprintf("t-%05d", tenants-1)}}
		d, problems, err := promquery.Detect(t.Context(), client(t, "http://lab", func(o *promquery.Options) { o.Transport = m }), hints)
		if err != nil || len(problems) > 0 || d.Kind != "emitted" {
			t.Fatalf("%+v %v %v", d, problems, err)
		}
		return m.requests, m.bytes
	}
	for name, rename := range map[string]func(map[string]string){"canonical": nil, "renamed": label("tenant_id", "customer")} {
		few, _ := ask(3, rename)
		many, bytes := ask(1000, rename)
		if few != many || many > 16 || bytes > 1<<20 {
			t.Errorf("%s: %d requests, with 1,000 tenants %d and %d bytes", name, few, many, bytes)
		}
	}
}

type measured struct {
	next     http.RoundTripper
	requests int
	bytes    int64
}

func (m *measured) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := m.next.RoundTrip(req)
	if err == nil {
		m.requests++
		m.bytes += res.ContentLength
	}
	return res, err
}

// The extra matchers hold for detection too.
func TestDetectWithMatchers(t *testing.T) {
	i := 0
	s := deployment(t, 3, func(l map[string]string) {
		if i++; i%2 == 0 {
			l["cluster"], l["__name__"] = "staging", "staging_"+l["__name__"]
			return
		}
		l["cluster"] = "prod"
	})
	c := lab(t, s, func(o *promquery.Options) {
		o.Matchers = []promquery.Matcher{{Label: "cluster", Op: "=", Value: "staging"}}
	})
	d, _, err := promquery.Detect(context.Background(), c, promquery.Hints{At: start})
	if err != nil || d.Metric("events_total") != "staging_router_circuit_breaker_events_total" {
		t.Errorf("%+v %v", d, err)
	}
}

// Settings that cannot be are found before anything is asked.
func TestDialectConfigCheck(t *testing.T) {
	bad := promquery.DialectConfig{
		Metrics: map[string]string{"events_total": "a b", "event_total": "x", "state": "ok:name", "router_circuit_breaker_error_rate": "e"},
		Labels:  map[string]string{"tenant_id": "a-b", "tenant": "x", "from": "__name__", "to": "t"},
	}.Check()
	want := []string{`labels.from: "__name__" is not the name of a label`, `labels.tenant: the router has no such label`, `labels.tenant_id: "a-b" is not the name of a label`,
		`metrics.event_total: the router has no such metric`, `metrics.events_total: "a b" is not the name of a metric`}
	if !slices.Equal(bad, want) {
		t.Errorf("%q", bad)
	}
}

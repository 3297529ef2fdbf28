package gather_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// The histories are lived through by the practice router: a day before enabling, a
// day and a half after it, a scrape a minute.
var (
	histStart   = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	histEnabled = histStart.Add(24 * time.Hour)
	histEnd     = histEnabled.Add(36 * time.Hour)
)

const (
	guideBreaker = `{"enabled": true, "failure_threshold": 5, "error_rate_threshold": 0.5, "error_rate_window_seconds": 60, "timeout_ms": 30000, "success_threshold": 2}`
	offBreaker   = `{"enabled": false}`
)

// memory are policies in memory.
type memory map[router.Ref]string

func (f memory) List() ([]router.Ref, error) {
	return slices.SortedFunc(maps.Keys(f), router.Ref.Compare), nil
}

func (f memory) Read(r router.Ref) ([]byte, error) {
	s, ok := f[r]
	if !ok {
		return nil, errors.New("no such file")
	}
	return []byte(s), nil
}

// story is one history: a practice world, its twists, and what reaches Prometheus.
type story struct {
	t     *testing.T
	name  string
	nodes []string
	// breaker is t-acme's from histEnabled on.
	breaker string
	// rate and errors are t-acme's.
	rate, errors float64
	providers    []lab.Provider
	faults       []lab.Fault
	// twist acts on the world at instants.
	twist map[time.Time]func(*lab.World)
	// seen changes or drops (nil) what a scrape stores.
	seen func(labels map[string]string, at time.Time, v float64) (map[string]string, float64)
	// disabled leaves the breaker off.
	disabled bool
	// twice: every scrape is made a second time, by another job.
	twice bool

	world *lab.World
	// counters are the last values of every counter, and opens the scrapes at which
	// each node's closed → open of t-acme grew.
	opens   map[string][]time.Time
	last    map[string]float64
	history *promtest.History
}

// Append implements lab.Store: what the story lets through reaches the history, under
// a label of its own.
func (s *story) Append(labels map[string]string, at time.Time, v float64) error {
	name := labels["__name__"]
	if strings.Contains(name, "error_rate") || strings.Contains(name, "timeout_") || strings.Contains(name, "trigger") || strings.HasSuffix(name, "_state") {
		return nil // gauges are the doctor's
	}
	id := labels["instance"] + name + labels["event_type"] + labels["from"] + labels["to"] + labels["tenant_id"] + labels["provider_id"]
	if labels["from"] == "closed" && labels["tenant_id"] == "t-acme" && v != s.last[id] {
		k := labels["instance"] + " " + labels["provider_id"]
		s.opens[k] = append(s.opens[k], at)
	}
	s.last[id] = v
	l := maps.Clone(labels)
	if s.seen != nil {
		if l, v = s.seen(l, at, v); l == nil {
			return nil
		}
	}
	l["scenario"] = s.name
	l["instance"] = s.name + "-" + l["instance"] // so that a server may hold all of them
	return s.history.Append(l, at, v)
}

// live plays the story.
func (s *story) live() {
	s.t.Helper()
	s.opens, s.last = map[string][]time.Time{}, map[string]float64{}
	if s.rate == 0 {
		s.rate = 60
	}
	if s.errors == 0 {
		s.errors = 0.004
	}
	if s.providers == nil {
		s.providers = []lab.Provider{{Name: "openai", Weight: 60}, {Name: "anthropic", Weight: 40}}
	}
	if s.breaker == "" {
		s.breaker = guideBreaker
	}
	policies := memory{}
	doc := func(breaker string) string {
		var ps []string
		for _, p := range s.providers {
			ps = append(ps, fmt.Sprintf(`{"name": %q, "weight": %g}`, p.Name, p.Weight))
		}
		return fmt.Sprintf(`{"providers": [%s], "circuit_breaker": %s}`, strings.Join(ps, ", "), breaker)
	}
	acme := router.Ref{Tenant: "t-acme", Policy: "chat"}
	policies[acme] = doc(offBreaker)
	o := lab.Options{Seed: 11, Start: histStart, Nodes: s.nodes, Policies: policies, Store: s, Faults: s.faults,
		Tenants: []lab.Tenant{{ID: "t-acme", Policy: "chat", PerMinute: s.rate, ErrorRate: s.errors}}}
	for _, id := range []string{"t-cove", "t-dune", "t-echo"} {
		policies[router.Ref{Tenant: id, Policy: "chat"}] = doc(offBreaker)
		o.Tenants = append(o.Tenants, lab.Tenant{ID: id, Policy: "chat", PerMinute: 30, ErrorRate: 0.004})
	}
	if s.twice {
		o.Store = twice{s}
	}
	w, err := lab.NewWorld(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.world = w
	if !s.disabled {
		if s.twist == nil {
			s.twist = map[time.Time]func(*lab.World){}
		}
		s.twist[histEnabled] = func(w *lab.World) {
			policies[acme] = doc(s.breaker)
			if err := w.Router().Reload("t-acme", "chat"); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(s.twist), time.Time.Compare) {
		if err := w.Advance(at); err != nil {
			s.t.Fatal(err)
		}
		s.twist[at](w)
	}
	if err := w.Advance(histEnd); err != nil {
		s.t.Fatal(err)
	}
}

// stories are the histories of the evidence work, each with one cause.
func stories(t *testing.T, h *promtest.History) map[string]*story {
	outage := func(tenant string, from, length time.Duration) lab.Fault {
		at := histEnabled.Add(from)
		return lab.Fault{Provider: "openai", Tenant: tenant, From: at, To: at.Add(length), Share: 1}
	}
	drop := func(from, to time.Time, up bool) func(map[string]string, time.Time, float64) (map[string]string, float64) {
		return func(l map[string]string, at time.Time, v float64) (map[string]string, float64) {
			if at.Before(from) || at.After(to) {
				return l, v
			}
			if up && l["__name__"] == "up" {
				return l, 0 // the scrape failed, and Prometheus knows it
			}
			return nil, 0
		}
	}
	restart := func(w *lab.World) {
		if err := w.Router().Restart("node-1:9001"); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]*story{
		"steady":           {},
		"outage for all":   {faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
		"outage for one":   {faults: []lab.Fault{outage("t-acme", 10*time.Hour, 20*time.Minute)}},
		"noise":            {rate: 2, errors: 0.02},
		"a single open":    {rate: 0.5, errors: 1e-9, faults: []lab.Fault{outage("t-acme", 12*time.Hour, 30*time.Minute)}},
		"scrape gap":       {seen: drop(histEnabled.Add(5*time.Hour+time.Minute), histEnabled.Add(8*time.Hour), true)},
		"silent gap":       {seen: drop(histEnabled.Add(5*time.Hour+time.Minute), histEnabled.Add(8*time.Hour), false)},
		"no series":        {seen: func(l map[string]string, _ time.Time, v float64) (map[string]string, float64) { return onlyUp(l), v }},
		"traffic stops":    {},
		"restart":          {twist: map[time.Time]func(*lab.World){histEnabled.Add(9*time.Hour + 30*time.Second): restart}},
		"restart in open":  {faults: []lab.Fault{outage("", 10*time.Hour, 40*time.Minute)}, twist: map[time.Time]func(*lab.World){histEnabled.Add(10*time.Hour + 15*time.Minute + 20*time.Second): restart}},
		"wedge":            {breaker: strings.Replace(guideBreaker, `"success_threshold": 2`, `"success_threshold": 9, "half_open_max_calls": 2`, 1), faults: []lab.Fault{outage("", 10*time.Hour, 5*time.Minute)}},
		"inert":            {disabled: true, faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
		"shadow":           {faults: []lab.Fault{outage("", -8*time.Hour, 20*time.Minute)}},
		"impossible":       {faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
		"two nodes":        {nodes: []string{"node-1:9001", "node-2:9001"}, faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
		"scraped twice":    {twice: true, faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
		"renamed":          {faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
		"documented names": {faults: []lab.Fault{outage("", 10*time.Hour, 20*time.Minute)}},
	}
	stop := histEnabled.Add(20 * time.Hour)
	frozen := map[string]float64{}
	all["traffic stops"].seen = func(l map[string]string, at time.Time, v float64) (map[string]string, float64) {
		id := fmt.Sprint(l)
		if l["tenant_id"] != "t-acme" || at.Before(stop) {
			frozen[id] = v
			return l, v
		}
		return l, frozen[id] // the counters are still scraped, and stand
	}
	all["impossible"].seen = func(l map[string]string, _ time.Time, v float64) (map[string]string, float64) {
		if l["from"] == "closed" {
			return nil, 0 // a relabelling that drops the opens
		}
		return l, v
	}
	all["renamed"].seen = func(l map[string]string, _ time.Time, v float64) (map[string]string, float64) {
		l["__name__"] = strings.Replace(l["__name__"], "router_circuit_breaker_", "llm_circuit_breaker_", 1)
		for old, new := range map[string]string{"tenant_id": "tenant", "provider_id": "exported_provider"} {
			if x, ok := l[old]; ok {
				l[new] = x
				delete(l, old)
			}
		}
		return l, v
	}
	all["documented names"].seen = func(l map[string]string, _ time.Time, v float64) (map[string]string, float64) {
		if to, ok := l["to"]; ok {
			if l["from"] == "half_open" && to == "open" {
				return nil, 0 // both count into state="open"; one of them is enough here
			}
			l["state"] = to
			delete(l, "from")
			delete(l, "to")
		}
		return l, v
	}
	for name, s := range all {
		s.t, s.name, s.history = t, name, h
	}
	return all
}

func onlyUp(l map[string]string) map[string]string {
	if l["__name__"] == "up" {
		return l
	}
	return nil
}

// twice stores every sample under a second target too.
type twice struct{ *story }

// Append implements lab.Store.
func (s twice) Append(labels map[string]string, at time.Time, v float64) error {
	again := maps.Clone(labels)
	again["job"], again["instance"] = "pods", "10.0.0.7:9001"
	return errors.Join(s.story.Append(labels, at, v), s.story.Append(again, at.Add(17*time.Second), v))
}

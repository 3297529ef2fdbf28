package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

// The parts of a history: a good hour, the fault, and more than two good hours.
const (
	lead  = time.Hour
	after = 130 * time.Minute
	// shortest and longest bound how long an outage lasts; it is as long as the
	// longest `for` needs.
	shortest = time.Hour
	longest  = 12 * time.Hour
	seed     = 1
)

// story is how a history goes. The tenants t-acme (40 requests a minute), t-bolt
// (20) and t-dune (3) have the breaker enabled, t-cove (15) has not. All have
// openai and anthropic, t-acme cohere too.
type story struct {
	name string
	// text completes "in the history …:".
	text string
	// breaker replaces members of t-acme's circuit_breaker.
	breaker string
	// faults happen at the given time; length is how long an outage lasts.
	faults func(at time.Time, length time.Duration) ([]lab.Fault, []lab.Slow)
	// short caps the length.
	short time.Duration
	// noisy is t-dune's share of failures from the first minute on.
	noisy float64
	// dirty: something was wrong before the fault, so what fires then is no mistake.
	dirty bool
	// lasting: something is still wrong at the end, so nothing has to resolve.
	lasting bool
	// intervene acts on the world at the given times after the fault's begin.
	intervene func(w *lab.World, files *policies, length time.Duration) []act
	// lost drops scrapes for this long from the fault on.
	lost time.Duration
	// only these tenants take part; empty for all.
	only []string
}

type act struct {
	after time.Duration
	do    func() error
}

const (
	hHealthy  = "healthy"
	hNoise    = "noise"
	hOutage   = "outage"
	hTenant   = "tenant"
	hProbes   = "probes"
	hSingle   = "single-open"
	hFlapping = "flapping"
	hWedge    = "wedge"
	hNoOpen   = "no-open"
	hShadow   = "shadow"
	hLatency  = "latency"
	hRestart  = "restart"
	hGap      = "gap"
	hSilence  = "silence"
)

func fails(provider, tenant string, share float64) func(time.Time, time.Duration) ([]lab.Fault, []lab.Slow) {
	return func(at time.Time, length time.Duration) ([]lab.Fault, []lab.Slow) {
		return []lab.Fault{{Provider: provider, Tenant: tenant, From: at, To: at.Add(length), Share: share}}, nil
	}
}

func stories() []story {
	return []story{
		{name: hHealthy, text: "nothing fails but one request in two hundred, and no circuit opens",
			faults: func(time.Time, time.Duration) ([]lab.Fault, []lab.Slow) { return nil, nil }},
		{name: hNoise, text: "a tenant with 3 requests a minute has 3 % errors; its circuits open at single failures and close at the next probes", noisy: 0.03, dirty: true, lasting: true,
			faults: func(time.Time, time.Duration) ([]lab.Fault, []lab.Slow) { return nil, nil }},
		{name: hOutage, text: "openai fails for every tenant; circuits open, open again and again, and deny requests",
			only: enabled(), faults: fails("openai", "", 1)},
		{name: hTenant, text: "all three providers of one tenant fail",
			faults: func(at time.Time, length time.Duration) ([]lab.Fault, []lab.Slow) {
				var fs []lab.Fault
				for _, p := range []string{"openai", "anthropic", "cohere"} {
					fs = append(fs, lab.Fault{Provider: p, Tenant: acme, From: at, To: at.Add(length), Share: 1})
				}
				return fs, nil
			}},
		{name: hProbes, text: "a provider of one tenant goes on failing; every half-open probe fails",
			breaker: `"timeout_ms": 20000`, faults: fails("cohere", acme, 1)},
		{name: hSingle, text: "one circuit opens once, as the first transition it ever made, and stays open", short: 3 * time.Minute, lasting: true,
			breaker: `"timeout_ms": 86400000`, faults: fails("openai", acme, 1)},
		{name: hFlapping, text: "a provider of one tenant fails a minute in four; its circuit opens and closes all the time",
			faults: func(at time.Time, length time.Duration) ([]lab.Fault, []lab.Slow) {
				var fs []lab.Fault
				for t := at; t.Before(at.Add(length)); t = t.Add(4 * time.Minute) {
					fs = append(fs, lab.Fault{Provider: "openai", Tenant: acme, From: t, To: t.Add(time.Minute), Share: 1})
				}
				return fs, nil
			}},
		{name: hWedge, text: "a circuit that half-opened never closes, because it needs more successes than it admits probes", short: 10 * time.Minute, lasting: true,
			breaker: `"success_threshold": 5, "half_open_max_calls": 3`, faults: fails("openai", acme, 1)},
		{name: hNoOpen, text: "four requests in five fail and no circuit opens: the thresholds are out of reach",
			breaker: `"failure_threshold": 1000000, "error_rate_threshold": 1.01`, faults: fails("openai", acme, 0.8)},
		{name: hShadow, text: "a tenant without a breaker trips in shadow; nothing ever asks its circuit, so it stays open", short: 5 * time.Minute, lasting: true,
			faults: fails("openai", cove, 1)},
		{name: hLatency, text: "publishing is slow for everybody; circuits of one tenant open on latency",
			breaker: `"latency_threshold_ms": 1000`,
			faults: func(at time.Time, length time.Duration) ([]lab.Fault, []lab.Slow) {
				return nil, []lab.Slow{{From: at, To: at.Add(length), LatencyMS: 3000}}
			}},
		{name: hRestart, text: "openai fails for every tenant; the router restarts half-way and forgets every circuit",
			only: enabled(), faults: fails("openai", "", 1),
			intervene: func(w *lab.World, _ *policies, length time.Duration) []act {
				return []act{{length / 2, func() error { return w.Router().Restart(nodeName) }}}
			}},
		{name: hGap, text: "the router was not scraped for half an hour, hours after a short outage", dirty: true, lost: 30 * time.Minute, short: 30 * time.Minute, only: enabled(),
			faults: func(at time.Time, _ time.Duration) ([]lab.Fault, []lab.Slow) {
				return []lab.Fault{{Provider: "openai", From: at.Add(-lead), To: at.Add(-lead + 5*time.Minute), Share: 1}}, nil
			}},
		{name: hSilence, text: "openai failed for ten minutes and is back, every circuit has closed, and then nobody sends a request", short: 10 * time.Minute,
			only: []string{acme, bolt}, breaker: `"error_rate_window_seconds": 300`, faults: fails("openai", "", 1),
			intervene: func(w *lab.World, files *policies, length time.Duration) []act {
				return []act{{length + 2*time.Minute, func() error { files.providers = ""; return w.Router().ReloadAll() }}}
			}},
	}
}

const (
	acme, bolt, cove, dune = "t-acme", "t-bolt", "t-cove", "t-dune"
	nodeName               = "node-1:9001"
)

func enabled() []string { return []string{acme, bolt, dune} }

// policies are the tenants' policy documents.
type policies struct {
	tenants   []string
	breaker   string
	providers string
}

// List implements lab.Policies.
func (p *policies) List() ([]router.Ref, error) {
	var refs []router.Ref
	for _, t := range p.tenants {
		refs = append(refs, router.Ref{Tenant: t, Policy: "chat"})
	}
	return refs, nil
}

// Read implements lab.Policies.
func (p *policies) Read(r router.Ref) ([]byte, error) {
	if !slices.Contains(p.tenants, r.Tenant) {
		return nil, errors.New("no such policy")
	}
	providers, breaker := p.providers, ""
	if providers != "" && r.Tenant == acme {
		providers += `, {"name": "cohere", "weight": 40}`
	}
	if r.Tenant == acme && p.breaker != "" {
		breaker = ", " + p.breaker
	}
	return fmt.Appendf(nil, `{"providers": [%s], "circuit_breaker": {"enabled": %t%s}}`, providers, r.Tenant != cove, breaker), nil
}

// history is a story that was told: what Prometheus would have stored.
type history struct {
	story
	store *promlab.Store
	// from is the first scrape; the fault lasts [fault, over); to is the last instant.
	from, fault, over, to time.Time
}

// tell plays a story at a scrape interval.
func (s story) tell(every, length time.Duration) (history, error) {
	if s.short > 0 {
		length = s.short
	}
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	h := history{story: s, store: promlab.NewStore(), from: begin, fault: begin.Add(lead)}
	if s.noisy > 0 {
		h.fault = begin // wrong from the beginning
	}
	if s.lost > 0 {
		h.fault = begin.Add(4 * lead) // long after the short outage
	}
	h.over = h.fault.Add(length)
	h.to = h.over.Add(after)
	files := &policies{breaker: s.breaker, providers: `{"name": "openai", "weight": 40}, {"name": "anthropic", "weight": 40}`}
	o := lab.Options{Seed: seed, Start: begin, Nodes: []string{nodeName}, Policies: files, ScrapeEvery: every,
		Store: &scrapes{h.store, h.fault, h.fault.Add(s.lost)}}
	at := h.fault
	if s.lost > 0 {
		at = begin.Add(2 * lead)
	}
	o.Faults, o.Slow = s.faults(at, length)
	for _, t := range []lab.Tenant{{ID: acme, PerMinute: 40, ErrorRate: 0.005}, {ID: bolt, PerMinute: 20}, {ID: cove, PerMinute: 15}, {ID: dune, PerMinute: 3, ErrorRate: s.noisy}} {
		if len(s.only) == 0 || slices.Contains(s.only, t.ID) {
			t.Policy = "chat"
			o.Tenants = append(o.Tenants, t)
			files.tenants = append(files.tenants, t.ID)
		}
	}
	w, err := lab.NewWorld(o)
	if err != nil {
		return h, fmt.Errorf("cannot tell the history %s: %w", s.name, err)
	}
	if s.intervene != nil {
		for _, a := range s.intervene(w, files, length) {
			if err := errors.Join(w.Advance(h.fault.Add(a.after)), a.do()); err != nil {
				return h, fmt.Errorf("cannot tell the history %s: %w", s.name, err)
			}
		}
	}
	if err := w.Advance(h.to); err != nil {
		return h, fmt.Errorf("cannot tell the history %s: %w", s.name, err)
	}
	return h, nil
}

// scrapes drops what is scraped in a time; `up` is 0 then.
type scrapes struct {
	store    *promlab.Store
	from, to time.Time
}

// Append implements lab.Store.
func (s *scrapes) Append(lset map[string]string, t time.Time, v float64) error {
	if !t.Before(s.from) && t.Before(s.to) {
		if lset["__name__"] != "up" {
			return nil
		}
		v = 0
	}
	return s.store.Append(lset, t, v)
}

// tellAll plays every story, several at once; the order is that of stories.
func tellAll(ctx context.Context, every, length time.Duration) ([]history, error) {
	all := stories()
	out, errs := make([]history, len(all)), make([]error, len(all))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if errs[i] = ctx.Err(); errs[i] == nil {
				out[i], errs[i] = s.tell(every, length)
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// relabelled is the history as the dialect stores it.
func (h history) relabelled(d Dialect) (history, error) {
	s, err := h.store.Relabel(func(l map[string]string) map[string]string {
		if l["__name__"] == "up" {
			out := maps.Clone(d.Extra)
			if out == nil {
				out = map[string]string{}
			}
			for k, v := range l {
				if _, fixed := out[k]; !fixed {
					out[k] = v
				}
			}
			return out
		}
		return d.store(l)
	})
	h.store = s
	return h, err
}

package cmd

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

// A rollback never waits for Prometheus. What is asked of it here is asked beside
// everything else, and what is not answered in time is not said.

// providerHealth tells which providers really fail, in words for people.
type providerHealth interface {
	// Failing returns a line such as "openai is failing for 31 tenants now", or "".
	Failing(ctx context.Context) (string, error)
}

// providersDeadline is how long the line about failing providers may take.
const providersDeadline = 3 * time.Second

// askProviders begins to ask, and returns a function that gives the answer, if it
// is there, without waiting.
func (a *app) askProviders(ctx context.Context, s *changeSession) func() string {
	p := a.metrics(s)
	if p == nil {
		return func() string { return "" }
	}
	got := make(chan string, 1)
	ctx, cancel := context.WithTimeout(ctx, providersDeadline)
	go func() {
		defer cancel()
		line, err := providerHealth(p).Failing(ctx)
		if err != nil {
			line = "" // informational: no answer is no line
		}
		got <- line
	}()
	return func() string {
		select {
		case line := <-got:
			return line
		default:
			return ""
		}
	}
}

func (a *app) timelines(s *changeSession) change.Timelines {
	if m := a.metrics(s); m != nil {
		return m
	}
	return nil
}

// metrics asks the plan's Prometheus; nil without one.
func (a *app) metrics(s *changeSession) *metricsSource {
	if s.plan == nil || s.plan.Prometheus.URL == "" || a.Transport == nil {
		return nil
	}
	client, err := promquery.New(promquery.Options{URL: s.plan.Prometheus.URL, Transport: a.Transport, Sleep: a.Sleep, Timeout: providersDeadline})
	if err != nil {
		return nil // a rollback does not mind what is wrong with prometheus.url
	}
	return &metricsSource{client, a.Now}
}

// metricsSource reads open circuits and failing providers from the router's own
// counters (ROUTER.md §5).
type metricsSource struct {
	client *promquery.Client
	now    func() time.Time
}

const breakerMetrics = "router_circuit_breaker_"

// Failing implements providerHealth: a provider fails for a tenant where more than
// half of its outcomes of the last five minutes are failures.
func (m *metricsSource) Failing(ctx context.Context) (string, error) {
	rate := func(types string) string {
		return `sum by (provider_id, tenant_id) (rate(` + breakerMetrics + `events_total{event_type=~"` + types + `"}[5m]))`
	}
	a, err := m.client.Instant(ctx, `count by (provider_id) (`+rate("failure")+` / `+rate("success|failure")+` > 0.5)`, m.now())
	if err != nil {
		return "", err
	}
	var parts []string
	for _, s := range a.Series {
		if len(s.Samples) > 0 {
			n := int(s.Samples[0].V)
			parts = append(parts, fmt.Sprintf("%s is failing for %d %s", s.Labels["provider_id"], n, plural(n, "tenant", "tenants")))
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	return strings.Join(parts, ", ") + " now", nil
}

// Open implements change.Timelines. What entered a state and has not left it is in
// it: every circuit of a process begins closed, and so do its counters.
func (m *metricsSource) Open(ctx context.Context, tenants []string) (change.Seen, error) {
	var seen change.Seen
	match := ""
	if len(tenants) > 0 {
		quoted := make([]string, len(tenants))
		for i, t := range tenants {
			quoted[i] = regexp.QuoteMeta(t)
		}
		match = `tenant_id=~"` + strings.ReplaceAll(strings.Join(quoted, "|"), `\`, `\\`) + `"`
	}
	const by = "sum by (job, instance, tenant_id, provider_id) "
	now := m.now()
	known, err := m.client.Instant(ctx, "count by (job, instance, tenant_id, provider_id) ("+breakerMetrics+"events_total{"+match+"})", now)
	if err != nil {
		return seen, err
	}
	seen.Looked = len(known.Series)
	at, err := m.client.Instant(ctx, "min(timestamp("+breakerMetrics+"events_total{"+match+"}))", now)
	if err != nil {
		return seen, err
	}
	if len(at.Series) == 1 && len(at.Series[0].Samples) > 0 {
		seen.At = time.UnixMilli(int64(at.Series[0].Samples[0].V * 1000))
	}
	open := map[[3]string]string{}
	for _, state := range []string{"open", "half_open"} {
		sel := func(label string) string {
			m := label + `="` + state + `"`
			if match != "" {
				m += "," + match
			}
			return by + "(" + breakerMetrics + "state_transitions_total{" + m + "})"
		}
		a, err := m.client.Instant(ctx, sel("to")+" - ("+sel("from")+" or 0 * "+sel("to")+") > 0", now)
		if err != nil {
			return seen, err
		}
		for _, s := range a.Series {
			open[[3]string{s.Labels["instance"], s.Labels["tenant_id"], s.Labels["provider_id"]}] = state
		}
	}
	for k, state := range open {
		seen.Open = append(seen.Open, change.OpenCircuit{Node: k[0], Circuit: router.Circuit{Tenant: k[1], Provider: k[2], State: state}})
	}
	slices.SortFunc(seen.Open, func(a, b change.OpenCircuit) int {
		return strings.Compare(a.Node+"\x00"+a.Tenant+"\x00"+a.Provider, b.Node+"\x00"+b.Tenant+"\x00"+b.Provider)
	})
	return seen, nil
}

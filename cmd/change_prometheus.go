package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/gather"
	"github.com/cbops/cbops/rollout/router"
)

// A rollback never waits for Prometheus. What is asked of it here is asked beside
// everything else, and what is not answered in time is not said.

// providersDeadline is how long the line about failing providers may take.
const providersDeadline = 3 * time.Second

// askProviders begins to ask which providers really fail, and returns a function
// that gives the line, if it is there, without waiting.
func (a *app) askProviders(ctx context.Context, s *changeSession) func() string {
	m := a.metrics(s)
	if m == nil {
		return func() string { return "" }
	}
	got := make(chan string, 1)
	ctx, cancel := context.WithTimeout(ctx, providersDeadline)
	go func() {
		defer cancel()
		line, err := m.failing(ctx)
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
	if s.plan == nil || len(s.plan.Prometheus.URLs) == 0 || a.Transport == nil {
		return nil
	}
	servers, err := a.prometheus(prometheusFlags{}, s.plan)
	if err != nil {
		return nil // a rollback does not mind what is wrong with the plan's prometheus
	}
	return &metricsSource{servers, s.plan.Prometheus.Dialect, a.Now}
}

// metricsSource reads open circuits and failing providers from the router's own
// counters.
type metricsSource struct {
	servers *promquery.Group
	dialect promquery.DialectConfig
	now     func() time.Time
}

// dialectWindow is how far back series are looked for, to learn their names.
const dialectWindow = time.Hour

// ask runs on the first server that is available, with the names of its series.
func (m *metricsSource) ask(ctx context.Context, tenants []string, run func(context.Context, *promquery.Client, promquery.Dialect, time.Time) error) error {
	at := m.now()
	return m.servers.Do(ctx, func(ctx context.Context, c *promquery.Client) error {
		d, _, err := promquery.Detect(ctx, c, promquery.Hints{At: at, Window: dialectWindow, Tenants: tenants, Config: m.dialect})
		if err != nil {
			return fmt.Errorf("finding the router's series: %w", err)
		}
		return run(ctx, c, d, at)
	})
}

// failing is a line such as "openai is failing for 31 tenants now", or "".
func (m *metricsSource) failing(ctx context.Context) (string, error) {
	var parts []string
	err := m.ask(ctx, nil, func(ctx context.Context, c *promquery.Client, d promquery.Dialect, at time.Time) error {
		providers, err := gather.ProvidersNow(ctx, c, d, at)
		parts = nil
		for _, p := range providers {
			if p.FailingTenants > 0 && p.Failing {
				parts = append(parts, fmt.Sprintf("%s is failing for %d %s", p.Provider, p.FailingTenants, plural(p.FailingTenants, "tenant", "tenants")))
			}
		}
		return err
	})
	if err != nil || len(parts) == 0 {
		return "", err
	}
	return strings.Join(parts, ", ") + " now", nil
}

// Open implements change.Timelines.
func (m *metricsSource) Open(ctx context.Context, tenants []string) (change.Seen, error) {
	var seen change.Seen
	err := m.ask(ctx, tenants, func(ctx context.Context, c *promquery.Client, d promquery.Dialect, at time.Time) error {
		seen = change.Seen{}
		if err := seenAt(ctx, c, d, tenants, at, &seen); err != nil {
			return err
		}
		open, err := gather.OpenCircuits(ctx, c, d, tenants, at)
		for _, x := range open {
			state := "open"
			if x.HalfOpen {
				state = "half_open"
			}
			seen.Open = append(seen.Open, change.OpenCircuit{Node: x.Node, Circuit: router.Circuit{Tenant: x.Tenant, Provider: x.Provider, State: state}})
		}
		return err
	})
	return seen, err
}

// seenAt asks how many circuits the metrics have, and how old the oldest of their
// samples is: that a circuit is closed is only said of that moment.
func seenAt(ctx context.Context, c *promquery.Client, d promquery.Dialect, tenants []string, at time.Time, seen *change.Seen) error {
	var who []promquery.Match
	if tenants != nil {
		who = []promquery.Match{{Label: "tenant_id", Values: tenants}}
	}
	circuits := map[[3]string]bool{}
	q := promquery.Query{Name: "newest scrapes", Select: d.Match("events_total", who...), SplitBy: "tenant_id", From: at, To: at,
		Wrap: func(s string) string { return "timestamp(" + s + ")" }}
	_, err := c.Instant(ctx, q, func(s promquery.Series) error {
		l := d.Canonical(s.Labels)
		for _, x := range s.Samples {
			t := time.UnixMilli(int64(x.V * 1000))
			if seen.At.IsZero() || t.Before(seen.At) {
				seen.At = t
			}
		}
		circuits[[3]string{d.Node(s.Labels), l["tenant_id"], l["provider_id"]}] = true
		return nil
	})
	seen.Looked = len(circuits)
	return err
}

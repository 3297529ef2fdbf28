package gather

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// OpenCircuit is a circuit that is not closed by its transition counters.
type OpenCircuit struct {
	Node     string `json:"node"`
	Tenant   string `json:"tenant"`
	Provider string `json:"provider"`
	HalfOpen bool   `json:"halfOpen"`
}

// OpenCircuits says which circuits of some tenants, or of all with nil, the counters
// call not closed at an instant: closed → open was counted more often than half-open →
// closed since the node's last restart. A reset by remote call counts nothing, so that
// a circuit that was reset goes on being listed; one that is not listed is closed, as
// far as it was scraped.
func OpenCircuits(ctx context.Context, src Source, d promquery.Dialect, tenants []string, at time.Time) ([]OpenCircuit, error) {
	g := newGatherer(src, Request{At: at, Dialect: d})
	r := g.newRecords()
	var who []promquery.Match
	if tenants != nil {
		who = []promquery.Match{{Label: "tenant_id", Values: unique(tenants)}}
	}
	q := promquery.Query{Name: "open now", Select: d.Match("state_transitions_total", who...), SplitBy: "tenant_id", From: at, To: at}
	if err := g.read(ctx, src.Instant, q, r.visit(false, keepAll)); err != nil {
		return nil, fmt.Errorf("reading open circuits: %w", err)
	}
	out := []OpenCircuit{}
	for _, k := range r.keys() {
		last := func(c counter) float64 {
			if ss := r.by[k].series[c]; len(ss) > 0 {
				return ss[len(ss)-1].v
			}
			return 0
		}
		if last(cCO)-last(cHC) > 0.5 {
			out = append(out, OpenCircuit{k.node, k.tenant, k.provider, last(cOH)-last(cHO)-last(cHC) > 0.5})
		}
	}
	return out, nil
}

// ProviderNow is how a provider does at present, through all tenants.
type ProviderNow struct {
	Provider string `json:"provider"`
	// Failing: at least 20 outcomes and 5 failures, and half of them failed.
	Failing bool `json:"failing"`
	// Tenants used it, FailingTenants saw half of their calls fail or more.
	Tenants        int     `json:"tenants"`
	FailingTenants int     `json:"failingTenants"`
	Outcomes       float64 `json:"outcomes"`
	Failed         float64 `json:"failed"`
}

// nowWindow is how much of the past is the present.
const nowWindow = 10 * time.Minute

// ProvidersNow says by one question which providers fail at present, for whom. It is
// for a line on a screen: counters that appeared in the last minutes are missed.
func ProvidersNow(ctx context.Context, src Source, d promquery.Dialect, at time.Time) ([]ProviderNow, error) {
	g := newGatherer(src, Request{At: at, Dialect: d})
	type seen struct{ n, f float64 }
	by := map[string]map[string]*seen{} // provider, tenant
	group := fmt.Sprintf("%s, %s, %s", d.Label("tenant_id"), d.Label("provider_id"), d.Label("event_type"))
	q := promquery.Query{Name: "providers now", From: at.Add(-nowWindow), To: at, SplitBy: "tenant_id",
		Select: d.Match("events_total", promquery.Match{Label: "event_type", Values: []string{"success", "failure"}}),
		Wrap: func(s string) string {
			return fmt.Sprintf("sum by (%s) (increase(%s[%ds]))", group, s, int(nowWindow.Seconds()))
		}}
	err := g.read(ctx, src.Instant, q, func(s promquery.Series) error {
		l := d.Canonical(s.Labels)
		p, t := l["provider_id"], l["tenant_id"]
		for _, x := range s.Samples {
			if math.IsNaN(x.V) || math.IsInf(x.V, 0) {
				continue
			}
			if by[p] == nil {
				by[p] = map[string]*seen{}
			}
			if by[p][t] == nil {
				by[p][t] = &seen{}
			}
			by[p][t].n += x.V
			if l["event_type"] == "failure" {
				by[p][t].f += x.V
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading providers: %w", err)
	}
	out := []ProviderNow{}
	for p, tenants := range by {
		x := ProviderNow{Provider: p}
		for _, s := range tenants {
			if s.n <= 0 {
				continue
			}
			x.Tenants++
			x.Outcomes += s.n
			x.Failed += s.f
			if s.f >= s.n/2 {
				x.FailingTenants++
			}
		}
		x.Failing = evidence.Share{Outcomes: x.Outcomes, Failed: x.Failed}.Failing(0)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b ProviderNow) int { return cmp.Compare(a.Provider, b.Provider) })
	return out, nil
}

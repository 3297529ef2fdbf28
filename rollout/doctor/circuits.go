package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// circuits reads the window and looks at series, scrapes, nodes, restarts, and at what
// the breaker did.
func (x *examination) circuits(ctx context.Context) error {
	tenants, left, err := x.tenants(ctx)
	if err != nil {
		return err
	}
	req := gather.Request{At: x.req.At, Baseline: time.Hour, Dialect: x.d, Elastic: x.req.Elastic}
	for _, t := range tenants {
		req.Tenants = append(req.Tenants, gather.TenantRequest{ID: t.ID, Since: x.req.At.Add(-x.req.Window), Config: t.Config})
	}
	if x.ev, err = gather.Gather(ctx, x.c, req); err != nil {
		return err
	}
	x.interval = x.ev.Interval
	x.out.Queries = append(x.out.Queries, x.ev.Queries...)
	if err := x.series(ctx, tenants, left); err != nil {
		return err
	}
	x.scrapes()
	x.nodes()
	x.restarts()
	if err := x.latched(ctx); err != nil {
		return err
	}
	x.containment(tenants)
	x.twin(tenants)
	return nil
}

// tenants are those of the policies, or those that the server has; at most
// maxTenants, in order of their names. left says how many are not looked at.
func (x *examination) tenants(ctx context.Context) (tenants []Tenant, left int, err error) {
	tenants = slices.Clone(x.req.Tenants)
	if x.req.Tenants == nil {
		names, err := x.c.LabelValues(ctx, x.d.Label("tenant_id"), [][]promquery.Match{x.d.Match("events_total")}, x.out.Window.From, x.req.At, 20_000)
		if err != nil {
			return nil, 0, err
		}
		for _, n := range names.Values {
			tenants = append(tenants, Tenant{ID: n})
		}
	}
	slices.SortFunc(tenants, func(a, b Tenant) int { return strings.Compare(a.ID, b.ID) })
	if n := len(tenants); n > maxTenants {
		return tenants[:maxTenants], n - maxTenants, nil
	}
	return tenants, 0, nil
}

// series: which of the breaker's metrics are there, and which tenants have none.
func (x *examination) series(ctx context.Context, tenants []Tenant, left int) error {
	k := Check{ID: "series", Verdict: criteria.Pass}
	var found, missing []string
	for _, short := range promquery.CanonicalMetrics() {
		n := 0.0
		q := promquery.Query{Name: "series of " + short, From: x.req.At, To: x.req.At, Select: x.d.Match(short),
			Wrap: func(s string) string { return "count(" + s + ")" }}
		_, err := x.c.Instant(ctx, q, func(s promquery.Series) error { n = s.Samples[0].V; return nil })
		if err != nil {
			return err
		}
		if name := promquery.Prefix + short; n > 0 {
			found = append(found, fmt.Sprintf("%s: %.0f series", name, n))
		} else {
			missing = append(missing, name)
		}
	}
	var without []string
	for i := range x.ev.Tenants {
		if len(x.ev.Tenants[i].Circuits) == 0 {
			without = append(without, x.ev.Tenants[i].ID)
		}
	}
	k.Evidence = found
	if len(missing) > 0 {
		k.Evidence = append(k.Evidence, "not there: "+strings.Join(missing, ", "))
	}
	if left > 0 {
		k.Evidence = append(k.Evidence, fmt.Sprintf("%d more tenants were not looked at", left))
	}
	k.Summary = fmt.Sprintf("%d of %d metrics, %d of %d tenants with outcomes", len(found), len(promquery.CanonicalMetrics()), len(tenants)-len(without), len(tenants))
	switch {
	case len(tenants) == len(without):
		k.Verdict = criteria.Fail
		k.Summary = "no " + promquery.Prefix + "events_total series: the breaker is not exported, or not scraped"
		k.Next = []string{"set metrics_export_enabled, and scrape port 9001, path /metrics/router_metrics_http/metrics, on every node"}
	case len(without) > 0:
		k.Verdict = criteria.Inconclusive
		k.Summary += ": " + few(without, 5) + " has none"
		k.Next = []string{"check the tenants' names, and whether they send anything"}
	}
	x.add(k)
	return nil
}

// few names some and counts the rest.
func few(s []string, n int) string {
	if len(s) <= n {
		return strings.Join(s, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(s[:n], ", "), len(s)-n)
}

// scrapes: how often, and how much of the window was measured.
func (x *examination) scrapes() {
	m := x.ev.Coverage(x.out.Window.From)
	want := int(x.req.Window.Hours())
	k := Check{ID: "scrapes", Verdict: criteria.Pass, Summary: fmt.Sprintf("every %g s; %d of %d hours measured", x.ev.Interval.Seconds(), m.Hours, want)}
	for i, g := range m.Gaps {
		if i == 5 {
			k.Evidence = append(k.Evidence, fmt.Sprintf("and %d more gaps", len(m.Gaps)-i))
			break
		}
		line := fmt.Sprintf("%s to %s UTC: %s", g.From.UTC().Format("2 Jan 15:04"), g.To.UTC().Format("2 Jan 15:04"), g.Reason)
		if g.Node != "" {
			line += " (" + g.Node + ")"
		}
		k.Evidence = append(k.Evidence, line)
	}
	switch {
	case x.ev.Interval == 0:
		k.Verdict, k.Summary = criteria.Fail, "no scrape of the router was found"
		k.Next = []string{"scrape the router: see the check series"}
	case m.Hours == 0:
		k.Verdict = criteria.Fail
		k.Next = []string{"see why scrapes are missing: the page /targets of the server"}
	case m.Hours*10 < want*9:
		k.Verdict = criteria.Inconclusive
		k.Next = []string{"every hour that is not measured makes a phase longer: see the page /targets of the server"}
	}
	if x.ev.Interval > 2*time.Minute {
		k.Verdict = criteria.Worst(k.Verdict, criteria.Inconclusive)
		k.Evidence = append(k.Evidence, "opens and closes are dated to a scrape: a minute or less is better")
	}
	x.add(k)
}

// nodes: which there are, whether the plan knows others, and whether one is scraped
// twice.
func (x *examination) nodes() {
	k := Check{ID: "nodes", Verdict: criteria.Pass}
	var names []string
	for _, n := range x.ev.Nodes {
		names = append(names, n.Name)
	}
	k.Summary = fmt.Sprintf("%d scraped: %s", len(names), few(names, 4))
	if len(names) == 0 {
		k.Verdict, k.Summary = criteria.Fail, "no node of the router is scraped"
	}
	var unseen []string
	for _, want := range x.req.Nodes {
		host, _, _ := strings.Cut(want, ":")
		if !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, host) }) {
			unseen = append(unseen, want)
		}
	}
	if len(unseen) > 0 {
		k.Verdict = criteria.Worst(k.Verdict, criteria.Inconclusive)
		k.Summary += "; the plan's " + few(unseen, 4) + " is not among them by name"
		k.Next = append(k.Next, "scrape every node: what one of them does is seen nowhere else")
	}
	x.add(k)
	d := Check{ID: "double-scrapes", Verdict: criteria.Pass, Summary: "no router is scraped twice"}
	for _, y := range x.ev.Doubles {
		d.Verdict = criteria.Fail
		d.Summary = fmt.Sprintf("%d targets are a router that is scraped already: everything summed over them counts twice", len(x.ev.Doubles))
		d.Evidence = append(d.Evidence, fmt.Sprintf("%s is %s: %s", y.Dropped, y.Kept, y.Reason))
		d.Next = []string{"scrape each node by one job only"}
	}
	if len(names) == 0 {
		d.Verdict, d.Advisory, d.Summary = criteria.Inconclusive, true, "nothing is scraped"
	}
	x.add(d)
}

func (x *examination) restarts() {
	k := Check{ID: "restarts", Verdict: criteria.Pass}
	n := 0
	for _, node := range x.ev.Nodes {
		for _, t := range node.Restarts {
			if at := evidence.Instant(t); at.After(x.out.Window.From) {
				n++
				k.Evidence = append(k.Evidence, fmt.Sprintf("%s, first scraped again %s UTC", node.Name, at.Format("2 Jan 15:04:05")))
			}
		}
	}
	k.Summary = "none seen"
	if n > 0 {
		k.Summary = fmt.Sprintf("%d seen: each closes every circuit of its node and takes its counters to 0", n)
	}
	if len(x.ev.Nodes) == 0 {
		k.Verdict, k.Advisory, k.Summary = criteria.Inconclusive, true, "nothing is scraped"
	}
	x.add(k)
}

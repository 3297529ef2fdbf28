package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// clockSlack is how far the server's clock may differ without a word.
const clockSlack = 5 * time.Second

// gather finds out how the deployment names the router's series and how far the
// clocks differ, and reads the evidence: all of it from one server, which is the next
// one only where the one before is not available.
func (a *app) gather(ctx context.Context, servers *promquery.Group, t target, req gather.Request) (*evidence.Evidence, error) {
	var ev *evidence.Evidence
	err := servers.Do(ctx, func(ctx context.Context, c *promquery.Client) error {
		a.progress("reading names")
		from := req.At
		hints := promquery.Hints{At: req.At, Providers: t.Providers}
		for _, x := range req.Tenants {
			hints.Tenants = append(hints.Tenants, x.ID)
			if b := x.Since.Add(-req.Baseline); b.Before(from) {
				from = b
			}
		}
		hints.Window = req.At.Sub(from)
		if t.Plan != nil {
			hints.Config = t.Plan.Prometheus.Dialect
			req.Elastic = t.Plan.Prometheus.Elastic
		}
		d, problems, err := promquery.Detect(ctx, c, hints)
		if err != nil {
			return fmt.Errorf("finding the router's series: %w", err)
		}
		req.Dialect, req.DialectProblems = d, problems
		if skew, err := c.Skew(ctx); err == nil { // a server that does not tell leaves it unmeasured
			req.Skew = evidence.Skew{Measured: true, Ahead: skew.Query.Round(time.Second), Within: skew.RoundTrip.Round(time.Second)}
		}
		if req.Skew.Ahead.Abs() > clockSlack {
			a.say("the clock of %s is %s ahead of this one: --since and --at are told by this clock, the evidence by that one", c.Server(), req.Skew.Ahead)
		}
		if ev, err = gather.Gather(ctx, c, req); err == nil {
			ev.Dialect.Matchers = c.Matchers()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot gather evidence: %w", err)
	}
	return ev, nil
}

package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/doctor"
)

func newExportCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "export",
		Short:   "Write what other programs read",
		GroupID: "tools",
		Example: "  cbops export alerts --prometheus http://localhost:9090 > breaker-alerts.yml",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newExportAlertsCmd(a))
	return c
}

func newExportAlertsCmd(a *app) *cobra.Command {
	var f prometheusFlags
	c := &cobra.Command{
		Use:   "alerts",
		Short: "Write the documented alerts as rules that can fire",
		Long: `alerts writes a Prometheus rule file: the alerts of the router's documents, each
with an expression that fires, stays silent and resolves as it should in the
names that the server really has. Each was tried on the histories of a practice
router; one that could not be proven is left out and named on stderr.`,
		Example: "  cbops export alerts --prometheus http://localhost:9090 > breaker-alerts.yml",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.exportAlerts(c.Context(), f)
		},
	}
	f.addTo(c)
	return c
}

func (a *app) exportAlerts(ctx context.Context, f prometheusFlags) error {
	p, err := a.planIfAny()
	if err != nil {
		return err
	}
	servers, err := a.prometheus(f, p)
	if err != nil {
		return err
	}
	req := doctor.Request{At: a.Now().UTC()}
	if p != nil {
		req.Dialect = p.Prometheus.Dialect
	}
	var e doctor.Export
	err = servers.Do(ctx, func(ctx context.Context, c *promquery.Client) (err error) {
		e, err = doctor.ReplacementAlerts(ctx, c, req)
		return err
	})
	if err != nil {
		return err
	}
	raw, err := promlab.FormatRules(e.Groups)
	if err != nil {
		return err
	}
	for _, l := range e.Left {
		a.say("left out: %s", l)
	}
	return a.show(render.NewRules(string(raw), e.Left), fault.OK)
}

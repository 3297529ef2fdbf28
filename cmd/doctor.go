package cmd

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/doctor"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// doctorOptions is what the flags of doctor say.
type doctorOptions struct {
	targetFlags
	prometheusFlags
	at, window string
	rules      []string
	dashboards []string
	traffic    bool
}

func newDoctorCmd(a *app) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:     "doctor",
		Short:   "Is Prometheus telling the truth about this router",
		GroupID: "prepare",
		Long: `doctor asks a Prometheus server what a gate will later rely on: does it answer and
keep samples long enough, are all nodes scraped and each once, under which names
are the router's series found, can the alerts fire, do the dashboards show what
is, does the router behave like the twin, and does an open breaker keep anything
away. Alerts and panels are tried on the histories of a practice router.
Exit 0 when every check passes, 1 when one fails (a dead alert is one), 3 when
something that is needed cannot be found out, 4 when there is no answer at all.`,
		Example: `  cbops doctor --prometheus http://localhost:9090 --policies policies
  cbops doctor --dashboard breaker.json --rules alerts.yml -o json
  cbops doctor --traffic`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := a.doctor(c.Context(), o)
			if err != nil {
				return err
			}
			return a.show(render.Diagnosis{Diagnosis: d}, verdictCode(d.Verdict))
		},
	}
	o.targetFlags.addTo(c)
	o.prometheusFlags.addTo(c)
	f := c.Flags()
	f.StringVar(&o.at, "at", "", "look as of `TIME`; nothing after it is seen (default now)")
	f.StringVar(&o.window, "window", "24h", "`DURATION` before --at in which scrapes and circuits are looked at")
	f.StringArrayVar(&o.rules, "rules", nil, "rule `FILE` to try in place of the server's rules; repeatable")
	f.StringArrayVar(&o.dashboards, "dashboard", nil, "Grafana dashboard, a `FILE` or a URL; repeatable")
	f.BoolVar(&o.traffic, "traffic", false, "show the traffic of 14 days, by tenant and circuit")
	return c
}

// verdictCode is the exit code of a verdict.
func verdictCode(v criteria.Verdict) fault.Code {
	switch v {
	case criteria.Pass:
		return fault.OK
	case criteria.Fail:
		return fault.Failed
	}
	return fault.Inconclusive
}

func (a *app) doctor(ctx context.Context, o doctorOptions) (*doctor.Diagnosis, error) {
	req := doctor.Request{At: a.Now().UTC(), Traffic: o.traffic, Progress: func(s string) { a.progress("%s", s) }}
	var err error
	if o.at != "" {
		if req.At, err = parseTime(o.at, req.At); err != nil {
			return nil, fault.Hint(fault.New(fault.Usage, "--at %q: %w", o.at, err), "a time like 2026-03-08T00:00:00Z, or a duration back from now like 24h")
		}
	}
	if req.Window, err = time.ParseDuration(o.window); err != nil || req.Window < time.Hour || req.Window > maxSpan {
		return nil, fault.New(fault.Usage, "--window %q: want a duration from 1h to %s, like 24h", o.window, maxSpan)
	}
	var t target
	if o.policies != "" || a.findPlan() != "" {
		if t, err = a.target(o.policies, false); err != nil {
			return nil, err
		}
		if req.Tenants, err = a.tenantsOf(t, o.targetFlags); err != nil {
			return nil, err
		}
		req.Nodes = t.Nodes
		if t.Plan != nil {
			req.Dialect, req.Elastic = t.Plan.Prometheus.Dialect, t.Plan.Prometheus.Elastic
		}
	} else if len(o.tenants) > 0 {
		for _, id := range o.tenants {
			req.Tenants = append(req.Tenants, doctor.Tenant{ID: id})
		}
	}
	if req.Rules, req.RulesGiven, err = a.ruleFiles(o.rules); err != nil {
		return nil, err
	}
	servers, err := a.prometheus(o.prometheusFlags, t.Plan)
	if err != nil {
		return nil, err
	}
	for _, d := range o.dashboards {
		f, err := a.dashboard(ctx, d)
		if err != nil {
			return nil, err
		}
		if _, err := doctor.ParseDashboard(f.Name, f.Data); err != nil {
			return nil, fault.Wrap(fault.Usage, err)
		}
		req.Dashboards = append(req.Dashboards, f)
	}
	var d *doctor.Diagnosis
	err = servers.Do(ctx, func(ctx context.Context, c *promquery.Client) (err error) {
		d, err = doctor.Examine(ctx, c, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot examine Prometheus: %w", err)
	}
	d.Environment = t.Environment
	return d, nil
}

// tenantsOf reads which tenants there are and whose breaker is on: those of the flags,
// or all of the policy directory.
func (a *app) tenantsOf(t target, f targetFlags) ([]doctor.Tenant, error) {
	dir, err := router.OpenDir(t.Policies)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // only read
	dir = dir.ShownAs(t.Shown)
	refs, err := dir.List()
	if err != nil {
		return nil, err
	}
	by := map[string]int{}
	out := []doctor.Tenant{}
	for _, r := range refs {
		if len(f.tenants) > 0 && !slices.Contains(f.tenants, r.Tenant) || f.policyName != "" && f.policyName != r.Policy {
			continue
		}
		i, ok := by[r.Tenant]
		if !ok {
			i = len(out)
			by[r.Tenant] = i
			out = append(out, doctor.Tenant{ID: r.Tenant})
		}
		raw, err := dir.Read(r)
		if err != nil {
			return nil, err
		}
		doc, err := policy.Parse(dir.Path(r), raw)
		if err != nil {
			return nil, err
		}
		if b, ok := doc.Breaker(); ok && b.Enabled && !out[i].Enabled {
			out[i].Enabled, out[i].Config = true, evidenceConfig(true, b.Config)
		}
	}
	if len(out) == 0 {
		return nil, fault.Hint(fault.New(fault.Usage, "%s: no such tenant", t.Shown), "check --tenant, --policy and --policies")
	}
	return out, nil
}

// ruleFiles reads rule files in Prometheus' own format.
func (a *app) ruleFiles(files []string) ([]doctor.ServerRule, bool, error) {
	var groups []promlab.Group
	for _, name := range files {
		raw, err := a.readWhole(name, maxRules)
		if err != nil {
			return nil, false, err
		}
		g, err := promlab.ParseRules(name, raw)
		if err != nil {
			return nil, false, fault.Wrap(fault.Usage, err)
		}
		groups = append(groups, g...)
	}
	return doctor.FromGroups(groups), len(files) > 0, nil
}

const (
	// maxRules bounds a rule file, in bytes.
	maxRules = 8 << 20
	// tokenFile names the variable that says where the token for Grafana lies.
	tokenFile = "CBOPS_GRAFANA_TOKEN_FILE"
)

// dashboard reads a dashboard from a file, or from Grafana by its address.
func (a *app) dashboard(ctx context.Context, from string) (doctor.DashboardFile, error) {
	f := doctor.DashboardFile{Name: from}
	if !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://") {
		var err error
		f.Data, err = a.readWhole(from, doctor.MaxDashboardBytes)
		return f, err
	}
	rt := a.Transport
	if name := a.Getenv(tokenFile); name != "" {
		raw, err := a.readWhole(name, 64<<10)
		if err != nil {
			return f, fmt.Errorf("%s: %w", tokenFile, err)
		}
		rt = bearer{a.Transport, strings.TrimSpace(string(raw))}
	}
	data, err := doctor.FetchDashboard(ctx, rt, from)
	f.Data = data
	return f, err
}

// bearer adds a token to the requests of one host.
type bearer struct {
	next  http.RoundTripper
	token string
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}

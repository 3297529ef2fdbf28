package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// Tenant is what the policies say of a tenant.
type Tenant struct {
	ID string
	// Enabled: one of its policies has the breaker on. Config is that policy's.
	Enabled bool
	Config  evidence.Config
}

// DashboardFile is a dashboard to look at.
type DashboardFile struct {
	Name string
	Data []byte
}

// Request says what a diagnosis is of.
type Request struct {
	At time.Time
	// Window is how far back scrapes and circuits are looked at; 0 for a day.
	Window time.Duration
	// Tenants by the policies; nil where nobody said which there are.
	Tenants []Tenant
	// Nodes are the router's, as the plan names them; none where it does not.
	Nodes []string
	// Elastic: nodes come and go with the load.
	Elastic bool
	// Dialect is what the plan says of names.
	Dialect promquery.DialectConfig
	// Rules in place of the server's, where RulesGiven.
	Rules      []ServerRule
	RulesGiven bool
	Dashboards []DashboardFile
	// Traffic asks for 14 days of it.
	Traffic bool
	// Progress is told what is being done; may be nil.
	Progress func(string)
}

// Diagnosis is the answer of `cbops doctor`.
type Diagnosis struct {
	APIVersion  string            `json:"apiVersion"`
	Kind        string            `json:"kind"`
	Environment string            `json:"environment"`
	At          time.Time         `json:"at"`
	Window      evidence.Interval `json:"window"`
	Server      string            `json:"server"`
	Version     string            `json:"version"`
	// Dialect is "emitted", "documented" or "" where no circuit has moved yet; Names
	// has what is called otherwise than the router calls it.
	Dialect string            `json:"dialect"`
	Names   evidence.Dialect  `json:"names"`
	Verdict criteria.Verdict  `json:"verdict"`
	Checks  []Check           `json:"checks"`
	Alerts  AlertReport       `json:"alerts"`
	Boards  []DashboardReport `json:"dashboards"`
	// Traffic is that of 14 days, where it was asked for.
	Traffic []evidence.Traffic `json:"traffic"`
	Queries []evidence.Query   `json:"queries"`
	Next    []string           `json:"next"`
}

// examination is one run of Examine.
type examination struct {
	c   *promquery.Client
	req Request
	d   promquery.Dialect
	out *Diagnosis
	ev  *evidence.Evidence
	// interval is the scrape interval, evaluation the rules'.
	interval, evaluation time.Duration
}

// maxTenants is how many tenants' circuits are looked at.
const maxTenants = 500

// Examine asks a server whether it tells the truth about the router. An error means
// that it does not answer at all; whatever else is wrong is a check that fails, and
// what cannot be found out is one that says so.
func Examine(ctx context.Context, c *promquery.Client, req Request) (*Diagnosis, error) {
	x := newExamination(c, req)
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"server", x.server}, {"names", x.names}, {"scrapes and circuits", x.circuits}, {"retention", x.retention},
		{"alerts", x.alerts}, {"dashboards", x.dashboards}, {"traffic", x.traffic},
	} {
		if req.Progress != nil {
			req.Progress("looking at " + step.what)
		}
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("looking at %s: %w", step.what, err)
		}
	}
	x.conclude()
	return x.out, nil
}

func newExamination(c *promquery.Client, req Request) *examination {
	if req.Window <= 0 {
		req.Window = 24 * time.Hour
	}
	return &examination{c: c, req: req, out: &Diagnosis{APIVersion: "cbops/v1", Kind: "Diagnosis", At: req.At.UTC(),
		Window: evidence.Interval{From: req.At.Add(-req.Window).UTC(), To: req.At.UTC()}, Server: c.Server(), Checks: []Check{},
		Boards: []DashboardReport{}, Traffic: []evidence.Traffic{}, Queries: []evidence.Query{}, Next: []string{}}}
}

// conclude makes one verdict of the checks.
func (x *examination) conclude() {
	verdicts := []criteria.Verdict{criteria.Pass}
	for _, k := range x.out.Checks {
		if !k.Advisory || k.Verdict == criteria.Fail {
			verdicts = append(verdicts, k.Verdict)
		}
	}
	x.out.Verdict = criteria.Worst(verdicts...)
	x.out.Next = x.next()
}

// add puts a check into the diagnosis.
func (x *examination) add(k Check) {
	if k.Evidence == nil {
		k.Evidence = []string{}
	}
	if k.Next == nil {
		k.Next = []string{}
	}
	x.out.Checks = append(x.out.Checks, k)
}

// absent turns "the server does not tell" into a check, and keeps every other error.
func (x *examination) absent(id string, err error, next string) error {
	if !errors.Is(err, promquery.ErrNotAvailable) {
		return err
	}
	x.add(Check{ID: id, Verdict: criteria.Unmeasurable, Summary: "not told: " + err.Error(), Next: []string{next}})
	return nil
}

// names finds the dialect.
func (x *examination) names(ctx context.Context) error {
	h := promquery.Hints{At: x.req.At, Window: x.req.Window, Config: x.req.Dialect}
	for _, t := range x.req.Tenants {
		h.Tenants = append(h.Tenants, t.ID)
	}
	d, problems, err := promquery.Detect(ctx, x.c, h)
	if err != nil {
		return err
	}
	x.d, x.out.Dialect, x.out.Names = d, d.Kind, gather.DialectOf(d, problems)
	k := Check{ID: "dialect", Verdict: criteria.Pass, Evidence: append(slices.Clone(x.out.Names.Renames), x.out.Names.Problems...)}
	switch {
	case len(problems) > 0:
		k.Verdict = criteria.Fail
		k.Summary = fmt.Sprintf("%s: %d things about names cannot be decided", cmp.Or(d.Kind, "unknown"), len(problems))
		k.Next = []string{"decide them in the plan: see docs/prometheus.md"}
	case d.Kind == promquery.Documented:
		k.Verdict = criteria.Fail
		k.Summary = "documented: transitions carry a state label, so closes cannot be told from opens"
		k.Next = []string{"keep from and to on " + promquery.Prefix + "state_transitions_total, as the router emits them"}
	case d.Kind == "":
		k.Verdict, k.Advisory = criteria.Inconclusive, true
		k.Summary = "no transitions yet: no circuit has moved, or they are not exported"
		k.Next = []string{"look again after the first open, or after a drill"}
	default:
		k.Summary = d.Kind + ": transitions carry from and to"
		if n := len(d.Renames); n > 0 {
			k.Summary += fmt.Sprintf("; %d names differ from the router's", n)
		}
	}
	if d.Aggregated {
		k.Verdict = criteria.Worst(k.Verdict, criteria.Fail)
		k.Evidence = append(k.Evidence, "no label tells the router's nodes apart: restarts and scrapes of one node cannot be seen")
	}
	x.add(k)
	return nil
}

// practice is the deployment as the histories need it.
func (x *examination) practice(ctx context.Context) (*Practice, AlertInput, error) {
	in := AlertInput{Rules: x.req.Rules, Known: x.req.RulesGiven}
	if !x.req.RulesGiven {
		groups, err := x.c.Rules(ctx)
		switch {
		case errors.Is(err, promquery.ErrNotAvailable):
		case err != nil:
			return nil, in, err
		default:
			in.Known = true
			for _, g := range groups {
				x.evaluation = cmp.Or(x.evaluation, g.Interval)
				for _, r := range g.Rules {
					in.Rules = append(in.Rules, serverRule(g, r))
				}
			}
		}
	}
	d, err := x.words(ctx)
	if err != nil {
		return nil, in, err
	}
	p, err := NewPractice(ctx, PracticeOptions{Dialect: d, Scrape: x.interval, Evaluation: x.evaluation, Hold: in.LongestFor(d)})
	return p, in, err
}

func serverRule(g promquery.RuleGroup, r promquery.Rule) ServerRule {
	s := ServerRule{Rule: promlab.Rule{Expr: r.Query, For: r.For, KeepFiringFor: r.KeepFiringFor, Labels: r.Labels, Annotations: r.Annotations},
		Group: g.Name, Interval: g.Interval, Limit: g.Limit, Health: r.Health, LastError: r.LastError}
	if r.Alerting {
		s.Alert = r.Name
	} else {
		s.Record = r.Name
	}
	return s
}

// alerts tries them.
func (x *examination) alerts(ctx context.Context) error {
	p, in, err := x.practice(ctx)
	if err != nil {
		return err
	}
	if x.out.Alerts, err = p.Alerts(ctx, in); err != nil {
		return err
	}
	x.out.Checks = append(x.out.Checks, x.out.Alerts.Checks()...)
	for _, f := range x.req.Dashboards {
		d, err := ParseDashboard(f.Name, f.Data)
		if err != nil {
			return err
		}
		r, err := p.Dashboard(ctx, d, x.c, x.req.At)
		if err != nil {
			return fmt.Errorf("dashboard %s: %w", f.Name, err)
		}
		x.out.Boards = append(x.out.Boards, r)
	}
	return nil
}

func (x *examination) dashboards(context.Context) error {
	for _, b := range x.out.Boards {
		x.out.Checks = append(x.out.Checks, b.Checks()...)
	}
	return nil
}

func (x *examination) traffic(ctx context.Context) error {
	if !x.req.Traffic {
		return nil
	}
	var ids []string
	for _, t := range x.req.Tenants {
		ids = append(ids, t.ID)
	}
	a, err := gather.Traffic(ctx, x.c, gather.TrafficRequest{Tenants: ids, At: x.req.At, Dialect: x.d})
	if err != nil {
		return err
	}
	x.out.Traffic, x.out.Queries = a.Tenants, append(x.out.Queries, a.Queries...)
	return nil
}

// next are commands to paste; what is no command stands with its check.
func (x *examination) next() []string {
	out := []string{}
	for _, k := range x.out.Checks {
		if k.Verdict == criteria.Fail && strings.HasPrefix(k.ID, "alerts/") {
			return append(out, "cbops export alerts > breaker-alerts.yml")
		}
	}
	return out
}

// ReplacementAlerts are the documented alerts made to work in a server's dialect, each
// proven on the histories.
func ReplacementAlerts(ctx context.Context, c *promquery.Client, req Request) (Export, error) {
	x := newExamination(c, req)
	if err := x.names(ctx); err != nil {
		return Export{}, err
	}
	d, err := x.words(ctx)
	if err != nil {
		return Export{}, err
	}
	p, err := NewPractice(ctx, PracticeOptions{Dialect: d})
	if err != nil {
		return Export{}, err
	}
	return p.Export(ctx)
}

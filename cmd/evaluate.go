package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/gather"
)

// evaluateOptions is what the flags of evaluate say.
type evaluateOptions struct {
	targetFlags
	prometheusFlags
	statementFlags
	phase     int
	since, at string
	baseline  string
	only      []string
	explain   string
}

const (
	explainAll      = "all"
	defaultBaseline = "168h"
)

func newEvaluateCmd(a *app) *cobra.Command {
	var o evaluateOptions
	var b bundleFlags
	c := &cobra.Command{
		Use:     "evaluate",
		Short:   "Judge a phase's success criteria from Prometheus",
		GroupID: "rollout",
		Long: `evaluate asks Prometheus what happened to the judged tenants since their breaker
was enabled, and judges the phase's success criteria. A pass needs evidence:
measured hours, outcomes, and counterexamples that make the same gate fail.
Exit 0 passes, 1 fails, 3 is inconclusive or unmeasurable, 4 is no answer.`,
		Example: `  cbops evaluate --phase 1 --policies policies --prometheus http://localhost:9090 \
    --tenant t-acme --since 2026-03-08T00:00:00Z
  cbops evaluate --phase 1 --tenant t-acme --since 96h -o json
  cbops evaluate --phase 1 --bakes bakes.yaml --attest attest.yaml \
    --incidents incidents.yaml --waivers waivers.yaml --explain=logs-useful
  cbops evaluate --phase 3 --since 72h --fail-fast rejected --save phase3.bundle \
    --query 'latency=avg by (tenant_id) (gateway_latency_seconds)' \
    --query 'stability/uptime:higher=gateway_uptime'
  cbops evaluate --phase 1 --since 72h --criteria error-rate-not-increased \
    --frozen-baseline .cbops/bundles/2026-03-08T100000Z-phase1.bundle
  cbops evaluate --bundle .cbops/bundles/2026-03-08T100000Z-phase1.bundle`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if b.file != "" {
				return a.evaluateBundle(c, b.file, o)
			}
			e, err := a.evaluate(c.Context(), o)
			if err != nil {
				return err
			}
			saved := a.saveBundle(e, b.save)
			if err := a.showEvaluation(render.Evaluation{Evaluation: e.Evaluation}, o); err != nil {
				return err
			}
			return saved
		},
	}
	a.evaluateFlags(c, &o)
	b.addTo(c)
	c.Flags().StringVar(&o.explain, "explain", "", "show the queries and every episode, of all criteria or of `ID`")
	c.Flags().Lookup("explain").NoOptDefVal = explainAll
	return c
}

func (a *app) showEvaluation(e render.Evaluation, o evaluateOptions) error {
	if o.explain != "" {
		return a.show(render.Explanation{Evaluation: e, Criterion: o.explain}, verdictCode(e.Verdict))
	}
	return a.show(e, verdictCode(e.Verdict))
}

// evaluateFlags are the flags that evaluate shares with ticket draft.
func (a *app) evaluateFlags(c *cobra.Command, o *evaluateOptions) {
	o.targetFlags.addTo(c)
	o.prometheusFlags.addTo(c)
	o.statementFlags.addTo(c)
	f := c.Flags()
	f.IntVar(&o.phase, "phase", 0, "phase `N` of the guide, 1 to 4")
	f.StringVar(&o.since, "since", "", "when the breaker was enabled: `TIME` in RFC 3339, or a duration back from --at")
	f.StringVar(&o.at, "at", "", "judge as of `TIME`; nothing after it is seen (default now)")
	f.StringVar(&o.baseline, "baseline", defaultBaseline, "`DURATION` before --since that stands for before")
	f.StringSliceVar(&o.only, "criteria", nil, "judge only these `IDS`, comma separated: partial, never a phase pass")
}

// evaluate gathers evidence and judges it.
func (a *app) evaluate(ctx context.Context, o evaluateOptions) (judgement, error) {
	var none judgement
	if o.phase < 1 || o.phase > 4 {
		return none, fault.Hint(fault.New(fault.Usage, "--phase %d: the guide has phases 1 to 4", o.phase), "for the canary: --phase 1")
	}
	ids := criteria.IDs(o.phase)
	for _, id := range o.only {
		if !slices.Contains(ids, id) {
			return none, fault.Hint(fault.New(fault.Usage, "--criteria %q: phase %d has no such criterion", id, o.phase),
				"one of "+strings.Join(ids, ", "))
		}
	}
	at, baseline, err := a.times(o)
	if err != nil {
		return none, err
	}
	stated, err := a.statements(o.statementFlags)
	if err != nil {
		return none, err
	}
	tg, err := a.target(o.policies, false)
	if err != nil {
		return none, err
	}
	servers, err := a.prometheus(o.prometheusFlags, tg.Plan)
	if err != nil {
		return none, err
	}
	tenants, err := a.judged(o, tg)
	if err != nil {
		return none, err
	}
	since, err := a.since(o, stated, tenants, at)
	if err != nil {
		return none, err
	}
	q, measures, err := a.request(o, &tg, stated)
	if err != nil {
		return none, err
	}
	q.Flags = a.asked(o, since[tenants[0]], at)
	req := gather.Request{At: at, Baseline: baseline, Measures: measures, Progress: func(s string) { a.progress("%s", s) }}
	for _, t := range tenants {
		if span := at.Sub(since[t]) + baseline; span > maxSpan {
			return none, fault.New(fault.Usage, "--since and --baseline of %s span %d days; the most is %d", t, int(span.Hours()/24), int(maxSpan.Hours()/24))
		}
		cfg, err := a.tenantConfig(tg, t, o.policyName)
		if err != nil {
			return none, err
		}
		req.Tenants = append(req.Tenants, gather.TenantRequest{ID: t, Since: since[t], Config: cfg})
	}
	var kept *evidence.Bundle
	if o.frozen != "" { // read first: a server is asked for minutes
		if kept, err = a.readBundle(o.frozen); err != nil {
			return none, err
		}
	}
	ev, err := a.gather(ctx, servers, tg, req)
	if err != nil {
		return none, err
	}
	if kept != nil {
		if len(ev.Graft(kept.Evidence)) == 0 {
			a.progress("%s has no baseline of the judged tenants that the server lacks", o.frozen)
		}
	}
	e := judge(ev, q, tg.Environment, tg.rollout())
	if tg.Plan != nil {
		e.stateDir = tg.StateDir
	}
	return e, nil
}

// judgement is an evaluation and what it rests on.
type judgement struct {
	criteria.Evaluation
	Evidence *evidence.Evidence
	Asked    criteria.Request
	// stateDir is where evidence is kept; "" without a plan.
	stateDir string
}

func judge(ev *evidence.Evidence, q criteria.Request, environment, rollout string) judgement {
	e := criteria.Evaluate(ev, q)
	e.Environment, e.Rollout = environment, rollout
	return judgement{Evaluation: e, Evidence: ev, Asked: q}
}

// times resolves --at and --baseline.
func (a *app) times(o evaluateOptions) (at time.Time, baseline time.Duration, err error) {
	at = a.Now()
	if o.at != "" {
		if at, err = parseTime(o.at, at); err != nil {
			return at, 0, badTime("at", o.at, err.Error())
		}
	}
	baseline, err = time.ParseDuration(o.baseline)
	if err != nil || baseline <= 0 {
		return at, 0, fault.New(fault.Usage, "--baseline %q: want a duration above 0, like 168h", o.baseline)
	}
	return at.UTC(), baseline, nil
}

// flagSince resolves --since.
func (a *app) flagSince(o evaluateOptions, at time.Time) (since time.Time, err error) {
	if o.since == "" {
		return since, fault.Hint(fault.New(fault.Usage, "--since is needed: when was the breaker enabled"),
			"a time like 2026-03-08T00:00:00Z, or a duration back from --at like 96h; or --bakes FILE")
	}
	if since, err = parseTime(o.since, at); err != nil {
		return since, badTime("since", o.since, err.Error())
	}
	if !since.Before(at) {
		return since, badTime("since", o.since, "not before --at")
	}
	return since.UTC(), nil
}

func badTime(flag, v, why string) error {
	return fault.Hint(fault.New(fault.Usage, "--%s %q: %s", flag, v, why),
		"a time like 2026-03-08T00:00:00Z, or a duration back from --at like 96h")
}

// maxSpan bounds what one evaluation reads.
const maxSpan = 120 * 24 * time.Hour

// parseTime reads RFC 3339, or a duration back from ref.
func parseTime(s string, ref time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		if d < 0 {
			return time.Time{}, fmt.Errorf("a negative duration lies in the future")
		}
		return ref.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("neither a time nor a duration")
	}
	return t, nil
}

// evidenceConfig is the breaker's config as evidence keeps it.
func evidenceConfig(enabled bool, c breaker.Config) evidence.Config {
	return evidence.Config{
		Enabled: enabled, FailureThreshold: c.FailureThreshold, SuccessThreshold: c.SuccessThreshold,
		TimeoutMS: c.TimeoutMS, HalfOpenMaxCalls: c.HalfOpenMaxCalls, ErrorRateThreshold: c.ErrorRateThreshold,
		WindowSeconds: c.WindowSeconds, LatencyThresholdMS: c.LatencyThresholdMS,
	}
}

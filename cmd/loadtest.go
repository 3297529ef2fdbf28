package cmd

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

// loadtestOptions are the flags of loadtest.
type loadtestOptions struct {
	targetFlags
	only     []string
	files    []string
	fragment string
	list     bool
	show     string
	seed     uint64
	duration time.Duration
	report   string
	plot     bool
	traffic  trafficFlags
	live     liveFlags
	// open makes the breaker; nil is the twin. Tests break it.
	open scenario.Opener
}

func newLoadtestCmd(a *app) *cobra.Command {
	var o loadtestOptions
	c := &cobra.Command{
		Use:     "loadtest [FILE…]",
		Short:   "Run the load tests of the breaker: the guide's first gate",
		GroupID: "prepare",
		Long: `loadtest runs the guide's four load tests, and what goes beyond them, on an
exact twin of the router's breaker in virtual time. It exits 1 when one fails: do
not proceed then. It needs no router and no network.

Without a config of your own it runs with the guide's parameters. With --tenant
and --policy, or with -f, it tells what that config does, and fails where the
config can never close. FILE is a scenario of your own in YAML, or a directory of
them; it is refused where an expectation in it cannot fail. -o svg draws what
--plot draws, as a picture.

With --live the same scenarios are driven over HTTP through a router, and judged
from its metrics endpoint: that of "cbops lab serve", or your own staging.`,
		Example: `  cbops loadtest
  cbops loadtest --report load-test-report.md -o junit
  cbops loadtest --tenant t-acme --policy chat --policies policies --rate 6
  cbops loadtest -f phase1.json --scenario error-spike --plot
  cbops loadtest --show normalization > ours.yaml
  cbops loadtest ours.yaml --scenario our-normalization
  cbops loadtest --live http://127.0.0.1:9001`,
		Args:        usageArgs(cobra.ArbitraryArgs),
		Annotations: map[string]string{drawsPictures: "yes"},
		RunE: func(c *cobra.Command, args []string) error {
			o.files = args
			if err := o.liveOnly(c.Flags().Changed); err != nil {
				return err
			}
			return a.loadtest(c.Context(), o)
		},
	}
	f := c.Flags()
	o.addTo(c)
	f.StringVarP(&o.fragment, "file", "f", "", "test the circuit_breaker of this policy or fragment; - for standard input")
	f.StringArrayVar(&o.only, "scenario", nil, "run only this scenario: a `NAME`, or a file; repeatable")
	f.BoolVar(&o.list, "list", false, "list the scenarios and run none")
	f.StringVar(&o.show, "show", "", "print scenario `NAME` as a file, to start one of your own")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random choice")
	f.DurationVar(&o.duration, "duration", 0, "virtual time of long-window and low-traffic; with --live, the most that the run may take (default 2m)")
	f.StringVar(&o.report, "report", "", "write the report, as Markdown, to `FILE`")
	f.BoolVar(&o.plot, "plot", false, "draw state, error rate and decisions over time")
	o.traffic.add(c)
	o.live.add(c)
	return c
}

// trafficFlags are a tenant's traffic, for low-traffic.
type trafficFlags struct {
	rate, errorRate, trough, maxOpens float64
	providers                         int
}

func (t *trafficFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.Float64Var(&t.rate, "rate", 0, "the tenant's requests a `MINUTE`, all providers together: low-traffic judges then")
	f.IntVar(&t.providers, "providers", 0, "how many providers share the rate evenly (default those of the policy by weight, else 1)")
	f.Float64Var(&t.errorRate, "error-rate", 0.01, "`SHARE` of the tenant's requests that fail on a good day")
	f.Float64Var(&t.trough, "trough", 0.2, "rate of the quietest hour as a `SHARE` of the mean")
	f.Float64Var(&t.maxOpens, "max-false-opens", 1, "opens a `DAY` without an outage that are accepted")
}

// params reads the flags into what low-traffic needs; nil without a rate.
func (t *trafficFlags) params(subject testSubject, length time.Duration) (*scenario.TenantTraffic, error) {
	switch {
	case t.rate < 0 || t.rate > 1e6:
		return nil, fault.New(fault.Usage, "--rate %g is out of bounds, 0 to 1000000 requests a minute", t.rate)
	case t.providers < 0 || t.providers > 1000:
		return nil, fault.New(fault.Usage, "--providers %d is out of bounds, 1 to 1000", t.providers)
	case !(t.errorRate >= 0 && t.errorRate <= 1):
		return nil, fault.New(fault.Usage, "--error-rate %g is no share, 0 to 1", t.errorRate)
	case !(t.trough >= 0 && t.trough <= 1):
		return nil, fault.New(fault.Usage, "--trough %g is no share, 0 to 1", t.trough)
	case !(t.maxOpens >= 0):
		return nil, fault.New(fault.Usage, "--max-false-opens %g is below 0", t.maxOpens)
	case t.rate == 0:
		return nil, nil
	}
	n := t.providers
	var weights []float64
	if n == 0 { // as the policy deals them out
		for _, p := range subject.providers {
			if p.Weight > 0 {
				weights = append(weights, p.Weight)
			}
		}
		n = max(1, len(weights))
	}
	return &scenario.TenantTraffic{PerMinute: t.rate, Providers: n, Weights: weights, ErrorRate: t.errorRate, Trough: t.trough,
		For: length, MaxOpensPerDay: t.maxOpens}, nil
}

func (a *app) loadtest(ctx context.Context, o loadtestOptions) error {
	subject, err := a.testSubject(o)
	if err != nil {
		return err
	}
	scenarios, err := a.scenarios(ctx, o, subject)
	if err != nil {
		return err
	}
	switch {
	case o.show != "":
		return a.showScenario(o.show, scenarios)
	case o.list:
		return a.show(scenarioList(scenarios), fault.OK)
	}
	out, err := a.openReport(o.report)
	if err != nil {
		return err
	}
	defer out.discard()
	doc, runErr := a.runScenarios(ctx, o, subject, scenarios)
	if runErr != nil && len(doc.Scenarios) == 0 {
		return runErr
	}
	// The result is shown whatever becomes of the report, and of the router.
	err = out.write(doc.Report())
	if err == nil && o.report != "" {
		a.say("report written to %s", o.report)
	}
	if err := a.show(doc, loadtestCode(doc)); err != nil {
		return err
	}
	if runErr != nil {
		return runErr
	}
	return err
}

// runScenarios runs them on the twin, or drives a router.
func (a *app) runScenarios(ctx context.Context, o loadtestOptions, subject testSubject, scenarios []scenario.Scenario) (render.LoadTest, error) {
	began := a.Now()
	doc := render.LoadTest{Meta: render.NewMeta("LoadTest"), Started: began.UTC().Format(time.RFC3339), Seed: o.seed, Plot: o.plot,
		Versions: render.NewVersion(Version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH),
		Subject:  subject.shown, Warnings: append([]string{}, subject.warnings...), Planned: len(scenarios), Scenarios: []scenario.Result{}}
	var err error
	if o.live.url != "" {
		err = a.driveLive(ctx, o, subject, scenarios, &doc)
	} else {
		for _, s := range scenarios {
			if ctx.Err() != nil {
				break
			}
			a.progress("%s: %s", s.Name, s.Title)
			doc.Scenarios = append(doc.Scenarios, s.Run(ctx, scenario.Options{Open: o.open, Now: a.Now, Seed: o.seed}))
		}
	}
	doc.DurationMS = float64(a.Now().Sub(began).Microseconds()) / 1000
	doc.Verdict = overall(doc.Scenarios)
	switch {
	case ctx.Err() != nil:
		doc.Verdict = scenario.Interrupted
	case err != nil && doc.Verdict != scenario.Fail:
		doc.Verdict = scenario.Inconclusive // not all of it was run
	}
	if !o.plot && a.format != string(render.SVG) {
		withoutPictures(doc.Scenarios)
	}
	return doc, err
}

func withoutPictures(rs []scenario.Result) {
	for i := range rs {
		for j := range rs[i].Circuits {
			rs[i].Circuits[j].Timeline = nil
		}
	}
}

// overall is the verdict of a run: the worst of its scenarios', and of nothing
// none.
func overall(rs []scenario.Result) string {
	for _, v := range []string{scenario.Fail, scenario.Interrupted, scenario.Inconclusive, scenario.Pass, scenario.Reports} {
		if slices.ContainsFunc(rs, func(r scenario.Result) bool { return r.Verdict == v }) {
			return v
		}
	}
	return scenario.Inconclusive
}

// loadtestCode is the exit code of a report: a failed scenario stops a rollout.
func loadtestCode(r render.LoadTest) fault.Code {
	switch r.Verdict {
	case scenario.Pass, scenario.Reports:
		return fault.OK
	case scenario.Fail:
		return fault.Failed
	case scenario.Interrupted:
		return fault.Interrupted
	}
	return fault.Inconclusive
}

func scenarioList(all []scenario.Scenario) render.ScenarioList {
	list := render.ScenarioList{Meta: render.NewMeta("ScenarioList"), Scenarios: []render.ScenarioInfo{}}
	for _, s := range all {
		var d time.Duration
		for _, c := range s.Circuits {
			d += c.Duration()
		}
		list.Scenarios = append(list.Scenarios, render.ScenarioInfo{Name: s.Name, Title: s.Title, Source: s.Path, Circuits: len(s.Circuits),
			Expectations: len(s.Expectations()), VirtualMS: d.Milliseconds(), Deviations: append([]string{}, s.Deviations...)})
	}
	return list
}

func (a *app) showScenario(name string, all []scenario.Scenario) error {
	i := slices.IndexFunc(all, func(s scenario.Scenario) bool { return s.Name == name })
	if i < 0 {
		return noScenario(name, all)
	}
	mine := all[i]
	if mine.Path == "" { // the gate's own name is taken
		mine.Name = "our-" + mine.Name
	}
	text, err := scenario.Format(mine)
	if err != nil {
		return err
	}
	return a.show(render.ScenarioFile{Meta: render.NewMeta("ScenarioFile"), Name: name, File: string(text)}, fault.OK)
}

func noScenario(name string, all []scenario.Scenario) error {
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return fault.Hint(fault.New(fault.Usage, "no scenario %q", name), "there are: "+strings.Join(names, ", "))
}

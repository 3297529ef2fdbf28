package cmd

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

func newLoadtestCmd(a *app) *cobra.Command {
	var only []string
	c := &cobra.Command{
		Use:     "loadtest",
		Short:   "Run the guide's load-test scenarios on the twin of the router's breaker",
		GroupID: "prepare",
		Long: `loadtest runs the guide's four scenarios on an exact twin of the router's
breaker, in virtual time. It exits 1 when one fails: do not proceed then. It needs
no router and no network.`,
		Example: `  cbops loadtest
  cbops loadtest --scenario error-spike -o junit`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			report, err := loadtest(only, twin, a.Now)
			if err != nil {
				return err
			}
			return a.show(report, loadtestCode(report))
		},
	}
	c.Flags().StringArrayVar(&only, "scenario", nil, "run only this scenario `NAME`, repeatable")
	return c
}

func twin() scenario.Breaker { return breaker.NewRegistry(breaker.Options{}) }

// loadtestCode is the exit code of a report: a failed scenario stops a rollout.
func loadtestCode(r render.LoadTest) fault.Code {
	if r.Verdict != "pass" {
		return fault.Failed
	}
	return fault.OK
}

func loadtest(only []string, open func() scenario.Breaker, now func() time.Time) (render.LoadTest, error) {
	report := render.LoadTest{Meta: render.NewMeta("LoadTest"), Verdict: "pass", Scenarios: []scenario.Result{}}
	var names []string
	for _, s := range scenario.All() {
		names = append(names, s.Name)
	}
	for _, n := range only {
		if !slices.Contains(names, n) {
			return report, fault.Hint(fault.New(fault.Usage, "no scenario %q", n), "there are: "+strings.Join(names, ", "))
		}
	}
	for _, s := range scenario.All() {
		if len(only) > 0 && !slices.Contains(only, s.Name) {
			continue
		}
		r := s.Run(open, now)
		if r.Verdict != "pass" {
			report.Verdict = "fail"
		}
		report.Scenarios = append(report.Scenarios, r)
	}
	return report, nil
}

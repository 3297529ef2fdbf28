package cmd

import (
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/tickets"
)

// maxEvaluation bounds an evaluation read from a file, in bytes.
const maxEvaluation = 64 << 20

func newTicketCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "ticket",
		Short:   "Draft [CB-OPS] tickets",
		GroupID: "record",
		Example: "  cbops ticket draft --from no-unexpected-opens -f evaluation.json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTicketDraftCmd(a))
	return c
}

func newTicketDraftCmd(a *app) *cobra.Command {
	var o evaluateOptions
	var from, file string
	c := &cobra.Command{
		Use:   "draft --from CRITERION",
		Short: "Draft a ticket from a finding",
		Long: `draft turns the finding of one criterion into a ticket with the title, labels,
priority and sections of the guide's production notes. It reads an evaluation
that was saved with "cbops evaluate -o json" (-f FILE, - for standard input), or
evaluates afresh with the flags of evaluate. It files nothing.`,
		Example: `  cbops ticket draft --from no-unexpected-opens -f evaluation.json
  cbops ticket draft --from no-unexpected-opens --phase 1 --tenant t-bolt --since 96h`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" {
				return fault.Hint(fault.New(fault.Usage, "--from is needed: which criterion"),
					"for example --from no-unexpected-opens")
			}
			e, err := a.evaluationFor(c.Context(), file, o)
			if err != nil {
				return err
			}
			d, err := tickets.FromFinding(e, from, o.tenants)
			if err != nil {
				return fault.Wrap(fault.Usage, err, "see: cbops evaluate")
			}
			return a.show(render.Ticket{Draft: d}, fault.OK)
		},
	}
	a.evaluateFlags(c, &o)
	c.Flags().StringVar(&from, "from", "", "criterion `ID` whose finding the ticket is about")
	c.Flags().StringVarP(&file, "file", "f", "", "evaluation as JSON; - for standard input")
	return c
}

// evaluationFor reads an evaluation from a file, or evaluates afresh without one.
func (a *app) evaluationFor(ctx context.Context, file string, o evaluateOptions) (criteria.Evaluation, error) {
	if file != "" {
		return a.readEvaluation(file)
	}
	e, err := a.evaluate(ctx, o)
	return e.Evaluation, err
}

// readEvaluation reads what `cbops evaluate -o json` wrote.
func (a *app) readEvaluation(file string) (criteria.Evaluation, error) {
	var e criteria.Evaluation
	in := a.Stdin
	if file != "-" {
		f, err := os.Open(a.Path(file))
		if err != nil {
			return e, fault.Wrap(fault.Usage, err, "save one with: cbops evaluate … -o json > evaluation.json")
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxEvaluation+1))
	if err != nil {
		return e, fault.New(fault.Environment, "cannot read %s: %w", file, err)
	}
	if len(b) > maxEvaluation {
		return e, fault.New(fault.Usage, "%s is larger than %d MiB", file, maxEvaluation>>20)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fault.Hint(fault.New(fault.Usage, "%s is not an evaluation: %w", file, err),
			"save one with: cbops evaluate … -o json > evaluation.json")
	}
	if e.Kind != "Evaluation" || e.APIVersion != render.APIVersion {
		return e, fault.Hint(fault.New(fault.Usage, "%s is not an evaluation: kind %q, apiVersion %q", file, e.Kind, e.APIVersion),
			"save one with: cbops evaluate … -o json > evaluation.json")
	}
	return e, nil
}

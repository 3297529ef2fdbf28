package cmd

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "cbops",
		Short: "Operate the staged rollout of a circuit breaker",
		Long: `cbops runs the staged rollout of a router's circuit breaker: it checks and
applies policies, load-tests the breaker on an exact twin, asks Prometheus
whether a phase has met its success criteria, drafts [CB-OPS] tickets, and rolls
back. No gate passes without evidence, and every gate is proven able to fail.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		// cobra's own completion command would come up unasked and undocumented.
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := a.fromEnvironment(c); err != nil {
				return err
			}
			return a.checkFormat(c)
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fault.Wrap(fault.Usage, err, "see: "+c.CommandPath()+" --help")
	})
	p := root.PersistentFlags()
	p.StringVar(&a.plan, "plan", "", "plan `FILE` (default $CBOPS_PLAN, else cbops.yaml here or above)")
	p.StringVarP(&a.format, "output", "o", "text", "output `FORMAT`: text, json, yaml, markdown, junit, github")
	p.BoolVar(&a.ascii, "ascii", false, "no symbols outside ASCII in text output")
	root.AddGroup(
		&cobra.Group{ID: "prepare", Title: "Prepare:"},
		&cobra.Group{ID: "rollout", Title: "Roll out:"},
		&cobra.Group{ID: "change", Title: "Change:"},
		&cobra.Group{ID: "record", Title: "Record:"},
		&cobra.Group{ID: "tools", Title: "Tools:"},
	)
	for _, c := range commands(a) {
		root.AddCommand(c)
	}
	root.SetHelpCommandGroupID("tools")
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fault.New(fault.Usage, "unknown command %q", args[0])
		}
		return c.Help()
	}
	root.Args = usageArgs(cobra.ArbitraryArgs)
	return root
}

// commands lists every subcommand, a file each.
func commands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newValidateCmd(a),
		newLoadtestCmd(a),
		newDoctorCmd(a),
		newEvaluateCmd(a),
		newDiffCmd(a),
		newRehearseCmd(a),
		newApplyCmd(a),
		newRollbackCmd(a),
		newResumeCmd(a),
		newTicketCmd(a),
		newExportCmd(a),
		newLabCmd(a),
		newVersionCmd(a),
	}
}

// flagNames are the names of a command's flags, sorted.
func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// drawsPictures annotates commands whose result has a picture (-o svg).
const drawsPictures = "pictures"

// checkFormat refuses a format before anything is done that would then not be
// shown.
func (a *app) checkFormat(c *cobra.Command) error {
	f, err := render.ParseFormat(a.format)
	if err != nil {
		return fault.Wrap(fault.Usage, err)
	}
	if f == render.SVG && c.Annotations[drawsPictures] == "" {
		return fault.New(fault.Usage, "%s has no picture to draw: -o svg is for loadtest", c.CommandPath())
	}
	return nil
}

// fromEnvironment fills flags that were not given from CBOPS_<NAME>, and only
// those. --yes has no mirror: consent is given per command.
func (a *app) fromEnvironment(c *cobra.Command) error {
	var first error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "yes" || f.Name == "help" || f.Name == "output" && c.Name() == "completion" {
			return
		}
		name := "CBOPS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v, ok := a.Env(name)
		if !ok || v == "" {
			return
		}
		if err := c.Flags().Set(f.Name, v); err != nil && first == nil {
			first = fault.New(fault.Usage, "environment variable %s: %w", name, err)
		}
	})
	return first
}

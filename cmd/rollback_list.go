package cmd

import (
	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

func (a *app) listRollbacks(c *cobra.Command, o *rollbackOptions) error {
	o.dryRun = true // listing changes nothing, and is allowed where changes are not
	s, err := a.openChange(c, &o.changeFlags, true)
	if err != nil {
		return err
	}
	defer s.close()
	out := render.Holds{Meta: render.NewMeta("Holds"), Environment: s.environment, Holds: []render.Hold{}, Rollbacks: []render.Recorded{}}
	for _, h := range s.engine.Holds(c.Context()) {
		out.Holds = append(out.Holds, render.NewHold(h, true))
	}
	records, err := s.engine.Records()
	if err != nil {
		a.say("cbops: warning: cannot list the records of rollbacks: %s", err)
	}
	for _, r := range records {
		out.Rollbacks = append(out.Rollbacks, render.NewRecorded(r))
	}
	return a.show(out, fault.OK)
}

package doctor

import (
	"fmt"
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
)

// Checks are the lines of a diagnosis: an alert that is loaded, one that the guide
// tells operators to watch, and one that may be loaded.
func (r AlertReport) Checks() []Check {
	out := []Check{}
	ids := map[string]int{}
	for _, f := range r.Alerts {
		if f.Loaded == "no" && !f.Required {
			continue
		}
		c := Check{ID: "alerts/" + f.Name, Verdict: f.Verdict, Summary: f.Summary, Evidence: []string{}, Next: []string{}}
		if ids[c.ID]++; ids[c.ID] > 1 {
			c.ID = fmt.Sprintf("%s#%d", c.ID, ids[c.ID])
		}
		for _, reason := range f.Reasons {
			c.Evidence = append(c.Evidence, reason.Text)
		}
		c.Evidence = append(c.Evidence, "dialect "+r.Dialect+", expression "+oneLine(f.Expr)+", for "+f.For)
		if fired := f.fired(); len(fired) > 0 {
			c.Evidence = append(c.Evidence, "fires in the histories "+strings.Join(fired, ", "))
		}
		c.Evidence = append(c.Evidence, f.Notes...)
		if f.Verdict != criteria.Pass && f.Replacement != nil && f.Replacement.Proven {
			c.Next = append(c.Next, "replace its expression with: "+f.Replacement.Expr+", for "+f.Replacement.For)
		}
		out = append(out, c)
	}
	return out
}

func (f AlertFinding) fired() []string {
	var out []string
	for _, t := range f.Trials {
		if t.Fires {
			out = append(out, t.History)
		}
	}
	return out
}

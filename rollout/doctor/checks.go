package doctor

import (
	"fmt"
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
)

// Checks are the lines of a diagnosis: every alert that is loaded and was tried, and
// those that the guide tells operators to watch.
func (r AlertReport) Checks() []Check {
	out := []Check{}
	ids := map[string]int{}
	for _, f := range r.Alerts {
		if f.Loaded != "yes" && !f.Required {
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

// Checks are the lines of a diagnosis: every query that is about the breaker, and every
// other that shows nothing.
func (r DashboardReport) Checks() []Check {
	out := []Check{}
	ids := map[string]int{}
	uid := "dashboard"
	if validUID(r.UID) {
		uid = r.UID
	}
	for _, f := range r.Panels {
		if f.Verdict == criteria.Unmeasurable && f.Returned == nil && len(f.Problems) == 0 && f.elsewhere {
			continue
		}
		c := Check{ID: fmt.Sprintf("dashboards/%s/panel-%d/%s", uid, f.Panel, firstOf(f.RefID, "query")),
			Verdict: f.Verdict, Summary: f.Summary, Evidence: []string{}, Next: []string{}}
		if ids[c.ID]++; ids[c.ID] > 1 {
			c.ID = fmt.Sprintf("%s#%d", c.ID, ids[c.ID])
		}
		if f.Title != "" {
			c.Summary = fmt.Sprintf("%q %s", f.Title, f.Summary)
		}
		for _, b := range f.Problems {
			c.Evidence = append(c.Evidence, b.Text)
			if b.Shows != "" {
				c.Evidence = append(c.Evidence, "it shows "+b.Shows)
			}
		}
		c.Evidence = append(c.Evidence, f.Place+", dialect "+r.Dialect+": "+oneLine(f.Query))
		c.Evidence = append(c.Evidence, f.Notes...)
		if f.Verdict == criteria.Fail && f.Proven {
			c.Next = append(c.Next, "replace the query with: "+f.Replacement)
		}
		out = append(out, c)
	}
	return out
}

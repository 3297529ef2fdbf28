package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
)

// stated is what people said, whether it counts or not, a line each.
func (e Evaluation) stated() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	elsewhere := []string{}
	for _, a := range e.Attestations {
		if !a.Judged {
			elsewhere = append(elsewhere, a.ID)
			continue
		}
		if a.Counts && e.shows("attested by "+a.By+", ", a.ID) {
			continue // its row says so
		}
		how := "until " + day(a.Until)
		if !a.Counts {
			how += ", does not count: " + a.Problem
		}
		add("attested %s, by %s, %s, %s: %s", a.ID, a.By, day(a.From), how, a.Reason)
	}
	if len(elsewhere) > 0 {
		add("attested, for other phases or criteria than were judged: %s", strings.Join(elsewhere, ", "))
	}
	for _, w := range e.Waivers {
		who := ""
		if w.Tenant != "" {
			who = " for " + w.Tenant
		}
		how := "until " + day(w.Expires)
		if !w.Holds {
			how = "expired " + day(w.Expires) + ", no longer counts"
		} else if w.Problem != "" {
			how += ", does not count: " + w.Problem
		}
		add("waiver   %s%s, by %s, %s: %s", w.ID, who, w.By, how, w.Reason)
	}
	for _, i := range e.Incidents {
		to := "going on"
		if !i.To.IsZero() {
			to = day(i.To)
		}
		how := "it is not said when it was declared"
		if !i.Declared.IsZero() {
			how = "declared " + day(i.Declared)
		}
		if i.Drill {
			how += ", a drill"
		}
		if i.Problem != "" {
			how += ", does not count: " + i.Problem
		}
		add("incident %s, %s to %s, %s, by %s: %s", i.Provider, day(i.From), to, how, i.By, i.Reason)
	}
	for _, q := range e.Quiet {
		by := ""
		if q.By != "" {
			by = ", by " + q.By
		}
		add("quiet    %s%s: %s", q.Tenant, by, q.Reason)
	}
	for _, o := range e.Overrides {
		add("loosened %s, by %s: %s", o.Setting, o.By, o.Reason)
	}
	for _, b := range e.EarlierBakes {
		why := ""
		if b.Reason != "" {
			why = ": " + b.Reason
		}
		add("earlier  bake of %s, %s to %s, does not count%s", b.Tenant, day(b.From), day(b.To), why)
	}
	return lines
}

// shows reports whether the row of the criterion that an attestation names has a text.
func (e Evaluation) shows(text, id string) bool {
	return slices.ContainsFunc(e.Criteria, func(f criteria.Finding) bool {
		return f.ID == id[strings.LastIndex(id, "/")+1:] && strings.Contains(f.Summary, text)
	})
}

// day is an instant in a statement, without the hour where it is midnight.
func day(t time.Time) string {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format("2 Jan 2006")
	}
	return t.Format("2 Jan 2006 15:04") + " UTC"
}

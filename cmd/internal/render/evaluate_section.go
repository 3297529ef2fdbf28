package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
)

// section explains a criterion that did not pass: its tenants, values against limits,
// episodes, the smallest effect that would have shown, the query to paste, what would
// change the verdict, and the next command.
func (e Evaluation) section(f *criteria.Finding) Section {
	s := Section{Mark: rowMark(f), Title: f.ID + ": " + rowText(f)}
	shown := 0
	said := map[string]bool{f.Summary: true}
	for i := range f.Tenants {
		t := &f.Tenants[i]
		if t.Verdict == criteria.Pass || leftOut(f, t.Tenant) || rank(t.Verdict) < rank(f.Verdict) && f.Verdict == criteria.Fail {
			continue
		}
		if shown++; shown > maxRows {
			continue
		}
		if len(f.Tenants) > 1 {
			s.Lines = append(s.Lines, fmt.Sprintf("%s  %s: %s", t.Tenant, t.Verdict, t.Summary))
			said[t.Summary] = true
		}
		opens := byProvider(t)
		s.Lines = append(s.Lines, opens...)
		for _, fact := range t.Evidence {
			if (len(opens) == 0 || f.ID != "no-unexpected-opens") && !said[fact.Text] {
				said[fact.Text] = true
				s.Lines = append(s.Lines, fact.Text)
			}
		}
	}
	if shown > maxRows {
		s.Lines = append(s.Lines, fmt.Sprintf("and %d more tenants: -o json has all of them", shown-maxRows))
	}
	if f.ID == "no-unexpected-opens" && f.Verdict == criteria.Fail {
		s.Lines = append(s.Lines,
			"Neither the outcomes around these opens, nor failed probes, nor other tenants, nor a declared incident show a failing provider.")
		if anyPremature(f) {
			s.Lines = append(s.Lines,
				"The router has no minimum volume: one failure in an empty window is 100 %, whatever failure_threshold says.")
		}
	}
	for _, l := range f.LeftOut {
		if shown++; shown <= maxRows {
			s.Lines = append(s.Lines, fmt.Sprintf("%s does not count: %s", l.Tenant, l.Reason))
		}
	}
	if f.Detectable != "" && f.Verdict == criteria.Inconclusive {
		s.Lines = append(s.Lines, "smallest effect that would show: "+f.Detectable)
	}
	if q := e.query(f); q != "" && f.Verdict != criteria.Unmeasurable {
		s.Lines = append(s.Lines, "query  "+q)
	}
	if f.Needs != "" {
		s.Hints = append(s.Hints, "needs "+f.Needs)
	}
	s.Hints = append(s.Hints, e.advice(f)...)
	return s
}

// query is the first of the queries that a finding rests on.
func (e Evaluation) query(f *criteria.Finding) string {
	for _, name := range f.Queries {
		for i := range e.Queries {
			if e.Queries[i].Name == name {
				return e.Queries[i].Expr
			}
		}
	}
	return ""
}

// advice is what can be done about a finding.
func (e Evaluation) advice(f *criteria.Finding) []string {
	var out []string
	switch {
	case f.Waived != nil:
	case f.Verdict == criteria.Fail:
		out = append(out, "cbops evaluate --phase "+fmt.Sprint(e.Phase)+" --explain="+f.ID+" lists everything it rests on")
	case f.Verdict == criteria.Inconclusive && f.State == criteria.Stuck:
		out = append(out, "time will not change it; --waivers FILE takes it out of the verdict, with who, why and until when")
	}
	return out
}

func rank(v criteria.Verdict) int { return int(MarkOf(v, "")) }

// byProvider counts a tenant's unexpected opens per provider, with an example.
func byProvider(t *criteria.TenantFinding) []string {
	type tally struct {
		n     int
		first criteria.EpisodeFinding
	}
	seen := map[string]*tally{}
	var names []string
	for _, e := range t.Episodes {
		if e.Expected == nil || *e.Expected {
			continue
		}
		if seen[e.Provider] == nil {
			seen[e.Provider] = &tally{first: e}
			names = append(names, e.Provider)
		}
		seen[e.Provider].n++
	}
	slices.Sort(names)
	var lines []string
	for _, n := range names {
		x := seen[n]
		lines = append(lines, fmt.Sprintf("%-10s %4d   %s, e.g. %s UTC", n, x.n, x.first.Reason,
			x.first.OpenedTo.UTC().Format("2 Jan 15:04:05")))
	}
	return lines
}

func anyPremature(f *criteria.Finding) bool {
	for _, t := range f.Tenants {
		for _, e := range t.Episodes {
			if e.Premature && e.Expected != nil && !*e.Expected {
				return true
			}
		}
	}
	return false
}

// stated is what people said, whether it counts or not.
func (e Evaluation) stated() Section {
	s := Section{Title: "stated"}
	const day = "2 Jan 15:04"
	for _, w := range e.Waivers {
		who := ""
		if w.Tenant != "" {
			who = " for " + w.Tenant
		}
		how := "until " + w.Expires.UTC().Format(day) + " UTC"
		if !w.Holds {
			how = "expired " + w.Expires.UTC().Format(day) + " UTC, no longer counts"
		}
		s.Lines = append(s.Lines, fmt.Sprintf("waiver   %s%s, by %s, %s: %s", w.ID, who, w.By, how, w.Reason))
	}
	for _, i := range e.Incidents {
		to := "going on"
		if !i.To.IsZero() {
			to = i.To.UTC().Format(day) + " UTC"
		}
		declared := "it is not said when it was declared"
		if !i.Declared.IsZero() {
			declared = "declared " + i.Declared.UTC().Format(day)
		}
		s.Lines = append(s.Lines, fmt.Sprintf("incident %s, %s to %s, %s, by %s: %s", i.Provider, i.From.UTC().Format(day), to, declared, i.By, i.Reason))
	}
	for _, q := range e.Quiet {
		s.Lines = append(s.Lines, fmt.Sprintf("quiet    %s: %s", q.Tenant, q.Reason))
	}
	for _, o := range e.Overrides {
		s.Lines = append(s.Lines, fmt.Sprintf("loosened %s, by %s: %s", o.Setting, o.By, o.Reason))
	}
	for _, b := range e.EarlierBakes {
		why := b.Reason
		if why != "" {
			why = ": " + why
		}
		s.Lines = append(s.Lines, fmt.Sprintf("earlier bake of %s, %s, does not count%s", b.Tenant, span(b.From, b.To), strings.TrimSuffix(why, "\n")))
	}
	return s
}

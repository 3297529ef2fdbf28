package render

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
)

// section explains a criterion that did not pass: its tenants, values against limits,
// episodes, the smallest effect that would have shown, the queries to paste, what
// would change the verdict, and what can be done. The row above it says the rest.
func (e Evaluation) section(f *criteria.Finding) Section {
	s := Section{Mark: rowMark(f), Title: f.ID}
	w := &writer{said: map[string]bool{f.Summary: true}}
	w.groups(f)
	if f.Detectable != "" && !w.has(f.Detectable) {
		w.add("smallest effect that would show: " + f.Detectable)
	}
	if f.ID == "no-unexpected-opens" && f.Verdict == criteria.Fail {
		w.add("Neither the outcomes around these opens, nor failed probes, nor other tenants, nor a declared incident show a failing provider.")
		if anyPremature(f) {
			w.add("The router has no minimum volume: one failure in an empty window is 100 %, whatever failure_threshold says.")
		}
	}
	w.leftOut(f)
	s.Lines = w.lines
	for _, l := range f.Lookups {
		s.Pastes = append(s.Pastes, Paste{"query", l.Shows, l.Query})
	}
	if f.Needs != "" {
		s.Hints = append(s.Hints, "needs "+f.Needs)
	}
	s.Hints = append(s.Hints, e.advice(f)...)
	s.Pastes = append(s.Pastes, e.byHand(f)...)
	return s
}

// details is a section in lines, for formats that have none.
func (s Section) details() []string {
	out := slices.Clone(s.Lines)
	for _, h := range s.Hints {
		out = append(out, "hint: "+h)
	}
	for _, q := range s.Pastes {
		out = append(out, q.Lead+": "+q.Shows+": "+q.Text)
	}
	return out
}

// together puts sections that say the same under one title, and no query twice.
func together(all []Section) []Section {
	var out []Section
	for _, s := range all {
		i := slices.IndexFunc(out, func(o Section) bool {
			return o.Mark == s.Mark && reflect.DeepEqual(o.Lines, s.Lines) && reflect.DeepEqual(o.Hints, s.Hints) && reflect.DeepEqual(o.Pastes, s.Pastes)
		})
		if i < 0 {
			out = append(out, s)
			continue
		}
		out[i].Title += ", " + s.Title
	}
	seen := map[string]string{}
	for i := range out {
		s := &out[i]
		s.Pastes = slices.Clone(s.Pastes)
		for j := range s.Pastes {
			p := &s.Pastes[j]
			if first := seen[p.Text]; first != "" {
				p.Shows, p.Text = p.Shows+", as for "+first, ""
				continue
			}
			seen[p.Text], _, _ = strings.Cut(s.Title, ",")
		}
	}
	return out
}

// writer collects lines, none twice.
type writer struct {
	lines []string
	said  map[string]bool
}

func (w *writer) add(l string) {
	if !w.said[l] {
		w.said[l] = true
		w.lines = append(w.lines, l)
	}
}

func (w *writer) has(s string) bool {
	return slices.ContainsFunc(w.lines, func(l string) bool { return strings.Contains(l, s) })
}

// groups tells of the tenants that did not pass, those of which the same is said
// together.
func (w *writer) groups(f *criteria.Finding) {
	type group struct {
		tenants []string
		first   *criteria.TenantFinding
	}
	var all []*group
	for i := range f.Tenants {
		t := &f.Tenants[i]
		if t.Verdict == criteria.Pass || f.Waived == nil && leftOut(f, t.Tenant) || rank(t.Verdict) < rank(f.Verdict) && f.Verdict == criteria.Fail {
			continue
		}
		j := slices.IndexFunc(all, func(g *group) bool {
			return g.first.Verdict == t.Verdict && g.first.State == t.State && g.first.Summary == t.Summary && len(g.first.Evidence)+len(t.Evidence) == 0
		})
		if j < 0 {
			all = append(all, &group{first: t})
			j = len(all) - 1
		}
		all[j].tenants = append(all[j].tenants, t.Tenant)
	}
	most := maxRows
	if !f.Counts() && f.Waived == nil {
		most = 1 // advisory: an example will do
	}
	for n, g := range all {
		if n == most {
			left := 0
			for _, g := range all[n:] {
				left += len(g.tenants)
			}
			w.add(fmt.Sprintf("and %d more: -o json has all of them", left))
			return
		}
		if len(f.Tenants) > 1 {
			word := string(g.first.Verdict)
			if g.first.State != "" {
				word = string(g.first.State)
			}
			w.add(fmt.Sprintf("%s  %s: %s", names(g.tenants), word, g.first.Summary))
			w.said[g.first.Summary] = true
		}
		w.tenant(f.ID, g.first)
	}
}

// tenant tells what one tenant's verdict rests on: comparisons, episodes, facts.
func (w *writer) tenant(id string, t *criteria.TenantFinding) {
	for i := range t.Statistics {
		if s := &t.Statistics[i]; !told(t, s) {
			w.add(statisticText(s))
		}
	}
	opens := byProvider(t)
	for _, l := range opens {
		w.add(l)
	}
	for _, fact := range t.Evidence {
		if id == "no-unexpected-opens" && len(opens) > 0 && fact.From != nil {
			continue // the tally above
		}
		if fact.Value != nil && len(t.Statistics) > 0 && !told(t, nil) && !strings.Contains(fact.Text, " would show") {
			continue // a comparison, told with its interval above
		}
		w.add(fact.Text)
	}
}

// told reports whether a tenant's facts tell a comparison with its interval already;
// of nil, whether they do so of any.
func told(t *criteria.TenantFinding, s *criteria.Statistic) bool {
	return slices.ContainsFunc(t.Evidence, func(f criteria.Fact) bool {
		return strings.Contains(f.Text, " would show") && (s == nil || strings.HasPrefix(f.Text, s.Name+":"))
	})
}

// statisticText is a comparison: values, change with its interval, limit, and what
// would have shown.
func statisticText(s *criteria.Statistic) string {
	amount := digits
	switch s.Unit {
	case "share", "relative":
		amount = func(x float64) string { return digits(100*x) + " %" }
	}
	value := digits
	if s.Unit == "share" {
		value = amount
	}
	return fmt.Sprintf("%s: %s before, %s after; worse by %s, between %s and %s (95 %%); limit %s; worse by %s would show",
		s.Name, value(s.Before), value(s.After), amount(s.Rise), amount(s.Lower), amount(s.Upper), amount(s.Margin), amount(s.Detectable))
}

// digits prints a number with three significant digits.
func digits(x float64) string {
	if x >= 1000 || x <= -1000 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// leftOut names who does not count, those with one reason together.
func (w *writer) leftOut(f *criteria.Finding) {
	by := map[string][]string{}
	var reasons []string
	for _, l := range f.LeftOut {
		if by[l.Reason] == nil {
			reasons = append(reasons, l.Reason)
		}
		by[l.Reason] = append(by[l.Reason], l.Tenant)
	}
	for _, r := range reasons {
		if f.Waived == nil {
			w.add(fmt.Sprintf("%s: does not count: %s", names(by[r]), r))
		}
	}
}

// advice is what can be done about a finding, beyond the commands that come last.
func (e Evaluation) advice(f *criteria.Finding) []string {
	first := slices.IndexFunc(e.Criteria, func(x criteria.Finding) bool { return x.Verdict == criteria.Fail && x.Counts() })
	switch {
	case !f.Counts():
		return nil
	case f.Verdict == criteria.Fail && e.Criteria[first].ID == f.ID:
		return []string{"the same command with --explain=" + f.ID + " lists everything it rests on"}
	case f.Verdict == criteria.Inconclusive && f.State == criteria.Stuck:
		return []string{"time alone will not change it"}
	}
	return nil
}

// byHand is what is written into a file by hand, since no command does it.
func (e Evaluation) byHand(f *criteria.Finding) []Paste {
	after := func(days int) string { return e.At.UTC().AddDate(0, 0, days).Format(time.DateOnly) }
	switch {
	case !f.Counts():
	case f.Basis == criteria.Attested && f.Verdict == criteria.Unmeasurable:
		counts := ""
		if f.ID == "no-customer-reports" {
			counts = ", baselineCount: …, windowCount: …"
		}
		return []Paste{{"by hand", "once somebody has looked, in a file for --attest", fmt.Sprintf("attestations: [{id: %s, by: …, reason: …, from: %s, until: %s%s}]",
			f.ID, e.At.UTC().Format(time.RFC3339), after(30), counts)}}
	case f.Verdict == criteria.Inconclusive && f.State == criteria.Stuck:
		return []Paste{{"by hand", "a waiver takes it out of the verdict, in a file for --waivers", fmt.Sprintf("waivers: [{id: %s, by: …, reason: …, expires: %s}]", f.ID, after(7))}}
	}
	return nil
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
		lines = append(lines, fmt.Sprintf("%-10s %3d  %s, e.g. %s UTC", n, x.n, x.first.Reason,
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

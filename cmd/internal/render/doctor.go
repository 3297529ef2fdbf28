package render

import (
	"fmt"
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/doctor"
	"github.com/cbops/cbops/rollout/evidence"
)

// Diagnosis is the answer of `cbops doctor`.
type Diagnosis struct{ *doctor.Diagnosis }

// maxExplained is how many checks are explained one by one; JSON has all of them.
const maxExplained = 12

// Page implements Document: what is wrong first, then what is well.
func (d Diagnosis) Page() Page {
	p := Page{Name: "doctor", Answer: d.answer(), Verdict: MarkOf(d.Verdict, ""), Context: d.context(), Next: d.Next}
	left := 0
	for _, v := range []criteria.Verdict{criteria.Fail, criteria.Unmeasurable, criteria.Inconclusive, criteria.Pass} {
		for _, k := range d.Checks {
			if k.Verdict != v {
				continue
			}
			r := Row{Mark: MarkOf(v, ""), Name: k.ID, Text: brief(k), Detail: append(append([]string{}, k.Evidence...), k.Next...)}
			p.Rows = append(p.Rows, r)
			switch {
			case v == criteria.Pass || k.Advisory && v == criteria.Inconclusive:
			case len(p.Sections) < maxExplained:
				s := Section{Mark: r.Mark, Title: k.ID + ": " + k.Summary, Hints: k.Next}
				for _, e := range k.Evidence {
					if !strings.Contains(k.Summary, e) {
						s.Lines = append(s.Lines, e)
					}
				}
				p.Sections = append(p.Sections, s)
			default:
				left++
			}
		}
	}
	if left > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d more are explained in -o json", left))
	}
	if len(d.Traffic) > 0 {
		p.Sections = append(p.Sections, trafficSection(d.Traffic))
	}
	return p
}

// brief is a check in a line: of one that is explained below, up to its reason.
func brief(k doctor.Check) string {
	if k.Verdict == criteria.Pass || k.Advisory {
		return k.Summary
	}
	if s, _, ok := strings.Cut(k.Summary, ": "); ok && len(s) > 8 {
		return s
	}
	return k.Summary
}

func (d Diagnosis) answer() string {
	count := map[criteria.Verdict]int{}
	waiting := 0
	for _, k := range d.Checks {
		if k.Advisory && k.Verdict == criteria.Inconclusive {
			waiting++
			continue
		}
		count[k.Verdict]++
	}
	n := len(d.Checks)
	switch {
	case count[criteria.Fail] > 0:
		return fmt.Sprintf("The monitoring cannot be trusted: %d of %d checks fail.", count[criteria.Fail], n)
	case count[criteria.Unmeasurable]+count[criteria.Inconclusive] > 0:
		return fmt.Sprintf("Not everything could be found out: %d of %d checks have no answer.", count[criteria.Unmeasurable]+count[criteria.Inconclusive], n)
	case waiting > 0:
		return fmt.Sprintf("The monitoring can be trusted: %d of %d checks pass, %d have nothing to see yet.", n-waiting, n, waiting)
	}
	return fmt.Sprintf("The monitoring can be trusted: all %d checks pass.", n)
}

func (d Diagnosis) context() string {
	parts := []string{}
	if d.Environment != "" {
		parts = append(parts, d.Environment)
	}
	dialect := "dialect " + d.Dialect
	if d.Dialect == "" {
		dialect = "dialect not known yet"
	}
	return strings.Join(append(parts, d.Server, dialect, span(d.Window.From, d.Window.To)), " · ")
}

// trafficSection is a table of tenants and their circuits, in requests a minute.
func trafficSection(all []evidence.Traffic) Section {
	s := Section{Title: "traffic of 14 days, requests a minute over whole hours"}
	line := func(name, tier string, r evidence.Rates) string {
		rate := "-"
		if r.ErrorRate != nil {
			rate = fmt.Sprintf("%.2f %%", 100**r.ErrorRate)
		}
		return fmt.Sprintf("%-22s %-6s %8s %8s %8s %8s %6d", cutName(name, 22), tier, number(r.Median), number(r.Peak), number(r.Trough), rate, r.Opens)
	}
	s.Lines = append(s.Lines, fmt.Sprintf("%-22s %-6s %8s %8s %8s %8s %6s", "tenant", "tier", "median", "peak", "trough", "errors", "opens"))
	for i, t := range all {
		if i == maxTraffic {
			s.Lines = append(s.Lines, fmt.Sprintf("and %d more tenants: -o json", len(all)-i))
			break
		}
		s.Lines = append(s.Lines, line(t.Tenant, string(t.Tier), t.Rates))
		for _, c := range t.Circuits {
			s.Lines = append(s.Lines, line("· "+c.Provider, "", c.Rates))
		}
	}
	s.Hints = []string{"trough is the quietest hour of the day; opens of a tenant without a breaker are shadow opens"}
	return s
}

// maxTraffic is how many tenants a screen shows.
const maxTraffic = 40

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func cutName(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

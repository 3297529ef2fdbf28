// Package tickets turns findings into [CB-OPS] tickets in the form that the
// guide's production notes ask for (ROUTER.md §7). It is pure: it drafts; it
// sends nothing and stores nothing.
package tickets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
)

// Priority of a ticket; Critical blocks the rollout.
type Priority string

// The priorities of ROUTER.md §7.
const (
	Low      Priority = "Low"
	Medium   Priority = "Medium"
	High     Priority = "High"
	Critical Priority = "Critical"
)

// Section is a titled part of a ticket's body.
type Section struct {
	Title string `json:"title"`
	// Lines are paragraphs or list items, as the ticket shows them.
	Lines []string `json:"lines"`
}

// Draft is a ticket that nobody has filed yet.
type Draft struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Title      string   `json:"title"`
	Labels     []string `json:"labels"`
	Priority   Priority `json:"priority"`
	// Fingerprint is the same for the same criterion, tenants, providers and
	// environment, so that a second draft can be told from a new problem.
	Fingerprint string    `json:"fingerprint"`
	Criterion   string    `json:"criterion"`
	Tenants     []string  `json:"tenants"`
	Providers   []string  `json:"providers"`
	Sections    []Section `json:"sections"`
}

// kind is what is known about tickets of one criterion.
type kind struct {
	brief, label, expected string
	solutions              []string
}

func kindOf(id string) kind {
	switch id {
	case "no-unexpected-opens":
		return kind{"Unexpected circuit opens", "threshold-tuning",
			"A circuit opens only while its provider is failing (guide, Phase 1 step 3).",
			[]string{
				"Roll the tenant back until its thresholds fit its traffic.",
				"Raise error_rate_threshold above 1.0 to switch the rate trigger off for low traffic: the router has no minimum volume, one failure in an empty window is 100 %.",
			}}
	case "closes-after-recovery":
		return kind{"Circuit does not close after recovery", "configuration",
			"A circuit closes once its provider is back (guide, Phase 1 step 3).",
			[]string{
				"Check success_threshold against half_open_max_calls: more successes than probes can never close.",
				"Reset the circuit or restart the node: disabling the breaker does not clear it.",
			}}
	}
	return kind{"Criterion " + id + " not met", "observability", "The guide's criterion " + id + " is met.",
		[]string{"See what the finding needs, below."}}
}

// FromFinding drafts a ticket for one criterion of an evaluation. With tenants,
// only those are spoken of. It refuses a criterion that passed or is not there.
func FromFinding(e criteria.Evaluation, id string, tenants []string) (Draft, error) {
	var f *criteria.Finding
	for i := range e.Criteria {
		if e.Criteria[i].ID == id {
			f = &e.Criteria[i]
		}
	}
	switch {
	case f == nil:
		return Draft{}, fmt.Errorf("the evaluation has no criterion %q", id)
	case f.Verdict == criteria.Pass:
		return Draft{}, fmt.Errorf("criterion %q passed: there is nothing to report", id)
	}
	k := kindOf(id)
	d := Draft{
		APIVersion: "cbops/v1", Kind: "TicketDraft", Criterion: id,
		Labels:   []string{"circuit-breaker", "operational-improvement", "production", k.label},
		Priority: Medium, Tenants: []string{}, Providers: []string{},
	}
	if f.Verdict == criteria.Unmeasurable {
		d.Labels[3] = "observability"
	}
	if f.Verdict == criteria.Fail {
		d.Priority = Critical // a failed criterion blocks the phase
	}
	var current, metrics []string
	providers := map[string]int{}
	for _, t := range f.Tenants {
		if !wanted(t.Tenant, tenants) || t.Verdict == criteria.Pass {
			continue
		}
		d.Tenants = append(d.Tenants, t.Tenant)
		current = append(current, fmt.Sprintf("%s: %s: %s", t.Tenant, t.Verdict, t.Summary))
		for _, fact := range t.Evidence {
			metrics = append(metrics, fact.Text)
		}
		for _, ep := range t.Episodes {
			providers[ep.Provider]++
		}
	}
	if len(d.Tenants) == 0 && len(f.Tenants) > 0 {
		return Draft{}, fmt.Errorf("criterion %q has nothing to report for %s", id, strings.Join(tenants, ", "))
	}
	if len(f.Tenants) == 0 {
		current = []string{string(f.Verdict) + ": " + f.Summary}
	}
	for p := range providers {
		d.Providers = append(d.Providers, p)
	}
	sort.Strings(d.Providers)
	d.Title = "[CB-OPS] " + k.brief
	if len(d.Tenants) == 1 {
		d.Title += " for " + d.Tenants[0]
	} else if len(d.Tenants) > 1 {
		d.Title += fmt.Sprintf(" for %d tenants", len(d.Tenants))
	}
	d.Fingerprint = fingerprint(e.Environment, id, d.Tenants, d.Providers)
	for _, q := range e.Queries {
		if line := "query: " + q.Expr; !slices.Contains(metrics, line) {
			metrics = append(metrics, line)
		}
	}
	d.Sections = sections(e, f, d, k, current, metrics, providers)
	return d, nil
}

func sections(e criteria.Evaluation, f *criteria.Finding, d Draft, k kind, current, metrics []string, providers map[string]int) []Section {
	const day = "2 Jan 2006 15:04"
	var seen []string
	for _, p := range d.Providers {
		seen = append(seen, fmt.Sprintf("%s (%d episodes)", p, providers[p]))
	}
	solution := append([]string{}, k.solutions...)
	if f.Needs != "" {
		solution = append(solution, "What would change the verdict: "+f.Needs+".")
	}
	business := "Phase " + fmt.Sprint(e.Phase) + " of the rollout cannot advance while this stands."
	return []Section{
		{"Issue", []string{fmt.Sprintf("Phase %d criterion %s: %s. %s.", e.Phase, f.ID, f.Verdict, f.Summary)}},
		{"Context", []string{
			"Environment: " + orNone(e.Environment),
			"Tenants: " + list(d.Tenants),
			"Providers: " + list(seen),
			"Policies: those of the tenants above in which the breaker is enabled",
			fmt.Sprintf("Timeframe: %s to %s UTC", e.Window.From.UTC().Format(day), e.Window.To.UTC().Format(day)),
		}},
		{"Current Behavior", current},
		{"Expected Behavior", []string{k.expected}},
		{"Metrics/Logs", metrics},
		{"Proposed Solution", solution},
		{"Impact", []string{
			"User: not measured",
			"System: " + f.Summary,
			"Business: " + business,
		}},
		{"Priority", []string{string(d.Priority)}},
		{"Resolution checklist", []string{
			"[ ] Cause understood and written down here",
			"[ ] Config or code changed, or the tenant rolled back",
			"[ ] cbops evaluate --phase " + fmt.Sprint(e.Phase) + " no longer reports " + f.ID,
			"[ ] Hold lifted with cbops resume, if a rollback set one",
		}},
	}
}

func wanted(t string, tenants []string) bool {
	for _, w := range tenants {
		if w == t {
			return true
		}
	}
	return len(tenants) == 0
}

func fingerprint(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q\n", p)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func list(s []string) string { return orNone(strings.Join(s, ", ")) }

func orNone(s string) string {
	if s == "" {
		return "none named"
	}
	return s
}

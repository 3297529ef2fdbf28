package criteria

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// AttestationState is an attestation and what became of it.
type AttestationState struct {
	statement.Attestation
	// Judged: its criterion is among those judged, in this phase.
	Judged bool `json:"judged"`
	// Counts: a criterion rests on it now.
	Counts bool `json:"counts"`
	// Problem is why it does not count; "" where it does.
	Problem string `json:"problem,omitempty"`
}

// IncidentState is a declared incident and what speaks against it.
type IncidentState struct {
	statement.Incident
	// Problem is why it counts for nothing, whatever opened in it; "" where it may.
	Problem string `json:"problem,omitempty"`
}

// WaiverState is a waiver and whether it holds.
type WaiverState struct {
	statement.Waiver
	Holds bool `json:"holds"`
	// Problem is why it takes nothing out of this evaluation, expired or not.
	Problem string `json:"problem,omitempty"`
}

// stated tells of everything that people said whether it counts.
func (s *Study) stated(e *Evaluation) {
	all := s.Request.Statements
	for _, a := range all.Attestations {
		judged := slices.ContainsFunc(e.Criteria, func(f Finding) bool { return a.For(f.ID, s.Request.Phase) })
		problem := s.attestationProblem(a, e.Criteria)
		e.Attestations = append(e.Attestations, AttestationState{a, judged, problem == "", problem})
	}
	for k, i := range all.Incidents {
		e.Incidents = append(e.Incidents, IncidentState{i, s.incidentProblem(i, all.Incidents[:k])})
	}
	for _, w := range all.Waivers {
		e.Waivers = append(e.Waivers, WaiverState{w, w.Holds(s.Evidence.At), s.waiverProblem(w, e.Criteria)})
	}
	for _, q := range all.Quiet {
		if !s.judges(q.Tenant) {
			e.Notes = append(e.Notes, fmt.Sprintf("quiet tenant %s: no judged tenant is called so%s", q.Tenant, meant(q.Tenant, s.tenantIDs())))
		}
	}
}

func (s *Study) attestationProblem(a statement.Attestation, fs []Finding) string {
	at := s.Evidence.At
	i := slices.IndexFunc(fs, func(f Finding) bool { return a.For(f.ID, s.Request.Phase) })
	switch {
	case i < 0:
		return "for another phase, or a criterion that was not judged"
	case a.From.After(at):
		return "given after the instant judged"
	case !at.Before(a.Until):
		return "expired"
	case s.tooOld(a):
		return "given before the last of these bakes began"
	}
	f := &fs[i]
	rests := func(tf TenantFinding) bool { return tf.Basis == Attested && tf.Verdict != Unmeasurable }
	if found, _ := s.attestation(f.ID); found == nil || !sameAttestation(*found, a) {
		return "a later one counts in its place"
	}
	if !slices.ContainsFunc(f.Tenants, rests) {
		if f.ID == (Reports{}).ID() {
			return "it gives no counts"
		}
		return "this is measured, and an attestation changes no measured verdict"
	}
	return ""
}

func sameAttestation(a, b statement.Attestation) bool {
	return a.ID == b.ID && a.By == b.By && a.Reason == b.Reason && a.From.Equal(b.From) && a.Until.Equal(b.Until)
}

func (s *Study) incidentProblem(i statement.Incident, before []statement.Incident) string {
	at := s.Evidence.At
	providers := s.providers()
	switch {
	case i.From.After(at):
		return "it begins after the instant judged"
	case i.Declared.After(at):
		return "declared after the instant judged"
	case !slices.Contains(providers, i.Provider):
		return "no judged tenant uses a provider of this name" + meant(i.Provider, providers)
	case slices.ContainsFunc(before, func(o statement.Incident) bool {
		return o.Provider == i.Provider && o.From.Equal(i.From) && o.To.Equal(i.To)
	}):
		return "declared twice: the one above says the same"
	}
	return ""
}

func (s *Study) waiverProblem(w statement.Waiver, fs []Finding) string {
	switch {
	case !slices.ContainsFunc(fs, func(f Finding) bool { return f.ID == w.ID }):
		return "this criterion was not judged"
	case w.Tenant != "" && !s.judges(w.Tenant):
		return "no judged tenant is called so" + meant(w.Tenant, s.tenantIDs())
	case w.Tenant != "" && slices.ContainsFunc(fs, func(f Finding) bool { return f.ID == w.ID && len(f.Tenants) == 1 && f.Tenants[0].Tenant == "" }):
		return "the criterion is about the phase: a waiver of it names no tenant"
	}
	return ""
}

func (s *Study) judges(tenant string) bool { return slices.Contains(s.tenantIDs(), tenant) }

func (s *Study) tenantIDs() []string {
	var ids []string
	for i := range s.Evidence.Tenants {
		ids = append(ids, s.Evidence.Tenants[i].ID)
	}
	return ids
}

// providers are those of the judged tenants' circuits.
func (s *Study) providers() []string {
	var out []string
	for i := range s.Evidence.Tenants {
		for _, c := range s.Evidence.Tenants[i].Circuits {
			out = appendNew(out, c.Provider)
		}
	}
	slices.Sort(out)
	return out
}

// meant suggests the name that a misspelt one is nearest to.
func meant(name string, known []string) string {
	best, near := 3, ""
	for _, k := range known {
		if d := levenshtein.Distance(name, k, nil); len(name) < 64 && d < best {
			best, near = d, k
		}
	}
	if near == "" {
		return ""
	}
	return ": did you mean " + near + "?"
}

// badQueries are the deployment's own queries that were asked and are not used, which
// no criterion would mention: it is judged without them.
func (s *Study) badQueries() []string {
	notes := []string{}
	if h := s.health(); h != nil && h.problem != "" {
		notes = append(notes, "queries.providerHealthy is not used: "+h.problem)
	}
	if s.Evidence.Measure(evidence.TenantErrorRate) == nil {
		return notes
	}
	var problems []string
	who := map[string]string{}
	for k := range s.Evidence.Tenants {
		if _, problem := s.tenantErrors(k); problem != "" {
			if who[problem] == "" {
				problems = append(problems, problem)
				who[problem] = s.Evidence.Tenants[k].ID
			}
		}
	}
	for _, p := range problems[:min(len(problems), 3)] {
		notes = append(notes, fmt.Sprintf("queries.tenantErrorRate is not used for %s: %s", who[p], p))
	}
	return notes
}

// missed are the stretches that were not measured, in words.
func missed(gaps []evidence.Gap) []string {
	var out []string
	for i, g := range gaps {
		if i == 3 {
			out = append(out, fmt.Sprintf("and %d more stretches that were not measured", len(gaps)-i))
			break
		}
		out = append(out, fmt.Sprintf("not measured: %s to %s: %s", minute(g.From), minute(g.To), strings.TrimSpace(g.Reason)))
	}
	return out
}

func minute(t time.Time) string { return t.UTC().Format("2 Jan 15:04") + " UTC" }

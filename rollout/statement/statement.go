// Package statement holds what people state about a rollout, as values: that
// something was looked at, that a provider had an incident, that a criterion is
// waived, that a tenant is left out, when a bake began and ended. It says what a
// statement covers; whether that suffices is rollout/criteria's. Reading files is
// rollout/plan's.
package statement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Attestation says that somebody looked, where no metric can tell (DESIGN.md §5).
type Attestation struct {
	// ID is a criterion's, alone or after its phase: "phase4/docs-updated".
	ID     string `json:"id"`
	By     string `json:"by"`
	Reason string `json:"reason"`
	// From is when it was given, Until when it expires.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// BaselineCount and WindowCount are counts over equally long times; only for
	// no-customer-reports.
	BaselineCount *int `json:"baselineCount,omitempty"`
	WindowCount   *int `json:"windowCount,omitempty"`
}

// For reports whether it is about a criterion in a phase.
func (a Attestation) For(id string, phase int) bool {
	return a.ID == id || a.ID == fmt.Sprintf("phase%d/%s", phase, id)
}

// Phased reports whether its id names the phase.
func (a Attestation) Phased() bool { return strings.Contains(a.ID, "/") }

// Incident says that a provider had one.
type Incident struct {
	Provider string `json:"provider"`
	By       string `json:"by"`
	Reason   string `json:"reason"`
	// From and To bound it; To is zero while it goes on.
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
	// Declared is when it was; zero if that was not said.
	Declared time.Time `json:"declared,omitzero"`
	// Drill: it was made on purpose, to see the breaker open and close.
	Drill bool `json:"drill,omitempty"`
}

// Waiver takes a criterion out of the verdict, for one tenant or for all.
type Waiver struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant,omitempty"`
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Expires is when it stops to hold.
	Expires time.Time `json:"expires"`
}

// Holds reports whether it holds at an instant.
func (w Waiver) Holds(at time.Time) bool { return at.Before(w.Expires) }

// Quiet leaves a tenant out: it has too little traffic to be judged.
type Quiet struct {
	Tenant string `json:"tenant"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason"`
}

// Disabled is a policy, or with Policy "" a tenant, whose breaker stays off.
type Disabled struct {
	Tenant string `json:"tenant"`
	Policy string `json:"policy,omitempty"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason"`
}

// Bake is a stretch in which a tenant ran one config. Evidence under one config
// never counts for another.
type Bake struct {
	Tenant string    `json:"tenant"`
	From   time.Time `json:"from"`
	// To is when it ended; zero for the one that runs.
	To time.Time `json:"to,omitzero"`
	// Reason is why it ended, or what began it.
	Reason string `json:"reason,omitempty"`
}

// Override loosens a setting on purpose.
type Override struct {
	// Setting is its path: "margins.latency".
	Setting string `json:"setting"`
	By      string `json:"by"`
	Reason  string `json:"reason"`
}

// Set is all that was stated.
type Set struct {
	Attestations []Attestation `json:"attestations"`
	Incidents    []Incident    `json:"incidents"`
	Waivers      []Waiver      `json:"waivers"`
	Quiet        []Quiet       `json:"quiet"`
	Disabled     []Disabled    `json:"disabled"`
	Bakes        []Bake        `json:"bakes"`
	Overrides    []Override    `json:"overrides"`
}

// Add appends what another set states.
func (s *Set) Add(o Set) {
	s.Attestations = append(s.Attestations, o.Attestations...)
	s.Incidents = append(s.Incidents, o.Incidents...)
	s.Waivers = append(s.Waivers, o.Waivers...)
	s.Quiet = append(s.Quiet, o.Quiet...)
	s.Disabled = append(s.Disabled, o.Disabled...)
	s.Bakes = append(s.Bakes, o.Bakes...)
	s.Overrides = append(s.Overrides, o.Overrides...)
}

// Full has empty lists in place of none, so that JSON shows [].
func (s Set) Full() Set {
	fill := Set{[]Attestation{}, []Incident{}, []Waiver{}, []Quiet{}, []Disabled{}, []Bake{}, []Override{}}
	fill.Add(s)
	return fill
}

const (
	// longest is how long an incident may be to be believed by itself.
	longest = 24 * time.Hour
	// pause is how far apart incidents of a provider are one: an outage flaps, and
	// a day of declarations end to end is longer than each.
	pause = 6 * time.Hour
	// near is how far around an incident others of its provider are added up: most of
	// three days declared, with pauses between, is as good as all of them.
	near = 48 * time.Hour
)

// Declared is what the incidents say of a provider at an open.
type Declared struct {
	Incident
	// Marked is why it does not suffice by itself; "" if it does.
	Marked string
}

// Covering finds the incident of a provider that covers an open in (from, to], as
// far as it was declared by `at`. One that suffices by itself comes first.
func Covering(all []Incident, provider string, from, to, at time.Time) (d Declared, ok bool) {
	for _, i := range all {
		end := i.To
		if end.IsZero() || end.After(at) {
			end = at
		}
		if i.Provider != provider || i.Declared.After(at) || i.From.After(to) || end.Before(from) {
			continue
		}
		x := Declared{Incident: i}
		switch {
		case i.Declared.IsZero():
			x.Marked = "it does not say when it was declared"
		case i.Declared.After(to):
			x.Marked = "declared after the open"
		case run(all, i, at) > longest:
			x.Marked = "longer than 24 hours"
		case declared(all, i, at) > longest:
			x.Marked = "with the others of this provider around it, more than 24 hours are declared"
		}
		if !ok || x.Marked == "" && d.Marked != "" {
			d, ok = x, true
		}
	}
	return d, ok
}

// run is how long a provider's incidents are together that are one with i.
func run(all []Incident, i Incident, at time.Time) time.Duration {
	var mine []Incident
	for _, x := range all {
		if x.Provider == i.Provider && !x.Declared.After(at) {
			if x.To.IsZero() || x.To.After(at) {
				x.To = at
			}
			mine = append(mine, x)
		}
	}
	slices.SortFunc(mine, func(a, b Incident) int { return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) })
	var whole time.Duration
	var from, to time.Time
	for k, x := range mine {
		if k == 0 || x.From.Sub(to) > pause {
			from, to = x.From, x.To
		}
		if x.To.After(to) {
			to = x.To
		}
		if !i.From.Before(from) && !i.From.After(to) {
			whole = to.Sub(from)
		}
	}
	return whole
}

// declared is for how long incidents of i's provider are declared in i and near it,
// each instant once.
func declared(all []Incident, i Incident, at time.Time) (sum time.Duration) {
	until := func(x Incident) time.Time {
		if x.To.IsZero() || x.To.After(at) {
			return at
		}
		return x.To
	}
	from, to := i.From.Add(-near), until(i).Add(near)
	var mine []Incident
	for _, x := range all {
		if x.To = until(x); x.Provider == i.Provider && !x.Declared.After(at) && !x.From.After(to) && x.To.After(from) {
			mine = append(mine, x)
		}
	}
	slices.SortFunc(mine, func(a, b Incident) int { return a.From.Compare(b.From) })
	end := time.Time{}
	for _, x := range mine {
		if x.From.Before(end) {
			x.From = end
		}
		if x.To.After(x.From) {
			sum += x.To.Sub(x.From)
			end = x.To
		}
	}
	return sum
}

// overlap reports whether two incidents are at the same time; one that goes on has no
// end.
func overlap(a, b Incident) bool {
	return (a.To.IsZero() || b.From.Before(a.To)) && (b.To.IsZero() || a.From.Before(b.To))
}

// Check returns what is wrong with a set by itself, in words.
func (s Set) Check() []string {
	var bad []string
	for _, a := range s.Attestations {
		if !a.Until.After(a.From) {
			bad = append(bad, fmt.Sprintf("the attestation of %s by %s expires before it is given", a.ID, a.By))
		}
	}
	for k, i := range s.Incidents {
		if !i.To.IsZero() && !i.To.After(i.From) {
			bad = append(bad, fmt.Sprintf("the incident of %s from %s ends before it begins", i.Provider, i.From.Format(time.RFC3339)))
		}
		for _, o := range s.Incidents[:k] {
			if o.Provider == i.Provider && o.Drill != i.Drill && overlap(o, i) {
				bad = append(bad, fmt.Sprintf("two incidents of %s overlap from %s, and only one of them is a drill", i.Provider, i.From.Format(time.RFC3339)))
			}
			if o.Provider == i.Provider && o.From.Equal(i.From) && (!o.To.Equal(i.To) || !o.Declared.Equal(i.Declared)) {
				bad = append(bad, fmt.Sprintf("two incidents of %s from %s contradict each other: they differ in when they end or were declared", i.Provider, i.From.Format(time.RFC3339)))
			}
		}
	}
	running := map[string]int{}
	for k, b := range s.Bakes {
		if b.To.IsZero() {
			if running[b.Tenant]++; running[b.Tenant] == 2 {
				bad = append(bad, fmt.Sprintf("two bakes of %s are said to run: one must have ended", b.Tenant))
			}
		} else if !b.To.After(b.From) {
			bad = append(bad, fmt.Sprintf("a bake of %s ends before it begins", b.Tenant))
		}
		for _, o := range s.Bakes[:k] {
			if o.Tenant == b.Tenant && (o.To.IsZero() || b.From.Before(o.To)) && (b.To.IsZero() || o.From.Before(b.To)) {
				bad = append(bad, fmt.Sprintf("two bakes of %s overlap", b.Tenant))
			}
		}
	}
	return bad
}

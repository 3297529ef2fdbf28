package evidence

import (
	"cmp"
	"slices"
	"time"
)

// ProviderFailure is a stretch in which a provider failed for its tenants, as their
// outcomes show it.
type ProviderFailure struct {
	Provider string `json:"provider"`
	// The failure lies within From and To; where only hourly counts were read, that
	// is to the hour.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Tenants saw the provider then, FailingTenants saw it fail.
	Tenants        int     `json:"tenants"`
	FailingTenants int     `json:"failingTenants"`
	Outcomes       float64 `json:"outcomes"`
	Failed         float64 `json:"failed"`
}

// ProviderFailures finds when each provider of the judged tenants failed since an
// instant, through everybody's outcomes: hour by hour, and more finely where the
// scrapes were read. alpha is the error allowed per scrape.
func (e *Evidence) ProviderFailures(since time.Time, alpha float64) []ProviderFailure {
	var providers []string
	var before Interval
	for i := range e.Tenants {
		t := &e.Tenants[i]
		if i == 0 || t.Baseline.From.Before(before.From) {
			before = t.Baseline
		}
		for j := range t.Circuits {
			providers = append(providers, t.Circuits[j].Provider)
		}
	}
	slices.Sort(providers)
	type key struct {
		c      *Circuit
		before Interval
	}
	baselines := map[key]Baseline{}
	known := func(c *Circuit, before Interval) Baseline {
		b, ok := baselines[key{c, before}]
		if !ok {
			b = BaselineOf(c, before)
			baselines[key{c, before}] = b
		}
		return b
	}
	out := []ProviderFailure{}
	for _, p := range slices.Compact(providers) {
		for from := since; from.Before(e.At); from = from.Add(time.Hour) {
			to := from.Add(time.Hour)
			if to.After(e.At) {
				to = e.At
			}
			s := ShareOf(e.tallies(p, before, from, to, 0), "", known)
			failing := s.Failing(alpha)
			if !failing && (s.Failed < MinFailures || !e.readFinely(from, to)) {
				continue
			}
			fine := e.finely(p, before, from, to, alpha, known)
			if len(fine) == 0 && failing {
				fine = []ProviderFailure{failureOf(p, from, to, s)}
			}
			for _, f := range fine {
				out = joinFailure(out, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b ProviderFailure) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Provider, b.Provider))
	})
	return out
}

// readFinely reports whether anything of an hour was read at every scrape.
func (e *Evidence) readFinely(from, to time.Time) bool {
	hour := Interval{from, to}
	return slices.ContainsFunc(e.Windows, hour.Overlaps)
}

// finely looks into an hour at the scrapes, as far as they were read.
func (e *Evidence) finely(provider string, before Interval, from, to time.Time, alpha float64,
	known func(*Circuit, Interval) Baseline) []ProviderFailure {
	step := max(e.Interval, 15*time.Second)
	var out []ProviderFailure
	for t := from; t.Before(to); t = t.Add(step) {
		if s := ShareOf(e.tallies(provider, before, t, t.Add(step), step*3/2), "", known); s.Failing(alpha) {
			out = joinFailure(out, failureOf(provider, t, t.Add(step), s))
		}
	}
	return out
}

func failureOf(provider string, from, to time.Time, s Share) ProviderFailure {
	return ProviderFailure{Provider: provider, From: from.UTC(), To: to.UTC(), Tenants: s.Tenants,
		FailingTenants: s.FailingTenants, Outcomes: s.Outcomes, Failed: s.Failed}
}

// joinFailure appends f, or lengthens the last one where f follows within ten
// minutes: probes and pauses make an outage look like several.
func joinFailure(all []ProviderFailure, f ProviderFailure) []ProviderFailure {
	n := len(all) - 1
	if n < 0 || all[n].Provider != f.Provider || f.From.Sub(all[n].To) > 10*time.Minute {
		return append(all, f)
	}
	l := &all[n]
	l.To = f.To
	l.Tenants, l.FailingTenants = max(l.Tenants, f.Tenants), max(l.FailingTenants, f.FailingTenants)
	l.Outcomes, l.Failed = l.Outcomes+f.Outcomes, l.Failed+f.Failed
	return all
}

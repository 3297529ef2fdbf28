package evidence

import (
	"cmp"
	"slices"
	"time"
)

// Share is what was seen of a provider in an interval through the circuits of
// several tenants.
type Share struct {
	// Tenants had outcomes then; FailingTenants had failures.
	Tenants, FailingTenants int
	Outcomes, Failed        float64
	// Before is their everyday error behaviour, weighted by who was seen. It is
	// worked out only where it decides: enough outcomes, and less than half of
	// them failed.
	Before Baseline
}

// What a share of failures is computed from at least (JUDGING.md, "Is an open
// expected?", route 5).
const (
	MinOutcomes = 20
	MinFailures = 5
)

// Failing: at least 20 outcomes and 5 failures, and half of them or more than the
// baseline explains with probability alpha.
func (s Share) Failing(alpha float64) bool {
	if s.Outcomes < MinOutcomes || s.Failed < MinFailures {
		return false
	}
	return s.Failed/s.Outcomes >= 0.5 || s.Before.Outcomes > 0 && s.Before.Tail(s.Failed, s.Outcomes) < alpha
}

// Healthy: enough outcomes, and they look like the baseline.
func (s Share) Healthy(alpha float64) bool {
	return s.Outcomes >= MinOutcomes && !s.Failing(alpha)
}

// Seen is what the tenants saw of a provider between two instants, all but one of
// them, or all with except "". before is the baseline of those that are not
// judged; a judged tenant has its own. Circuits whose scrapes bridge a gap there
// are left out.
func (e *Evidence) Seen(provider, except string, before Interval, from, to time.Time) Share {
	return e.seen(provider, except, before, from, to, 0)
}

// seen is Seen; with within above 0, only circuits that were read that finely then.
func (e *Evidence) seen(provider, except string, before Interval, from, to time.Time, within time.Duration) Share {
	type part struct {
		c      *Circuit
		before Interval
		n      float64
	}
	var s Share
	var all []part
	tenants := map[string]bool{} // to whether it saw failures
	add := func(c *Circuit, before Interval) {
		if c.Provider != provider || c.Tenant == except {
			return
		}
		a, b := max(c.outcomeUpto(from.UnixMilli()), 0), c.outcomeUpto(to.UnixMilli())
		d := c.outcomes(a, b)
		if !d.OK || d.Outcomes() == 0 {
			return
		}
		if within > 0 && c.Outcomes[b].At().Sub(c.Outcomes[a].At()) > to.Sub(from)+within {
			return
		}
		s.Outcomes += d.Outcomes()
		s.Failed += d.Failure
		tenants[c.Tenant] = tenants[c.Tenant] || d.Failure > 0
		all = append(all, part{c, before, d.Outcomes()})
	}
	for i := range e.Others {
		add(&e.Others[i], before)
	}
	for i := range e.Tenants {
		for j := range e.Tenants[i].Circuits {
			add(&e.Tenants[i].Circuits[j], e.Tenants[i].Baseline)
		}
	}
	s.Tenants = len(tenants)
	for _, failed := range tenants {
		if failed {
			s.FailingTenants++
		}
	}
	if s.Outcomes < MinOutcomes || s.Failed < MinFailures || s.Failed/s.Outcomes >= 0.5 {
		return s
	}
	var weight float64
	for _, x := range all {
		b := BaselineOf(x.c, x.before)
		if b.Outcomes == 0 {
			continue
		}
		s.Before.PUp += x.n * b.PUp
		s.Before.Rho += x.n * b.Rho
		s.Before.P += x.n * b.P
		s.Before.Outcomes += b.Outcomes
		weight += x.n
	}
	if weight > 0 {
		s.Before.PUp, s.Before.Rho, s.Before.P = s.Before.PUp/weight, s.Before.Rho/weight, s.Before.P/weight
	}
	return s
}

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
	out := []ProviderFailure{}
	for _, p := range slices.Compact(providers) {
		for from := since; from.Before(e.At); from = from.Add(time.Hour) {
			to := from.Add(time.Hour)
			if to.After(e.At) {
				to = e.At
			}
			s := e.Seen(p, "", before, from, to)
			failing := s.Failing(alpha)
			if !failing && (s.Failed < MinFailures || !e.readFinely(from, to)) {
				continue
			}
			fine := e.finely(p, before, from, to, alpha)
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
func (e *Evidence) finely(provider string, before Interval, from, to time.Time, alpha float64) []ProviderFailure {
	step := max(e.Interval, 15*time.Second)
	var out []ProviderFailure
	for t := from; t.Before(to); t = t.Add(step) {
		if s := e.seen(provider, "", before, t, t.Add(step), step*3/2); s.Failing(alpha) {
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

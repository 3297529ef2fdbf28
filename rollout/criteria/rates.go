package criteria

import (
	"slices"
	"sort"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// rates are a tenant's outcomes by the hour, baseline and bake, and how much of its
// failures a failing provider explains.
type rates struct {
	before, after []hourly
	// controls are the tenants, not enabled then, whose failures were taken for their
	// provider's; outages is in how many of the tenant's hours.
	controls map[string]bool
	outages  int
	// peers: hours in which only tenants with a breaker saw the provider fail.
	peers int
	// hoursBefore were measured and had outcomes, hoursAfter were measured.
	hoursBefore, hoursAfter int
}

// hourly is what a tenant counted in a measured hour over all of its circuits.
type hourly struct {
	from        time.Time
	n, f, ff    float64
	sure, maybe float64 // failures that are the provider's: shown by controls, by peers
	excused     float64 // fail_fasts that would have failed anyway
	// controls are the tenants that showed sure failures; outages and peers count the
	// providers that were shown to fail.
	controls       []string
	outages, peers int
}

// take counts an hour in.
func (r *rates) take(h *hourly) hourly {
	for _, w := range h.controls {
		r.controls[w] = true
	}
	r.outages += h.outages
	r.peers += h.peers
	return *h
}

// slot is the hour's place in the week.
func slot(t time.Time) int { return int(t.Unix() / 3600) }

// rates works out a tenant's hours, once.
func (s *Study) rates(k int) *rates {
	f := s.tenant(k)
	if f.rates == nil {
		f.rates = s.newRates(k, f)
	}
	return f.rates
}

// newRates cuts time at full hours of the clock: others are read by those.
func (s *Study) newRates(k int, f *tenantFacts) *rates {
	r := &rates{controls: map[string]bool{}}
	t := f.t
	begin := t.Baseline.From.Add(time.Hour - 1).Truncate(time.Hour).Add(s.phase)
	enabled := t.Since.Add(time.Hour - 1).Truncate(time.Hour).Add(s.phase)
	for _, from := range s.covered(begin).Measured {
		to := from.Add(time.Hour)
		switch {
		case !from.Before(enabled):
			r.after = append(r.after, r.take(s.hourOf(k, f, from, to)))
			r.hoursAfter++
		case !to.After(t.Since):
			h := r.take(s.hourOf(k, f, from, to))
			r.before = append(r.before, h)
			if h.n > 0 {
				r.hoursBefore++
			}
		}
	}
	s.excuse(f, r)
	return r
}

// hourOf counts an hour, provider by provider, and remembers it.
func (s *Study) hourOf(k int, f *tenantFacts, from, to time.Time) *hourly {
	known := f.hours()
	if h := known[from.Unix()]; h != nil {
		return h
	}
	h := &hourly{from: from}
	known[from.Unix()] = h
	type sum struct{ n, f float64 }
	var names []string
	by := map[string]*sum{}
	for _, c := range f.circuits {
		d := c.c.Delta(from, to)
		if !d.OK || d.Outcomes()+d.FailFast == 0 {
			continue
		}
		x := by[c.c.Provider]
		if x == nil {
			x = &sum{}
			by[c.c.Provider] = x
			names = append(names, c.c.Provider)
		}
		x.n += d.Outcomes()
		x.f += d.Failure
		h.ff += d.FailFast
	}
	slices.Sort(names)
	for _, p := range names {
		x := by[p]
		h.n += x.n
		h.f += x.f
		if x.f < 1 {
			continue
		}
		o, sure := s.outage(k, p, from, to, true)
		if !sure {
			var any bool
			if o, any = s.outage(k, p, from, to, false); !any {
				continue
			}
		}
		if s.chronic(k, p, o) {
			continue
		}
		excess := max(0, min((o.share-o.normal)*x.n, x.f-s.normalOf(f, p)*x.n))
		if sure {
			h.outages++
			h.sure += excess
			h.controls = append(h.controls, o.witnesses...)
		} else {
			h.peers++
			h.maybe += excess
		}
	}
	return h
}

// normalOf is a tenant's everyday failure share on a provider.
func (s *Study) normalOf(f *tenantFacts, provider string) float64 {
	var n, failed float64
	for _, c := range f.circuits {
		if c.c.Provider == provider {
			b := s.normal(c)
			n += b.Outcomes
			failed += b.P * b.Outcomes
		}
	}
	if n == 0 {
		return 0
	}
	return failed / n
}

// excuse finds the fail_fasts that would have failed anyway: those within expected
// episodes, scrape by scrape at the share at which the provider failed then, for
// others where they saw it fail, else for the tenant itself.
func (s *Study) excuse(f *tenantFacts, r *rates) {
	for _, c := range f.circuits {
		if !c.haveExcused {
			c.excused, c.haveExcused = s.excusedCalls(f, c), true
		}
		for _, x := range c.excused {
			r.excuse(x.at, x.n)
		}
	}
}

// excusedCall are n fail_fasts around an instant.
type excusedCall struct {
	at time.Time
	n  float64
}

func (s *Study) excusedCalls(f *tenantFacts, c *circuitFacts) (out []excusedCall) {
	for i, ep := range c.episodes {
		from, to := ep.Opened.From, ep.Until(s.Evidence.At)
		if ep.Shadow || from.IsZero() || !s.proof(f, c, i).expected {
			continue
		}
		o := s.open(f, c, i)
		step := s.step()
		if n := to.Sub(from) / step; n > maxSteps {
			step = to.Sub(from) / maxSteps // a long one, of which little was read at every scrape
		}
		for at := from; at.Before(to); at = at.Add(step) {
			if d := c.c.Delta(at, at.Add(step)); d.FailFast > 0 {
				out = append(out, excusedCall{at, d.FailFast * s.failingShare(o, at, at.Add(step))})
			}
		}
	}
	return out
}

// maxSteps bounds how finely a long episode is looked at.
const maxSteps = 400

// failingShare is at which share a provider failed within a scrape of an interval.
func (s *Study) failingShare(o open, from, to time.Time) float64 {
	from, to = from.Add(-s.step()), to.Add(s.step())
	if x := o.peers(from, to); x.Outcomes >= evidence.MinOutcomes {
		if x.Failing(o.alpha) {
			return x.Failed / x.Outcomes
		}
	}
	if d := o.c.Delta(from, to); d.OK && d.Outcomes() > 0 {
		return d.Failure / d.Outcomes()
	}
	return 0
}

// excuse adds to the hour that holds an instant.
func (r *rates) excuse(at time.Time, n float64) {
	j := sort.Search(len(r.after), func(j int) bool { return r.after[j].from.Add(time.Hour).After(at) })
	if j < len(r.after) && !r.after[j].from.After(at) {
		r.after[j].excused += n
	}
}

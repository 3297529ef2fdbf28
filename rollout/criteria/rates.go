package criteria

import (
	"cmp"
	"math"
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
	// hoursBefore and hoursAfter were measured.
	hoursBefore, hoursAfter int
}

// hourly is what a tenant counted in a measured hour over all of its circuits.
type hourly struct {
	from        time.Time
	n, f, ff    float64
	sure, maybe float64 // failures that are the provider's: shown by controls, by peers
	excused     float64 // fail_fasts that would have failed anyway
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
			h := s.hourOf(k, f, r, from, to)
			r.after = append(r.after, h)
			r.hoursAfter++
		case !to.After(t.Since):
			r.before = append(r.before, s.hourOf(k, f, r, from, to))
			r.hoursBefore++
		}
	}
	s.excuse(f, r)
	return r
}

// hourOf counts an hour, provider by provider.
func (s *Study) hourOf(k int, f *tenantFacts, r *rates, from, to time.Time) hourly {
	h := hourly{from: from}
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
			r.outages++
			h.sure += excess
			for _, w := range o.witnesses {
				r.controls[w] = true
			}
		} else {
			r.peers++
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

// hourTally is what one tenant saw of a provider in an hour of the clock, and what
// is normal for it. There are many: tenants by their index in the world.
type hourTally struct {
	who                    int32
	n, failed, normal, phi float32
}

// witness is a tenant as it may speak for a provider.
type witness struct {
	tenant string
	// since is when a judged tenant's breaker was enabled; zero for others, whose
	// breaker is on if it is on now.
	since time.Time
	on    bool
}

// off reports whether its breaker was off until an instant.
func (w *witness) off(until time.Time) bool {
	return !w.on && (w.since.IsZero() || !w.since.Before(until))
}

type hourKey struct {
	provider string
	before   evidence.Interval
	from     int64
}

// hour is what everybody saw of a provider in an hour of the clock.
func (s *Study) hour(provider string, before evidence.Interval, from time.Time) []hourTally {
	key := hourKey{provider, before, from.UnixMilli()}
	all, ok := s.world.hours[key]
	if ok {
		return all
	}
	for _, t := range s.world.ev.Tallies(provider, before, from, from.Add(time.Hour)) {
		if p, phi, ok := t.Normal(s.baseline); ok {
			all = append(all, hourTally{s.witness(t.Tenant), float32(t.Outcomes), float32(t.Failed), float32(p), float32(phi)})
		}
	}
	s.world.hours[key] = all
	return all
}

// witness is a tenant's index in the world.
func (s *Study) witness(tenant string) int32 {
	w := s.world
	i, ok := w.ids[tenant]
	if ok {
		return i
	}
	x := witness{tenant: tenant}
	x.on, _ = s.Request.enabledNow(tenant)
	for k := range w.ev.Tenants {
		if w.ev.Tenants[k].ID == tenant {
			x.since, x.on = w.ev.Tenants[k].Since, false
		}
	}
	i = int32(len(w.who))
	w.who = append(w.who, x)
	w.ids[tenant] = i
	return i
}

const (
	// sigmas is how far above what is normal the witnesses must be for their provider
	// to be failing (JUDGING.md, "Error rate").
	sigmas = 5
	// alone is the failure share that a single witness must reach.
	alone = 0.2
)

// outage is a failure of a provider as others saw it in an hour.
type outage struct {
	// share of their calls failed, normal is what does on other days.
	share, normal float64
	witnesses     []string
}

// outage finds whether a provider failed for others in an interval: for tenants
// whose breaker was off then (controls), or for anybody.
func (s *Study) outage(k int, provider string, from, to time.Time, controls bool) (found outage, ok bool) {
	t := &s.Evidence.Tenants[k]
	self := s.witness(t.ID)
	for at := from.Truncate(time.Hour); at.Before(to); at = at.Add(time.Hour) {
		var all []hourTally
		for _, h := range s.hour(provider, t.Baseline, at) {
			if h.who != self && (!controls || s.world.who[h.who].off(to)) {
				all = append(all, h)
			}
		}
		x, failing := s.failing(all)
		switch {
		case failing && ok: // the interval is of two hours, and what failed in them may all lie in it
			found.share = min(1, found.share+max(0, x.share-x.normal))
			found.witnesses = append(found.witnesses, x.witnesses...)
		case failing:
			found, ok = x, true
		}
	}
	return found, ok
}

// failing: the witnesses' failures are far beyond what is normal for them, also
// without the quarter of them that saw most: a few broken tenants are no outage.
func (s *Study) failing(all []hourTally) (o outage, ok bool) {
	slices.SortStableFunc(all, func(a, b hourTally) int { return cmp.Or(cmp.Compare(b.failed, a.failed), cmp.Compare(a.who, b.who)) })
	single := len(all) == 1
	if !single && len(all) > 0 {
		all = all[min((len(all)+3)/4, len(all)-1):]
	}
	var n, failed, normal, spread float64
	for _, h := range all {
		n += float64(h.n)
		failed += float64(h.failed)
		normal += float64(h.n * h.normal)
		spread += float64(h.n*h.normal*(1-h.normal)) * float64(max(h.phi, 1))
		if h.failed > 0 {
			o.witnesses = append(o.witnesses, s.world.who[h.who].tenant)
		}
	}
	if n < evidence.MinOutcomes || failed < evidence.MinFailures || failed <= normal+sigmas*math.Sqrt(spread) {
		return o, false
	}
	o.share, o.normal = failed/n, normal/n
	return o, !single || o.share >= alone
}

// chronic reports whether a single witness fails in a quarter of the hours in which
// it was seen: then it is broken itself, and says nothing of its provider.
func (s *Study) chronic(k int, provider string, o outage) bool {
	if len(o.witnesses) != 1 {
		return false
	}
	t := &s.Evidence.Tenants[k]
	who := s.witness(o.witnesses[0])
	seen, bad := 0, 0
	for at := t.Since.Truncate(time.Hour); at.Before(s.Evidence.At); at = at.Add(time.Hour) {
		for _, h := range s.hour(provider, t.Baseline, at) {
			if h.who == who {
				seen++
				if h.failed >= alone*h.n {
					bad++
				}
			}
		}
	}
	return float64(bad) > brokenWitness*float64(seen)
}

// excuse finds the fail_fasts that would have failed anyway: those within expected
// episodes, scrape by scrape at the share at which the provider failed then, for
// others where they saw it fail, else for the tenant itself.
func (s *Study) excuse(f *tenantFacts, r *rates) {
	for _, c := range f.circuits {
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
				d := c.c.Delta(at, at.Add(step))
				if d.FailFast > 0 {
					r.excuse(at, d.FailFast*s.failingShare(o, at, at.Add(step)))
				}
			}
		}
	}
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

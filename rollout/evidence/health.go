package evidence

import (
	"cmp"
	"slices"
	"time"
)

// Tally is what one tenant saw of a provider in an interval, over all its nodes.
type Tally struct {
	Tenant           string
	Outcomes, Failed float64
	// circuits are what it is from, with what each counted and the time before that
	// stands for its everyday behaviour.
	circuits []seenCircuit
}

type seenCircuit struct {
	c      *Circuit
	before Interval
	n      float64
}

// Share is what was seen of a provider in an interval through the circuits of
// several tenants.
type Share struct {
	// Tenants had outcomes then; FailingTenants had failures.
	Tenants, FailingTenants int
	Outcomes, Failed        float64
	// Rest is what is left without the quarter of the tenants that saw most failures:
	// a few tenants whose own credentials are broken are no failing provider.
	RestOutcomes, RestFailed float64
	// Before is their everyday error behaviour, weighted by who was seen. It is
	// worked out only where it decides.
	Before Baseline
}

// What a share of failures is computed from at least (JUDGING.md, "Is an open
// expected?", route 5).
const (
	MinOutcomes = 20
	MinFailures = 5
)

// Failing: at least 20 outcomes and 5 failures, and half of them or more than the
// baseline explains with probability alpha, and not through a few tenants alone.
func (s Share) Failing(alpha float64) bool {
	if s.Outcomes < MinOutcomes || s.Failed < MinFailures || !s.spread() {
		return false
	}
	if s.Failed/s.Outcomes >= 0.5 && s.Before.P < chronic {
		return true
	}
	return s.Before.Outcomes > 0 && s.Before.tail(s.Failed, s.Outcomes, alpha) < alpha
}

const (
	// chronic is an everyday failure share at which even half of all failed is nothing
	// new.
	chronic = 0.25
	// elevated is by how much the failures of those who saw fewer must exceed what is
	// usual for them all, for a failure to be shared.
	elevated = 3
)

// spread: the tenants that saw less of it saw it too, as far as they were there.
func (s Share) spread() bool {
	if s.Tenants < 2 || s.RestOutcomes < 3 {
		return true // one witness, or none but one
	}
	rest := s.RestFailed / s.RestOutcomes
	return s.RestFailed >= 2 && rest >= 0.25*s.Failed/s.Outcomes && rest >= min(elevated*s.Before.P, 0.5)
}

// Healthy: enough outcomes, and they look like the baseline.
func (s Share) Healthy(alpha float64) bool {
	return s.Outcomes >= MinOutcomes && !s.Failing(alpha)
}

// Seen is what the tenants saw of a provider between two instants, all but one of
// them, or all with except "". before is the baseline of those that are not
// judged; a judged tenant has its own. Circuits that were not read finely enough
// there are left out: what they counted may have been at another time.
func (e *Evidence) Seen(provider, except string, before Interval, from, to time.Time) Share {
	return ShareOf(e.Tallies(provider, before, from, to), except, BaselineOf)
}

// fine is how far the scrapes that bound a circuit's counts may reach beyond the
// interval asked for.
func (e *Evidence) fine() time.Duration {
	if e.Interval > 0 {
		return e.Interval * 5 / 2
	}
	return 150 * time.Second
}

// Tallies is what each tenant saw of a provider between two instants, sorted by
// tenant; those that saw nothing are left out.
func (e *Evidence) Tallies(provider string, before Interval, from, to time.Time) []Tally {
	return e.tallies(provider, before, from, to, e.fine())
}

// tallies is Tallies for circuits that were read that finely; within 0 takes all.
func (e *Evidence) tallies(provider string, before Interval, from, to time.Time, within time.Duration) []Tally {
	var out []Tally
	add := func(c *Circuit, before Interval) {
		if c.Provider != provider {
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
		n := len(out) - 1
		if n < 0 || out[n].Tenant != c.Tenant {
			out = append(out, Tally{Tenant: c.Tenant})
			n++
		}
		out[n].Outcomes += d.Outcomes()
		out[n].Failed += d.Failure
		out[n].circuits = append(out[n].circuits, seenCircuit{c, before, d.Outcomes()})
	}
	for i := range e.Others {
		add(&e.Others[i], before)
	}
	for i := range e.Tenants {
		for j := range e.Tenants[i].Circuits {
			add(&e.Tenants[i].Circuits[j], e.Tenants[i].Baseline)
		}
	}
	slices.SortStableFunc(out, func(a, b Tally) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out
}

// ShareOf sums tallies, all but one tenant's. baseline is BaselineOf, or what
// remembers it.
func ShareOf(all []Tally, except string, baseline func(*Circuit, Interval) Baseline) Share {
	return NewCrowd(all, baseline).Without(except)
}

// Crowd is what all tenants saw of a provider in an interval, summed once, so that what
// all but one saw is a difference: a thousand tenants ask that of each other.
type Crowd struct {
	all              []Tally // sorted by tenant
	baseline         func(*Circuit, Interval) Baseline
	outcomes, failed float64
	// worst are the places in all of those with failures, most first; place is the
	// other way round, -1 for those without. outcomesOf and failedOf sum the first of worst.
	worst, place         []int32
	outcomesOf, failedOf []float64
	// usual is the everyday behaviour of each, weighted by what was seen of it.
	usual []weighted
	sum   weighted
}

type weighted struct{ pUp, rho, p, outcomes, weight float64 }

// NewCrowd sums tallies, which are sorted by tenant.
func NewCrowd(all []Tally, baseline func(*Circuit, Interval) Baseline) *Crowd {
	c := &Crowd{all: all, baseline: baseline, place: make([]int32, len(all))}
	for i := range all {
		c.outcomes += all[i].Outcomes
		c.failed += all[i].Failed
		c.place[i] = -1
		if all[i].Failed > 0 {
			c.worst = append(c.worst, int32(i))
		}
	}
	slices.SortStableFunc(c.worst, func(a, b int32) int { return cmp.Compare(all[b].Failed, all[a].Failed) })
	c.outcomesOf, c.failedOf = make([]float64, len(c.worst)+1), make([]float64, len(c.worst)+1)
	for i, k := range c.worst {
		c.place[k] = int32(i)
		c.outcomesOf[i+1], c.failedOf[i+1] = c.outcomesOf[i]+all[k].Outcomes, c.failedOf[i]+all[k].Failed
	}
	return c
}

// Without is what all but one tenant saw; all of them with "".
func (c *Crowd) Without(except string) Share {
	self, found := slices.BinarySearchFunc(c.all, except, func(t Tally, id string) int { return cmp.Compare(t.Tenant, id) })
	s := Share{Tenants: len(c.all), FailingTenants: len(c.worst), Outcomes: c.outcomes, Failed: c.failed}
	place := -1
	if found {
		s.Tenants--
		s.Outcomes -= c.all[self].Outcomes
		s.Failed -= c.all[self].Failed
		if place = int(c.place[self]); place >= 0 {
			s.FailingTenants--
		}
	}
	s.RestOutcomes, s.RestFailed = s.Outcomes, s.Failed
	if s.Tenants > 1 {
		most := min(s.FailingTenants, (s.Tenants+3)/4)
		if place >= 0 && place < most { // it is among them: one more, and without it
			s.RestOutcomes -= c.outcomesOf[most+1] - c.all[self].Outcomes
			s.RestFailed -= c.failedOf[most+1] - c.all[self].Failed
		} else {
			s.RestOutcomes -= c.outcomesOf[most]
			s.RestFailed -= c.failedOf[most]
		}
	}
	if s.Outcomes < MinOutcomes || s.Failed < MinFailures || !s.spread() {
		return s
	}
	c.weigh()
	x := c.sum
	if found {
		o := c.usual[self]
		x = weighted{x.pUp - o.pUp, x.rho - o.rho, x.p - o.p, x.outcomes - o.outcomes, x.weight - o.weight}
	}
	if x.weight > 0.5 { // outcomes are whole numbers
		s.Before = Baseline{PUp: x.pUp / x.weight, Rho: max(0, x.rho/x.weight), P: max(0, x.p/x.weight), Outcomes: x.outcomes}
	}
	return s
}

// weigh works out everybody's everyday behaviour, once.
func (c *Crowd) weigh() {
	if c.usual != nil {
		return
	}
	c.usual = make([]weighted, len(c.all))
	for i := range c.all {
		w := &c.usual[i]
		for _, x := range c.all[i].circuits {
			b := c.baseline(x.c, x.before)
			if b.Outcomes == 0 {
				continue
			}
			w.pUp += x.n * b.PUp
			w.rho += x.n * b.Rho
			w.p += x.n * b.P
			w.outcomes += b.Outcomes
			w.weight += x.n
		}
		c.sum.pUp += w.pUp
		c.sum.rho += w.rho
		c.sum.p += w.p
		c.sum.outcomes += w.outcomes
		c.sum.weight += w.weight
	}
}

// Normal is the everyday failure share of a tally's circuits and its over-dispersion,
// weighted by what was seen of each; ok is false without any baseline.
func (t *Tally) Normal(baseline func(*Circuit, Interval) Baseline) (p, phi float64, ok bool) {
	var weight float64
	for _, x := range t.circuits {
		b := baseline(x.c, x.before)
		if b.Outcomes == 0 {
			continue
		}
		p += x.n * b.P
		phi += x.n * b.Phi
		weight += x.n
	}
	if weight == 0 {
		return 0, 1, false
	}
	return p / weight, phi / weight, true
}

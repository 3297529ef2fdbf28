package criteria

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

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

// hoursKey is a sequence of hours of the clock.
type hoursKey struct {
	provider string
	before   int // an interval of the world's
	// controls: only what those saw whose breaker was off until so long after an hour's
	// beginning.
	controls bool
	after    time.Duration
}

// hourView is what everybody saw of a provider in an hour of the clock, those who saw
// most failures first, summed so that the view of any one of them, which leaves out
// itself, is a difference: a thousand tenants ask each other that.
type hourView struct {
	all []hourTally
	// place is where a witness stands in all, by its index; -1 for nowhere.
	place []int32
	// cut is where the quarter that saw most ends, without one of the others and with
	// all; rest sums all from cut on, and from cut+1.
	cut  [2]int
	rest [2][2]hourSum
}

type hourSum struct{ n, failed, normal, spread float64 }

func (h *hourTally) sum() hourSum {
	n, p := float64(h.n), float64(h.normal)
	return hourSum{n, float64(h.failed), n * p, n * p * (1 - p) * float64(max(h.phi, 1))}
}

// hour is what everybody saw of a provider in an hour of the clock; with controls only
// those whose breaker was off until then.
func (s *Study) hour(provider string, before evidence.Interval, from, until time.Time, controls bool) *hourView {
	key := hoursKey{provider: provider, before: s.world.interval(before), controls: controls}
	if controls {
		key.after = until.Sub(from)
	}
	views := s.world.hours[key]
	if views == nil {
		views = map[int64]*hourView{}
		s.world.hours[key] = views
	}
	v := views[from.Unix()]
	if v != nil {
		return v
	}
	v = &hourView{}
	if controls {
		for _, h := range s.hour(provider, before, from, until, false).all {
			if s.world.who[h.who].off(until) {
				v.all = append(v.all, h)
			}
		}
	} else {
		for _, t := range s.world.ev.Tallies(provider, before, from, from.Add(time.Hour)) {
			if p, phi, ok := t.Normal(s.world.baseline); ok {
				v.all = append(v.all, hourTally{s.witness(t.Tenant), float32(t.Outcomes), float32(t.Failed), float32(p), float32(phi)})
			}
		}
		slices.SortStableFunc(v.all, func(a, b hourTally) int { return cmp.Or(cmp.Compare(b.failed, a.failed), cmp.Compare(a.who, b.who)) })
	}
	v.index(len(s.world.who))
	views[from.Unix()] = v
	return v
}

// index works out places and sums.
func (v *hourView) index(witnesses int) {
	v.all = slices.Clip(v.all)
	v.place = make([]int32, witnesses)
	for i := range v.place {
		v.place[i] = -1
	}
	for i, h := range v.all {
		v.place[h.who] = int32(i)
	}
	for x := range v.cut {
		v.cut[x] = worstQuarter(len(v.all) - 1 + x)
		for y := range v.rest[x] {
			for i := v.cut[x] + y; i < len(v.all); i++ {
				o, r := v.all[i].sum(), &v.rest[x][y]
				r.n, r.failed, r.normal, r.spread = r.n+o.n, r.failed+o.failed, r.normal+o.normal, r.spread+o.spread
			}
		}
	}
}

// worstQuarter is how many of n witnesses are left out, those that saw most; one
// remains.
func worstQuarter(n int) int {
	if n <= 1 {
		return 0
	}
	return min((n+3)/4, n-1)
}

// of is where a witness stands; -1 for nowhere.
func (v *hourView) of(who int32) int {
	if int(who) >= len(v.place) {
		return -1
	}
	return int(v.place[who])
}

// witness is a tenant's index in the world.
func (s *Study) witness(tenant string) int32 {
	w := s.world
	i, ok := w.ids[tenant]
	if ok {
		return i
	}
	x := witness{tenant: tenant}
	x.on, _ = s.enabledNow(tenant)
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

// enabledNow reports whether any policy of a tenant is enabled on disk; known is
// false where policies are not known. One that cannot be read may be enabled: no
// control where it is not known.
func (s *Study) enabledNow(tenant string) (enabled, known bool) {
	if s.world.enabled == nil {
		s.world.enabled = map[string]bool{}
		for _, p := range s.Request.Policies {
			s.world.enabled[p.Tenant] = s.world.enabled[p.Tenant] || p.Enabled || p.Problem != ""
		}
	}
	return s.world.enabled[tenant], s.Request.Policies != nil
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
		v := s.hour(provider, t.Baseline, at, to, controls)
		x, failing := v.failing(s.world.who, v.of(self))
		switch {
		case failing && ok: // the interval is of two hours, and what failed in them may all lie in it
			found.share = min(1, found.share+max(0, x.share-x.normal))
			found.witnesses = union(found.witnesses, x.witnesses)
		case failing:
			found, ok = x, true
		}
	}
	return found, ok
}

// failing: the failures of all but the one at place self are far beyond what is normal
// for them, also without the quarter of them that saw most: a few broken tenants are no
// outage.
func (v *hourView) failing(who []witness, self int) (o outage, ok bool) {
	left, from := len(v.all), v.cut[1]
	r, out := v.rest[1][0], hourSum{}
	if self >= 0 {
		left, from = left-1, v.cut[0]
		if self <= from { // it is among those left out, so that one more is
			r = v.rest[0][1]
			from++
		} else {
			r, out = v.rest[0][0], v.all[self].sum()
		}
	}
	single := left == 1
	n, failed, normal, spread := r.n-out.n, r.failed-out.failed, r.normal-out.normal, max(r.spread-out.spread, 0)
	if n < evidence.MinOutcomes || failed < evidence.MinFailures || failed <= normal+sigmas*math.Sqrt(spread) {
		return o, false
	}
	for i := from; i < len(v.all) && v.all[i].failed > 0; i++ {
		if i != self {
			o.witnesses = append(o.witnesses, who[v.all[i].who].tenant)
		}
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
		v := s.hour(provider, t.Baseline, at, at, false)
		if i := v.of(who); i >= 0 {
			seen++
			if h := v.all[i]; h.failed >= alone*h.n {
				bad++
			}
		}
	}
	return float64(bad) > brokenWitness*float64(seen)
}

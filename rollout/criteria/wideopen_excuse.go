package criteria

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// excuse is what others say of an overlap.
type excuse struct {
	// why it is not the tenant's problem: each of the providers failed for others then,
	// or was said to; "" if that is not shown.
	why string
	// late: it went on when they had long been back for others.
	late string
	// split: only tenants with a breaker saw a provider fail, and those without saw it
	// work.
	split string
	// witnesses: others used a provider that was not shown to fail, and saw it well.
	witnesses bool
}

// excused asks others about an overlap.
func (s *Study) excused(f *tenantFacts, o overlap) (e excuse) {
	var how []string
	for _, x := range o.spans {
		op := s.open(f, x.f, x.episode)
		from, to := o.From.Add(-s.step()), o.To
		if limit := o.From.Add(maxGrow * s.step()); to.After(limit) {
			to = limit
		}
		to = to.Add(s.step())
		if why := s.toldFailing(x.provider, o.From, from, to); why != "" {
			how = append(how, why)
			continue
		}
		seen := op.peers(from, to)
		if seen.Failing(op.alpha) && !s.alwaysFailing(x.provider, f.t, from) {
			how = append(how, fmt.Sprintf("%s failed for %s (%.0f of %.0f)", x.provider, plural(seen.FailingTenants, "other tenant"), seen.Failed, seen.Outcomes))
			if c := s.controlsSaw(op, from, to); c.Healthy(op.alpha) && 4*c.Failed/c.Outcomes < seen.Failed/seen.Outcomes {
				e.split = fmt.Sprintf("%s failed for tenants with a breaker only: %.0f of %.0f outcomes of those without failed", x.provider, c.Failed, c.Outcomes)
			}
			continue
		}
		if seen.Outcomes < evidence.MinOutcomes { // tenants to whom nothing happened were read more coarsely
			seen = op.peers(from.Truncate(coarseRead), to.Add(coarseRead).Truncate(coarseRead))
		}
		e.witnesses = e.witnesses || seen.Healthy(op.alpha)
	}
	if len(how) < len(o.spans) {
		e.split = ""
		return e
	}
	if e.late = s.outlasted(f, o); e.late != "" {
		e.split, e.witnesses = "", true
		return e
	}
	if e.split == "" {
		e.why = strings.Join(how, "; ")
	}
	return e
}

// coarseRead is how far apart outcomes are read where nothing happened (rollout/gather).
const coarseRead = 5 * time.Minute

// toldFailing says who said that a provider failed in (from, to], by incidents at an
// instant: one declared later says nothing of it.
func (s *Study) toldFailing(provider string, at, from, to time.Time) string {
	if h := s.health(); h != nil && h.problem == "" && h.failed(provider, from.Add(-h.m.Step), to.Add(h.m.Step)) {
		return "providerHealthy says that " + provider + " was failing"
	}
	if d, ok := s.incident(provider, at, at); ok && d.Marked == "" {
		return "an incident of " + provider + " was declared by " + d.By
	}
	return ""
}

// controlsSaw is what tenants saw of an open's provider whose breaker was off then.
func (s *Study) controlsSaw(o open, from, to time.Time) evidence.Share {
	all := slices.DeleteFunc(s.world.ev.Tallies(o.c.Provider, o.t.Baseline, from, to), func(t evidence.Tally) bool {
		who := s.witness(t.Tenant)
		return !s.world.who[who].off(to)
	})
	return evidence.ShareOf(all, o.t.ID, s.world.baseline)
}

const (
	// stretch is how many scrapes of an overlap are looked at together, and patience how
	// many it may go on, beyond what closing takes, when a provider is back for others.
	stretch  = 5
	patience = 10
)

// outlasted says which provider was back for others so long before the overlap ended
// that what kept its circuit open was the tenant's own.
func (s *Study) outlasted(f *tenantFacts, o overlap) string {
	for _, x := range o.spans {
		op := s.open(f, x.f, x.episode)
		limit := op.allowed(1, o.To) + patience*s.step()
		var back time.Time
		for from := o.From; from.Before(o.To); from = from.Add(stretch * s.step()) {
			to := from.Add(stretch * s.step())
			if to.After(o.To) {
				to = o.To
			}
			seen := op.peers(from, to)
			switch {
			case s.toldFailing(x.provider, from, from, to) != "" || seen.Failing(op.alpha):
				back = time.Time{}
			case seen.Healthy(op.alpha) && back.IsZero():
				back = from
			}
			if !back.IsZero() && to.Sub(back) > limit {
				return fmt.Sprintf("%s was back for others at %s", x.provider, stamp(back))
			}
		}
	}
	return ""
}

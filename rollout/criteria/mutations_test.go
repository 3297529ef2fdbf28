package criteria_test

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// mutant is evidence and a request to be spoilt: copies, all the way down.
type mutant struct {
	rng *rand.Rand
	ev  *evidence.Evidence
	r   criteria.Request
	// k is the tenant that it happens to.
	k int
}

// mutation is one way in which what was read could have been bad. spoil returns
// false where it does not apply. hurts are criteria that must not pass then.
type mutation struct {
	name  string
	hurts []string
	spoil func(m *mutant) bool
}

func newMutant(rng *rand.Rand, ev *evidence.Evidence, r criteria.Request) *mutant {
	c := *ev
	c.Tenants = slices.Clone(ev.Tenants)
	deep := func(cs []evidence.Circuit) []evidence.Circuit {
		out := slices.Clone(cs)
		for i := range out {
			out[i].Outcomes, out[i].Transitions = slices.Clone(out[i].Outcomes), slices.Clone(out[i].Transitions)
		}
		return out
	}
	for i := range c.Tenants {
		c.Tenants[i].Circuits = deep(c.Tenants[i].Circuits)
	}
	c.Others = deep(ev.Others)
	c.Nodes = slices.Clone(ev.Nodes)
	for i := range c.Nodes {
		c.Nodes[i].Scrapes = slices.Clone(c.Nodes[i].Scrapes)
	}
	c.Measures = slices.Clone(ev.Measures)
	for i := range c.Measures {
		c.Measures[i].Series = slices.Clone(c.Measures[i].Series)
		for j := range c.Measures[i].Series {
			s := &c.Measures[i].Series[j]
			s.Times, s.Values = slices.Clone(s.Times), slices.Clone(s.Values)
		}
	}
	c.Gaps, c.Present = slices.Clone(ev.Gaps), slices.Clone(ev.Present)
	var said statement.Set
	said.Add(r.Statements)
	r.Statements, r.Policies = said, slices.Clone(r.Policies)
	return &mutant{rng: rng, ev: &c, r: r, k: rng.IntN(len(c.Tenants))}
}

func (m *mutant) t() *evidence.Tenant { return &m.ev.Tenants[m.k] }

// circuit is one of the tenant's, at random.
func (m *mutant) circuit() *evidence.Circuit {
	cs := m.t().Circuits
	return &cs[m.rng.IntN(len(cs))]
}

// when is an instant in a part of the bake, at a scrape of the tenant's node.
func (m *mutant) when(from, to float64) time.Time {
	t := m.t()
	bake := m.ev.At.Sub(t.Since)
	at := t.Since.Add(time.Duration((from + (to-from)*m.rng.Float64()) * float64(bake)))
	scrapes := m.ev.Nodes[0].Scrapes
	i, _ := slices.BinarySearch(scrapes, at.UnixMilli())
	return evidence.Instant(scrapes[min(i, len(scrapes)-2)])
}

// calm is a closed circuit of the tenant and an instant at which no provider fails for
// anybody and nothing happens to the tenant for an hour.
func (m *mutant) calm() (*evidence.Circuit, time.Time, bool) {
	for range 50 {
		c, at := m.circuit(), m.when(0.05, 0.9)
		quiet := true
		for i := range m.ev.Tenants {
			for j := range m.ev.Tenants[i].Circuits {
				x := &m.ev.Tenants[i].Circuits[j]
				d := x.Delta(at.Add(-time.Hour), at.Add(time.Hour))
				quiet = quiet && !d.Moved() && d.FailFast == 0
			}
		}
		open := false
		for _, ep := range evidence.Episodes(c, m.t().Since.AddDate(0, 0, -8), m.ev.At) {
			open = open || ep.Opened.From.Before(at) && ep.Until(m.ev.At).After(at)
		}
		if quiet && !open {
			return c, at, true
		}
	}
	return nil, time.Time{}, false
}

// after changes everything that a circuit counted from an instant on in that epoch.
func after(c *evidence.Circuit, at time.Time, o func(*evidence.Outcome), x func(*evidence.Transition)) {
	c.InsertOutcome(at.UnixMilli())
	if c.InsertTransition(at.UnixMilli()) < 0 {
		c.Transitions = append([]evidence.Transition{{T: at.Add(-time.Minute).UnixMilli()}, {T: at.UnixMilli()}}, c.Transitions...)
	}
	epoch := 0
	for i := range c.Outcomes {
		if c.Outcomes[i].T <= at.UnixMilli() {
			epoch = c.Outcomes[i].Epoch
		}
	}
	for i := range c.Outcomes {
		if y := &c.Outcomes[i]; o != nil && y.T >= at.UnixMilli() && y.Epoch == epoch {
			o(y)
		}
	}
	for i := range c.Transitions {
		if y := &c.Transitions[i]; x != nil && y.T >= at.UnixMilli() && y.Epoch == epoch {
			x(y)
		}
	}
}

// opens plants an open on one failure in a window of wr, and with closes > 0 a close
// after so many scrapes.
func opens(c *evidence.Circuit, at time.Time, wr float64, closes int) {
	for i := -1; i <= max(closes, 2)+1; i++ {
		c.InsertOutcome(at.Add(time.Duration(i) * time.Minute).UnixMilli())
	}
	c.InsertTransition(at.Add(-time.Minute).UnixMilli())
	c.InsertTransition(at.Add(time.Minute).UnixMilli())
	after(c, at, func(o *evidence.Outcome) { o.Failure++; o.Success-- }, func(x *evidence.Transition) {
		x.CO++
		x.WindowRequests += wr
		x.WindowFailures++
	})
	if closes > 0 {
		after(c, at.Add(time.Duration(closes)*time.Minute), nil, func(x *evidence.Transition) { x.OH++; x.HC++; x.WindowRequests += 3; x.WindowFailures++ })
		return
	}
	// Nobody asks from there on.
	stopped := false
	var denied float64
	var state evidence.Transition
	for i := range c.Outcomes {
		o := &c.Outcomes[i]
		if o.T == at.UnixMilli() {
			denied = o.FailFast
		}
		if o.T > at.UnixMilli() {
			o.FailFast = denied
		}
	}
	for i := range c.Transitions {
		x := &c.Transitions[i]
		if x.T == at.UnixMilli() {
			state, stopped = *x, true
		} else if stopped {
			state.T = x.T
			*x = state
		}
	}
}

// spread turns a share of the successes between two instants into failures.
func spread(c *evidence.Circuit, from, to time.Time, share float64) {
	var start, moved float64
	known := false
	for i := range c.Outcomes {
		o := &c.Outcomes[i]
		switch {
		case o.T <= from.UnixMilli():
			start, known = o.Success+o.Failure, true
			continue
		case !known:
			start, known = o.Success+o.Failure, true
		}
		if o.T <= to.UnixMilli() {
			moved = share * (o.Success + o.Failure - start)
		}
		n := min(float64(int(moved)), o.Success)
		o.Success -= n
		o.Failure += n
	}
}

// gone cuts scrapes of a node out of an interval.
func gone(n *evidence.Node, from, to time.Time) {
	n.Scrapes = slices.DeleteFunc(n.Scrapes, func(t int64) bool { return t > from.UnixMilli() && t <= to.UnixMilli() })
}

// measured are the criteria that read the router's metrics, of all phases.
func measured() []string {
	return []string{"no-unexpected-opens", "closes-after-recovery", "error-rate-not-increased", "metrics-accurate", "breaker-effective",
		"no-tenant-wide-open", "consistent-across-tenants", "no-false-positives", "wasted-calls-reduced"}
}

// worsen multiplies a measure from enabling on.
func worsen(m *mutant, name string, factor float64) bool {
	q := m.ev.Measure(name)
	if q == nil {
		return false
	}
	for i := range q.Series {
		for j := range q.Series[i].Values {
			if q.Series[i].Times[j] > m.t().Since.UnixMilli() {
				q.Series[i].Values[j] *= factor
			}
		}
	}
	return true
}

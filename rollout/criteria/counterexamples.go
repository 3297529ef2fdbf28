package criteria

import (
	"sort"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// common are the counterexamples of every criterion that reads the router's metrics:
// no evidence must never pass.
func (s *Study) common(k int) []Counterexample {
	t := &s.Evidence.Tenants[k]
	last := t.Since.Add(time.Duration(s.Request.MinDays)*24*time.Hour - 2*time.Hour)
	return []Counterexample{
		{"no series at all", func(c *Case) { c.Evidence.Tenants[c.Tenant].Circuits = nil }},
		{"scrapes that end too early", func(c *Case) {
			nodes := append([]evidence.Node{}, c.Evidence.Nodes...)
			for i := range nodes {
				x := nodes[i].Scrapes
				nodes[i].Scrapes = x[:sort.Search(len(x), func(k int) bool { return x[k] > last.UnixMilli() })]
			}
			c.Evidence.Nodes = nodes
		}},
		{"answers that were partial throughout", func(c *Case) {
			c.Evidence.Gaps = append([]evidence.Gap{{Interval: evidence.Interval{From: c.Evidence.Tenants[c.Tenant].Since, To: c.Evidence.At}, Reason: "planted"}}, c.Evidence.Gaps...)
		}},
		{"a breaker that is not enabled", func(c *Case) { c.Evidence.Tenants[c.Tenant].Config.Enabled = false }},
	}
}

// quietMoment finds a scrape in the middle of a measured hour of the bake in
// which the circuit is closed and nothing happens on any circuit of the tenant
// within an hour, so that an open planted there has no failing provider behind
// it by construction.
func (s *Study) quietMoment(k, circuit int) (time.Time, bool) {
	t := &s.Evidence.Tenants[k]
	c := &t.Circuits[circuit]
	for _, h := range s.ready(k).measured.Measured {
		at := h.Add(30 * time.Minute)
		if at.Add(2*time.Hour).After(s.Evidence.At) || !calm(t, at) {
			continue
		}
		d := c.Delta(at.Add(-5*time.Minute), at.Add(5*time.Minute))
		before := c.Delta(t.Since, at)
		// No more failures around than are usual, traffic there, and the circuit is closed.
		usual := d.Failure < evidence.MinFailures || s.normal(s.tenant(k).circuits[circuit]).Tail(d.Failure, d.Outcomes()) >= 0.05
		if d.OK && before.OK && usual && before.Success > 0 && closedAt(c, at) {
			return at, true
		}
	}
	return time.Time{}, false
}

// calm: no transition on any circuit of the tenant within an hour of at.
func calm(t *evidence.Tenant, at time.Time) bool {
	for i := range t.Circuits {
		d := t.Circuits[i].Delta(at.Add(-time.Hour), at.Add(time.Hour))
		if d.Moved() {
			return false
		}
	}
	return true
}

// closedAt: the totals at the last transition up to at say closed.
func closedAt(c *evidence.Circuit, at time.Time) bool {
	closed := true
	for i := range c.Transitions {
		x := &c.Transitions[i]
		if x.At().After(at) {
			break
		}
		closed = x.CO-x.HC == 0
	}
	return closed
}

// planted describes an open to be planted.
type planted struct {
	// close: half-open and closed again within the two scrapes that follow.
	close bool
	// wedge: half-open at once, then fail_fast for ever and no outcome.
	wedge bool
}

// plant writes an open into a circuit's record at the time at, exactly as the
// router's counters would have shown it, on one failure in an empty window.
func plant(ev *evidence.Evidence, c *evidence.Circuit, at time.Time, what planted) {
	step := ev.Interval
	if step <= 0 {
		step = time.Minute
	}
	opened, asked, done := at.UnixMilli(), at.Add(step).UnixMilli(), at.Add(2*step).UnixMilli()
	for _, t := range []int64{at.Add(-step).UnixMilli(), opened, asked, done} {
		c.InsertOutcome(t)
		if c.InsertTransition(t) < 0 && t == opened {
			c.Transitions = append([]evidence.Transition{{T: at.Add(-step).UnixMilli()}, {T: opened}}, c.Transitions...)
		}
	}
	epoch := epochAt(c, opened)
	for i := range c.Outcomes {
		o := &c.Outcomes[i]
		if o.T < opened || o.Epoch != epoch {
			continue
		}
		o.Failure++
		if what.close && o.T >= done {
			o.Success += 2
		}
	}
	for i := range c.Transitions {
		x := &c.Transitions[i]
		if x.T < opened || x.Epoch != epoch {
			continue
		}
		x.CO, x.WindowRequests, x.WindowFailures = x.CO+1, x.WindowRequests+1, x.WindowFailures+1
		if x.T >= asked && (what.close || what.wedge) {
			x.OH++
		}
		if what.close && x.T >= done {
			x.HC++
		}
	}
	switch {
	case what.wedge:
		wedge(ev, c, asked, step)
	case !what.close:
		freeze(c, opened, epoch)
	}
}

// freeze lets nothing happen to a circuit's gate any more in an epoch: nobody asks it,
// so that it neither denies nor moves. Outcomes go on.
func freeze(c *evidence.Circuit, t int64, epoch int) {
	i, j := c.InsertOutcome(t), c.InsertTransition(t)
	if i < 0 || j < 0 {
		return
	}
	denied, state := c.Outcomes[i].FailFast, c.Transitions[j]
	for ; i < len(c.Outcomes) && c.Outcomes[i].Epoch == epoch; i++ {
		c.Outcomes[i].FailFast = denied
	}
	for ; j < len(c.Transitions) && c.Transitions[j].Epoch == epoch; j++ {
		state.T = c.Transitions[j].T
		c.Transitions[j] = state
	}
}

// wedge leaves a circuit as it is at t and lets it deny a request a scrape from
// there on.
func wedge(ev *evidence.Evidence, c *evidence.Circuit, t int64, step time.Duration) {
	o, x := c.InsertOutcome(t), c.InsertTransition(t)
	if o < 0 || x < 0 {
		return
	}
	c.Outcomes, c.Transitions = c.Outcomes[:o+1], c.Transitions[:x+1]
	last, state := c.Outcomes[o], c.Transitions[x]
	for at := last.At().Add(step); !at.After(ev.At); at = at.Add(step) {
		last.T = at.UnixMilli()
		last.FailFast++
		c.Outcomes = append(c.Outcomes, last)
	}
	state.T = ev.At.UnixMilli()
	c.Transitions = append(c.Transitions, state)
}

// epochAt is the epoch of a circuit's last outcome at or before t.
func epochAt(c *evidence.Circuit, t int64) int {
	epoch := 0
	for i := range c.Outcomes {
		if c.Outcomes[i].T > t {
			break
		}
		epoch = c.Outcomes[i].Epoch
	}
	return epoch
}

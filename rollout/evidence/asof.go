package evidence

import (
	"sort"
	"time"
)

// AsOf is the evidence as it would have been read at an earlier instant. It shares
// samples with e.
func (e *Evidence) AsOf(at time.Time) *Evidence {
	c := *e
	c.At = at.UTC()
	ms := at.UnixMilli()
	last := map[string]int64{} // of each node
	c.Nodes = make([]Node, len(e.Nodes))
	for i, n := range e.Nodes {
		n.Scrapes = upto(n.Scrapes, ms)
		n.Restarts = upto(n.Restarts, ms)
		if n.Last > ms {
			n.Last = ms
		}
		if k := len(n.Scrapes); k > 1 {
			last[n.Name] = n.Scrapes[k-2] // the newest may not be complete
		}
		c.Nodes[i] = n
	}
	cut := func(cs []Circuit) []Circuit {
		out := make([]Circuit, len(cs))
		for i := range cs {
			out[i] = cs[i].asOf(ms, last[cs[i].Node])
		}
		return out
	}
	c.Tenants = make([]Tenant, len(e.Tenants))
	for i, t := range e.Tenants {
		t.Circuits = cut(t.Circuits)
		c.Tenants[i] = t
	}
	c.Others = cut(e.Others)
	c.Measures = make([]Measure, len(e.Measures))
	for i, m := range e.Measures {
		series := make([]MeasureSeries, len(m.Series))
		for j, s := range m.Series {
			k := len(upto(s.Times, ms))
			s.Times, s.Values = s.Times[:k:k], s.Values[:k:k]
			series[j] = s
		}
		m.Series = series
		c.Measures[i] = m
	}
	return &c
}

func upto(ts []int64, t int64) []int64 {
	i := sort.Search(len(ts), func(i int) bool { return ts[i] > t })
	return ts[:i:i]
}

// asOf cuts a circuit at t; its transitions end with the last scrape that counts.
func (c *Circuit) asOf(t, scrape int64) Circuit {
	x := *c
	i := c.outcomeUpto(t) + 1
	x.Outcomes = c.Outcomes[:i:i]
	i = c.transitionUpto(t) + 1
	x.Transitions = c.Transitions[:i:i]
	x.Resets = upto(c.Resets, t)
	if i > 0 && i < len(c.Transitions) && scrape > x.Transitions[i-1].T && scrape <= t {
		carry := x.Transitions[i-1] // between two of them nothing changed
		carry.T = scrape
		x.Transitions = append(x.Transitions, carry)
	}
	return x
}

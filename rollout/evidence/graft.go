package evidence

import (
	"sort"
	"time"
)

// Graft puts a baseline that was kept earlier in place of one that the server no
// longer has: for each judged tenant of kept, what its circuits counted before the
// first scrape that was read of them now, and likewise for the others and the
// scrapes of nodes. It returns the tenants whose baseline came from kept, sorted.
// Counts do not join across the seam: nothing is said about what lies between.
func (e *Evidence) Graft(kept *Evidence) []string {
	var from []string
	for i := range e.Tenants {
		t := &e.Tenants[i]
		any := false
		for j := range kept.Tenants {
			if kept.Tenants[j].ID != t.ID {
				continue
			}
			var grafted bool
			t.Circuits, grafted = graft(t.Circuits, kept.Tenants[j].Circuits, t.Since)
			any = any || grafted
		}
		if any {
			from = append(from, t.ID)
		}
	}
	if len(from) == 0 {
		return nil
	}
	first := e.At
	for i := range e.Tenants {
		if e.Tenants[i].Since.Before(first) {
			first = e.Tenants[i].Since
		}
	}
	e.Others, _ = graft(e.Others, kept.Others, first)
	for _, n := range kept.Nodes {
		e.graftNode(n, first)
	}
	sort.Strings(from)
	return from
}

// graft puts what kept has before the first outcome of each circuit, and up to
// limit at the latest, before it. A circuit that is only in kept comes whole.
func graft(now, kept []Circuit, limit time.Time) (out []Circuit, any bool) {
	type id struct{ node, tenant, provider string }
	at := map[id]int{}
	out = append([]Circuit{}, now...)
	for i := range out {
		at[id{out[i].Node, out[i].Tenant, out[i].Provider}] = i
	}
	for k := range kept {
		o := &kept[k]
		until := limit.UnixMilli()
		i, there := at[id{o.Node, o.Tenant, o.Provider}]
		if there && len(out[i].Outcomes) > 0 {
			until = min(until, out[i].Outcomes[0].T-1)
		}
		n := o.outcomeUpto(until) + 1
		if n < 2 {
			continue
		}
		any = true
		x := Circuit{Node: o.Node, Tenant: o.Tenant, Provider: o.Provider, Step: o.Step}
		shift := 0
		if there {
			x = out[i]
			x.Step = max(x.Step, o.Step)
			shift = o.Outcomes[n-1].Epoch + 1
		}
		joined := append([]Outcome{}, o.Outcomes[:n]...)
		for _, y := range x.Outcomes {
			y.Epoch += shift
			joined = append(joined, y)
		}
		transitions := make([]Transition, 0, len(x.Transitions))
		for _, y := range x.Transitions {
			y.Epoch += shift
			transitions = append(transitions, y)
		}
		x.Outcomes, x.Transitions = joined, transitions
		if there {
			out[i] = x
		} else {
			out = append(out, x)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		if a.Tenant != b.Tenant {
			return a.Tenant < b.Tenant
		}
		if a.Provider != b.Provider {
			return a.Provider < b.Provider
		}
		return a.Node < b.Node
	})
	return out, any
}

func (e *Evidence) graftNode(n Node, limit time.Time) {
	for i := range e.Nodes {
		if e.Nodes[i].Name != n.Name {
			continue
		}
		x := &e.Nodes[i]
		until := limit.UnixMilli()
		if len(x.Scrapes) > 0 {
			until = min(until, x.Scrapes[0]-1)
		}
		old := upto(n.Scrapes, until)
		x.Scrapes = append(append([]int64{}, old...), x.Scrapes...)
		if len(old) > 0 && (x.First == 0 || n.First < x.First) {
			x.First = n.First
		}
	}
}

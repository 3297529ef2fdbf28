package gather

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

const (
	// doublePoints and doubleGrowth are how much two targets must have counted side
	// by side before they can be called one router.
	doublePoints = 12
	doubleGrowth = 50
	// doubleOff is the share of points that may differ by more than the traffic
	// between two scrapes.
	doubleOff = 0.05
)

// dropDoubles finds targets that are one router scraped twice: the same circuits
// with the same counters all along, to within what is counted between two scrapes.
// Two routers that share a load drift apart by the square root of what they
// counted. The target with fewer scrapes is dropped: its counts are no second
// evidence of anything.
func (g *gatherer) dropDoubles(r *records) {
	names := make([]string, 0, len(g.nodes))
	for n := range g.nodes {
		names = append(names, n)
	}
	slices.Sort(names)
	perNode := map[string]map[key]*record{}
	for k, rec := range r.by {
		if perNode[k.node] == nil {
			perNode[k.node] = map[key]*record{}
		}
		perNode[k.node][key{tenant: k.tenant, provider: k.provider}] = rec
	}
	dropped := map[string]bool{}
	for i, a := range names {
		for _, b := range names[i+1:] {
			if dropped[a] || dropped[b] {
				continue
			}
			same, reason := g.sameRouter(perNode[a], perNode[b], r.step)
			if !same {
				continue
			}
			keep, drop := a, b
			if len(g.nodes[b].scrapes) > len(g.nodes[a].scrapes) {
				keep, drop = b, a
			}
			dropped[drop] = true
			g.ev.Doubles = append(g.ev.Doubles, evidence.Double{Kept: keep, Dropped: drop, Reason: reason})
		}
	}
	for n := range dropped {
		delete(g.nodes, n)
	}
	for k := range r.by {
		if dropped[k.node] {
			delete(r.by, k)
		}
	}
}

// sameRouter compares the successes of two nodes at the common steps.
func (g *gatherer) sameRouter(a, b map[key]*record, step time.Duration) (bool, string) {
	var points, off int
	var growth float64
	common := 0
	for k, ra := range a {
		rb := b[k]
		if rb == nil {
			continue
		}
		common++
		x, y := ra.series[cSuccess], rb.series[cSuccess]
		for i, j := 1, 0; i < len(x); i++ {
			for j < len(y) && y[j].t < x[i].t {
				j++
			}
			if j == len(y) || y[j].t != x[i].t {
				continue
			}
			grown := max(x[i].v-x[i-1].v, 0)
			// What one of them may have counted while the other had been scraped.
			lag := grown * float64(2*g.ev.Interval) / float64(max(step, g.ev.Interval, time.Second))
			points++
			growth += grown
			if math.Abs(x[i].v-y[j].v) > lag+4*math.Sqrt(lag)+2 {
				off++
			}
		}
	}
	if points < doublePoints || growth < doubleGrowth || float64(off) > doubleOff*float64(points) ||
		common*10 < 9*min(len(a), len(b)) {
		return false, ""
	}
	return true, fmt.Sprintf("the same counters at %d of %d points of %d circuits", points-off, points, common)
}

package change

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cbops/cbops/internal/fault"
)

// Restart says how nodes are restarted: one at a time, each healthy again before
// the next, and never so many at once that fewer than Floor serve.
type Restart struct {
	// Run restarts the named node.
	Run func(ctx context.Context, node string) error
	// Floor is how many healthy nodes must be left while one restarts.
	Floor int
	// Healthy is how long a node may take until it serves again; 0 means the
	// engine's deadline for a node.
	Healthy time.Duration
}

// DefaultFloor is half of the nodes, rounded up.
func DefaultFloor(nodes int) int { return (nodes + 1) / 2 }

// RestartResult is what became of one node.
type RestartResult struct {
	Node      string `json:"node"`
	Restarted bool   `json:"restarted"`
	// Healthy says that it serves again.
	Healthy bool `json:"healthy"`
	// Reason says why not, or why it was left alone.
	Reason string `json:"reason"`
}

// restart goes through the nodes that are not safe and cleared. It stops at the
// first that does not come back.
func (r *run) restart(ctx context.Context, how Restart) {
	var all []*nodeRun
	site := map[*nodeRun]*siteRun{}
	pos := map[*nodeRun]int{}
	for _, s := range r.rb.sites {
		for i, n := range s.nodes {
			all = append(all, n)
			site[n], pos[n] = s, i
		}
	}
	var todo []*nodeRun
	for _, n := range all {
		c := site[n].cleared[pos[n]]
		if c.State != Cleared || !allSafe(n.results) {
			todo = append(todo, n)
		}
	}
	count := r.t.counter(StageRestart, "", len(todo))
	stopped := ""
	for _, n := range todo {
		res := RestartResult{Node: n.node.Name()}
		if stopped == "" {
			res = r.restartOne(ctx, how, n, all)
			if !res.Healthy {
				stopped = "not restarted: " + n.node.Name() + " was not restarted or did not come back"
			}
		} else {
			res.Reason = stopped
		}
		r.rb.Restarts = append(r.rb.Restarts, res)
		count.add(res.Reason != "")
		if res.Restarted && res.Healthy {
			s, i := site[n], pos[n]
			r.proveRestarted(ctx, s, i)
		}
	}
	r.rebuild()
}

func (r *run) restartOne(ctx context.Context, how Restart, n *nodeRun, all []*nodeRun) RestartResult {
	res := RestartResult{Node: n.node.Name()}
	s := n
	if n.crash != "" {
		res.Reason = "not restarted: a restart reads every policy, and a malformed one crashes the router's policy store"
		return res
	}
	ctx, cancel := r.e.nodeContext(ctx)
	defer cancel()
	healthy := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, x := range all {
		if x == s {
			continue
		}
		wg.Go(func() {
			if x.node.Healthy(ctx) == nil {
				mu.Lock()
				healthy++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if healthy < how.Floor {
		res.Reason = fmt.Sprintf("not restarted: only %d other %s, and %d must serve meanwhile", healthy, plural(healthy, "node is healthy", "nodes are healthy"), how.Floor)
		return res
	}
	if err := how.Run(ctx, n.node.Name()); err != nil {
		res.Reason = err.Error()
		return res
	}
	res.Restarted = true
	limit := how.Healthy
	if limit <= 0 {
		limit = r.e.deadline()
	}
	until := r.e.Now().Add(limit)
	for {
		err := n.node.Healthy(ctx)
		if err == nil {
			res.Healthy = true
			return res
		}
		if !r.e.Now().Before(until) || r.e.Sleep(ctx, pollEvery) != nil {
			res.Reason = fmt.Sprintf("restarted, but not healthy within %s: %v", limit, err)
			return res
		}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// proveRestarted verifies a node anew. A restart empties its memory (ROUTER.md
// §3); where circuits can be read back, that is the proof.
func (r *run) proveRestarted(ctx context.Context, s *siteRun, i int) {
	ctx, cancel := r.e.nodeContext(ctx)
	defer cancel()
	n := s.nodes[i]
	n.again()
	n.verify(ctx)
	c := n.clear(ctx, r.req.Scope, Clearing{Reset: r.req.Clearing.Reset})
	if c.State == ClearedUnknown {
		c.State, c.Basis, c.Reason = Cleared, ByRestart, ""
	}
	s.cleared[i] = c
	mark(n.results, n.items, c)
	all := true
	for _, x := range s.nodes {
		all = all && allSafe(x.results)
	}
	if all {
		s.safeAfter = r.t.after()
	}
}

// rebuild puts the results together again after nodes were verified anew.
func (r *run) rebuild() {
	fresh := &Rollback{Held: true}
	for _, s := range r.rb.sites {
		s.report(fresh)
	}
	r.rb.Nodes = fresh.Nodes
	if !r.rb.Nothing {
		r.rb.Policies = fresh.Policies
	}
}

// CheckRestart refuses what cannot work, before anything is changed.
func (e *Engine) CheckRestart(how Restart, perNode bool) error {
	nodes := e.Nodes()
	if len(nodes) > 1 && !perNode {
		return fault.Hint(fault.New(fault.Usage, "the restart command does not name {node}: it would restart all %d at once", len(nodes)),
			"give it a {node} argument")
	}
	if how.Floor > len(nodes)-1 {
		return fault.Hint(fault.New(fault.Usage, "with %d %s, none can restart while %d must serve", len(nodes), plural(len(nodes), "node", "nodes"), how.Floor),
			fmt.Sprintf("--min-healthy %d allows it", max(0, len(nodes)-1)))
	}
	if slices.ContainsFunc(nodes, func(n Node) bool { return n.Name() == "" }) && len(nodes) > 1 {
		return fault.New(fault.Usage, "nodes without a name cannot be restarted one at a time")
	}
	return nil
}

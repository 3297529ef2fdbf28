package change

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cbops/cbops/rollout/router"
)

// nodeRun is the work on one node: reload, verify, read circuits. No node waits
// for another.
type nodeRun struct {
	e     *Engine
	node  Node
	items []*item
	// before is asked right before each reload; nil for a change that disables.
	before func(router.Ref) error
	// crash names malformed policies of the whole store: a reload of every policy
	// would crash the node's policy store.
	crash string
	t     *tracker

	can     router.Capabilities
	mu      sync.Mutex
	results []PolicyResult
	at      map[router.Ref]int
}

func (e *Engine) newNodeRun(n Node, items []*item, t *tracker) *nodeRun {
	r := &nodeRun{e: e, node: n, items: items, t: t, results: make([]PolicyResult, len(items)), at: make(map[router.Ref]int, len(items))}
	for i, it := range items {
		r.at[it.ref] = i
		r.results[i] = PolicyResult{Tenant: it.ref.Tenant, Policy: it.ref.Policy, Node: n.Name(), Disabled: it.disabled,
			Result: Written, Cleared: ClearedUnknown}
		if it.failed != nil {
			r.results[i].Result, r.results[i].Reason = Failed, whyNot(it.failed)
			if unreachableErr(it.failed) {
				r.results[i].Result = Unreachable
			}
		}
	}
	return r
}

// set changes the result of a policy.
func (r *nodeRun) set(ref router.Ref, f func(*PolicyResult)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.results[r.at[ref]])
}

// fail words an error as a result: what was only cut short is still written.
func fail(p *PolicyResult, err error) {
	p.Result, p.Reason = Failed, err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		p.Result = Written
	case unreachableErr(err):
		p.Result = Unreachable
	}
}

// live are the items that the store has as they should be and that nothing is
// known against yet.
func (r *nodeRun) live() []router.Wanted {
	var live []router.Wanted
	for i, it := range r.items {
		if it.failed == nil && r.results[i].Result == Written && r.results[i].Reason == "" {
			live = append(live, router.Wanted{Ref: it.ref, Digest: it.new})
		}
	}
	return live
}

func (r *nodeRun) failAll(live []router.Wanted, err error) {
	for _, w := range live {
		r.set(w.Ref, func(p *PolicyResult) { fail(p, err) })
	}
}

// ask finds out what the node can do. False means that it could not be asked.
func (r *nodeRun) ask(ctx context.Context) bool {
	can, err := r.node.Can(ctx)
	if err != nil {
		r.failAll(r.live(), err)
		r.t.say(Event{Stage: StageReloaded, Where: r.node.Name(), Done: len(r.items), Failed: len(r.items), Total: len(r.items), Note: err.Error()})
		return false
	}
	r.can = can
	return true
}

// reload makes the node read what was written, and verify proves it.
func (r *nodeRun) reload(ctx context.Context) {
	live := r.live()
	if len(live) == 0 || !r.can.Reload {
		return
	}
	if r.can.Whole && r.crash != "" {
		for _, w := range live {
			r.set(w.Ref, func(p *PolicyResult) { p.Reason = r.crash })
		}
		return
	}
	before := func(router.Ref) error { return nil }
	if r.before != nil {
		before = r.before
		if r.can.Whole {
			// One reload reads them all: it needs the consent of all.
			before = func(router.Ref) error {
				for _, w := range live {
					if err := r.before(w.Ref); err != nil {
						return err
					}
				}
				return nil
			}
		}
	}
	count := r.t.counter(StageReloaded, r.node.Name(), len(live))
	r.node.Reload(ctx, live, before, func(ref router.Ref, err error) {
		if err != nil {
			r.set(ref, func(p *PolicyResult) { fail(p, err) })
		}
		count.add(err != nil)
	})
}

func (r *nodeRun) verify(ctx context.Context) {
	live := r.live()
	if len(live) == 0 {
		return
	}
	if !r.can.Loaded {
		why := "no verify command: that it is loaded is not proven"
		if !r.can.Reload {
			why = "no reload command: make the router read it by hand"
		}
		for _, w := range live {
			r.set(w.Ref, func(p *PolicyResult) { p.Reason = why })
		}
		return
	}
	count := r.t.counter(StageLoaded, r.node.Name(), len(live))
	r.node.Loaded(ctx, live, func(ref router.Ref, l router.Loaded, err error) {
		it := r.items[r.at[ref]]
		if err == nil {
			if d := disagreement(l.Answer, l.Strict, it.want); d != "" {
				err = errors.New(d)
			}
		}
		r.set(ref, func(p *PolicyResult) {
			if err != nil {
				fail(p, err)
				return
			}
			p.Result, p.Loaded, p.LoadedBy, p.Reason = Safe, true, l.Proof, ""
		})
		count.add(err != nil)
	})
}

// again forgets what is known against a policy on this node, so that it is
// verified anew: after a restart.
func (r *nodeRun) again() {
	for i, it := range r.items {
		if it.failed == nil {
			p := &r.results[i]
			p.Result, p.Reason, p.Loaded, p.LoadedBy = Written, "", false, ""
		}
	}
}

// nodeContext bounds the work on one node.
func (e *Engine) nodeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	d := e.deadline()
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("the deadline of %s for one node has passed", d))
}

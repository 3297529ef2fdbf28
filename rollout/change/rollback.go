package change

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/router"
)

// Request is what a rollback is asked to do.
type Request struct {
	Scope  Scope
	Reason string
	// Clearing says how far to go to clear circuits.
	Clearing Clearing
	// Quarantine takes malformed policies out of the router's sight, so that it can
	// be made to read the others.
	Quarantine bool
	// Restart restarts nodes one at a time; nil for none.
	Restart *Restart
}

// Rollback is the result of a rollback.
type Rollback struct {
	ID    string
	Scope Scope
	Hold  Hold
	// Held says that the hold stands beside the policies of every site, where every
	// machine that writes them sees it; HeldHere that it stands in the state
	// directory; NoShelf names stores that have no place for one.
	Held, HeldHere bool
	NoShelf        []string
	Policies       []PolicyResult
	// Changed counts files that were written now; the others were off before.
	Changed int
	// Stopped says why a router was not made to read what was written.
	Stopped string
	// Malformed are policies that a router which reads everything would crash on,
	// those outside the scope too; Quarantined is where they went.
	Malformed, Quarantined []string
	// Unlisted says what could not be listed, and so may hold more policies.
	Unlisted []string
	// Nothing says that there was nothing to roll back.
	Nothing bool
	// Refs are the policies that now must stay off.
	Refs []router.Ref
	// Backups are the packs with the old bytes, if anything was written.
	Backups []string
	// DisabledAfter and SafeAfter are the moments when everything was off on disk,
	// and when all of it was proven loaded; 0 if that moment did not come.
	DisabledAfter, SafeAfter, Took time.Duration
	// Nodes is what is known of circuits, per node.
	Nodes []NodeCleared
	// Flags are the nodes' global switches, for a global rollback.
	Flags []FlagResult
	// Restarts is what a restart did, in order.
	Restarts []RestartResult
	// Waited says that cleared circuits were waited for, so that they count.
	Waited bool

	sites []*siteRun
}

// Code is the exit code that a rollback deserves: OK only if everything is safe,
// or written where the operator accepted that.
func (r *Rollback) Code(noVerify bool) fault.Code {
	s := Summarize(r.Policies)
	switch {
	case r.Stopped != "", !r.Held, len(r.Unlisted) > 0, s.Failed > 0, s.Unreachable > 0, s.Written > 0 && !noVerify,
		r.Waited && r.Cleared() != Cleared:
		return fault.Partial
	}
	for _, p := range r.Policies {
		if !p.Disabled {
			return fault.Partial
		}
	}
	for _, x := range r.Restarts {
		if x.Reason != "" {
			return fault.Partial
		}
	}
	return fault.OK
}

// Cleared is the state of all nodes together.
func (r *Rollback) Cleared() ClearedState {
	state := Cleared
	for _, n := range r.Nodes {
		switch n.State {
		case StillOpen:
			return StillOpen
		case ClearedUnknown:
			state = ClearedUnknown
		}
	}
	if len(r.Nodes) == 0 {
		return ClearedUnknown
	}
	return state
}

// run is a rollback on its way.
type run struct {
	e    *Engine
	req  Request
	rb   *Rollback
	t    *tracker
	hold Hold
	// held says that a hold stands beside some policies: it is the one to show.
	held  bool
	once  sync.Once
	keep  budget
	flags sync.WaitGroup
	mu    sync.Mutex
}

// Rollback disables every policy of a scope, makes the nodes read them, and
// proves it. The hold comes first, so that nobody enables behind its back. It
// waits for nothing but the stores and nodes, each within its deadline, and no
// node waits for another. A run after an interrupted one reads reality again and
// completes it.
func (e *Engine) Rollback(ctx context.Context, req Request) (*Rollback, error) {
	began := e.Now()
	r := &run{e: e, req: req, t: e.track(began), keep: budget{left: keepBytes}}
	r.rb = &Rollback{ID: e.newID("rollback " + req.Scope.String()), Scope: req.Scope, Held: true, Waited: req.Clearing.Wait > 0}
	r.hold = Hold{Scope: req.Scope, ID: r.rb.ID, Reason: req.Reason, By: e.User, At: began.UTC()}
	r.rb.Hold = r.hold
	r.rb.Policies = []PolicyResult{}
	timelines := e.askTimelines(ctx, r.tenants())
	r.setFlags(ctx)
	var wg sync.WaitGroup
	for i := range e.Sites {
		s := &siteRun{run: r, site: e.Sites[i]}
		r.rb.sites = append(r.rb.sites, s)
		wg.Go(func() { s.do(ctx) })
	}
	wg.Wait()
	r.flags.Wait()
	if err := r.nothing(); err != nil {
		return nil, err
	}
	r.collect()
	if req.Restart != nil {
		r.restart(ctx, *req.Restart)
	}
	r.clearedBy(timelines)
	r.finish(ctx)
	r.rb.Took = r.t.after()
	r.keepRecord()
	return r.rb, nil
}

// tenants are those of the scope, for timelines; nil is all.
func (r *run) tenants() []string {
	if r.req.Scope.Kind == GlobalScope {
		return nil
	}
	return r.req.Scope.tenants()
}

// setFlags flips global switches beside everything else: where one works, a node
// is off before the first file is written.
func (r *run) setFlags(ctx context.Context) {
	if r.req.Scope.Kind != GlobalScope {
		return
	}
	for _, n := range r.e.Nodes() {
		r.flags.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, flagDeadline, fmt.Errorf("no answer within %s", flagDeadline))
			defer cancel()
			if f := r.e.setFlag(ctx, n); f != nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.rb.Flags = append(r.rb.Flags, *f)
			}
		})
	}
}

// flagDeadline bounds the work on one node's global switch.
const flagDeadline = 20 * time.Second

// nothing is the error of a scope that no store has, or of stores none of which
// answers.
func (r *run) nothing() error {
	s := r.req.Scope
	var answered, has bool
	var lists []router.Listing
	var err error
	for _, x := range r.rb.sites {
		if x.err != nil {
			if err == nil {
				err = x.err
			}
			continue
		}
		answered = true
		lists = append(lists, x.listing)
		has = has || len(x.refs) > 0
	}
	if !answered {
		return fault.Hint(fault.Wrap(fault.Environment, fmt.Errorf("no store of policies answers: %w", err)), "nothing is changed, and no hold stands beside the policies")
	}
	if has || s.Kind == GlobalScope {
		return nil
	}
	if s.Kind != PolicyScope {
		for _, l := range lists {
			for _, t := range s.tenants() {
				if slices.Contains(l.Tenants, t) {
					return nil // it is there, and has no policies
				}
			}
		}
	}
	t, p := s.Tenant, s.Policy
	if s.Kind == PhaseScope {
		t, p = s.Tenants[0], ""
	}
	return unknown(r.e.Sites[0].Store.Name(), lists, t, p)
}

// collect puts the sites' results together.
func (r *run) collect() {
	rb := r.rb
	rb.Nothing = true
	seen := map[router.Ref]bool{}
	for _, s := range rb.sites {
		for _, it := range s.items {
			if !seen[it.ref] {
				seen[it.ref] = true
				rb.Refs = append(rb.Refs, it.ref)
			}
			if it.failed != nil || it.breaker {
				rb.Nothing = false
			}
			if it.failed == nil && it.disabled && it.old != it.new {
				rb.Changed++
			}
		}
	}
	slices.SortFunc(rb.Refs, router.Ref.Compare)
	for _, s := range rb.sites {
		s.report(rb)
	}
	slices.SortFunc(rb.Flags, func(a, b FlagResult) int { return compare(a.Node, b.Node) })
	if rb.Nothing && len(rb.Unlisted) == 0 {
		rb.Policies = []PolicyResult{}
	} else {
		rb.Nothing = false
	}
}

// clearedBy fills in from timelines what nodes could not show.
func (r *run) clearedBy(timelines func(time.Duration) NodeCleared) {
	if timelines == nil || !slices.ContainsFunc(r.rb.Nodes, func(n NodeCleared) bool { return n.State == ClearedUnknown }) {
		return
	}
	n := timelines(r.req.Clearing.Wait)
	for i := range r.rb.Nodes {
		x := &r.rb.Nodes[i]
		if x.State != ClearedUnknown {
			continue
		}
		if n.State == ClearedUnknown {
			x.Reason += "; " + n.Reason
			continue
		}
		x.State, x.Basis, x.Looked, x.Open, x.Reason = n.State, n.Basis, n.Looked, n.Open, n.Reason
		for j := range r.rb.Policies {
			p := &r.rb.Policies[j]
			if p.Node != x.Node {
				continue
			}
			p.Cleared = Cleared
			if slices.ContainsFunc(n.Open, func(c OpenCircuit) bool { return c.Tenant == p.Tenant }) {
				p.Cleared = StillOpen
			}
		}
		// Metrics name nodes in their own way: one answer is for all of them.
		n.Looked, n.Open = 0, []OpenCircuit{}
	}
}

// finish looks at every store again: disabled is what it says at the end, not
// what was written in the middle.
func (r *run) finish(ctx context.Context) {
	var wg sync.WaitGroup
	on := make([]map[router.Ref]string, len(r.rb.sites))
	for i, s := range r.rb.sites {
		if s.err == nil {
			wg.Go(func() { on[i] = s.stillOn(ctx) })
		}
	}
	wg.Wait()
	allOff, allSafe := true, true
	for i, s := range r.rb.sites {
		for j := range r.rb.Policies {
			p := &r.rb.Policies[j]
			if !slices.ContainsFunc(s.site.Nodes, func(n Node) bool { return n.Name() == p.Node }) {
				continue
			}
			if why, bad := on[i][p.Ref()]; bad {
				p.Disabled = false
				if p.Result == Safe || p.Result == Written {
					p.Result, p.Reason = Failed, why
				}
			}
		}
	}
	for _, p := range r.rb.Policies {
		allOff = allOff && p.Disabled
		allSafe = allSafe && p.Result == Safe
	}
	if allOff && len(r.rb.Unlisted) == 0 {
		for _, s := range r.rb.sites {
			r.rb.DisabledAfter = max(r.rb.DisabledAfter, s.disabledAfter)
			if allSafe {
				r.rb.SafeAfter = max(r.rb.SafeAfter, s.safeAfter)
			}
		}
	}
	if r.rb.SafeAfter > 0 {
		n := len(r.rb.Policies)
		r.t.say(Event{Stage: StageSafe, Done: n, Total: n, Note: "safe after " + seconds(r.rb.SafeAfter)})
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func (r *run) keepRecord() {
	rb := r.rb
	sum := Summarize(rb.Policies)
	at := r.e.Now().UTC()
	backup := ""
	if len(rb.Backups) > 0 {
		backup = rb.Backups[0]
	}
	r.e.recordAll(rb.ID, func(yield func(event) bool) {
		for i := range rb.Policies {
			if !yield(event{Event: "result", At: at, Scope: Scope{Kind: rb.Scope.Kind}, Result: &rb.Policies[i]}) {
				return
			}
		}
		yield(event{Event: "ended", At: at, By: r.e.User, Scope: rb.Scope, Reason: rb.Stopped, Backup: backup, Summary: &sum})
	})
}

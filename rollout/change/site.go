package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cbops/cbops/rollout/router"
)

// siteRun is a rollback on one site: list, hold, read, back up, write, and then
// each node on its own.
type siteRun struct {
	run     *run
	site    Site
	listing router.Listing
	refs    []router.Ref
	// err says that the store does not answer at all.
	err      error
	unlisted string
	items    []*item
	nodes    []*nodeRun
	cleared  []NodeCleared
	// malformed are policies of the whole store that cannot be parsed.
	malformed   []router.Ref
	quarantined []string
	backup      string
	noShelf     bool
	holdErr     error
	// disabledAfter and safeAfter are when all was off on disk, and proven loaded.
	disabledAfter, safeAfter time.Duration
	open                     map[string]bool
	openKnown                chan struct{}
}

// orderGrace is how long the order of writes may wait for the nodes to say where
// circuits are open: the tenants that suffer come first.
const orderGrace = 150 * time.Millisecond

func (s *siteRun) do(ctx context.Context) {
	st := s.site.Store
	s.lookForOpen(ctx)
	lctx, cancel := s.run.e.nodeContext(ctx)
	defer cancel()
	var lerr error
	s.listing, lerr = st.List(lctx)
	for _, r := range s.listing.Refs {
		if s.run.req.Scope.Covers(r) {
			s.refs = append(s.refs, r)
		}
	}
	if lerr != nil {
		if len(s.refs) == 0 && (len(s.listing.Refs) == 0 || s.run.req.Scope.Kind != GlobalScope) && !s.known() {
			s.err = lerr
			return
		}
		if k := s.run.req.Scope.Kind; k == GlobalScope || k == PhaseScope || len(s.refs) == 0 {
			s.unlisted = lerr.Error()
		} else {
			s.run.e.warn(lerr.Error())
		}
	}
	if len(s.refs) == 0 && !s.known() {
		return // whether the scope exists at all is decided when all sites have answered
	}
	s.hold(ctx)
	s.plan(lctx)
	s.disable(lctx)
	s.push(ctx)
}

// known reports whether the store has the scope, if only without policies.
func (s *siteRun) known() bool {
	sc := s.run.req.Scope
	if sc.Kind == GlobalScope {
		return true
	}
	if sc.Kind == PolicyScope {
		return false
	}
	return slices.ContainsFunc(sc.tenants(), func(t string) bool { return slices.Contains(s.listing.Tenants, t) })
}

// lookForOpen asks the nodes for open circuits while the policies are listed and
// read. Nothing waits for the answer but, briefly, the order of the writes.
func (s *siteRun) lookForOpen(ctx context.Context) {
	s.open, s.openKnown = map[string]bool{}, make(chan struct{})
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range s.site.Nodes {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, circuitDeadline)
			defer cancel()
			can, err := n.Can(ctx)
			if err != nil || !can.Circuits {
				return
			}
			circuits, err := n.Circuits(ctx, nil)
			if err != nil {
				return // said when they are read in earnest
			}
			mu.Lock()
			defer mu.Unlock()
			for _, c := range circuits {
				if !c.Closed() {
					s.open[c.Tenant] = true
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(s.openKnown)
	}()
}

// hold drops the hold beside the policies, and once in the state directory, both
// at the same time.
func (s *siteRun) hold(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.run.once.Do(func() { s.run.holdHere(ctx) }) })
	if s.site.Shelf == nil {
		s.noShelf = true
		return
	}
	r := s.run
	h, err := putHold(ctx, s.site.Shelf, r.hold)
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, errors.ErrUnsupported) {
		s.noShelf = true
		return
	}
	if s.holdErr = err; err != nil {
		r.e.warn(fmt.Sprintf("cannot write the hold to %s: %v", s.site.Shelf.Place(), err))
		return
	}
	r.rb.Hold, r.held = h, true
	r.t.say(Event{Stage: StageHold, Where: s.site.Store.Name(), Done: 1, Total: 1})
}

// holdHere drops the hold in the state directory, and begins the record.
func (r *run) holdHere(ctx context.Context) {
	r.e.record(r.rb.ID, event{Event: "began", At: r.hold.At, By: r.e.User, Scope: r.rb.Scope, Reason: r.req.Reason})
	own := r.e.stateShelf()
	if own == nil {
		return
	}
	h, err := putHold(ctx, own, r.hold)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.e.warn(fmt.Sprintf("cannot write the hold to %s: %v", own.Place(), err))
		return
	}
	r.rb.HeldHere = true
	if !r.held {
		r.rb.Hold = h
	}
}

// plan reads the policies and keeps the old bytes of what will be changed.
func (s *siteRun) plan(ctx context.Context) {
	e, st := s.run.e, s.site.Store
	name := s.run.rb.ID + ".pack"
	if len(e.Sites) > 1 {
		name = s.run.rb.ID + "." + fileName(st.Name()) + ".pack"
	}
	p := e.newPack(name)
	count := s.run.t.counter(StageRead, st.Name(), len(s.refs))
	s.items = e.readItems(ctx, st, s.refs, off, &s.run.keep, count, func(it *item, old []byte) {
		p.add(packLine{st.Name(), it.ref.Tenant, it.ref.Policy, old, it.new})
	})
	want := breakerOff()
	for _, it := range s.items {
		if it.failed == nil && it.breaker {
			it.want = want
		}
	}
	p.sync()
	timer := time.NewTimer(orderGrace)
	defer timer.Stop()
	select {
	case <-s.openKnown:
		malformedFirst(s.items, s.open)
	case <-timer.C:
		malformedFirst(s.items, nil)
	case <-ctx.Done():
	}
	s.write(ctx, p)
}

func (s *siteRun) write(ctx context.Context, p *pack) {
	e, st := s.run.e, s.site.Store
	count := s.run.t.counter(StageWritten, st.Name(), len(s.items))
	e.write(ctx, st, s.items, off, nil, p, count)
	s.backup = p.close()
}

// disable notes the moment when everything is off on disk, and looks for policies
// that forbid a reload.
func (s *siteRun) disable(ctx context.Context) {
	off := true
	for _, it := range s.items {
		off = off && it.disabled
		if it.malformed {
			s.malformed = append(s.malformed, it.ref)
		}
	}
	if off && s.unlisted == "" {
		s.disabledAfter = max(s.run.t.after(), 1)
		s.run.t.say(Event{Stage: StageDisabled, Where: s.site.Store.Name(), Done: len(s.items), Total: len(s.items)})
	}
	if s.run.req.Restart != nil || wholeReload(ctx, s.site.Nodes) {
		s.readOthers(ctx)
	}
	if !s.run.req.Quarantine {
		return
	}
	q, ok := s.site.Store.(quarantiner)
	if !ok {
		return
	}
	s.malformed = slices.DeleteFunc(s.malformed, func(r router.Ref) bool {
		place, err := q.Quarantine(ctx, r)
		if err != nil {
			s.run.e.warn("cannot put into quarantine: " + err.Error())
			return false
		}
		s.quarantined = append(s.quarantined, r.String()+" → "+place)
		for _, it := range s.items {
			if it.ref == r {
				it.failed = fmt.Errorf("%w; it is in quarantine: the router has no such policy until it is repaired and put back", it.failed)
			}
		}
		return true
	})
}

// readOthers looks for malformed policies outside the scope: a reload of every
// policy would crash on them just the same.
func (s *siteRun) readOthers(ctx context.Context) {
	var others []router.Ref
	for _, r := range s.listing.Refs {
		if !s.run.req.Scope.Covers(r) {
			others = append(others, r)
		}
	}
	for _, it := range s.run.e.readItems(ctx, s.site.Store, others, off, nil, nil, nil) {
		if it.malformed {
			s.malformed = append(s.malformed, it.ref)
		}
	}
}

func (s *siteRun) crash() string {
	if len(s.malformed) == 0 {
		return ""
	}
	return "not reloaded: a reload reads every policy, and a malformed one crashes the router's policy store: " + listed(s.malformed, 3)
}

// push makes every node read and show the policies, all nodes at once.
func (s *siteRun) push(ctx context.Context) {
	e := s.run.e
	s.nodes = make([]*nodeRun, len(s.site.Nodes))
	s.cleared = make([]NodeCleared, len(s.site.Nodes))
	var wg sync.WaitGroup
	var mu sync.Mutex
	safe := 0
	for i, n := range s.site.Nodes {
		r := e.newNodeRun(n, s.items, s.run.t)
		r.crash = s.crash()
		s.nodes[i] = r
		wg.Go(func() {
			ctx, cancel := e.nodeContext(ctx)
			defer cancel()
			s.cleared[i] = NodeCleared{Node: n.Name(), State: ClearedUnknown, Open: []OpenCircuit{}, Reason: "not asked"}
			if !r.ask(ctx) {
				s.cleared[i].Reason = "the node could not be asked"
				return
			}
			r.reload(ctx)
			r.verify(ctx)
			if allSafe(r.results) {
				mu.Lock()
				safe++
				if safe == len(s.nodes) {
					s.safeAfter = s.run.t.after()
				}
				mu.Unlock()
			}
			s.cleared[i] = r.clear(ctx, s.run.req.Scope, s.run.req.Clearing)
			mark(r.results, r.items, s.cleared[i])
		})
	}
	wg.Wait()
}

func allSafe(rs []PolicyResult) bool {
	return !slices.ContainsFunc(rs, func(p PolicyResult) bool { return p.Result != Safe })
}

// stillOn reads the site's policies again and returns those that are not off.
func (s *siteRun) stillOn(ctx context.Context) map[router.Ref]string {
	ctx, cancel := s.run.e.nodeContext(context.WithoutCancel(ctx))
	defer cancel()
	on := map[router.Ref]string{}
	refs := make([]router.Ref, 0, len(s.items))
	for _, it := range s.items {
		if it.disabled {
			refs = append(refs, it.ref)
		}
	}
	for _, it := range s.run.e.readItems(ctx, s.site.Store, refs, off, nil, nil, nil) {
		switch {
		case unreachableErr(it.failed):
			// The node went away after all this was seen.
		case it.failed != nil:
			on[it.ref] = "it cannot be read again: " + it.failed.Error()
		case it.changes():
			on[it.ref] = "something enabled it again while the nodes were asked"
		}
	}
	return on
}

// report adds the site's part to the result.
func (s *siteRun) report(rb *Rollback) {
	names := []string{}
	for _, n := range s.site.Nodes {
		names = append(names, n.Name())
	}
	where := strings.Join(names, ", ")
	if s.err != nil {
		// What it holds is not known: the policies of the others stand for its own.
		for _, r := range rb.Refs {
			for _, n := range names {
				p := PolicyResult{Tenant: r.Tenant, Policy: r.Policy, Node: n, Cleared: ClearedUnknown}
				fail(&p, s.err)
				rb.Policies = append(rb.Policies, p)
			}
		}
		for _, n := range names {
			rb.Nodes = append(rb.Nodes, NodeCleared{Node: n, State: ClearedUnknown, Open: []OpenCircuit{}, Reason: "the node could not be asked"})
		}
		rb.Unlisted = append(rb.Unlisted, strings.TrimPrefix(where+": ", ": ")+s.err.Error())
		rb.Held = false
		return
	}
	if s.unlisted != "" {
		rb.Unlisted = append(rb.Unlisted, s.unlisted)
	}
	if s.noShelf {
		rb.NoShelf = append(rb.NoShelf, s.site.Store.Name())
	} else if s.holdErr != nil {
		rb.Held = false
	}
	if s.backup != "" {
		rb.Backups = append(rb.Backups, s.backup)
	}
	for _, r := range s.malformed {
		rb.Malformed = append(rb.Malformed, s.site.Store.Path(r))
	}
	rb.Quarantined = append(rb.Quarantined, s.quarantined...)
	for _, n := range s.nodes {
		if n.can.Whole && n.crash != "" {
			rb.Stopped = n.crash
		}
	}
	for i := range s.items {
		for _, n := range s.nodes {
			rb.Policies = append(rb.Policies, n.results[i])
		}
	}
	rb.Nodes = append(rb.Nodes, s.cleared...)
}

// fileName makes a store's name fit for a file's, and unlike any other store's.
func fileName(s string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, s)
	return safe[:min(len(safe), 40)] + "-" + strings.TrimPrefix(router.Digest([]byte(s)), "sha256:")[:8]
}

func compare(a, b string) int { return strings.Compare(a, b) }

package change

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/agext/levenshtein"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// Step is what would happen to one policy of a site.
type Step struct {
	// Site is the index in Engine.Sites.
	Site     int
	Ref      router.Ref
	Path     string
	Old, New []byte
	// Problem says why the policy cannot be changed.
	Problem string
}

// Changes reports whether the step writes anything.
func (s Step) Changes() bool { return s.Problem == "" && !bytes.Equal(s.Old, s.New) }

// Applied is the result of an apply.
type Applied struct {
	ID       string
	Policies []PolicyResult
	Changed  bool
	Backup   string
}

// Code is the exit code that an apply deserves.
func (a *Applied) Code(noVerify bool) fault.Code {
	s := Summarize(a.Policies)
	if s.Failed > 0 || s.Unreachable > 0 || s.Written > 0 && !noVerify {
		return fault.Partial
	}
	return fault.OK
}

// HeldError is the refusal of an enabling write.
type HeldError struct {
	Ref   router.Ref
	Holds []Hold
}

// Error implements error.
func (h *HeldError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is on hold", h.Ref)
	for i, x := range h.Holds {
		if i > 0 {
			b.WriteString("; and")
		}
		if x.Unreadable != "" {
			fmt.Fprintf(&b, " by a hold that cannot be read, which holds everything (%s)", x.Unreadable)
			continue
		}
		fmt.Fprintf(&b, " since %s, by %s", x.At.UTC().Format("2006-01-02 15:04 MST"), x.By)
		if x.Reason != "" {
			fmt.Fprintf(&b, ", reason: %s", x.Reason)
		}
	}
	return b.String()
}

// CheckHold refuses a write that leaves the breaker on while a hold covers the
// policy. A write that leaves it off is never held.
func (e *Engine) CheckHold(ctx context.Context, ref router.Ref, doc []byte) error {
	if !enables(doc) {
		return nil
	}
	holds := e.Held(ctx, ref)
	if len(holds) == 0 {
		return nil
	}
	var hints []string
	for _, h := range holds {
		hints = append(hints, "lift it when the cause is gone: cbops resume "+h.String()+` --reason "…"`)
	}
	return fault.Hint(fault.Wrap(fault.Failed, &HeldError{Ref: ref, Holds: holds}), hints...)
}

func enables(b []byte) bool {
	doc, err := policy.Parse("", b)
	if err != nil {
		return true // what cannot be read might enable
	}
	br, ok := doc.Breaker()
	return ok && br.Enabled
}

// Prepare reads a policy from every site and works out what make would do to it
// there. It changes nothing.
func (e *Engine) Prepare(ctx context.Context, ref router.Ref, make func(path string, old []byte) ([]byte, error)) ([]Step, error) {
	steps := []Step{}
	var missing []router.Listing
	for i, s := range e.Sites {
		var got router.Stored
		var rerr error
		s.Store.Read(ctx, []router.Ref{ref}, func(_ router.Ref, st router.Stored, err error) { got, rerr = st, err })
		if errors.Is(rerr, fs.ErrNotExist) {
			l, lerr := s.Store.List(ctx)
			if lerr != nil && len(l.Refs) == 0 {
				return nil, rerr
			}
			missing = append(missing, l)
			continue
		}
		if rerr != nil {
			return nil, rerr
		}
		st := Step{Site: i, Ref: ref, Path: s.Store.Path(ref), Old: got.Bytes}
		var err error
		if st.New, err = make(st.Path, got.Bytes); err != nil {
			return nil, err
		}
		steps = append(steps, st)
	}
	if len(steps) == 0 {
		return nil, unknown(e.Sites[0].Store.Name(), missing, ref.Tenant, ref.Policy)
	}
	if len(missing) > 0 {
		e.warn(fmt.Sprintf("%d of %d stores have no policy %s", len(missing), len(e.Sites), ref))
	}
	return steps, nil
}

// CheckWritable says beforehand why a step could not be written.
func (e *Engine) CheckWritable(ctx context.Context, s Step) error {
	if c, ok := e.Sites[s.Site].Store.(checker); ok && s.Changes() {
		return c.Check(ctx, s.Ref)
	}
	return nil
}

// Apply makes the steps true, makes the nodes read them and proves it. It refuses
// when a policy is no longer what the step says, or when a hold covers it; then
// nothing is written.
func (e *Engine) Apply(ctx context.Context, what string, steps []Step) (*Applied, error) {
	a := &Applied{ID: e.newID(what), Policies: []PolicyResult{}}
	for _, s := range steps {
		a.Changed = a.Changed || s.Changes()
		if err := e.CheckHold(ctx, s.Ref, s.New); err != nil {
			return nil, err
		}
		if err := e.CheckWritable(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := e.wouldCrash(ctx, steps); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Interrupted, "interrupted before anything was written: %w", err)
	}
	w := &applying{e: e, t: e.track(e.Now()), pack: e.newPack(a.ID + ".pack")}
	for _, s := range steps {
		if s.Changes() {
			w.pack.add(packLine{e.Sites[s.Site].Store.Name(), s.Ref.Tenant, s.Ref.Policy, s.Old, router.Digest(s.New)})
		}
	}
	w.pack.sync()
	var wg sync.WaitGroup
	results := make([][]PolicyResult, len(e.Sites))
	for i, site := range e.Sites {
		mine := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return s.Site != i })
		if len(mine) > 0 {
			wg.Go(func() { results[i] = w.site(ctx, site, mine) })
		}
	}
	wg.Wait()
	a.Backup = w.pack.close()
	if a.Changed && w.wrote == 0 && w.refused != nil {
		return nil, w.refused
	}
	for _, rs := range results {
		a.Policies = append(a.Policies, rs...)
	}
	return a, nil
}

// wouldCrash refuses a change whose reload would read every policy while one of
// them is malformed: the router's policy store would crash.
func (e *Engine) wouldCrash(ctx context.Context, steps []Step) error {
	for i, site := range e.Sites {
		if !slices.ContainsFunc(steps, func(s Step) bool { return s.Site == i }) || !wholeReload(ctx, site.Nodes) {
			continue
		}
		l, err := site.Store.List(ctx)
		if err != nil && len(l.Refs) == 0 {
			return err
		}
		for _, it := range e.readItems(ctx, site.Store, l.Refs, off, nil, nil, nil) {
			if it.malformed {
				return fault.Hint(fault.New(fault.Usage, "the reload command makes the router read every policy, and this one would crash its policy store: %w", it.failed),
					"repair it or move it away, or give a reload command that names {tenant} and {policy}", "nothing is changed")
			}
		}
	}
	return nil
}

// wholeReload reports whether some node would read every policy.
func wholeReload(ctx context.Context, nodes []Node) bool {
	return slices.ContainsFunc(nodes, func(n Node) bool {
		can, err := n.Can(ctx)
		return err == nil && can.Whole
	})
}

// applying is an apply on its way.
type applying struct {
	e    *Engine
	t    *tracker
	pack *pack
	mu   sync.Mutex
	// wrote counts what was written; refused is why something was not.
	wrote   int
	refused error
}

func (w *applying) site(ctx context.Context, site Site, steps []Step) []PolicyResult {
	ctx, cancel := w.e.nodeContext(ctx)
	defer cancel()
	items := make([]*item, len(steps))
	by := map[router.Ref]Step{}
	for i, s := range steps {
		it := &item{ref: s.Ref, old: router.Digest(s.Old), new: router.Digest(s.New), want: writtenFields(s.New)}
		if doc, err := policy.Parse(s.Path, s.New); err == nil {
			it.describe(doc, s.Old, s.New)
		}
		items[i], by[s.Ref] = it, s
	}
	w.e.write(ctx, site.Store, items, func(path string, now []byte) (*policy.Document, []byte, error) {
		return w.transform(path, now, steps)
	}, func(r router.Ref) error { return w.e.CheckHold(ctx, r, by[r].New) }, nil, w.t.counter(StageWritten, site.Store.Name(), len(items)))
	for _, it := range items {
		w.mu.Lock()
		if it.failed == nil {
			w.wrote++
		} else if w.refused == nil {
			w.refused = it.failed
		}
		w.mu.Unlock()
		if it.failed == nil {
			it.failed = w.guard(ctx, site.Store, it, by[it.ref].New)
		}
		it.disabled = it.failed == nil && !enables(by[it.ref].New)
	}
	return w.push(ctx, site, items, by)
}

// transform finds the step whose old bytes are the present ones. A policy of
// another content than was shown is refused.
func (w *applying) transform(path string, now []byte, steps []Step) (*policy.Document, []byte, error) {
	for _, s := range steps {
		if s.Path == path && (bytes.Equal(now, s.Old) || bytes.Equal(now, s.New)) {
			doc, err := policy.Parse(path, s.New)
			return doc, s.New, err
		}
	}
	return nil, nil, fault.Hint(fault.New(fault.Environment, "%s changed since its diff was shown: nothing is written", path), "run it again and look at the new diff")
}

func (w *applying) push(ctx context.Context, site Site, items []*item, by map[router.Ref]Step) []PolicyResult {
	runs := make([]*nodeRun, len(site.Nodes))
	var wg sync.WaitGroup
	for i, n := range site.Nodes {
		r := w.e.newNodeRun(n, items, w.t)
		r.before = func(ref router.Ref) error {
			return w.guard(ctx, site.Store, items[r.at[ref]], by[ref].New)
		}
		runs[i] = r
		wg.Go(func() {
			if r.ask(ctx) {
				r.reload(ctx)
				r.verify(ctx)
			}
		})
	}
	wg.Wait()
	var rs []PolicyResult
	for i, it := range items {
		on := true
		site.Store.Read(ctx, []router.Ref{it.ref}, func(_ router.Ref, s router.Stored, err error) { on = err != nil || enables(s.Bytes) })
		for _, r := range runs {
			r.results[i].Disabled = !on
			rs = append(rs, r.results[i])
		}
	}
	return rs
}

// guard asks for holds once more after an enabling write. A rollback may have come
// in between, and have disabled the policy before we enabled it: its hold wins,
// and the policy is disabled again.
func (w *applying) guard(ctx context.Context, st Store, it *item, wrote []byte) error {
	held := w.e.CheckHold(ctx, it.ref, wrote)
	if held == nil {
		return nil
	}
	ctx, cancel := w.e.nodeContext(context.WithoutCancel(ctx))
	defer cancel()
	var failed error
	st.Update(ctx, []router.Edit{{Ref: it.ref}}, func(r router.Ref, now []byte) ([]byte, error) {
		_, b, err := off(st.Path(r), now)
		return b, err
	}, func(_ router.Ref, err error) { failed = err })
	if failed != nil {
		return fmt.Errorf("%w; and it could not be disabled again: %w", held, failed)
	}
	return fmt.Errorf("%w; it is disabled again and not reloaded", held)
}

// unknown is the error for a tenant or policy that is not there, with the nearest
// ones that are.
func unknown(name string, lists []router.Listing, tenant, pol string) error {
	var tenants, pols []string
	for _, l := range lists {
		tenants = append(tenants, l.Tenants...)
		for _, r := range l.Refs {
			if r.Tenant == tenant {
				pols = append(pols, r.Policy)
			}
		}
	}
	slices.Sort(tenants)
	tenants = slices.Compact(tenants)
	if !slices.Contains(tenants, tenant) {
		return suggest(fault.New(fault.Usage, "no tenant %q in %s", tenant, name), tenant, tenants)
	}
	slices.Sort(pols)
	return suggest(fault.New(fault.Usage, "no policy %q of tenant %s in %s", pol, tenant, name), pol, slices.Compact(pols))
}

func suggest(err error, word string, known []string) error {
	best, dist := "", 1+max(2, len(word)/3)
	for _, k := range known {
		if d := levenshtein.Distance(word, k, nil); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return fault.Hint(err, fmt.Sprintf("did you mean %q?", best))
	}
	switch {
	case len(known) == 0:
		return fault.Hint(err, "there is none at all: check --policies")
	case len(known) <= 5:
		return fault.Hint(err, "there is: "+strings.Join(known, ", "))
	}
	return fault.Hint(err, fmt.Sprintf("there are %d, from %s to %s: check the spelling and --policies", len(known), known[0], known[len(known)-1]))
}

// Verify asks every node whether it runs what the steps' policies say. Nothing is
// changed and nothing reloaded.
func (e *Engine) Verify(ctx context.Context, steps []Step) []PolicyResult {
	t := e.track(e.Now())
	results := make([][]PolicyResult, len(e.Sites))
	var wg sync.WaitGroup
	for i, site := range e.Sites {
		var items []*item
		for _, s := range steps {
			if s.Site == i {
				items = append(items, &item{ref: s.Ref, old: router.Digest(s.New), new: router.Digest(s.New), want: writtenFields(s.New), disabled: !enables(s.New)})
			}
		}
		wg.Go(func() {
			ctx, cancel := e.nodeContext(ctx)
			defer cancel()
			for _, n := range site.Nodes {
				r := e.newNodeRun(n, items, t)
				if r.ask(ctx) {
					r.verify(ctx)
				}
				results[i] = append(results[i], r.results...)
			}
		})
	}
	wg.Wait()
	all := slices.Concat(results...)
	slices.SortStableFunc(all, func(a, b PolicyResult) int { return a.Ref().Compare(b.Ref()) })
	return all
}

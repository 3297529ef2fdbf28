package change

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/router"
)

// Cause is the likely reason why a policy did not stay as it was written.
type Cause string

// The causes.
const (
	// CauseRestored: the very bytes from before the change are back. Who edits by
	// hand does not hit them; a deployment, a sync or a restored backup does.
	CauseRestored Cause = "restored"
	// CauseEdited: the breaker is on in bytes that nobody has seen before.
	CauseEdited Cause = "edited"
	// CauseGone: the policy is not there any more.
	CauseGone Cause = "gone"
	// CauseUnreadable: it is there and cannot be read or parsed.
	CauseUnreadable Cause = "unreadable"
	// CauseMemory: the file is off, but a node runs it enabled.
	CauseMemory Cause = "in memory"
)

// Drift is a policy that did not stay off.
type Drift struct {
	Tenant string `json:"tenant"`
	Policy string `json:"policy"`
	// Where is the store or node that says so.
	Where string `json:"where"`
	Cause Cause  `json:"cause"`
	// Why says it in words.
	Why string `json:"why"`
}

// Ref is the policy.
func (d Drift) Ref() router.Ref { return router.Ref{Tenant: d.Tenant, Policy: d.Policy} }

// Settle waits and then looks again: at every store, and at every node that had
// proven what it runs. It returns what did not stay off and had been. An error
// means that the second look was not taken.
func (e *Engine) Settle(ctx context.Context, rb *Rollback, d time.Duration) ([]Drift, error) {
	if err := e.Sleep(ctx, d); err != nil {
		return nil, fmt.Errorf("stopped before the second look: %w", err)
	}
	var all []Drift
	for _, s := range rb.sites {
		if s.err == nil {
			all = append(all, s.drift(ctx)...)
		}
	}
	slices.SortStableFunc(all, func(a, b Drift) int { return a.Ref().Compare(b.Ref()) })
	return all, nil
}

func (s *siteRun) drift(ctx context.Context) []Drift {
	e, st := s.run.e, s.site.Store
	ctx, cancel := e.nodeContext(ctx)
	defer cancel()
	var refs []router.Ref
	was := map[router.Ref]*item{}
	for _, it := range s.items {
		if it.disabled {
			refs = append(refs, it.ref)
			was[it.ref] = it
		}
	}
	var all []Drift
	bad := map[router.Ref]bool{}
	for _, it := range e.readItems(ctx, st, refs, off, nil, nil, nil) {
		d := Drift{Tenant: it.ref.Tenant, Policy: it.ref.Policy, Where: st.Path(it.ref)}
		old := was[it.ref]
		switch {
		case errors.Is(it.failed, fs.ErrNotExist):
			d.Cause, d.Why = CauseGone, "the policy is gone"
		case it.failed != nil:
			d.Cause, d.Why = CauseUnreadable, it.failed.Error()
		case !it.changes():
			continue
		case old.old != old.new && it.old == old.old:
			d.Cause, d.Why = CauseRestored, "the bytes from before the rollback are back: a deployment, a sync or a restored backup"
		default:
			d.Cause, d.Why = CauseEdited, "somebody or something enabled it, in bytes that are not the old ones"
		}
		bad[it.ref] = true
		all = append(all, d)
	}
	for _, n := range s.nodes {
		all = append(all, n.drift(ctx, bad)...)
	}
	return all
}

// drift asks a node again what it runs of the policies that it had proven.
func (r *nodeRun) drift(ctx context.Context, bad map[router.Ref]bool) []Drift {
	var live []router.Wanted
	for i, it := range r.items {
		if r.results[i].Loaded && !bad[it.ref] {
			live = append(live, router.Wanted{Ref: it.ref, Digest: it.new})
		}
	}
	if len(live) == 0 {
		return nil
	}
	var all []Drift
	r.node.Loaded(ctx, live, func(ref router.Ref, l router.Loaded, err error) {
		var un *router.UnreachableError
		if errors.As(err, &un) {
			return // a node that is gone runs nothing that could be shown
		}
		why := ""
		if err != nil {
			why = err.Error()
		} else {
			why = disagreement(l.Answer, l.Strict, r.items[r.at[ref]].want)
		}
		if why == "" {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		all = append(all, Drift{Tenant: ref.Tenant, Policy: ref.Policy, Where: r.node.Name(), Cause: CauseMemory, Why: why})
	})
	return all
}

package change

import (
	"bytes"
	"context"
	"slices"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// Undo is what undoing a change would do.
type Undo struct {
	ID    string
	Steps []Step
	// Changed are steps whose policy is no longer what the change made of it:
	// somebody changed it since. Undoing overwrites that.
	Changed []Step
	// Already counts policies that have their old bytes again.
	Already int
}

// Enables are the steps that leave a breaker on.
func (u *Undo) Enables() []router.Ref {
	var on []router.Ref
	for _, s := range append(slices.Clone(u.Steps), u.Changed...) {
		if enables(s.New) {
			on = append(on, s.Ref)
		}
	}
	return on
}

// PrepareUndo reads the backup of a change and compares it with what is there now.
// It changes nothing.
func (e *Engine) PrepareUndo(ctx context.Context, id string) (*Undo, error) {
	lines, err := e.readPacks(id)
	if err != nil {
		return nil, err
	}
	u := &Undo{ID: id, Steps: []Step{}, Changed: []Step{}}
	type key struct {
		store string
		ref   router.Ref
	}
	last := map[key]packLine{}
	first := map[key]packLine{}
	var order []key
	for _, l := range lines {
		k := key{l.Store, l.ref()}
		if _, ok := first[k]; !ok {
			first[k] = l
			order = append(order, k)
		}
		last[k] = l
	}
	for _, k := range order {
		i := slices.IndexFunc(e.Sites, func(s Site) bool { return s.Store.Name() == k.store })
		if i < 0 && len(e.Sites) == 1 {
			i = 0 // the same directory by another name: relative once, absolute now
		}
		if i < 0 {
			return nil, fault.Hint(fault.New(fault.Usage, "the backup is of %s, which is not among the stores given now", k.store),
				"give the same --policies, --admin or plan as for the rollback")
		}
		if err := e.compareUndo(ctx, u, i, last[k]); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func (e *Engine) compareUndo(ctx context.Context, u *Undo, site int, l packLine) error {
	st := e.Sites[site].Store
	var now router.Stored
	var err error
	st.Read(ctx, []router.Ref{l.ref()}, func(_ router.Ref, s router.Stored, rerr error) { now, err = s, rerr })
	if err != nil {
		return err
	}
	if _, perr := policy.Parse(st.Path(l.ref()), l.Bytes); perr != nil {
		return fault.New(fault.Environment, "the backup of %s is no policy: %w", l.ref(), perr)
	}
	s := Step{Site: site, Ref: l.ref(), Path: st.Path(l.ref()), Old: now.Bytes, New: l.Bytes}
	switch {
	case bytes.Equal(now.Bytes, l.Bytes):
		u.Already++
	case router.Digest(now.Bytes) == l.Became:
		u.Steps = append(u.Steps, s)
	default:
		u.Changed = append(u.Changed, s)
	}
	return nil
}

// Undo restores the old bytes, as Apply does: holds are respected, and a policy
// that changes meanwhile is refused. force overwrites what was changed since.
func (e *Engine) Undo(ctx context.Context, u *Undo, force bool) (*Applied, error) {
	steps := slices.Clone(u.Steps)
	if len(u.Changed) > 0 {
		if !force {
			return nil, fault.Hint(fault.New(fault.Failed, "%d of %d policies were changed since, %s: nothing is changed",
				len(u.Changed), len(u.Changed)+len(u.Steps)+u.Already, u.Changed[0].Path),
				"look at the diff above; --force overwrites what was changed since")
		}
		steps = append(steps, u.Changed...)
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return a.Ref.Compare(b.Ref) })
	a, err := e.Apply(ctx, "undo "+u.ID, steps)
	if err == nil {
		sum := Summarize(a.Policies)
		e.record(u.ID, event{Event: "undone", At: e.Now().UTC(), By: e.User, Scope: Scope{Kind: GlobalScope}, Reason: a.ID, Summary: &sum})
	}
	return a, err
}

package change

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// FlagResult is what became of a node's global switch.
type FlagResult struct {
	Node string `json:"node"`
	// Off says that the switch, read back, is off: no breaker of this node acts.
	Off    bool   `json:"off"`
	Reason string `json:"reason"`
}

// setFlags switches the breaker off as a whole on every node that has such a
// switch and reads it back. It is the fast half of a global rollback; the policies
// are disabled all the same, because a switch in memory does not outlive a restart.
func (e *Engine) setFlag(ctx context.Context, n Node) *FlagResult {
	sw, ok := n.(switcher)
	if !ok {
		return nil
	}
	can, err := n.Can(ctx)
	if err != nil || !can.Flag {
		return nil
	}
	f := &FlagResult{Node: n.Name()}
	serr := sw.SetFlag(ctx, true)
	off, err := sw.FlagOff(ctx)
	switch {
	case err != nil:
		f.Reason = fmt.Sprintf("cannot be read back: %v", errors.Join(serr, err))
	case off:
		f.Off = true
	case serr != nil:
		f.Reason = serr.Error()
	default:
		f.Reason = "was switched off, but read back it is on: this node ignores it"
	}
	return f
}

// releaseFlags sets switches back that are off, on nodes where that enables
// nothing.
func (e *Engine) releaseFlags(ctx context.Context) []FlagResult {
	var mu sync.Mutex
	var out []FlagResult
	var wg sync.WaitGroup
	for _, s := range e.Sites {
		for _, n := range s.Nodes {
			wg.Go(func() {
				ctx, cancel := e.nodeContext(ctx)
				defer cancel()
				if f := e.releaseFlag(ctx, s.Store, n); f != nil {
					mu.Lock()
					defer mu.Unlock()
					out = append(out, *f)
				}
			})
		}
	}
	wg.Wait()
	return out
}

func (e *Engine) releaseFlag(ctx context.Context, st Store, n Node) *FlagResult {
	sw, ok := n.(switcher)
	if !ok {
		return nil
	}
	f := &FlagResult{Node: n.Name()}
	can, err := n.Can(ctx)
	if err != nil {
		f.Reason = "its global switch cannot be read: " + err.Error()
		return f
	}
	if !can.Flag {
		return nil
	}
	off, err := sw.FlagOff(ctx)
	if err == nil && !off {
		return nil
	}
	f.Off = true
	if err != nil {
		f.Reason = "its global switch cannot be read: " + err.Error()
		return f
	}
	on, err := enabledIn(ctx, st)
	if err != nil {
		f.Reason = "left off: not every policy can be read, so it is not known what it would enable: " + err.Error()
		return f
	}
	if len(on) > 0 {
		f.Reason = fmt.Sprintf("left off: %s would come on with it", listed(on, 3))
		return f
	}
	if !can.Loaded {
		f.Reason = "left off: the node cannot show what it has loaded, so it is not known what would come on"
		return f
	}
	if on := runsEnabled(ctx, n, st); len(on) > 0 {
		f.Reason = fmt.Sprintf("left off: the node runs %s enabled in memory", listed(on, 3))
		return f
	}
	if err := sw.SetFlag(ctx, false); err != nil {
		f.Reason = "cannot be set back: " + err.Error()
		return f
	}
	switch off, err = sw.FlagOff(ctx); {
	case err != nil:
		f.Reason = "was set back, but cannot be read back: " + err.Error()
		return f
	case off:
		f.Reason = "was set back, but read back it is still off"
		return f
	}
	f.Off = false
	return f
}

// runsEnabled lists the policies that a node has loaded with the breaker on: its
// memory may be older than its store.
func runsEnabled(ctx context.Context, n Node, st Store) []router.Ref {
	l, err := st.List(ctx)
	if err != nil {
		return l.Refs // a moment ago it could be listed: nothing is sure
	}
	all := make([]router.Wanted, len(l.Refs))
	for i, r := range l.Refs {
		all[i].Ref = r
	}
	var mu sync.Mutex
	var on []router.Ref
	n.Loaded(ctx, all, func(r router.Ref, l router.Loaded, err error) {
		if err == nil && disagreement(l.Answer, l.Strict, breakerOff()) != "" {
			mu.Lock()
			defer mu.Unlock()
			on = append(on, r)
		}
	})
	return on
}

// enabledIn lists the policies of a store whose breaker is on.
func enabledIn(ctx context.Context, st Store) ([]router.Ref, error) {
	l, err := st.List(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var on []router.Ref
	var errs []error
	st.Read(ctx, l.Refs, func(r router.Ref, s router.Stored, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			var doc *policy.Document
			if doc, err = policy.Parse(st.Path(r), s.Bytes); err == nil {
				if b, ok := doc.Breaker(); ok && b.Enabled {
					on = append(on, r)
				}
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	})
	return on, errors.Join(errs...)
}

package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/router"
)

// HoldDirName is the directory of holds in the policy root: it travels with the
// policies, so that every machine and CI job that writes them sees it.
const HoldDirName = ".cbops-hold"

// Hold forbids every enabling write in its scope until it is lifted.
type Hold struct {
	Scope
	ID     string    `json:"id"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	// Unreadable says why the hold's file could not be understood. Such a hold
	// covers everything: nobody can tell what it was meant to cover.
	Unreadable string `json:"unreadable,omitempty"`
}

const holdExt = ".json"

// NewHold makes a hold that stands nowhere yet: for a change that is committed in
// place of being made.
func (e *Engine) NewHold(s Scope, reason string) Hold {
	return Hold{Scope: s, ID: e.newID("rollback " + s.String()), Reason: reason, By: e.User, At: e.Now().UTC()}
}

// holdDeadline bounds asking one place for its holds, or writing one there.
const holdDeadline = 20 * time.Second

// shelves are all places where holds lie: beside the policies of each site, and in
// the state directory.
func (e *Engine) shelves() []Shelf {
	var all []Shelf
	for _, s := range e.Sites {
		if s.Shelf != nil {
			all = append(all, s.Shelf)
		}
	}
	if own := e.stateShelf(); own != nil {
		all = append(all, own)
	}
	return all
}

func (e *Engine) stateShelf() Shelf {
	if e.StateDir == "" {
		return nil
	}
	return router.StateShelf(filepath.Join(e.StateDir, "hold"))
}

// Holds returns every hold, from all places, sorted by time, each once. A place
// that cannot be read is itself a hold on everything.
func (e *Engine) Holds(ctx context.Context) []Hold {
	shelves := e.shelves()
	found := make([][]Hold, len(shelves))
	var wg sync.WaitGroup
	for i, s := range shelves {
		wg.Go(func() { found[i] = holdsOn(ctx, s) })
	}
	wg.Wait()
	byID := map[string]Hold{}
	for _, holds := range found {
		for _, h := range holds {
			if old, ok := byID[h.ID]; !ok || old.Unreadable == "" && h.Unreadable != "" {
				byID[h.ID] = h
			}
		}
	}
	holds := make([]Hold, 0, len(byID))
	for _, h := range byID {
		holds = append(holds, h)
	}
	slices.SortFunc(holds, func(a, b Hold) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return holds
}

func holdsOn(ctx context.Context, s Shelf) []Hold {
	ctx, cancel := context.WithTimeout(ctx, holdDeadline)
	defer cancel()
	files, err := s.Files(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // no hold can lie where none can be kept
	}
	if err != nil {
		return []Hold{{Scope: Scope{Kind: GlobalScope}, ID: s.Place(), Unreadable: fmt.Sprintf("%s: %v", s.Place(), err)}}
	}
	holds := make([]Hold, 0, len(files))
	for name, f := range files {
		holds = append(holds, readHold(filepath.Join(s.Place(), name), strings.TrimSuffix(name, holdExt), f))
	}
	return holds
}

func readHold(place, id string, f router.Shelved) Hold {
	var h Hold
	err := f.Err
	if err == nil {
		err = json.Unmarshal(f.Bytes, &h)
	}
	if err == nil {
		err = h.check()
	}
	if err != nil {
		return Hold{Scope: Scope{Kind: GlobalScope}, ID: id, Unreadable: fmt.Sprintf("%s: %v", place, err)}
	}
	h.ID, h.Unreadable = id, ""
	return h
}

// Held returns the holds that cover a policy.
func (e *Engine) Held(ctx context.Context, r router.Ref) []Hold {
	return slices.DeleteFunc(e.Holds(ctx), func(h Hold) bool { return !h.Covers(r) })
}

// putHold drops a hold on a shelf, unless one of the same scope lies there: a
// second rollback of a scope does not pile up holds. It returns the hold that now
// stands there.
func putHold(ctx context.Context, s Shelf, h Hold) (Hold, error) {
	ctx, cancel := context.WithTimeout(ctx, holdDeadline)
	defer cancel()
	for _, old := range holdsOn(ctx, s) {
		if old.Unreadable == "" && old.Same(h.Scope) && slices.Equal(old.Tenants, h.Tenants) && slices.Equal(old.Policies, h.Policies) {
			return old, nil
		}
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return h, err
	}
	return h, s.Put(ctx, h.ID+holdExt, append(b, '\n'))
}

// Lifted is what Resume did.
type Lifted struct {
	Holds []Hold
	// Remaining are holds that still cover something of the scope.
	Remaining []Hold
	// Flags are global switches that were found off.
	Flags []FlagResult
}

// Resume lifts the holds of exactly this scope. A hold that cannot be understood
// counts as a global one. It enables nothing: a global switch is set back only on
// a node where no policy is enabled.
func (e *Engine) Resume(ctx context.Context, s Scope, reason string, dryRun bool) (Lifted, error) {
	var l Lifted
	var mine []Hold
	for _, h := range e.Holds(ctx) {
		if h.Same(s) {
			mine = append(mine, h)
		} else if overlap(h.Scope, s) {
			l.Remaining = append(l.Remaining, h)
		}
	}
	if dryRun {
		l.Holds = mine
		return l, nil
	}
	for _, h := range mine {
		if err := e.lift(ctx, h); err != nil {
			return l, err
		}
		l.Holds = append(l.Holds, h)
		e.record(h.ID, event{Event: "resumed", At: e.Now().UTC(), By: e.User, Scope: s, Reason: reason})
	}
	if s.Kind == GlobalScope {
		l.Flags = e.releaseFlags(ctx)
	}
	return l, nil
}

func (e *Engine) lift(ctx context.Context, h Hold) error {
	var failed error
	found := false
	for _, s := range e.shelves() {
		sctx, cancel := context.WithTimeout(ctx, holdDeadline)
		err := s.Remove(sctx, h.ID+holdExt)
		cancel()
		if err == nil {
			found = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			failed = fault.New(fault.Partial, "cannot lift the hold in %s: %w", s.Place(), err)
		}
	}
	if failed == nil && !found {
		return fault.New(fault.Partial, "cannot lift the hold: %s", h.Unreadable)
	}
	return failed
}

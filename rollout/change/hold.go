package change

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/router"
)

// HoldDirName is the directory of holds in the policy root: it travels with the
// policies, so that every machine and CI job that writes them sees it.
const HoldDirName = ".cbops-hold"

// ScopeKind is how much a rollback or hold covers.
type ScopeKind string

// The scopes.
const (
	PolicyScope ScopeKind = "policy"
	TenantScope ScopeKind = "tenant"
	GlobalScope ScopeKind = "global"
)

// Scope is what a rollback or hold covers.
type Scope struct {
	Kind   ScopeKind `json:"scope"`
	Tenant string    `json:"tenant"`
	Policy string    `json:"policy"`
}

// Covers reports whether a policy is within the scope.
func (s Scope) Covers(r router.Ref) bool {
	switch s.Kind {
	case PolicyScope:
		return s.Tenant == r.Tenant && s.Policy == r.Policy
	case TenantScope:
		return s.Tenant == r.Tenant
	}
	return true
}

// String is the scope as the command line takes it.
func (s Scope) String() string {
	switch s.Kind {
	case PolicyScope:
		return "policy " + s.Tenant + "/" + s.Policy
	case TenantScope:
		return "tenant " + s.Tenant
	}
	return "global"
}

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

// maxHold bounds a hold's file, in bytes.
const maxHold = 64 << 10

// Holds returns every hold, from the policy root and the state directory, sorted
// by time, each once. A place that cannot be read is itself a hold on everything.
func (e *Engine) Holds() []Hold {
	byID := map[string]Hold{}
	e.eachHoldDir(false, func(place string, dir *os.Root, err error) {
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		var names []string
		if err == nil {
			names, err = holdFiles(dir)
		}
		if err != nil {
			byID["\x00"+place] = unreadable(place, err)
			return
		}
		for _, n := range names {
			h := readHold(dir, n, filepath.Join(place, n))
			if old, ok := byID[n]; !ok || old.Unreadable == "" && h.Unreadable != "" {
				byID[n] = h
			}
		}
	})
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

// Held returns the holds that cover a policy.
func (e *Engine) Held(r router.Ref) []Hold {
	return slices.DeleteFunc(e.Holds(), func(h Hold) bool { return !h.Covers(r) })
}

func unreadable(place string, err error) Hold {
	return Hold{Scope: Scope{Kind: GlobalScope}, ID: strings.TrimSuffix(filepath.Base(place), ".json"),
		Unreadable: fmt.Sprintf("%s: %v", place, err)}
}

func holdFiles(dir *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, en := range entries {
		if strings.HasSuffix(en.Name(), ".json") && !strings.HasPrefix(en.Name(), ".") {
			names = append(names, en.Name())
		}
	}
	return names, nil
}

func readHold(dir *os.Root, name, place string) Hold {
	st, err := dir.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return unreadable(place, err)
	}
	f, err := dir.Open(name)
	if err != nil {
		return unreadable(place, err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, maxHold))
	if err != nil {
		return unreadable(place, err)
	}
	var h Hold
	if err := json.Unmarshal(b, &h); err != nil {
		return unreadable(place, err)
	}
	if err := h.check(); err != nil {
		return unreadable(place, err)
	}
	h.ID, h.Unreadable = strings.TrimSuffix(name, ".json"), ""
	return h
}

func (s Scope) check() error {
	ok := false
	switch s.Kind {
	case PolicyScope:
		ok = router.Ref{Tenant: s.Tenant, Policy: s.Policy}.Valid()
	case TenantScope:
		ok = s.Policy == "" && router.Ref{Tenant: s.Tenant, Policy: "x"}.Valid()
	case GlobalScope:
		ok = s.Tenant == "" && s.Policy == ""
	}
	if !ok {
		return fmt.Errorf("scope %q with tenant %q and policy %q covers nothing that exists", s.Kind, s.Tenant, s.Policy)
	}
	return nil
}

// eachHoldDir visits the places where holds are kept: the policy root first.
func (e *Engine) eachHoldDir(create bool, visit func(place string, dir *os.Root, err error)) {
	dir, err := e.Target.Hidden(HoldDirName, create)
	visit(filepath.Join(e.Target.Root(), HoldDirName), dir, err)
	if dir != nil {
		_ = dir.Close() // read-only use of the handle
	}
	if e.StateDir == "" {
		return
	}
	place := filepath.Join(e.StateDir, "hold")
	if create {
		if err := os.MkdirAll(place, 0o755); err != nil {
			visit(place, nil, err)
			return
		}
	}
	dir, err = os.OpenRoot(place)
	visit(place, dir, err)
	if dir != nil {
		_ = dir.Close() // read-only use of the handle
	}
}

// setHold drops the hold of a scope, or completes the one that is there: a second
// rollback of the same scope does not pile up holds. inRoot says whether it
// stands beside the policies, where other machines see it.
func (e *Engine) setHold(s Scope, id, reason string) (h Hold, inRoot bool) {
	h = Hold{Scope: s, ID: id, Reason: reason, By: e.User, At: e.Now().UTC()}
	for _, old := range e.Holds() {
		if old.Unreadable == "" && old.Scope == s {
			h = old
			break
		}
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		e.warn(fmt.Sprintf("cannot encode the hold: %v", err))
		return h, false
	}
	first := true
	e.eachHoldDir(true, func(place string, dir *os.Root, err error) {
		if err == nil {
			err = writeWhole(dir, h.ID+".json", append(b, '\n'))
		}
		if err != nil {
			e.warn(fmt.Sprintf("cannot write the hold to %s: %v", place, err))
		} else if first {
			inRoot = true
		}
		first = false
	})
	return h, inRoot
}

// Lifted is what Resume did.
type Lifted struct {
	Holds []Hold
	// Remaining are holds that still cover something of the scope.
	Remaining []Hold
}

// Resume lifts the holds of exactly this scope. A hold that cannot be understood
// counts as a global one. It enables nothing.
func (e *Engine) Resume(s Scope, reason string, dryRun bool) (Lifted, error) {
	var l Lifted
	var mine []Hold
	for _, h := range e.Holds() {
		if h.Scope == s {
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
		var failed error
		found := false
		e.eachHoldDir(false, func(place string, dir *os.Root, err error) {
			if err == nil {
				err = dir.Remove(h.ID + ".json")
			}
			if err == nil {
				found = true
			} else if !errors.Is(err, fs.ErrNotExist) {
				failed = fault.New(fault.Partial, "cannot lift the hold in %s: %w", place, err)
			}
		})
		if failed == nil && !found {
			failed = fault.New(fault.Partial, "cannot lift the hold: %s", h.Unreadable)
		}
		if failed != nil {
			return l, failed
		}
		l.Holds = append(l.Holds, h)
		e.record(h.ID, []event{{Event: "resumed", At: e.Now().UTC(), By: e.User, Scope: s, Reason: reason}})
	}
	return l, nil
}

func overlap(a, b Scope) bool {
	return a.Kind == GlobalScope || b.Kind == GlobalScope || a.Tenant == b.Tenant &&
		(a.Kind == TenantScope || b.Kind == TenantScope || a.Policy == b.Policy)
}

// writeWhole writes a small file of cbops' own: whole or not at all.
func writeWhole(dir *os.Root, name string, b []byte) (err error) {
	tmp := "." + name + ".tmp"
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()       // may be closed already
			_ = dir.Remove(tmp) // the first error says more
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = dir.Rename(tmp, name); err != nil {
		return err
	}
	d, err := dir.Open(".")
	if err != nil {
		return nil //nolint:nilerr // the hold stands; a directory that cannot be opened cannot be synced
	}
	defer d.Close() //nolint:errcheck // opened for reading
	return d.Sync()
}

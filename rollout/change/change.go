// Package change is the one way in which cbops changes policies: hold, plan,
// backup, write, read back, reload, verify, settle, record, and undo. Every command
// that writes a policy goes through an Engine; nothing else in cbops does. How a
// policy is stored and how a node is reached is rollout/router, what its bytes mean
// is rollout/policy, and how a result looks is cmd/internal/render.
//
// The package prints nothing and asks nobody: whether a change is wanted has been
// settled before it is called.
package change

import (
	"context"
	"time"

	"github.com/cbops/cbops/rollout/router"
)

// Store is where policies lie: a directory, a program, a router's admin API.
// Methods that take several policies work on some of them at once and call yield
// from several goroutines.
type Store interface {
	// Name and Path are for display.
	Name() string
	Path(router.Ref) string
	// List returns what is there; next to an error, all that could be listed.
	List(context.Context) (router.Listing, error)
	Read(ctx context.Context, refs []router.Ref, yield func(router.Ref, router.Stored, error))
	// Update replaces each policy by what edit makes of its present bytes. A nil
	// error means that the store, asked again, has what edit made.
	Update(ctx context.Context, edits []router.Edit, edit router.Editor, yield func(router.Ref, error))
}

// checker is a store that can say beforehand why a policy could not be replaced.
type checker interface {
	Check(context.Context, router.Ref) error
}

// quarantiner is a store that can take a malformed policy out of the router's
// sight; it returns where it went.
type quarantiner interface {
	Quarantine(context.Context, router.Ref) (string, error)
}

// Shelf keeps small files of cbops' own beside the policies, where every machine
// that writes policies sees them.
type Shelf interface {
	Place() string
	Files(context.Context) (map[string]router.Shelved, error)
	Put(ctx context.Context, name string, b []byte) error
	// Remove of a file that is not there is fs.ErrNotExist.
	Remove(ctx context.Context, name string) error
}

// Node is a node of the router. What it cannot do, by Can, is not asked of it.
type Node interface {
	Name() string
	Can(context.Context) (router.Capabilities, error)
	// Reload makes the node read policies; before is asked right before each is
	// read, and may forbid it.
	Reload(ctx context.Context, all []router.Wanted, before func(router.Ref) error, yield func(router.Ref, error))
	// Loaded shows what the node runs.
	Loaded(ctx context.Context, all []router.Wanted, yield func(router.Ref, router.Loaded, error))
	Circuits(ctx context.Context, of []router.CircuitKey) ([]router.Circuit, error)
	Reset(ctx context.Context, circuits []router.CircuitKey) error
	// Healthy is nil where the node serves.
	Healthy(context.Context) error
}

// switcher is a node with a global switch for the breaker.
type switcher interface {
	SetFlag(ctx context.Context, off bool) error
	// FlagOff reads the switch back.
	FlagOff(context.Context) (bool, error)
}

// Site is a store and the nodes that read it. A directory is one site; nodes that
// keep their policies themselves are a site each.
type Site struct {
	Store Store
	// Shelf is where holds lie beside the policies; nil where there is no place.
	Shelf Shelf
	Nodes []Node
}

// Timelines tells which circuits are open where nodes cannot show them: from the
// transitions that the metrics have. It may take until its context ends.
type Timelines interface {
	// Open looks at the circuits of tenants; nil is all of them.
	Open(ctx context.Context, tenants []string) (Seen, error)
}

// Seen is what timelines show.
type Seen struct {
	// Open are the circuits that are not closed; Looked is how many there are.
	Open   []OpenCircuit
	Looked int
	// At is the oldest of the samples that this rests on: what happened later is
	// not in it.
	At time.Time
}

// Engine makes changes. Fill it once; it is not changed by use.
type Engine struct {
	Sites []Site
	// StateDir keeps backups, records and a second copy of the holds; it is made
	// when needed. TempDir is used in its place when it cannot be written.
	StateDir, TempDir string
	// Deadline bounds the work on one node; 0 means DefaultDeadline.
	Deadline time.Duration
	// Timelines may be nil.
	Timelines Timelines
	// Now is the clock, Sleep waits.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
	// User is who acts, for holds and records.
	User string
	// Warn takes what the operator must know but what stops nothing; LastResort
	// takes backup lines that no directory took. Either may be nil.
	Warn, LastResort func(string)
	// Progress is told how far a change has come; nil for nobody. It is called from
	// several goroutines, one at a time.
	Progress func(Event)
}

// DefaultDeadline bounds the work on one node: an unreachable one must not hold a
// rollback's result back for longer.
const DefaultDeadline = 5 * time.Minute

// Outcome is what is proven about a policy on a node (DESIGN.md §6).
type Outcome string

// The outcomes, from best to worst.
const (
	// Safe: on disk as it should be, and proven loaded.
	Safe Outcome = "safe"
	// Written: on disk as it should be; that it is loaded is not proven.
	Written Outcome = "written"
	// Unreachable: the node could not be asked.
	Unreachable Outcome = "unreachable"
	// Failed: not on disk as it should be, or the router refused it or runs another.
	Failed Outcome = "failed"
)

// PolicyResult is the result for a policy on a node.
type PolicyResult struct {
	Tenant string  `json:"tenant"`
	Policy string  `json:"policy"`
	Node   string  `json:"node"`
	Result Outcome `json:"result"`
	// Disabled says that the store, asked again, leaves the breaker off.
	Disabled bool `json:"disabled"`
	// Loaded says that the node is proven to run what is stored, by LoadedBy.
	Loaded   bool   `json:"loaded"`
	LoadedBy string `json:"loadedBy"`
	// Cleared is about the circuits that the policy uses on this node.
	Cleared ClearedState `json:"cleared"`
	// Reason says why the result is not better.
	Reason string `json:"reason"`
}

// Ref is the policy the result is about.
func (p PolicyResult) Ref() router.Ref { return router.Ref{Tenant: p.Tenant, Policy: p.Policy} }

// Summary counts results by outcome.
type Summary struct {
	Total       int `json:"total"`
	Safe        int `json:"safe"`
	Written     int `json:"written"`
	Failed      int `json:"failed"`
	Unreachable int `json:"unreachable"`
}

// Summarize counts results.
func Summarize(results []PolicyResult) Summary {
	s := Summary{Total: len(results)}
	for _, r := range results {
		switch r.Result {
		case Safe:
			s.Safe++
		case Written:
			s.Written++
		case Unreachable:
			s.Unreachable++
		default:
			s.Failed++
		}
	}
	return s
}

// Nodes are the nodes of all sites.
func (e *Engine) Nodes() []Node {
	var all []Node
	for _, s := range e.Sites {
		all = append(all, s.Nodes...)
	}
	return all
}

func (e *Engine) deadline() time.Duration {
	if e.Deadline > 0 {
		return e.Deadline
	}
	return DefaultDeadline
}

func (e *Engine) warn(s string) {
	if e.Warn != nil {
		e.Warn(s)
	}
}

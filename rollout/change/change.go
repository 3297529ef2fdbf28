// Package change is the one way in which cbops changes policies: hold, plan,
// backup, write, read back, reload, verify, record. Every command that writes a
// policy goes through an Engine; nothing else in cbops does. How a policy is
// stored is rollout/router, what its bytes mean is rollout/policy, and how a
// result looks is cmd/internal/render.
//
// The package prints nothing and asks nobody: whether a change is wanted has been
// settled before it is called.
package change

import (
	"context"
	"os"
	"time"

	"github.com/cbops/cbops/internal/proc"
	"github.com/cbops/cbops/rollout/router"
)

// Target is where policies live. router.Dir is one.
type Target interface {
	Root() string
	Path(router.Ref) string
	Tenants() ([]string, error)
	List() ([]router.Ref, error)
	Read(router.Ref) ([]byte, error)
	Write(router.Ref, []byte) error
	CheckWritable(router.Ref) error
	// Hidden opens a directory of cbops' own beside the tenants.
	Hidden(name string, create bool) (*os.Root, error)
}

// Engine makes changes. Fill it once; it is not changed by use.
type Engine struct {
	Target Target
	// StateDir keeps backups, records and a second copy of the holds; it is made
	// when needed. TempDir is used in its place when it cannot be written.
	StateDir, TempDir string
	Commands          Commands
	// Nodes are the router's nodes; empty means one without a name.
	Nodes []string
	// Now is the clock, Sleep waits.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
	// User is who acts, for holds and records.
	User string
	// Warn takes what the operator must know but what stops nothing.
	Warn func(string)
}

// Commands are the programs that make a router read a policy and prove it.
type Commands struct {
	Runner proc.Runner
	// Reload and Verify are what the operator configured; the zero Command is none.
	Reload, Verify Command
	Dir            string
	Env            []string
	// Timeout bounds each run; 0 means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds one run of a reload or verify command.
const DefaultTimeout = 60 * time.Second

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
	// Disabled says that the file, read back, leaves the breaker off.
	Disabled bool `json:"disabled"`
	// Loaded says that the verify command proved the router to run the file.
	Loaded bool `json:"loaded"`
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

// NotMeasured is what is known about cleared circuits without an admin API.
const NotMeasured = "not measured: a disabled breaker keeps its circuits in memory; " +
	"without an admin API only a restart of the router is sure to clear them"

func (e *Engine) nodes() []string {
	if len(e.Nodes) == 0 {
		return []string{""}
	}
	return e.Nodes
}

func (e *Engine) warn(s string) {
	if e.Warn != nil {
		e.Warn(s)
	}
}

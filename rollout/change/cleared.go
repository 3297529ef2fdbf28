package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/router"
)

// ClearedState is what is known about circuits. It is a fact of its own: disabling
// a breaker clears nothing (ROUTER.md §3).
type ClearedState string

// The states.
const (
	// Cleared: every circuit is closed, as read back, by timelines or by a restart.
	Cleared ClearedState = "cleared"
	// StillOpen: at least one circuit is not closed in a node's memory.
	StillOpen ClearedState = "open"
	// ClearedUnknown: nobody could say.
	ClearedUnknown ClearedState = "not measured"
)

// Basis says how it is known which circuits are open.
type Basis string

// The bases.
const (
	ByCircuits  Basis = "circuits read back"
	ByTimelines Basis = "timelines"
	ByRestart   Basis = "restarted"
)

// OpenCircuit is a circuit that is not closed.
type OpenCircuit struct {
	Node string `json:"node"`
	router.Circuit
}

// NodeCleared is what is known of one node's circuits.
type NodeCleared struct {
	Node  string       `json:"node"`
	State ClearedState `json:"state"`
	Basis Basis        `json:"basis"`
	// Looked is how many circuits were looked at; Reset how many were reset.
	Looked int           `json:"looked"`
	Reset  int           `json:"reset"`
	Open   []OpenCircuit `json:"open"`
	// Reason says why it is not better.
	Reason string `json:"reason"`
	// CanReset says that the node could reset them.
	CanReset bool `json:"canReset"`
}

// Clearing says how far a rollback goes to clear circuits.
type Clearing struct {
	// Wait is how long to wait for the circuits to close; 0 is one look.
	Wait time.Duration
	// Reset closes what is open, where the node can.
	Reset bool
}

// pollEvery is how often circuits are looked at while waiting.
const pollEvery = time.Second

// circuitDeadline bounds one look at a node's circuits where nobody asked to wait.
const circuitDeadline = 10 * time.Second

// keys are the circuits that the items' policies use; a policy that names no
// provider leaves its tenant's to the node.
func keys(items []*item) []router.CircuitKey {
	var all []router.CircuitKey
	for _, it := range items {
		if len(it.providers) == 0 {
			all = append(all, router.CircuitKey{Tenant: it.ref.Tenant})
		}
		for _, p := range it.providers {
			all = append(all, router.CircuitKey{Tenant: it.ref.Tenant, Provider: p})
		}
	}
	slices.SortFunc(all, func(a, b router.CircuitKey) int {
		if c := strings.Compare(a.Tenant, b.Tenant); c != 0 {
			return c
		}
		return strings.Compare(a.Provider, b.Provider)
	})
	return slices.Compact(all)
}

// mine leaves the circuits that are within the scope: those of a policy's own
// providers for one policy, those of the tenants otherwise.
func mine(s Scope, of []router.CircuitKey, circuits []router.Circuit) []router.Circuit {
	byTenant := map[string]bool{}
	exact := map[router.CircuitKey]bool{}
	for _, k := range of {
		exact[k] = true
		byTenant[k.Tenant] = true
	}
	return slices.DeleteFunc(slices.Clone(circuits), func(c router.Circuit) bool {
		if s.Kind == PolicyScope && !exact[router.CircuitKey{Tenant: c.Tenant}] {
			return !exact[router.CircuitKey{Tenant: c.Tenant, Provider: c.Provider}]
		}
		return s.Kind != GlobalScope && !byTenant[c.Tenant]
	})
}

// clear reads the node's circuits, resets what is open where that is wanted, and
// waits for the rest as long as that is wanted.
func (r *nodeRun) clear(ctx context.Context, s Scope, c Clearing) NodeCleared {
	n := NodeCleared{Node: r.node.Name(), State: ClearedUnknown, Open: []OpenCircuit{}, CanReset: r.can.Reset}
	if !r.can.Circuits {
		n.Reason = "this node cannot show its circuits"
		return n
	}
	of := keys(r.items)
	until := r.e.Now().Add(c.Wait)
	for {
		look, cancel := context.WithTimeoutCause(ctx, circuitDeadline, fmt.Errorf("no answer within %s", circuitDeadline))
		open, err := r.look(look, s, of, &n)
		if err == nil && len(open) > 0 && c.Reset {
			open, err = r.reset(look, s, of, &n, open)
		}
		cancel()
		if err == nil {
			r.t.say(Event{Stage: StageCleared, Where: n.Node, Done: n.Looked - len(open), Total: n.Looked})
		}
		if err == nil && len(open) == 0 || !r.e.Now().Before(until) || r.e.Sleep(ctx, pollEvery) != nil {
			return n
		}
	}
}

func (r *nodeRun) look(ctx context.Context, s Scope, of []router.CircuitKey, n *NodeCleared) ([]router.Circuit, error) {
	circuits, err := r.node.Circuits(ctx, of)
	if err != nil {
		n.State, n.Reason = ClearedUnknown, "its circuits cannot be read: "+err.Error()
		return nil, err
	}
	circuits = mine(s, of, circuits)
	n.Looked, n.Basis, n.State, n.Reason, n.Open = len(circuits), ByCircuits, Cleared, "", []OpenCircuit{}
	var open []router.Circuit
	for _, c := range circuits {
		if !c.Closed() {
			open = append(open, c)
			n.Open = append(n.Open, OpenCircuit{n.Node, c})
		}
	}
	if len(open) > 0 {
		n.State, n.Reason = StillOpen, "open in memory; a disabled breaker keeps its circuits"
	}
	return open, nil
}

// reset closes circuits for good and looks again: only that is a proof.
func (r *nodeRun) reset(ctx context.Context, s Scope, of []router.CircuitKey, n *NodeCleared, open []router.Circuit) ([]router.Circuit, error) {
	if !r.can.Reset {
		n.Reason = "this node cannot reset circuits; a restart clears them"
		return open, nil
	}
	ks := make([]router.CircuitKey, len(open))
	for i, c := range open {
		ks[i] = router.CircuitKey{Tenant: c.Tenant, Provider: c.Provider}
	}
	rerr := r.node.Reset(ctx, ks)
	still, err := r.look(ctx, s, of, n)
	if err != nil {
		return nil, err
	}
	n.Reset += max(0, len(open)-len(still))
	if len(still) > 0 {
		n.Reason = "still open after a reset"
		if rerr != nil {
			n.Reason += ": " + rerr.Error()
		}
	}
	return still, nil
}

// mark tells each policy of a node what is known of its circuits.
func mark(results []PolicyResult, items []*item, n NodeCleared) {
	for i := range results {
		results[i].Cleared = n.State
		if n.State == StillOpen {
			results[i].Cleared = Cleared
			for _, c := range n.Open {
				if c.Tenant == results[i].Tenant && (len(items[i].providers) == 0 || slices.Contains(items[i].providers, c.Provider)) {
					results[i].Cleared = StillOpen
				}
			}
		}
	}
}

// askTimelines answers for nodes that cannot show their circuits, from metrics. It
// never holds a result back: unless waiting was asked for, an answer that is not
// there when everything else is done is not measured.
func (e *Engine) askTimelines(ctx context.Context, tenants []string) func(wait time.Duration) NodeCleared {
	if e.Timelines == nil {
		return nil
	}
	type answer struct {
		seen Seen
		err  error
	}
	got := make(chan answer, 1)
	ask, cancel := context.WithTimeoutCause(ctx, circuitDeadline, errors.New("the metrics do not answer in time"))
	go func() {
		seen, err := e.Timelines.Open(ask, tenants)
		got <- answer{seen, err}
	}()
	return func(wait time.Duration) NodeCleared {
		defer cancel()
		now := e.Now()
		if wait <= 0 {
			select {
			case a := <-got:
				return byTimelines(a.seen, a.err, now)
			default:
				return NodeCleared{State: ClearedUnknown, Open: []OpenCircuit{}, Reason: "the metrics did not answer in time"}
			}
		}
		for until := now.Add(wait); ; {
			look, cancel := context.WithTimeoutCause(ctx, circuitDeadline, errors.New("the metrics do not answer in time"))
			seen, err := e.Timelines.Open(look, tenants)
			cancel()
			n := byTimelines(seen, err, now)
			if n.State == Cleared || !e.Now().Before(until) || e.Sleep(ctx, pollTimelines) != nil {
				return n
			}
		}
	}
}

// pollTimelines is how often metrics are asked while waiting: a scrape comes every
// 15 seconds or less often.
const pollTimelines = 5 * time.Second

// byTimelines reads an answer of the metrics. A circuit that is open in an old
// sample is still open, for a disabled breaker never asks; that it is closed is
// proven only by a sample from after the rollback.
func byTimelines(seen Seen, err error, since time.Time) NodeCleared {
	n := NodeCleared{State: ClearedUnknown, Open: []OpenCircuit{}}
	switch {
	case err != nil:
		n.Reason = "timelines: " + err.Error()
	case seen.Looked == 0:
		n.Reason = "timelines: no circuit of this scope is in the metrics"
	case len(seen.Open) > 0:
		n.State, n.Basis, n.Looked, n.Open = StillOpen, ByTimelines, seen.Looked, seen.Open
		n.Reason = "open by the transitions in the metrics; a disabled breaker keeps its circuits"
	case !seen.At.After(since):
		n.Reason = "timelines: no scrape since the rollback yet"
	default:
		n.State, n.Basis, n.Looked = Cleared, ByTimelines, seen.Looked
	}
	return n
}

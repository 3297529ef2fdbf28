package change

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// Rollback is the result of a rollback.
type Rollback struct {
	ID    string
	Scope Scope
	Hold  Hold
	// Held says that the hold stands beside the policies, where every machine
	// that writes them sees it.
	Held     bool
	Policies []PolicyResult
	// Changed counts files that were written now; the others were off before.
	Changed int
	// Stopped says why no router was made to read what was written.
	Stopped string
	// Nothing says that there was nothing to roll back.
	Nothing bool
	// Refs are the policies that now must stay off.
	Refs []router.Ref
	// Backup is the pack with the old bytes, if anything was written.
	Backup string
	Took   time.Duration
}

// Code is the exit code that a rollback deserves: OK only if everything is safe,
// or written where the operator accepted that.
func (r *Rollback) Code(noVerify bool) fault.Code {
	s := Summarize(r.Policies)
	switch {
	case r.Stopped != "", !r.Held, s.Failed > 0, s.Unreachable > 0, s.Written > 0 && !noVerify:
		return fault.Partial
	}
	for _, p := range r.Policies {
		if !p.Disabled {
			return fault.Partial
		}
	}
	return fault.OK
}

// Plan lists what a rollback of a scope would touch, sorted; malformed policies
// come first and carry their error. It changes nothing. An unknown tenant or
// policy is a usage error; tenants that cannot be listed are a warning.
func (e *Engine) Plan(s Scope) ([]Step, error) {
	items, err := e.plan(s)
	steps := make([]Step, len(items))
	for i, it := range items {
		steps[i] = Step{Ref: it.ref, Old: it.old, New: it.new, Problem: it.failed}
	}
	return steps, err
}

// Step is what would happen to one policy.
type Step struct {
	Ref      router.Ref
	Old, New []byte
	// Problem says why the policy cannot be changed.
	Problem string
}

// Changes reports whether the step writes anything.
func (s Step) Changes() bool { return s.Problem == "" && !bytes.Equal(s.Old, s.New) }

func (e *Engine) plan(s Scope) ([]*item, error) {
	refs, err := e.Target.List()
	if err != nil {
		if len(refs) == 0 {
			return nil, err
		}
		e.warn(err.Error())
	}
	var items []*item
	for _, r := range refs {
		if s.Covers(r) {
			items = append(items, e.disable(r))
		}
	}
	if len(items) == 0 && s.Kind != GlobalScope {
		tenants, err := e.Target.Tenants()
		if err != nil {
			e.warn(err.Error())
		}
		if s.Kind == PolicyScope || !slices.Contains(tenants, s.Tenant) {
			return nil, Unknown(e.Target, s.Tenant, s.Policy)
		}
	}
	slices.SortStableFunc(items, func(a, b *item) int {
		return boolCompare(a.failed == "", b.failed == "")
	})
	return items, nil
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// disable reads a policy and works out its bytes with the breaker off.
func (e *Engine) disable(r router.Ref) *item {
	it := &item{ref: r, want: breakerOff()}
	b, err := e.Target.Read(r)
	if err != nil {
		it.failed = err.Error()
		return it
	}
	doc, err := policy.Parse(e.Target.Path(r), b)
	if err != nil {
		it.failed = err.Error()
		return it
	}
	it.old = b
	if it.new, _, err = policy.Disable(doc); err != nil {
		it.failed = err.Error()
	}
	return it
}

// Rollback disables every policy of a scope, makes the router read them, and
// proves it. The hold comes first, so that nobody enables behind its back. It
// waits for nothing but the files and the operator's own commands. A run after
// an interrupted one reads reality again and completes it.
func (e *Engine) Rollback(ctx context.Context, s Scope, reason string) (*Rollback, error) {
	began := e.Now()
	// Is there such a scope at all? What it holds is read again once the hold stands.
	if _, err := e.plan(s); err != nil {
		return nil, err
	}
	rb := &Rollback{ID: e.newID("rollback " + s.String()), Scope: s}
	rb.Hold, rb.Held = e.setHold(s, rb.ID, reason)
	items, err := e.plan(s)
	if err != nil {
		return nil, fault.New(fault.Partial, "the hold %s is set, but nothing is disabled: %w", rb.Hold.ID, err)
	}
	e.record(rb.ID, []event{{Event: "began", At: began.UTC(), By: e.User, Scope: s, Reason: reason}})

	rb.Nothing = true
	malformed := 0
	for _, it := range items {
		rb.Refs = append(rb.Refs, it.ref)
		if it.failed != "" {
			malformed++
		}
		if it.failed != "" || hasBreaker(e.Target.Path(it.ref), it.old) {
			rb.Nothing = false
		}
	}
	slices.SortFunc(rb.Refs, router.Ref.Compare)
	rb.Backup = e.backup(rb.ID, items)
	perItem(items, func(it *item) {
		if it.failed == "" && ctx.Err() == nil {
			e.writeDisabled(it)
		} else if it.failed == "" {
			it.disabled = bytes.Equal(it.old, it.new)
		}
	})
	for _, it := range items {
		if it.failed == "" && !bytes.Equal(it.old, it.new) {
			if !it.disabled {
				it.failed = "interrupted before it was written"
				continue
			}
			rb.Changed++
		}
	}
	switch {
	case rb.Nothing:
		rb.Policies = []PolicyResult{}
	case malformed > 0 && e.Commands.Reload.Given() && !e.Commands.Reload.PerPolicy():
		rb.Stopped = "the reload command makes the router read every policy, and a malformed one crashes its policy store: " +
			"not reloaded; repair or move the file away, then run this again"
		rb.Policies = e.unpushed(items, "not reloaded: a malformed policy would crash the router's policy store")
	default:
		rb.Policies = e.push(ctx, items, func(router.Ref) string { return "" })
	}
	e.recheck(rb)
	rb.Took = e.Now().Sub(began)
	sum := Summarize(rb.Policies)
	events := make([]event, 0, len(rb.Policies)+1)
	for i := range rb.Policies {
		events = append(events, event{Event: "result", At: e.Now().UTC(), Scope: s, Result: &rb.Policies[i]})
	}
	e.record(rb.ID, append(events, event{Event: "ended", At: e.Now().UTC(), By: e.User, Scope: s, Reason: rb.Stopped, Backup: rb.Backup, Summary: &sum}))
	return rb, nil
}

// writeDisabled turns a policy off on disk. The file is read once more right
// before: what somebody changed since the plan stays changed, but for the breaker.
func (e *Engine) writeDisabled(it *item) {
	if now := e.disable(it.ref); now.failed != "" || !bytes.Equal(now.old, it.old) {
		it.new, it.failed = now.new, now.failed
		if it.failed != "" {
			return
		}
		it.old = now.old
	}
	if !bytes.Equal(it.old, it.new) {
		it.failed = e.writeBack(it.ref, it.new)
	}
	it.disabled = it.failed == ""
}

// recheck reads every file again after the nodes were asked: disabled is what the
// disk says at the end, not what was written in the middle.
func (e *Engine) recheck(rb *Rollback) {
	on := map[router.Ref]string{}
	for _, r := range e.Enabled(rb.Refs) {
		on[r.Ref] = r.Why
	}
	for i := range rb.Policies {
		p := &rb.Policies[i]
		if why, bad := on[p.Ref()]; bad {
			p.Disabled = false
			if p.Result != Failed {
				p.Result, p.Reason = Failed, why
			}
		}
	}
}

// On is a policy that is not off.
type On struct {
	Ref router.Ref
	Why string
}

// Enabled returns the policies among refs that are not proven off on disk: after
// a settling time, these are what something re-enabled.
func (e *Engine) Enabled(refs []router.Ref) []On {
	var on []On
	for _, r := range refs {
		it := e.disable(r)
		switch {
		case it.failed != "":
			on = append(on, On{r, it.failed})
		case !bytes.Equal(it.old, it.new):
			on = append(on, On{r, "something enabled it again: the file says enabled, after it was written disabled"})
		}
	}
	return on
}

func (e *Engine) unpushed(items []*item, why string) []PolicyResult {
	var rs []PolicyResult
	for _, it := range items {
		for _, n := range e.nodes() {
			r := PolicyResult{Tenant: it.ref.Tenant, Policy: it.ref.Policy, Node: n, Disabled: it.disabled, Result: Written, Reason: why}
			if it.failed != "" {
				r.Result, r.Reason = Failed, it.failed
			}
			rs = append(rs, r)
		}
	}
	return rs
}

func hasBreaker(path string, b []byte) bool {
	doc, err := policy.Parse(path, b)
	if err != nil {
		return true
	}
	_, ok := doc.Breaker()
	return ok
}

// SettleFor waits and then returns what is on again. It waits in steps, so that
// an interrupt ends it.
func (e *Engine) SettleFor(ctx context.Context, refs []router.Ref, d time.Duration) ([]On, error) {
	if err := e.Sleep(ctx, d); err != nil {
		return nil, fmt.Errorf("stopped before the second look: %w", err)
	}
	return e.Enabled(refs), nil
}

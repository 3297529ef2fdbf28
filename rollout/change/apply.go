package change

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

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
func (e *Engine) CheckHold(ref router.Ref, doc []byte) error {
	if !enables(e.Target.Path(ref), doc) {
		return nil
	}
	holds := e.Held(ref)
	if len(holds) == 0 {
		return nil
	}
	var hints []string
	for _, h := range holds {
		hints = append(hints, "lift it when the cause is gone: cbops resume "+h.String()+` --reason "…"`)
	}
	return fault.Hint(fault.Wrap(fault.Failed, &HeldError{Ref: ref, Holds: holds}), hints...)
}

func enables(path string, b []byte) bool {
	doc, err := policy.Parse(path, b)
	if err != nil {
		return true // what cannot be read might enable
	}
	br, ok := doc.Breaker()
	return ok && br.Enabled
}

// Apply replaces old by new in one policy, makes the router read it and proves
// it. It refuses when the file is no longer old, or when a hold covers it.
func (e *Engine) Apply(ctx context.Context, ref router.Ref, old, new []byte) (*Applied, error) {
	a := &Applied{ID: e.newID("apply " + ref.String()), Changed: !bytes.Equal(old, new)}
	it := &item{ref: ref, old: old, new: new, want: writtenFields(new), disabled: !enables(e.Target.Path(ref), new)}
	if err := e.CheckHold(ref, new); err != nil {
		return nil, err
	}
	if a.Changed {
		if err := e.Target.CheckWritable(ref); err != nil {
			return nil, err
		}
		a.Backup = e.backup(a.ID, []*item{it})
		// Both are asked once more, as late as can be.
		if err := e.CheckHold(ref, new); err != nil {
			return nil, err
		}
		now, err := e.Target.Read(ref)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(now, old) {
			return nil, fault.Hint(fault.New(fault.Environment, "%s changed since its diff was shown: nothing is written", e.Target.Path(ref)), "run it again and look at the new diff")
		}
		if err := ctx.Err(); err != nil {
			return nil, fault.New(fault.Interrupted, "interrupted before anything was written: %w", err)
		}
		if it.failed = e.writeBack(ref, new); it.failed != "" {
			if now, rerr := e.Target.Read(ref); rerr == nil && bytes.Equal(now, old) {
				return nil, fault.New(fault.Environment, "nothing is changed: %s", it.failed)
			}
		}
	}
	if it.failed == "" {
		it.failed = e.guard(ref, new)
	}
	a.Policies = e.push(ctx, []*item{it}, func(router.Ref) string { return e.guard(ref, new) })
	for i := range a.Policies {
		a.Policies[i].Disabled = !enabledNow(e.Target, ref)
	}
	return a, nil
}

// guard asks for holds once more after an enabling write. A rollback may have come
// in between, and have disabled the file before we enabled it: its hold wins, and
// the file is disabled again.
func (e *Engine) guard(ref router.Ref, wrote []byte) string {
	err := e.CheckHold(ref, wrote)
	if err == nil {
		return ""
	}
	off := e.disable(ref)
	if off.failed == "" && !bytes.Equal(off.old, off.new) {
		off.failed = e.writeBack(ref, off.new)
	}
	if off.failed != "" {
		return err.Error() + "; and it could not be disabled again: " + off.failed
	}
	return err.Error() + "; it is disabled again and not reloaded"
}

func enabledNow(t Target, ref router.Ref) bool {
	b, err := t.Read(ref)
	return err != nil || enables(t.Path(ref), b)
}

// Unknown is the error for a tenant or policy that is not there, with the nearest
// ones that are.
func Unknown(t Target, tenant, pol string) error {
	tenants, err := t.Tenants()
	if err != nil && len(tenants) == 0 {
		return err
	}
	known := false
	for _, x := range tenants {
		known = known || x == tenant
	}
	if !known {
		return suggest(fault.New(fault.Usage, "no tenant %q in %s", tenant, t.Root()), tenant, tenants)
	}
	refs, _ := t.List() // said above, or by whoever lists in earnest
	var pols []string
	for _, r := range refs {
		if r.Tenant == tenant {
			pols = append(pols, r.Policy)
		}
	}
	return suggest(fault.New(fault.Usage, "no policy %q of tenant %s in %s", pol, tenant, t.Root()), pol, pols)
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

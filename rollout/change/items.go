package change

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
	"github.com/cbops/cbops/rollout/router"
)

// item is a policy of a store on its way through a change. It keeps digests and
// not bytes, so that a rollback of all policies takes no more memory than one of
// a few.
type item struct {
	ref router.Ref
	// old and new are the digests of its bytes before and after; equal when nothing
	// is written.
	old, new string
	// known is what was read, while the budget lasts.
	known *router.Stored
	// breaker says that the document has a circuit_breaker; providers are those
	// that it names.
	breaker   bool
	providers []string
	// want is what a router that loaded the policy must show.
	want fields
	// failed says why the store does not have the policy as it should be.
	failed error
	// malformed says that it cannot be parsed: a router that reads it crashes.
	malformed bool
	// disabled says that the store leaves the breaker off.
	disabled bool
}

func (it *item) changes() bool { return it.failed == nil && it.old != it.new }

// keepBytes is how much of what was read is kept for the write, in bytes, over all
// policies of a change. Stores that must fetch a policy before they write it save
// a request by it.
const keepBytes = 32 << 20

// budget hands out memory.
type budget struct {
	mu   sync.Mutex
	left int
}

func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < n {
		return false
	}
	b.left -= n
	return true
}

// transform is what a change makes of a policy's bytes.
type transform func(path string, now []byte) (doc *policy.Document, new []byte, err error)

// off turns the breaker off and touches nothing else.
func off(path string, now []byte) (*policy.Document, []byte, error) {
	doc, err := policy.Parse(path, now)
	if err != nil {
		return nil, nil, err
	}
	b, _, err := policy.Disable(doc)
	return doc, b, err
}

// describe fills an item from a document and its new bytes.
func (it *item) describe(doc *policy.Document, old, new []byte) {
	it.old, it.new = router.Digest(old), router.Digest(new)
	_, it.breaker = doc.Breaker()
	it.providers = doc.Providers()
}

// readItems reads policies of a store and works out what t would make of them.
// The order of the result is that of refs; visit is called for each that would be
// changed, with its old bytes.
func (e *Engine) readItems(ctx context.Context, st Store, refs []router.Ref, t transform, keep *budget, count *counter, visit func(it *item, old []byte)) []*item {
	items := make([]*item, len(refs))
	at := make(map[router.Ref]int, len(refs))
	for i, r := range refs {
		items[i] = &item{ref: r}
		at[r] = i
	}
	st.Read(ctx, refs, func(r router.Ref, s router.Stored, err error) {
		it := items[at[r]]
		if err == nil {
			var doc *policy.Document
			var b []byte
			if doc, b, err = t(st.Path(r), s.Bytes); err == nil {
				it.describe(doc, s.Bytes, b)
			} else {
				it.malformed = true
			}
			if err == nil && it.changes() {
				if keep != nil && s.Version != "" && keep.take(len(s.Bytes)) {
					it.known = &s
				}
				if visit != nil {
					visit(it, s.Bytes)
				}
			}
		}
		it.failed = err
		if count != nil {
			count.add(err != nil)
		}
	})
	return items
}

// malformedFirst orders what must be mended first, then by where circuits are
// open, then by name.
func malformedFirst(items []*item, open map[string]bool) {
	rank := func(it *item) int {
		switch {
		case it.failed != nil:
			return 0
		case open[it.ref.Tenant]:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(items, func(a, b *item) int { return rank(a) - rank(b) })
}

// write makes the store hold what t makes of each item. What somebody changed
// since the plan stays changed, but for what t does; its bytes are kept first.
func (e *Engine) write(ctx context.Context, st Store, items []*item, t transform, before func(router.Ref) error, p *pack, count *counter) {
	var edits []router.Edit
	at := map[router.Ref]*item{}
	for _, it := range items {
		if it.failed == nil {
			edits = append(edits, router.Edit{Ref: it.ref, Known: it.known})
			at[it.ref] = it
		} else if count != nil {
			count.add(true)
		}
	}
	st.Update(ctx, edits, func(r router.Ref, now []byte) ([]byte, error) {
		it := at[r]
		doc, b, err := t(st.Path(r), now)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(b, now) {
			// It is as it should be: by us, in an earlier run or a moment ago.
			if router.Digest(now) != it.new {
				it.describe(doc, now, b)
			}
			return b, nil
		}
		if before != nil {
			if err := before(r); err != nil {
				return nil, err
			}
		}
		if d := router.Digest(now); d != it.old {
			it.describe(doc, now, b)
			if p != nil {
				p.add(packLine{st.Name(), r.Tenant, r.Policy, now, it.new})
				p.sync()
			}
		}
		return b, nil
	}, func(r router.Ref, err error) {
		it := at[r]
		it.failed, it.known = err, nil
		it.disabled = err == nil
		if count != nil {
			count.add(err != nil)
		}
	})
}

// whyNot words the error of a policy's write or read.
func whyNot(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted before it was written"
	}
	if hints := fault.HintsOf(err); len(hints) > 0 {
		return err.Error() + "; " + hints[0] // what to type stands where it is needed
	}
	return err.Error()
}

func unreachableErr(err error) bool {
	var un *router.UnreachableError
	return errors.As(err, &un) && !errors.Is(err, context.Canceled)
}

// fields are fields of circuit_breaker with their raw values.
type fields map[string]json.RawMessage

// breakerOff is what a rollback wants to see loaded.
func breakerOff() fields { return fields{"enabled": json.RawMessage("false")} }

func listed(refs []router.Ref, most int) string {
	s := ""
	for i, r := range refs {
		if i == most {
			return s + fmt.Sprintf(" and %d more", len(refs)-most)
		}
		if i > 0 {
			s += ", "
		}
		s += r.String()
	}
	return s
}

package change

import (
	"context"
	"fmt"
	"sync"

	"github.com/cbops/cbops/rollout/router"
)

// item is a policy on its way through a change.
type item struct {
	ref router.Ref
	// old and new are its bytes before and after; equal when nothing is written.
	old, new []byte
	// want is what a router that loaded the policy must show.
	want fields
	// failed says why the policy is not on disk as it should be.
	failed string
	// disabled says that the file leaves the breaker off.
	disabled bool
}

// push makes every node read the items and proves it, each node on its own and
// all at once, so that none waits for another. check is asked before each reload;
// a reason stops it.
func (e *Engine) push(ctx context.Context, items []*item, check func(router.Ref) string) []PolicyResult {
	nodes := e.nodes()
	perNode := make([][]PolicyResult, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		// A reload that does not name the node is the same run for all of them.
		wg.Go(func() { perNode[i] = e.pushNode(ctx, node, items, check) })
	}
	wg.Wait()
	results := make([]PolicyResult, 0, len(items)*len(nodes))
	for i := range items {
		for n := range nodes {
			results = append(results, perNode[n][i])
		}
	}
	return results
}

func (e *Engine) pushNode(ctx context.Context, node string, items []*item, check func(router.Ref) string) []PolicyResult {
	reload, verify := e.Commands.Reload, e.Commands.Verify
	results := make([]PolicyResult, len(items))
	reloaded := map[router.Ref]string{}
	for i, it := range items {
		r := &results[i]
		*r = PolicyResult{Tenant: it.ref.Tenant, Policy: it.ref.Policy, Node: node, Disabled: it.disabled, Result: Written}
		switch {
		case it.failed != "":
			r.Result, r.Reason = Failed, it.failed
			continue
		case ctx.Err() != nil:
			r.Reason = "interrupted before the reload"
			continue
		case !reload.Given():
			continue // said below, once verify had its chance
		}
		k := reload.key(it.ref)
		why, done := reloaded[k]
		if !done {
			if why = check(it.ref); why == "" {
				_, why = e.Commands.run(ctx, "reload", reload, it.ref, node)
			}
			reloaded[k] = why
		}
		if why != "" {
			r.Result, r.Reason = Failed, why
			if ctx.Err() != nil {
				r.Result = Written // the file is right; the reload was cut short
			}
		}
	}
	type proof struct {
		stdout []byte
		why    string
	}
	verified := map[router.Ref]proof{}
	for i, it := range items {
		r := &results[i]
		if r.Result != Written || r.Reason != "" {
			continue
		}
		if !verify.Given() {
			r.Reason = "no verify command: that it is loaded is not proven"
			if !reload.Given() {
				r.Reason = "no reload command: make the router read it by hand"
			}
			continue
		}
		k := verify.key(it.ref)
		p, done := verified[k]
		if !done {
			p.stdout, p.why = e.Commands.run(ctx, "verify", verify, it.ref, node)
			verified[k] = p
		}
		if p.why == "" {
			p.why = disagreement(p.stdout, it.want)
		}
		switch {
		case ctx.Err() != nil && p.why != "":
			r.Reason = p.why
		case p.why != "":
			r.Result, r.Reason = Failed, p.why
		default:
			r.Result, r.Loaded = Safe, true
		}
	}
	return results
}

// writeBack writes new bytes and reads them back. The reason is empty when the
// file on disk holds them.
func (e *Engine) writeBack(ref router.Ref, b []byte) string {
	if err := e.Target.Write(ref, b); err != nil {
		return err.Error()
	}
	now, err := e.Target.Read(ref)
	if err != nil {
		return fmt.Sprintf("written, but cannot be read back: %v", err)
	}
	if string(now) != string(b) {
		return "written, but read back it is not what was written: somebody else writes this file"
	}
	return ""
}

// perItem runs f for every item, a few at once: a disk gains nothing from more.
func perItem(items []*item, f func(*item)) {
	sem := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for _, it := range items {
		sem <- struct{}{}
		wg.Go(func() {
			defer func() { <-sem }()
			f(it)
		})
	}
	wg.Wait()
}

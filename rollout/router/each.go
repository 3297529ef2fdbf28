package router

import (
	"context"
	"sync"
)

// each calls do for every element, at most parallel at once, and returns when all
// are done. Once ctx has ended, do is still called, so that every element gets an
// answer; it has to look at ctx itself.
func each[T any](parallel int, all []T, do func(T)) {
	if parallel <= 1 || len(all) == 1 {
		for _, x := range all {
			do(x)
		}
		return
	}
	work := make(chan T)
	var wg sync.WaitGroup
	for range min(parallel, len(all)) {
		wg.Go(func() {
			for x := range work {
				do(x)
			}
		})
	}
	for _, x := range all {
		work <- x
	}
	close(work)
	wg.Wait()
}

// ended is the answer for what was not even begun when ctx ended.
func ended(ctx context.Context) error { return unreachable("not tried: %w", context.Cause(ctx)) }

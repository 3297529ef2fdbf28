package change

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/cbops/cbops/rollout/router"
)

// Plan lists what a rollback of a scope would do, by site and then by name;
// malformed policies come first and carry their error. It changes nothing. An
// unknown tenant or policy is a usage error; what cannot be listed is a warning,
// unless nothing can.
func (e *Engine) Plan(ctx context.Context, s Scope) ([]Step, error) {
	r := &run{e: e, req: Request{Scope: s}, rb: &Rollback{}}
	for _, site := range e.Sites {
		r.rb.sites = append(r.rb.sites, &siteRun{run: r, site: site})
	}
	var wg sync.WaitGroup
	steps := make([][]Step, len(e.Sites))
	for i, x := range r.rb.sites {
		wg.Go(func() {
			ctx, cancel := e.nodeContext(ctx)
			defer cancel()
			steps[i] = x.steps(ctx, i)
		})
	}
	wg.Wait()
	if err := r.nothing(); err != nil {
		return nil, err
	}
	all := slices.Concat(steps...)
	slices.SortStableFunc(all, func(a, b Step) int {
		switch {
		case a.Problem != "" && b.Problem == "":
			return -1
		case a.Problem == "" && b.Problem != "":
			return 1
		}
		return a.Ref.Compare(b.Ref)
	})
	return all, nil
}

func (s *siteRun) steps(ctx context.Context, site int) []Step {
	st := s.site.Store
	var err error
	if s.listing, err = st.List(ctx); err != nil {
		if len(s.listing.Refs) == 0 && len(s.listing.Tenants) == 0 {
			s.err = err
		}
		s.run.e.warn(strings.TrimPrefix(st.Name()+": ", ": ") + err.Error())
	}
	for _, r := range s.listing.Refs {
		if s.run.req.Scope.Covers(r) {
			s.refs = append(s.refs, r)
		}
	}
	var mu sync.Mutex
	out := make([]Step, 0, len(s.refs))
	st.Read(ctx, s.refs, func(r router.Ref, now router.Stored, err error) {
		x := Step{Site: site, Ref: r, Path: st.Path(r)}
		if err == nil {
			x.Old = now.Bytes
			_, x.New, err = off(x.Path, now.Bytes)
		}
		if err != nil {
			x.Problem, x.New = err.Error(), nil
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, x)
	})
	return out
}

package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
)

// HTTPStore is a node's own store of policies, by its admin API. Nodes that share
// one store may each be asked: the second finds done what the first did.
type HTTPStore struct{ c *AdminClient }

// Store is the node's store.
func (c *AdminClient) Store() HTTPStore { return HTTPStore{c} }

// Name is the node's name.
func (s HTTPStore) Name() string { return s.c.opt.Name }

// Path names a policy on this node for display.
func (s HTTPStore) Path(r Ref) string { return s.c.opt.Name + ":" + r.String() }

func policyPath(r Ref) string { return "/admin/policies/" + r.Tenant + "/" + r.Policy }

// Lines are the exact requests that a change of a policy would make.
func (s HTTPStore) Lines(r Ref) []string {
	return []string{s.c.line(http.MethodGet, policyPath(r), ""),
		s.c.line(http.MethodPut, policyPath(r), ` -H 'If-Match: "…"' --data-binary @`+r.Policy+ext)}
}

// page sizes; a page with documents is smaller, so that an answer stays bounded.
const (
	pageRefs      = 1000
	pageDocuments = 100
)

// List returns the node's policies. Tenants are those that have one.
func (s HTTPStore) List(ctx context.Context) (Listing, error) {
	l := Listing{Refs: []Ref{}, Tenants: []string{}}
	if err := s.c.can(ctx, CanPolicies); err != nil {
		return l, noStore(err)
	}
	err := s.pages(ctx, url.Values{}, pageRefs, func(p APIPolicy) error {
		l.Refs = append(l.Refs, Ref{p.Tenant, p.Policy})
		l.Tenants = append(l.Tenants, p.Tenant)
		return nil
	})
	slices.SortFunc(l.Refs, Ref.Compare)
	slices.Sort(l.Tenants)
	l.Tenants = slices.Compact(l.Tenants)
	return l, err
}

func noStore(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return fault.Hint(err, "give the policy directory with --policies: the node is then only asked to reload and to show")
	}
	return err
}

// pages goes through the list, page by page.
func (s HTTPStore) pages(ctx context.Context, q url.Values, limit int, visit func(APIPolicy) error) error {
	for after, first := "", true; first || after != ""; first = false {
		q.Set("limit", strconv.Itoa(limit))
		q.Del("after")
		if after != "" {
			q.Set("after", after)
		}
		var page APIPolicies
		err := s.c.do(ctx, call{what: "list", method: http.MethodGet, path: "/admin/policies", query: q, read: func(h http.Header, body []byte) error {
			page = APIPolicies{}
			if err := into(&page)(h, body); err != nil {
				return err
			}
			return page.check(q.Get("documents") != "")
		}})
		if err != nil {
			return err
		}
		for _, p := range page.Policies {
			if err := visit(p); err != nil {
				return err
			}
		}
		if page.Next != "" && page.Next == after {
			return errors.New("list: the node's pages go round in a circle")
		}
		after = page.Next
	}
	return nil
}

// check refuses a page whose documents are not what their digests say: it was
// damaged on the way.
func (p APIPolicies) check(documents bool) error {
	for _, x := range p.Policies {
		r := Ref{x.Tenant, x.Policy}
		if !r.Valid() {
			return fmt.Errorf("%q is no policy", r)
		}
		if documents && ETag(Digest(x.Document)) != x.ETag {
			return fmt.Errorf("the document of %s is not what its etag says", r)
		}
	}
	return nil
}

// Read reads policies: alone, by tenant, or all of them in pages, whichever is
// least.
func (s HTTPStore) Read(ctx context.Context, refs []Ref, yield func(Ref, Stored, error)) {
	if err := s.c.can(ctx, CanPolicies); err != nil {
		for _, r := range refs {
			yield(r, Stored{}, noStore(err))
		}
		return
	}
	byTenant := map[string][]Ref{}
	var tenants []string
	for _, r := range refs {
		if byTenant[r.Tenant] == nil {
			tenants = append(tenants, r.Tenant)
		}
		byTenant[r.Tenant] = append(byTenant[r.Tenant], r)
	}
	each(s.c.opt.Parallel, tenants, func(t string) {
		if mine := byTenant[t]; len(mine) <= 2 {
			for _, r := range mine {
				st, err := s.get(ctx, r)
				yield(r, st, err)
			}
		} else {
			s.readTenant(ctx, t, mine, yield)
		}
	})
}

func (s HTTPStore) readTenant(ctx context.Context, tenant string, refs []Ref, yield func(Ref, Stored, error)) {
	want := map[Ref]bool{}
	for _, r := range refs {
		want[r] = true
	}
	err := s.pages(ctx, url.Values{"tenant": {tenant}, "documents": {"true"}}, pageDocuments, func(p APIPolicy) error {
		r := Ref{p.Tenant, p.Policy}
		if !want[r] {
			return nil
		}
		delete(want, r)
		st, err := bounded(r, p.Document, p.ETag)
		yield(r, st, err)
		return nil
	})
	if err == nil {
		err = fs.ErrNotExist
	}
	for _, r := range refs {
		if want[r] {
			yield(r, Stored{}, fmt.Errorf("read %s: %w", s.Path(r), err))
		}
	}
}

func bounded(r Ref, b []byte, etag string) (Stored, error) {
	if len(b) > policy.MaxBytes {
		return Stored{}, fault.New(fault.Usage, "%s is larger than %d bytes: not a policy", r, int64(policy.MaxBytes))
	}
	return Stored{Bytes: b, Version: etag}, nil
}

// get reads one policy. The ETag is the digest, so that a damaged answer is seen.
func (s HTTPStore) get(ctx context.Context, r Ref) (Stored, error) {
	var st Stored
	err := s.c.do(ctx, call{what: "read " + r.String(), method: http.MethodGet, path: policyPath(r), read: func(h http.Header, body []byte) error {
		if ETag(Digest(body)) != h.Get("ETag") {
			return errors.New("the document is not what its etag says")
		}
		st = Stored{Bytes: body, Version: h.Get("ETag")}
		return nil
	}})
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return st, fmt.Errorf("read %s: %w", s.Path(r), fs.ErrNotExist)
	}
	if err != nil {
		return st, err
	}
	return bounded(r, st.Bytes, st.Version)
}

// Update writes each policy over the version that was read. Where somebody else
// was faster, it is read and edited anew.
func (s HTTPStore) Update(ctx context.Context, edits []Edit, edit Editor, yield func(Ref, error)) {
	if err := s.c.can(ctx, CanPolicies); err != nil {
		for _, e := range edits {
			yield(e.Ref, noStore(err))
		}
		return
	}
	each(s.c.opt.Parallel, edits, func(e Edit) { yield(e.Ref, s.update(ctx, e, edit)) })
}

func (s HTTPStore) update(ctx context.Context, e Edit, edit Editor) error {
	now := e.Known
	for range conflictRounds {
		if now == nil {
			st, err := s.get(ctx, e.Ref)
			if err != nil {
				return err
			}
			now = &st
		}
		b, err := edit(e.Ref, now.Bytes)
		if err != nil || bytes.Equal(b, now.Bytes) {
			return err
		}
		err = s.put(ctx, e.Ref, b, now.Version)
		var status *StatusError
		if errors.As(err, &status) && status.Status == http.StatusPreconditionFailed {
			// By somebody else, or by us: an answer may be lost after the write.
			now = nil
			continue
		}
		return err
	}
	return &ChangedError{s.Path(e.Ref)}
}

func (s HTTPStore) put(ctx context.Context, r Ref, b []byte, version string) error {
	want := ETag(Digest(b))
	return s.c.do(ctx, call{what: "write " + r.String(), method: http.MethodPut, path: policyPath(r), body: b,
		header: http.Header{"If-Match": {version}, "Content-Type": {"application/octet-stream"}},
		read: func(h http.Header, _ []byte) error {
			if got := h.Get("ETag"); got != want {
				return fmt.Errorf("stored is %s, written was %s", strings.Trim(got, `"`), strings.Trim(want, `"`))
			}
			return nil
		}})
}

// HTTPShelf keeps holds on the node, beside its policies.
type HTTPShelf struct{ c *AdminClient }

// Shelf is the node's place for holds.
func (c *AdminClient) Shelf() HTTPShelf { return HTTPShelf{c} }

// Place names it for display.
func (s HTTPShelf) Place() string { return s.c.opt.Name + ":holds" }

// Files returns the holds.
func (s HTTPShelf) Files(ctx context.Context) (map[string]Shelved, error) {
	if err := s.c.can(ctx, CanHolds); err != nil {
		return nil, err
	}
	var all APIHolds
	if err := s.c.do(ctx, call{what: "holds", method: http.MethodGet, path: "/admin/holds", read: into(&all)}); err != nil {
		return nil, err
	}
	files := map[string]Shelved{}
	for _, h := range all.Holds {
		files[h.ID+ext] = Shelved{Bytes: h.Content}
	}
	return files, nil
}

func holdPath(name string) (string, error) {
	id := strings.TrimSuffix(name, ext)
	if !policy.ValidID(id) {
		return "", fmt.Errorf("%q is no name of a hold", name)
	}
	return "/admin/holds/" + id, nil
}

// Put keeps a hold.
func (s HTTPShelf) Put(ctx context.Context, name string, b []byte) error {
	if err := s.c.can(ctx, CanHolds); err != nil {
		return err
	}
	path, err := holdPath(name)
	if err != nil {
		return err
	}
	return s.c.do(ctx, call{what: "hold", method: http.MethodPut, path: path, body: b, header: http.Header{"Content-Type": {"application/octet-stream"}}})
}

// Remove takes a hold away.
func (s HTTPShelf) Remove(ctx context.Context, name string) error {
	if err := s.c.can(ctx, CanHolds); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return fs.ErrNotExist
		}
		return err
	}
	path, err := holdPath(name)
	if err != nil {
		return err
	}
	err = s.c.do(ctx, call{what: "hold", method: http.MethodDelete, path: path})
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return fs.ErrNotExist
	}
	return err
}

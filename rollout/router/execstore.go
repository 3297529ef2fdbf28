package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
)

// ExecStore is a store behind the operator's read and write programs: ConfigMaps,
// a key-value store, anything.
type ExecStore struct {
	exec
}

// NewExecStore makes a store of the read and write programs.
func NewExecStore(p Programs, verbs map[Verb]Command, parallel int) (*ExecStore, error) {
	if !verbs[VerbRead].Given() || !verbs[VerbWrite].Given() {
		return nil, fault.Hint(fault.New(fault.Usage, "the verbs read and write belong together: one without the other is no store"),
			"without both, policies are read and written in the policy directory")
	}
	if parallel <= 0 {
		parallel = commandParallel
	}
	p.MaxOutput = maxExecAnswer
	return &ExecStore{exec{p, verbs, parallel}}, nil
}

// Name is the read program as one would type it.
func (s *ExecStore) Name() string { return s.verbs[VerbRead].Line(Ref{}, "") }

// Path names a policy for display.
func (s *ExecStore) Path(r Ref) string { return r.String() }

// Lines are the exact commands that a change would run.
func (s *ExecStore) Lines(r Ref) []string {
	return []string{s.verbs[VerbRead].Line(r, ""), s.verbs[VerbWrite].Line(r, "")}
}

// List runs the read program for everything.
func (s *ExecStore) List(ctx context.Context) (Listing, error) {
	a, err := s.call(ctx, VerbRead, "", Ref{}, execRequest{})
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Refs: []Ref{}, Tenants: []string{}}
	var errs []error
	for _, p := range a.Policies {
		if !p.ref().Valid() {
			errs = append(errs, fmt.Errorf("read: %q is no policy", p.ref()))
			continue
		}
		l.Refs = append(l.Refs, p.ref())
		l.Tenants = append(l.Tenants, p.Tenant)
	}
	slices.SortFunc(l.Refs, Ref.Compare)
	l.Refs = slices.Compact(l.Refs)
	slices.Sort(l.Tenants)
	l.Tenants = slices.Compact(l.Tenants)
	return l, errors.Join(errs...)
}

// execBatch is how many policies one run of a program is given.
const execBatch = 200

// Read runs the read program.
func (s *ExecStore) Read(ctx context.Context, refs []Ref, yield func(Ref, Stored, error)) {
	one := func(r Ref, batch []Ref) {
		req := execRequest{}
		for _, x := range batch {
			req.Policies = append(req.Policies, execPolicy{Tenant: x.Tenant, Policy: x.Policy})
		}
		var a execAnswer
		err := ctx.Err()
		if err != nil {
			err = ended(ctx)
		} else {
			a, err = s.call(ctx, VerbRead, "", r, req)
		}
		got := map[Ref]execPolicy{}
		for _, p := range a.Policies {
			got[p.ref()] = p
		}
		for _, x := range batch {
			st, rerr := stored(x, got, err)
			yield(x, st, rerr)
		}
	}
	if s.verbs[VerbRead].PerPolicy() {
		each(s.parallel, refs, func(r Ref) { one(r, []Ref{r}) })
		return
	}
	for batch := range slices.Chunk(refs, execBatch) {
		one(Ref{}, batch)
	}
}

func stored(r Ref, got map[Ref]execPolicy, err error) (Stored, error) {
	if err != nil {
		return Stored{}, err
	}
	p, ok := got[r]
	switch {
	case !ok:
		return Stored{}, fmt.Errorf("read: no policy %s: %w", r, fs.ErrNotExist)
	case p.Error != "":
		return Stored{}, fmt.Errorf("read %s: %s", r, p.Error)
	case p.Document == nil:
		return Stored{}, fmt.Errorf("read %s: the answer has no document", r)
	case len(*p.Document) > policy.MaxBytes:
		return Stored{}, fault.New(fault.Usage, "%s is larger than %d bytes: not a policy", r, int64(policy.MaxBytes))
	}
	return Stored{Bytes: []byte(*p.Document), Version: p.Version}, nil
}

// conflictRounds bounds how often a write is tried anew because somebody else
// wrote in between.
const conflictRounds = 5

// Update runs the write program for what edit changes, with the version that was
// read, and reads everything back.
func (s *ExecStore) Update(ctx context.Context, edits []Edit, edit Editor, yield func(Ref, error)) {
	if s.verbs[VerbWrite].PerPolicy() {
		each(s.parallel, edits, func(e Edit) { s.update(ctx, []Edit{e}, edit, yield) })
		return
	}
	for batch := range slices.Chunk(edits, execBatch) {
		s.update(ctx, batch, edit, yield)
	}
}

func (s *ExecStore) update(ctx context.Context, edits []Edit, edit Editor, yield func(Ref, error)) {
	open := map[Ref]*Stored{}
	order := []Ref{}
	for _, e := range edits {
		open[e.Ref] = e.Known
		order = append(order, e.Ref)
	}
	var last error
	for round := 0; round < conflictRounds && len(order) > 0; round++ {
		if ctx.Err() != nil {
			last = ended(ctx)
			break
		}
		order, last = s.round(ctx, order, open, edit, yield)
	}
	for _, r := range order {
		if last == nil {
			last = &ChangedError{r.String()}
		}
		yield(r, last)
	}
}

// round reads what is not known, writes what edit changes, and reads back. It
// returns those that somebody else changed in between.
func (s *ExecStore) round(ctx context.Context, order []Ref, known map[Ref]*Stored, edit Editor, yield func(Ref, error)) ([]Ref, error) {
	var unread []Ref
	for _, r := range order {
		if known[r] == nil {
			unread = append(unread, r)
		}
	}
	failed := map[Ref]bool{}
	if len(unread) > 0 {
		s.Read(ctx, unread, func(r Ref, st Stored, err error) {
			if err != nil {
				failed[r] = true
				yield(r, err)
				return
			}
			known[r] = &st
		})
	}
	want := map[Ref][]byte{}
	var req execRequest
	var first Ref
	for _, r := range order {
		if failed[r] {
			continue
		}
		b, err := edit(r, known[r].Bytes)
		switch {
		case err != nil:
			yield(r, err)
		case bytes.Equal(b, known[r].Bytes):
			yield(r, nil)
		default:
			want[r], first = b, r
			doc := string(b)
			req.Policies = append(req.Policies, execPolicy{Tenant: r.Tenant, Policy: r.Policy, Document: &doc, Version: known[r].Version})
		}
		known[r] = nil
	}
	if len(req.Policies) == 0 {
		return nil, nil
	}
	if !s.verbs[VerbWrite].PerPolicy() {
		first = Ref{}
	}
	a, err := s.call(ctx, VerbWrite, "", first, req)
	if err != nil {
		for r := range want {
			yield(r, err)
		}
		return nil, nil
	}
	said := map[Ref]execPolicy{}
	for _, p := range a.Policies {
		said[p.ref()] = p
	}
	return s.readBack(ctx, want, said, yield)
}

// readBack is the proof of a write: what the program said counts only against it.
func (s *ExecStore) readBack(ctx context.Context, want map[Ref][]byte, said map[Ref]execPolicy, yield func(Ref, error)) (again []Ref, err error) {
	var refs []Ref
	for r := range want {
		switch p := said[r]; {
		case p.Conflict:
			again = append(again, r)
		case p.Error != "":
			yield(r, fmt.Errorf("write: %s", p.Error))
		default:
			refs = append(refs, r)
		}
	}
	slices.SortFunc(refs, Ref.Compare)
	s.Read(ctx, refs, func(r Ref, st Stored, err error) {
		switch {
		case err != nil:
			yield(r, fmt.Errorf("written, but cannot be read back: %w", err))
		case !bytes.Equal(st.Bytes, want[r]):
			yield(r, fmt.Errorf("written, but read back it is not what was written"))
		default:
			yield(r, nil)
		}
	})
	slices.SortFunc(again, Ref.Compare)
	return again, nil
}

// ExecShelf keeps holds where the read and write programs keep policies, if they
// do that: a read program that answers with "holds" says so.
type ExecShelf struct{ store *ExecStore }

// Shelf is the store's place for small files.
func (s *ExecStore) Shelf() *ExecShelf { return &ExecShelf{s} }

// Place names the shelf for display.
func (s *ExecShelf) Place() string { return s.store.Name() + " (holds)" }

// read asks the read program; holds come along with the policies.
func (s *ExecShelf) read(ctx context.Context) (map[string]string, error) {
	a, err := s.store.call(ctx, VerbRead, "", Ref{}, execRequest{})
	if err != nil {
		return nil, err
	}
	if a.Holds == nil {
		return nil, fmt.Errorf("the read program keeps no holds: %w", errors.ErrUnsupported)
	}
	return a.Holds, nil
}

// Files returns the holds.
func (s *ExecShelf) Files(ctx context.Context) (map[string]Shelved, error) {
	holds, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	files := map[string]Shelved{}
	for name, text := range holds {
		files[name] = Shelved{Bytes: []byte(text)}
	}
	return files, nil
}

// Put keeps a hold and reads it back.
func (s *ExecShelf) Put(ctx context.Context, name string, b []byte) error {
	if _, err := s.read(ctx); err != nil {
		return err
	}
	text := string(b)
	if _, err := s.store.call(ctx, VerbWrite, "", Ref{}, execRequest{Holds: map[string]*string{name: &text}}); err != nil {
		return err
	}
	holds, err := s.read(ctx)
	if err == nil && holds[name] != text {
		err = errors.New("written, but read back it is not what was written")
	}
	return err
}

// Remove takes a hold away and looks whether it is gone.
func (s *ExecShelf) Remove(ctx context.Context, name string) error {
	holds, err := s.read(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	if _, ok := holds[name]; !ok {
		return fs.ErrNotExist
	}
	if _, err := s.store.call(ctx, VerbWrite, "", Ref{}, execRequest{Holds: map[string]*string{name: nil}}); err != nil {
		return err
	}
	if holds, err = s.read(ctx); err == nil {
		if _, ok := holds[name]; ok {
			err = errors.New("taken away, but read back it is still there")
		}
	}
	return err
}

package router

// The policy root on disk, <root>/<tenant>/<policy>.json (ROUTER.md §1). Every path
// is resolved by os.Root, so that neither an id nor a symbolic link leads out of
// it. That is also why writing is done here (write.go) and not by renameio, which
// works on plain path names and would follow such a link.

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
)

// file is the path inside the root, with slashes.
func (r Ref) file() string { return r.Tenant + "/" + r.Policy + ext }

const ext = ".json"

// Dir is a policy root on disk. It is safe for concurrent use.
type Dir struct {
	root *os.Root
	name string // as the operator typed it
}

// OpenDir opens a policy root. The root itself may be a symbolic link to a
// directory; inside it, links that lead out are refused.
func OpenDir(root string) (*Dir, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		code, hint := fault.Environment, "check the permissions of the policy directory"
		if errors.Is(err, fs.ErrNotExist) || notDir(root) {
			code, hint = fault.Usage, "--policies names the directory that holds <tenant>/<policy>.json"
		}
		return nil, fault.Hint(fault.New(code, "cannot open policy directory %s: %w", root, cause(err)), hint)
	}
	return &Dir{root: r, name: root}, nil
}

func notDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && !st.IsDir()
}

// Close lets go of the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Root is the policy root as the operator typed it.
func (d *Dir) Root() string { return d.name }

// ShownAs gives the root another name in paths for display: what the operator
// typed, where that was relative to another directory than the process'.
func (d *Dir) ShownAs(name string) *Dir { return &Dir{root: d.root, name: name} }

// Path is the policy's file for display.
func (d *Dir) Path(r Ref) string { return filepath.Join(d.name, r.Tenant, r.Policy+ext) }

// Tenants lists the tenant directories, sorted. Names that start with a dot, or
// that the router could not have as an id, are no tenants. A link out of the
// root is left out and named in the error, next to the tenants that are fine.
func (d *Dir) Tenants() ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, d.fail("list", ".", err)
	}
	tenants, errs := []string{}, []error(nil)
	for _, e := range entries {
		if !policy.ValidID(e.Name()) || e.Type().IsRegular() {
			continue
		}
		st, err := d.root.Stat(e.Name())
		switch {
		case err != nil:
			errs = append(errs, d.fail("list", e.Name(), err))
		case st.IsDir():
			tenants = append(tenants, e.Name())
		}
	}
	slices.Sort(tenants)
	return tenants, errors.Join(errs...)
}

// List lists every policy, sorted by tenant and policy. A policy that is there
// but cannot be read is listed: reading it says what is wrong. Tenants that
// cannot be listed are named in the error, next to all refs that were found, so
// that a rollback can go on with the rest.
func (d *Dir) List() ([]Ref, error) {
	tenants, err := d.Tenants()
	errs := []error{err}
	refs := []Ref{}
	for _, t := range tenants {
		entries, err := fs.ReadDir(d.root.FS(), t)
		if err != nil {
			errs = append(errs, d.fail("list", t, err))
			continue
		}
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), ext)
			if ok && !e.IsDir() && policy.ValidID(id) {
				refs = append(refs, Ref{Tenant: t, Policy: id})
			}
		}
	}
	slices.SortFunc(refs, Ref.Compare)
	return refs, errors.Join(errs...)
}

// Read returns a policy's bytes, at most policy.MaxBytes of them.
func (d *Dir) Read(r Ref) ([]byte, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	// A pipe or device in a policy's place must not block us for ever.
	st, err := d.root.Stat(r.file())
	if err != nil {
		return nil, d.fail("read", r.file(), err)
	}
	if !st.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, "cannot read %s: not a regular file", d.Path(r))
	}
	f, err := d.root.Open(r.file())
	if err != nil {
		return nil, d.fail("read", r.file(), err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, policy.MaxBytes+1))
	if err != nil {
		return nil, d.fail("read", r.file(), err)
	}
	if int64(len(b)) > policy.MaxBytes {
		return nil, fault.Hint(fault.New(fault.Usage, "%s is larger than %d bytes: not a policy", d.Path(r), int64(policy.MaxBytes)),
			"check that the path names a policy and not an export or a dump")
	}
	return b, nil
}

// Hidden opens a directory of cbops' own inside the root; its name starts with a
// dot, so that it is never a tenant. Without create, a missing directory is
// fs.ErrNotExist.
func (d *Dir) Hidden(name string, create bool) (*os.Root, error) {
	if !strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) || path.Clean(name) != name || name == ".." || name == "." {
		return nil, fault.New(fault.Environment, "%q is no name for a directory of cbops' own", name)
	}
	if create {
		if err := d.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, d.fail("create", name, err)
		}
	}
	r, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return r, nil
}

func check(r Ref) error {
	for _, id := range []struct{ what, id string }{{"tenant", r.Tenant}, {"policy", r.Policy}} {
		if !policy.ValidID(id.id) {
			return fault.Hint(fault.New(fault.Usage, "%q is no %s id", id.id, id.what),
				"ids are 1-255 of A-Z a-z 0-9 _ . - and do not start with a dot")
		}
	}
	return nil
}

// fail words an error of the file system. What os.Root calls "path escapes from
// parent" is a link out of the root.
func (d *Dir) fail(verb, name string, err error) error {
	p := filepath.Join(d.name, filepath.FromSlash(name))
	err = cause(err)
	if strings.Contains(err.Error(), "escapes from parent") {
		return fault.Hint(fault.New(fault.Usage, "cannot %s %s: a symbolic link leads out of the policy root", verb, p),
			"cbops follows links only inside the policy root: give the real directory with --policies")
	}
	return fault.New(fault.Environment, "cannot %s %s: %w", verb, p, err)
}

// cause takes the operation and path off an error: the caller says both better.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}

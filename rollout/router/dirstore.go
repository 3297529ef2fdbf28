package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cbops/cbops/internal/fault"
)

// DirStore is a policy directory as a store: one for all nodes that read it.
type DirStore struct {
	*Dir
	// Parallel is how many policies are read or written at once; 0 means 16: more
	// durable writes at once gain nothing on the disks at hand.
	Parallel int
}

const dirParallel = 16

func (d DirStore) parallel() int {
	if d.Parallel > 0 {
		return d.Parallel
	}
	return dirParallel
}

// Name is the policy root as the operator knows it.
func (d DirStore) Name() string { return d.Root() }

// List returns what is there. The error names what could not be listed, next to
// all that could.
func (d DirStore) List(context.Context) (Listing, error) {
	tenants, err := d.Tenants()
	refs, lerr := d.Dir.List()
	if lerr != nil {
		err = lerr // it names what Tenants could not list, and more
	}
	return Listing{Refs: refs, Tenants: tenants}, err
}

// Read reads policies, several at once; yield is called for each.
func (d DirStore) Read(ctx context.Context, refs []Ref, yield func(Ref, Stored, error)) {
	dirs := d.tenantDirs()
	defer dirs.close()
	each(d.parallel(), refs, func(r Ref) {
		if ctx.Err() != nil {
			yield(r, Stored{}, ended(ctx))
			return
		}
		b, err := dirs.read(r)
		yield(r, Stored{Bytes: b}, err)
	})
}

// Update reads each policy, lets edit make its new bytes, replaces it and reads it
// back. A nil error means that the disk holds what edit made.
func (d DirStore) Update(ctx context.Context, edits []Edit, edit Editor, yield func(Ref, error)) {
	dirs := d.tenantDirs()
	defer dirs.close()
	each(d.parallel(), edits, func(e Edit) {
		if ctx.Err() != nil {
			yield(e.Ref, ended(ctx))
			return
		}
		if !dirs.update(e.Ref, edit, func(err error) { yield(e.Ref, err) }) {
			yield(e.Ref, d.update(e.Ref, edit))
		}
	})
}

// update is the general way, for what is not a plain file in a plain directory.
func (d DirStore) update(r Ref, edit Editor) error {
	now, err := d.Dir.Read(r)
	if err != nil {
		return err
	}
	b, err := edit(r, now)
	if err != nil || bytes.Equal(b, now) {
		return err
	}
	if err := d.Write(r, b); err != nil {
		return err
	}
	back, err := d.Dir.Read(r)
	if err != nil {
		return fmt.Errorf("written, but cannot be read back: %w", err)
	}
	if !bytes.Equal(back, b) {
		return d.otherWriter(r)
	}
	return nil
}

func (d *Dir) otherWriter(r Ref) error {
	return fault.New(fault.Environment, "%s is written, but read back it is not what was written: somebody else writes this file", d.Path(r))
}

// Check says beforehand why a policy could not be replaced.
func (d DirStore) Check(_ context.Context, r Ref) error { return d.CheckWritable(r) }

// Quarantine takes a policy out of the router's sight: the file gets a name that
// starts with a dot and does not end in .json. It returns the new path.
func (d DirStore) Quarantine(_ context.Context, r Ref) (string, error) {
	if err := check(r); err != nil {
		return "", err
	}
	base := r.Policy
	if len(base) > 200 {
		base = base[:200] // a file name has 255 bytes
	}
	base = r.Tenant + "/." + base + ext + ".quarantine"
	name := base
	for i := 2; ; i++ {
		if _, err := d.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if i > 99 {
			return "", fault.New(fault.Environment, "%s: 99 files are in quarantine there already", d.Path(r))
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
	if err := d.root.Rename(r.file(), name); err != nil {
		return "", d.fail("move", r.file(), err)
	}
	return filepath.Join(d.name, filepath.FromSlash(name)), d.syncDir(r.Tenant)
}

func (d *Dir) syncDir(name string) error {
	dir, err := d.root.Open(name)
	if err != nil {
		return d.fail("sync", name, err)
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	if err := dir.Sync(); err != nil {
		return d.fail("sync", name, err)
	}
	return nil
}

// Shelf is the place for small files of cbops' own beside the policies.
func (d DirStore) Shelf(name string) *DirShelf {
	return &DirShelf{place: filepath.Join(d.Root(), name), open: func(create bool) (*os.Root, error) { return d.Hidden(name, create) }}
}

// DirShelf keeps small files in a directory of cbops' own.
type DirShelf struct {
	place string
	open  func(create bool) (*os.Root, error)
}

// StateShelf is a shelf in the state directory, which is made when needed.
func StateShelf(place string) *DirShelf {
	return &DirShelf{place: place, open: func(create bool) (*os.Root, error) {
		if create {
			if err := os.MkdirAll(place, 0o755); err != nil {
				return nil, err
			}
		}
		return os.OpenRoot(place)
	}}
}

// Place is where the files lie, for display.
func (s *DirShelf) Place() string { return s.place }

// maxShelved bounds a file on a shelf, in bytes.
const maxShelved = 1 << 20

// Files returns every file whose name ends in .json, by name. A file that cannot
// be read carries its error; a shelf that was never used is empty.
func (s *DirShelf) Files(context.Context) (map[string]Shelved, error) {
	dir, err := s.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // nothing was written
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	files := map[string]Shelved{}
	for _, en := range entries {
		if strings.HasSuffix(en.Name(), ext) && !strings.HasPrefix(en.Name(), ".") {
			b, err := readSmall(dir, en.Name())
			files[en.Name()] = Shelved{b, err}
		}
	}
	return files, nil
}

// Shelved is a file on a shelf, or why it cannot be read.
type Shelved struct {
	Bytes []byte
	Err   error
}

func readSmall(dir *os.Root, name string) ([]byte, error) {
	st, err := dir.Stat(name)
	if err != nil {
		return nil, cause(err)
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, maxShelved+1))
	if err == nil && len(b) > maxShelved {
		err = fmt.Errorf("larger than %d bytes", maxShelved)
	}
	return b, err
}

// Put writes a file: whole or not at all, whoever else writes the same one.
func (s *DirShelf) Put(_ context.Context, name string, b []byte) error {
	dir, err := s.open(true)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // the file in it was synced
	return writeWhole(dir, name, b)
}

// Remove takes a file away; one that is not there is fs.ErrNotExist.
func (s *DirShelf) Remove(_ context.Context, name string) error {
	dir, err := s.open(false)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // nothing was written
	return dir.Remove(name)
}

func writeWhole(dir *os.Root, name string, b []byte) (err error) {
	tmp := tempName(name)
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return cause(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()       // may be closed already
			_ = dir.Remove(tmp) // the first error says more
			err = cause(err)
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = dir.Rename(tmp, name); err != nil {
		return err
	}
	d, derr := dir.Open(".")
	if derr != nil {
		return nil //nolint:nilerr // the file stands; a directory that cannot be opened cannot be synced
	}
	defer d.Close() //nolint:errcheck // opened for reading
	return d.Sync()
}

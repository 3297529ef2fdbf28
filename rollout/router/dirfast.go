package router

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/policy"
)

// The fast way through a policy directory. os.Root walks every path anew and opens
// each directory on the way; ten thousand policies are mostly in few directories.
// So a tenant's directory is opened once, and a policy that is a plain file in it
// is read and replaced with as many system calls as that takes. Whatever is not
// plain, a link above all, goes the general way of dir.go and write.go.

// tenantDir is an open tenant directory.
type tenantDir struct {
	root *os.Root
	// dir is the same directory, for its sync.
	dir  *os.File
	refs int

	mu sync.Mutex
	// waiting are renames that are not durable yet; syncing says that somebody is at
	// it.
	waiting []func(error)
	syncing bool
}

// afterSync calls done when what was renamed so far is durable, or with why it is
// not. One sync is for all renames that came before it began, and whoever renames
// goes on with other policies meanwhile.
func (t *tenantDir) afterSync(wg *sync.WaitGroup, done func(error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, done)
	if !t.syncing {
		t.syncing = true
		wg.Go(t.syncAll)
	}
}

func (t *tenantDir) syncAll() {
	for {
		t.mu.Lock()
		batch := t.waiting
		t.waiting = nil
		if len(batch) == 0 {
			t.syncing = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		err := t.dir.Sync()
		for _, done := range batch {
			done(err)
		}
	}
}

func (t *tenantDir) close() {
	_ = t.root.Close() // nothing is buffered
	_ = t.dir.Close()  // opened for reading
}

// tenantDirs keeps a few tenant directories open.
type tenantDirs struct {
	d  *Dir
	mu sync.Mutex
	m  map[string]*tenantDir
	// syncs are the directory syncs that are going on.
	syncs sync.WaitGroup
}

// idleDirs bounds the directories that are kept open and not in use.
const idleDirs = 32

func (d *Dir) tenantDirs() *tenantDirs { return &tenantDirs{d: d, m: map[string]*tenantDir{}} }

func (c *tenantDirs) get(tenant string) (*tenantDir, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.m[tenant]; t != nil {
		t.refs++
		return t, nil
	}
	root, err := c.d.root.OpenRoot(tenant)
	if err != nil {
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		_ = root.Close() // the first error says more
		return nil, err
	}
	for name, t := range c.m {
		if len(c.m) <= idleDirs {
			break
		}
		if t.refs == 0 {
			t.close()
			delete(c.m, name)
		}
	}
	t := &tenantDir{root: root, dir: dir, refs: 1}
	c.m[tenant] = t
	return t, nil
}

func (c *tenantDirs) put(t *tenantDir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.refs--
}

// close waits for what is not durable yet, and closes the directories.
func (c *tenantDirs) close() {
	c.syncs.Wait()
	for _, t := range c.m {
		t.close()
	}
}

// notPlainError sends a policy the general way.
type notPlainError struct{}

func (notPlainError) Error() string { return "not a plain file" }

// read reads a policy that is a plain file of its tenant's directory.
func (t *tenantDir) read(r Ref) ([]byte, fs.FileInfo, error) {
	st, err := t.root.Lstat(r.Policy + ext)
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, notPlainError{}
	}
	if st.Size() > policy.MaxBytes {
		return nil, nil, notPlainError{} // it has the words for that
	}
	f, err := t.root.Open(r.Policy + ext)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, nil, notPlainError{} // it became shorter: the general way reads it anew
	}
	return b, st, nil
}

func (c *tenantDirs) read(r Ref) ([]byte, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	t, err := c.get(r.Tenant)
	if err != nil {
		return c.d.Read(r)
	}
	defer c.put(t)
	b, _, err := t.read(r)
	if err != nil {
		return c.d.Read(r)
	}
	return b, nil
}

// update reads, edits and replaces a policy; done is called when that is durable
// and read back. False means that the policy has to go the general way.
func (c *tenantDirs) update(r Ref, edit Editor, done func(error)) bool {
	if err := check(r); err != nil {
		done(err)
		return true
	}
	t, err := c.get(r.Tenant)
	if err != nil {
		return false // the general way says what is wrong
	}
	now, st, err := t.read(r)
	if err != nil {
		c.put(t)
		return false // the same
	}
	b, err := edit(r, now)
	if err == nil && !bytes.Equal(b, now) {
		if err = c.d.checkPlain(r, st); err == nil {
			err = c.replace(t, r, st, b)
		}
		if err == nil {
			sum := sha256.Sum256(b)
			t.afterSync(&c.syncs, func(err error) {
				defer c.put(t)
				if err != nil {
					done(c.d.fail("sync the directory of", r.file(), err))
					return
				}
				done(c.readBack(t, r, sum))
			})
			return true
		}
	}
	c.put(t)
	done(err)
	return true
}

// readBack says why a policy, read again, is not what was written.
func (c *tenantDirs) readBack(t *tenantDir, r Ref, sum [sha256.Size]byte) error {
	back, _, err := t.read(r)
	if err != nil {
		back, err = c.d.Read(r)
	}
	if err != nil {
		return fault.New(fault.Environment, "%s is written, but cannot be read back: %w", c.d.Path(r), err)
	}
	if sha256.Sum256(back) != sum {
		return c.d.otherWriter(r)
	}
	return nil
}

// replace is Dir.replace within an open directory, but for the directory's sync.
func (c *tenantDirs) replace(t *tenantDir, r Ref, old fs.FileInfo, b []byte) (err error) {
	name := r.Policy + ext
	tmp := tempName(name)
	// What everybody may read may be so from the start; the rest is closed until it
	// has its owner.
	perm := fs.FileMode(0o600)
	if old.Mode().Perm()&0o044 == 0o044 {
		perm = old.Mode().Perm()
	}
	f, err := t.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return c.d.fail("write", r.file(), err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()          // may be closed already
			_ = t.root.Remove(tmp) // nothing better to say than the first error
		}
	}()
	if _, err = f.Write(b); err != nil {
		return c.d.fail("write", r.file(), err)
	}
	if err = c.d.keepProperties(f, r.file(), old); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return c.d.fail("write", r.file(), err)
	}
	if err = f.Close(); err != nil {
		return c.d.fail("write", r.file(), err)
	}
	if err = t.root.Rename(tmp, name); err != nil {
		return c.d.fail("replace", r.file(), err)
	}
	return nil
}

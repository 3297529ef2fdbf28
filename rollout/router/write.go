package router

import (
	"crypto/rand"
	"encoding/hex"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cbops/cbops/internal/fault"
)

// CheckWritable says beforehand why a policy cannot be replaced: read-only (also
// for root, who could: the mode is a wish), its directory not writable, an owner
// or group that could not be kept, or a second hard link that would be left with
// the old bytes. It changes nothing.
func (d *Dir) CheckWritable(r Ref) error {
	if err := check(r); err != nil {
		return err
	}
	name, st, err := d.resolve(r)
	if err != nil {
		return err
	}
	return d.checkWritable(r, name, st)
}

// checkPlain is what a file's own properties say against replacing it.
func (d *Dir) checkPlain(r Ref, st fs.FileInfo) error {
	if st.Mode().Perm()&0o222 == 0 {
		return fault.Hint(fault.New(fault.Environment, "%s is read-only (mode %04o)", d.Path(r), st.Mode().Perm()),
			"somebody protected it on purpose: chmod u+w it if this change is meant")
	}
	return d.checkOwner(r, st)
}

func (d *Dir) checkWritable(r Ref, name string, st fs.FileInfo) error {
	if err := d.checkPlain(r, st); err != nil {
		return err
	}
	if strings.HasPrefix(path.Base(path.Dir(name)), "..") {
		return fault.Hint(fault.New(fault.Environment, "%s lies in a mounted ConfigMap: what is written there is lost", d.Path(r)),
			"change the ConfigMap: docs/routers/configmap.md")
	}
	dir, err := d.root.Open(path.Dir(name))
	if err != nil {
		return d.fail("open", path.Dir(name), err)
	}
	defer dir.Close() //nolint:errcheck // nothing was written
	return d.checkAccess(r, dir, path.Base(name))
}

// resolve follows a link at the policy's own name to the file it means, because a
// rename would replace the link. Links on the way are left to os.Root.
func (d *Dir) resolve(r Ref) (string, fs.FileInfo, error) {
	want, err := d.root.Stat(r.file())
	if err != nil {
		return "", nil, d.fail("write", r.file(), err)
	}
	if !want.Mode().IsRegular() {
		return "", nil, fault.New(fault.Usage, "cannot write %s: not a regular file", d.Path(r))
	}
	name := r.file()
	for range 16 {
		st, err := d.root.Lstat(name)
		if err != nil {
			return "", nil, d.fail("write", name, err)
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			if !os.SameFile(st, want) {
				break // a link through another link: not ours to guess
			}
			return name, st, nil
		}
		to, err := d.root.Readlink(name)
		if err != nil {
			return "", nil, d.fail("write", name, err)
		}
		name = path.Join(path.Dir(name), to)
	}
	return "", nil, fault.New(fault.Environment, "cannot write %s: its symbolic links do not lead to a plain file", d.Path(r))
}

// Write replaces a policy's bytes: whole, or not at all. A temporary file in the
// same directory is written, given the old owner and mode, and synced, before it
// takes the old one's name; then the directory is synced. Whatever fails, the old
// file is whole and the temporary one is gone.
func (d *Dir) Write(r Ref, b []byte) error {
	if err := check(r); err != nil {
		return err
	}
	name, st, err := d.resolve(r)
	if err != nil {
		return err
	}
	if err := d.checkWritable(r, name, st); err != nil {
		return err
	}
	return d.replace(name, st, b)
}

func (d *Dir) replace(name string, old fs.FileInfo, b []byte) (err error) {
	tmp := path.Join(path.Dir(name), tempName(path.Base(name)))
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return d.fail("write", tmp, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()          // may be closed already
			_ = d.root.Remove(tmp) // nothing better to say than the first error
		}
	}()
	if _, err = f.Write(b); err != nil {
		return d.fail("write", name, err)
	}
	if err = d.keepProperties(f, name, old); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return d.fail("write", name, err)
	}
	if err = f.Close(); err != nil {
		return d.fail("write", name, err)
	}
	if err = d.root.Rename(tmp, name); err != nil {
		return d.fail("replace", name, err)
	}
	// From here on the new bytes are in place; only their durability can fail.
	return d.syncDir(path.Dir(name))
}

// keepProperties gives a new file the old one's owner and mode.
func (d *Dir) keepProperties(f *os.File, name string, old fs.FileInfo) error {
	mode, err := keepOwner(f, old)
	if err != nil {
		return d.fail("keep the owner of", name, err)
	}
	if mode == old.Mode() {
		return nil
	}
	if err := f.Chmod(old.Mode()); err != nil {
		return d.fail("keep the mode of", name, err)
	}
	return nil
}

// tempName starts with a dot, so that it is never a policy, and does not end in
// .json, so that a router that reads everything skips it too.
func tempName(base string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails; the name only has to be free
	if len(base) > 200 {
		base = base[:200] // a file name has 255 bytes
	}
	return "." + strings.TrimPrefix(base, ".") + ".cbops-" + hex.EncodeToString(b[:])
}

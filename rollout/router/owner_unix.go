//go:build unix

package router

import (
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cbops/cbops/internal/fault"
)

// checkOwner says why the new file could not be like the old one.
func (d *Dir) checkOwner(r Ref, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fault.New(fault.Environment, "cannot tell who owns %s", d.Path(r))
	}
	if sys.Nlink > 1 {
		return fault.Hint(fault.New(fault.Environment, "%s has %d hard links: replacing it would leave the others as they are", d.Path(r), sys.Nlink),
			"make it a file of its own: cp -p it to a new name and mv that back")
	}
	if euid := os.Geteuid(); euid != 0 {
		if int(sys.Uid) != euid {
			return fault.Hint(fault.New(fault.Environment, "%s belongs to uid %d: replacing it would make it yours (uid %d)", d.Path(r), sys.Uid, euid),
				"run cbops as the owner of the policies")
		}
		groups, err := os.Getgroups()
		if err != nil || int(sys.Gid) != os.Getegid() && !slices.Contains(groups, int(sys.Gid)) {
			return fault.Hint(fault.New(fault.Environment, "%s belongs to gid %d, of which you are no member: replacing it would change that", d.Path(r), sys.Gid),
				"run cbops as the owner of the policies")
		}
	}
	return nil
}

// checkAccess says why a file in an open directory could not be replaced.
func (d *Dir) checkAccess(r Ref, dir *os.File, base string) error {
	fd := int(dir.Fd())
	for _, c := range []struct {
		name string
		mode uint32
	}{{".", unix.W_OK | unix.X_OK}, {base, unix.W_OK}} {
		if err := unix.Faccessat(fd, c.name, c.mode, unix.AT_EACCESS); err != nil {
			what := d.Path(r)
			if c.name == "." {
				what = "the directory of " + what
			}
			return fault.New(fault.Environment, "%s is not writable: %w", what, err)
		}
	}
	return nil
}

// keepOwner gives the new file the old one's owner and group, and returns the mode
// that it then has: a change of owner clears special bits.
func keepOwner(f *os.File, old fs.FileInfo) (fs.FileMode, error) {
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fs.ErrInvalid
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if is, ok := st.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return st.Mode(), nil
	}
	return 0, f.Chown(int(was.Uid), int(was.Gid))
}

//go:build unix

package change

import (
	"io/fs"
	"os"
	"syscall"
)

// ours reports whether a file belongs to us: in a directory that everybody may
// write, another's file is not to be trusted.
func ours(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && (int(sys.Uid) == os.Geteuid() || sys.Uid == 0)
}

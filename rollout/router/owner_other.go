//go:build !unix

package router

import (
	"io/fs"
	"os"

	"github.com/cbops/cbops/internal/fault"
)

// Where a rename is not atomic and owners are unlike Unix', cbops only reads.
func (d *Dir) checkOwner(r Ref, _ fs.FileInfo) error {
	return fault.New(fault.Environment, "cannot write %s: on this system cbops only reads policies", d.Path(r))
}

func (d *Dir) checkAccess(Ref, *os.File, string) error { return nil }

func keepOwner(*os.File, fs.FileInfo) (fs.FileMode, error) { return 0, nil }

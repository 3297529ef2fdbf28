//go:build !unix

package router

import (
	"io/fs"
	"os"

	"github.com/cbops/cbops/internal/fault"
)

// Where a rename is not atomic and owners are unlike Unix', cbops only reads.
func (d *Dir) checkOwner(r Ref, _ *os.File, _ string, _ fs.FileInfo) error {
	return fault.New(fault.Environment, "cannot write %s: on this system cbops only reads policies", d.Path(r))
}

func keepOwner(*os.File, fs.FileInfo) error { return nil }

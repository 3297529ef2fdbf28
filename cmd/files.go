package cmd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cbops/cbops/internal/fault"
)

// readRegular reads a file that must be a regular one: a pipe in its place would
// block for ever. It returns one byte more than most where there are more.
func (a *app) readRegular(file string, most int64) ([]byte, error) {
	st, err := os.Stat(a.Path(file))
	if err == nil && !st.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, "%s: not a regular file", file)
	}
	f, err := os.Open(a.Path(file))
	if err != nil {
		return nil, fault.New(fault.Usage, "cannot read %s: %w", file, cause(err))
	}
	defer func() { _ = f.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fault.New(fault.Environment, "cannot read %s: %w", file, cause(err))
	}
	return raw, nil
}

// readWhole is readRegular for what has no parser that says that it is too large.
func (a *app) readWhole(file string, most int64) ([]byte, error) {
	raw, err := a.readRegular(file, most)
	if err == nil && int64(len(raw)) > most {
		return nil, fault.New(fault.Usage, "cannot read %s: larger than %d bytes", file, most)
	}
	return raw, err
}

// cause is the reason without the operation and the path, which the message has.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// writeWhole writes a file so that it is there whole or not at all.
func writeWhole(path string, raw []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".cbops-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(raw); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

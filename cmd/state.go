package cmd

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/cbops/cbops/internal/proc"
)

// State is the process as cbops sees it: the only way in which clock,
// environment, streams, working directory, network and other programs reach the
// code. Tests, scripts, the practice lab and the binary build one each and take
// the same path from there.
type State struct {
	// Now is the clock. Sleep waits, or returns ctx's error.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
	// Env looks a variable up; Environ lists all of them for child processes.
	Env     func(name string) (string, bool)
	Environ []string
	// Dir is the absolute working directory.
	Dir string

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// StdinTTY, StdoutTTY and StderrTTY say which streams are terminals; Width is
	// the terminal's width in columns, 0 if unknown.
	StdinTTY, StdoutTTY, StderrTTY bool
	Width                          int

	// Transport carries every HTTP request.
	Transport http.RoundTripper
	// Runner starts every other program.
	Runner proc.Runner
	// User is who acts, for holds and records: "on-call" unless known better.
	User string
}

// Path makes a path from the command line absolute.
func (s *State) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.Dir, p)
}

// Getenv returns a variable or "".
func (s *State) Getenv(name string) string {
	v, _ := s.Env(name)
	return v
}

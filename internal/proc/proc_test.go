package proc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/proc"
)

var runner = proc.OS{Now: time.Now}

func TestRunTellsNoFromBroken(t *testing.T) {
	res, err := runner.Run(t.Context(), proc.Command{Argv: []string{"sh", "-c", "cat; exit 7"}, Stdin: []byte("in")})
	if err != nil || res.ExitCode != 7 || string(res.Stdout) != "in" {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err := runner.Run(t.Context(), proc.Command{Argv: []string{"sh", "-c", "kill -9 $$"}}); err != nil || res.ExitCode == 0 {
		t.Errorf("killed: %+v, %v", res, err)
	}
	for _, argv := range [][]string{nil, {"no-such-program-here"}} {
		if _, err := runner.Run(t.Context(), proc.Command{Argv: argv}); err == nil {
			t.Errorf("%q ran", argv)
		}
	}
}

func TestRunExpandsNothing(t *testing.T) {
	res, err := runner.Run(t.Context(), proc.Command{Argv: []string{"echo", "$HOME;", "`id`"}})
	if err != nil || string(res.Stdout) != "$HOME; `id`\n" {
		t.Errorf("%q, %v", res.Stdout, err)
	}
}

func TestRunBoundsOutput(t *testing.T) {
	res, err := runner.Run(t.Context(), proc.Command{Argv: []string{"sh", "-c", "head -c 3000000 /dev/zero"}})
	if err != nil || res.ExitCode != 0 || len(res.Stdout) != proc.MaxOutput {
		t.Errorf("%d bytes, exit %d, %v", len(res.Stdout), res.ExitCode, err)
	}
}

// A child of a shell does not outlive the deadline of the shell.
func TestDeadlineStopsTheGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := runner.Run(ctx, proc.Command{Argv: []string{"sh", "-c", "sleep 60 & wait"}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

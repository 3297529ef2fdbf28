// Package proc runs other programs: the reload and verify commands that an
// operator configured. It holds the one place that starts a process. It knows
// nothing of policies or routers.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Command is a program to run. Nothing in it is expanded by a shell.
type Command struct {
	// Argv is the program and its arguments.
	Argv []string
	// Dir is the working directory; empty for the caller's.
	Dir string
	// Env are the variables, "K=V".
	Env []string
	// Stdin is given to the program, which then sees its end.
	Stdin []byte
	// MaxOutput bounds what is kept of standard output, in bytes; 0 means the
	// constant of that name.
	MaxOutput int
}

// Result is what a program left behind.
type Result struct {
	ExitCode int
	// Stdout and Stderr are cut at the bound of the command.
	Stdout, Stderr []byte
	Took           time.Duration
}

// MaxOutput bounds what is kept of an output stream, in bytes.
const MaxOutput = 1 << 20

// Runner runs commands. The error is for a program that could not be started or
// was stopped by ctx; a program that ran and said no is a Result with ExitCode ≠ 0.
type Runner interface {
	Run(ctx context.Context, c Command) (Result, error)
}

// OS runs real processes. Each gets a process group of its own, and the whole
// group is killed when ctx ends, so that a hanging child of a shell script
// cannot outlive its deadline.
type OS struct {
	// Now measures Took.
	Now func() time.Time
}

// Run implements Runner.
func (o OS) Run(ctx context.Context, c Command) (Result, error) {
	if len(c.Argv) == 0 {
		return Result{}, errors.New("no program to run")
	}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	if len(c.Stdin) > 0 { // otherwise the program sees the end at once
		cmd.Stdin = bytes.NewReader(c.Stdin)
	}
	stdout, stderr := capped{most: MaxOutput}, capped{most: MaxOutput}
	if c.MaxOutput > 0 {
		stdout.most = c.MaxOutput
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// How long a child that outlives the program may hold its output open; on a busy
	// machine the copying itself can take a second.
	cmd.WaitDelay = 5 * time.Second
	ownGroup(cmd)
	start := o.Now()
	err := cmd.Run()
	res := Result{Stdout: stdout.b, Stderr: stderr.b, Took: o.Now().Sub(start)}
	if ctx.Err() != nil {
		return res, fmt.Errorf("%s stopped after %s: %w", c.Argv[0], res.Took.Round(time.Millisecond), context.Cause(ctx))
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		res.ExitCode = exit.ExitCode() // -1 when a signal ended it: not 0 either way
		return res, nil
	case err != nil:
		return res, fmt.Errorf("cannot run %s: %w", c.Argv[0], err)
	}
	return res, nil
}

// capped keeps the first bytes, at most so many, and accepts the rest silently, so
// that a chatty program is neither blocked nor allowed to fill memory.
type capped struct {
	b    []byte
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.most - len(c.b); room > 0 {
		c.b = append(c.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

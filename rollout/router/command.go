package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/internal/proc"
)

// Command is a configured program with placeholders. The zero value is none.
type Command struct {
	// Text is the command as the operator wrote it.
	Text  string
	argv  []string
	shell bool
}

// The placeholders of a command (DESIGN.md §3).
const (
	tenantMark = "{tenant}"
	policyMark = "{policy}"
	nodeMark   = "{node}"
)

// ParseCommand splits a command by POSIX quoting; nothing is expanded. A
// placeholder fills a whole argument, so that no value can change what the
// command does; inside an argument it is an error, because the program would get
// the braces. With shell, the text is given to sh and placeholders may stand
// anywhere.
func ParseCommand(flag, text string, shell bool) (Command, error) {
	if strings.TrimSpace(text) == "" {
		return Command{}, nil
	}
	c := Command{Text: text, shell: shell}
	if shell {
		c.argv = []string{"sh", "-c", text}
		return c, nil
	}
	argv, err := shellquote.Split(text)
	if err != nil {
		return Command{}, fault.Hint(fault.New(fault.Usage, "%s %q: %w", flag, text, err), "quote it as in a shell; --shell runs it by sh")
	}
	for _, a := range argv {
		for _, m := range []string{tenantMark, policyMark, nodeMark} {
			if a != m && strings.Contains(a, m) {
				return Command{}, fault.Hint(fault.New(fault.Usage, "%s: %s stands inside the argument %q: a placeholder fills a whole argument", flag, m, a),
					"call a script with "+m+" as an argument, or add --shell")
			}
		}
	}
	c.argv = argv
	return c, nil
}

// Given reports whether there is a command.
func (c Command) Given() bool { return len(c.argv) > 0 }

// PerPolicy reports whether the command names the policy or tenant it is for;
// otherwise it is about the whole router.
func (c Command) PerPolicy() bool { return c.has(tenantMark) || c.has(policyMark) }

// PerNode reports whether the command names the node it is for.
func (c Command) PerNode() bool { return c.has(nodeMark) }

func (c Command) has(mark string) bool {
	for _, a := range c.argv {
		if strings.Contains(a, mark) {
			return true
		}
	}
	return false
}

// Line is the command filled in, as one would type it.
func (c Command) Line(r Ref, node string) string {
	argv := c.fill(r, node)
	if c.shell {
		return argv[2]
	}
	return shellquote.Join(argv...)
}

func (c Command) fill(r Ref, node string) []string {
	if c.shell {
		// Ids hold nothing that a shell would see; a node's name may.
		node = shellquote.Join(node)
	}
	rep := strings.NewReplacer(tenantMark, r.Tenant, policyMark, r.Policy, nodeMark, node)
	argv := make([]string, len(c.argv))
	for i, a := range c.argv {
		argv[i] = rep.Replace(a)
	}
	return argv
}

// key tells which runs of a command are the same run: a command that does not
// name the policy is run once for all of them.
func (c Command) key(r Ref) Ref {
	if !c.has(tenantMark) {
		r.Tenant = ""
	}
	if !c.has(policyMark) {
		r.Policy = ""
	}
	return r
}

// Programs is how the operator's own programs are run.
type Programs struct {
	Runner proc.Runner
	// Dir and Env are the working directory and the environment.
	Dir string
	Env []string
	// Timeout bounds each run; 0 means DefaultTimeout.
	Timeout time.Duration
	// MaxOutput bounds what is read of a run's answer, in bytes; 0 means
	// proc.MaxOutput.
	MaxOutput int
}

// DefaultTimeout bounds one run of a program.
const DefaultTimeout = 60 * time.Second

// Exit codes by which a program says that it could not reach its node: sysexits'
// EX_UNAVAILABLE, and what ssh returns where it cannot connect.
const (
	exitUnavailable = 69
	exitSSH         = 255
)

// FailedError is the error of a program that ran and said no.
type FailedError struct {
	What string
	Exit int
	Tail string
}

// Error implements error.
func (f *FailedError) Error() string {
	return fmt.Sprintf("%s failed (exit %d)%s", f.What, f.Exit, f.Tail)
}

// interruptedError is the error of a program that was stopped because we were.
type interruptedError struct{ msg string }

func (i *interruptedError) Error() string { return i.msg }

func (i *interruptedError) Unwrap() error { return context.Canceled }

// Run runs a command. What names it in errors: "reload". A program that does not
// answer in time, or says by its exit code that it could not reach the node, is an
// UnreachableError.
func (p Programs) Run(ctx context.Context, what string, c Command, r Ref, node string, stdin []byte) ([]byte, error) {
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	tctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	res, err := p.Runner.Run(tctx, proc.Command{Argv: c.fill(r, node), Dir: p.Dir, Env: p.Env, Stdin: stdin, MaxOutput: p.MaxOutput})
	tail := outputTail(res)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled) && errors.Is(context.Cause(ctx), context.Canceled):
		return nil, &interruptedError{what + " interrupted" + tail}
	case err != nil && tctx.Err() != nil:
		return nil, unreachable("%s: %w%s", what, context.Cause(tctx), tail)
	case err != nil:
		return nil, fmt.Errorf("%s failed: %w%s", what, err, tail)
	case res.ExitCode == exitUnavailable || res.ExitCode == exitSSH:
		return nil, unreachable("%s: the node cannot be reached (exit %d)%s", what, res.ExitCode, tail)
	case res.ExitCode != 0:
		return nil, &FailedError{what, res.ExitCode, tail}
	}
	return res.Stdout, nil
}

// maxTail bounds what is quoted of a program's output, in bytes.
const maxTail = 300

// outputTail is the end of what a program said, on one line: the last words are
// the ones that explain an exit. Control characters are the renderer's to remove.
func outputTail(res proc.Result) string {
	out := bytes.TrimSpace(res.Stderr)
	if len(out) == 0 {
		out = bytes.TrimSpace(res.Stdout)
	}
	if len(out) == 0 {
		return ""
	}
	cut := len(out) > maxTail
	if cut {
		out = out[len(out)-maxTail:]
	}
	line := strings.Join(strings.Fields(strings.ToValidUTF8(string(out), "\uFFFD")), " ")
	if cut {
		line = "…" + line
	}
	return ": " + line
}

// CommandOf makes a command of an argument vector; placeholders fill whole
// arguments.
func CommandOf(flag string, argv []string) (Command, error) {
	return ParseCommand(flag, shellquote.Join(argv...), false)
}

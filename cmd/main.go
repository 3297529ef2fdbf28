// Package cmd is the command line: one file per subcommand. A command parses
// flags, calls a package, and hands the result to internal/render. It holds no
// rules of its own: what is right or wrong is decided in the packages below.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

// Main runs cbops with the given arguments (without the program's name) and
// returns its exit code. It is the whole program.
func Main(ctx context.Context, state State, args []string) (code int) {
	a := &app{State: state}
	defer func() {
		if r := recover(); r != nil {
			// A crash is not a verdict: say so, and say what to send along.
			fmt.Fprintf(state.Stderr, "cbops: error: internal fault: %v\nhint: this is a defect of cbops; nothing above it counts as a verdict\n%s", r, debug.Stack())
			code = int(fault.Environment)
		}
	}()
	root := newRootCmd(a)
	root.SetArgs(args)
	root.SetIn(state.Stdin)
	root.SetOut(state.Stdout)
	root.SetErr(state.Stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = fault.New(fault.Interrupted, "interrupted: %w", err)
	}
	if err != nil {
		report(state.Stderr, err)
	}
	return int(fault.Worst(a.code, fault.CodeOf(err)))
}

// report prints an error the way every command does: what failed, then hints.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "cbops: error: %s\n", render.Clean(err.Error()))
	seen := map[string]bool{}
	for _, h := range fault.HintsOf(err) {
		if !seen[h] {
			fmt.Fprintf(w, "hint: %s\n", render.Clean(h))
			seen[h] = true
		}
	}
}

// app is what the commands of one run share.
type app struct {
	State
	// format, ascii, plan are the global flags.
	format string
	ascii  bool
	plan   string
	// code is the worst code that a result asked for.
	code fault.Code
}

// show renders a result on stdout and remembers its exit code. An error while
// writing is an error of the environment: a verdict nobody could read is none.
func (a *app) show(doc render.Document, code fault.Code) error {
	opt, err := a.renderOptions()
	if err != nil {
		return err
	}
	a.code = fault.Worst(a.code, code)
	opt.Exit = int(a.code)
	if err := render.Write(a.Stdout, doc, opt); err != nil {
		return fault.New(fault.Environment, "cannot write the result: %w", err)
	}
	return nil
}

func (a *app) renderOptions() (render.Options, error) {
	f, err := render.ParseFormat(a.format)
	if err != nil {
		return render.Options{}, fault.Wrap(fault.Usage, err)
	}
	_, noColor := a.Env("NO_COLOR")
	return render.Options{
		Format: f,
		Color:  a.StdoutTTY && !noColor && a.Getenv("TERM") != "dumb",
		Width:  a.Width,
		ASCII:  a.ascii || !utf8Locale(a.Env),
	}, nil
}

// progress prints a line for the person who waits; only on a terminal.
func (a *app) progress(format string, args ...any) {
	if a.StderrTTY {
		fmt.Fprintf(a.Stderr, "%s\n", render.Clean(fmt.Sprintf(format, args...)))
	}
}

// say prints a line on stderr in any case: the environment line, warnings.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.Stderr, "%s\n", render.Clean(fmt.Sprintf(format, args...)))
}

// readonly reports whether CBOPS_READONLY forbids every change.
func (a *app) readonly() bool {
	v := strings.ToLower(strings.TrimSpace(a.Getenv("CBOPS_READONLY")))
	return v != "" && v != "0" && v != "false" && v != "no"
}

func utf8Locale(env func(string) (string, bool)) bool {
	for _, k := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v, ok := env(k); ok && v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true // nothing said: every terminal of this century
}

// usageArgs makes cobra's argument checks usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		return fault.Wrap(fault.Usage, check(c, args), "see: "+c.CommandPath()+" --help")
	}
}

// Package fault carries two facts along with an error: the exit code it
// deserves and the hints that tell its reader what to do next. It holds the one
// table of exit codes and their precedence. It prints nothing and knows no
// command: package cmd reads code and hints at the very end.
package fault

import (
	"errors"
	"fmt"
	"slices"
)

// Code is a process exit code. Scripts rely on the numbers; they never move.
type Code int

// The exit codes of cbops, one sentence each.
const (
	// OK: what was asked for is done, or the gate passes.
	OK Code = 0
	// Failed: a gate or check failed, or diff found changes.
	Failed Code = 1
	// Usage: the command line, a document or the configuration is wrong.
	Usage Code = 2
	// Inconclusive: the evidence does not suffice for a yes or a no.
	Inconclusive Code = 3
	// Environment: no answer at all: network, disk, permissions, a lease that
	// somebody holds, or a recovered panic.
	Environment Code = 4
	// Partial: a change was made only in part, or was not verified.
	Partial Code = 5
	// Interrupted: a signal came, or the person said no.
	Interrupted Code = 130
)

// precedence lists the codes from the one that wins to the one that yields.
var precedence = [...]Code{Partial, Interrupted, Environment, Usage, Failed, Inconclusive, OK}

// Table returns every code with its sentence, in numerical order, for help texts.
func Table() []Entry {
	return []Entry{
		{OK, "done, or the gate passes"},
		{Failed, "a gate or check fails; diff found changes"},
		{Usage, "usage or configuration is wrong"},
		{Inconclusive, "inconclusive or unmeasurable"},
		{Environment, "environment: no answer at all, disk, permissions, a recovered panic"},
		{Partial, "changed only in part, or not verified"},
		{Interrupted, "interrupted or declined"},
	}
}

// Entry is a line of Table.
type Entry struct {
	Code    Code
	Meaning string
}

// Worst returns the code that wins when several hold at once; OK for none.
// A code outside the table counts as Environment: an unknown outcome is never OK.
func Worst(codes ...Code) Code {
	best := len(precedence) - 1
	for _, c := range codes {
		i := slices.Index(precedence[:], c)
		if i < 0 {
			i = slices.Index(precedence[:], Environment)
		}
		best = min(best, i)
	}
	return precedence[best]
}

// Error is an error with an exit code and hints. Build it with New, Wrap or Hint.
type Error struct {
	code  Code
	coded bool
	err   error
	hints []string
}

// Error implements error. Hints are not part of the text.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap lets errors.Is and errors.As look through.
func (e *Error) Unwrap() error { return e.err }

// New returns an error with a code; format and args are as for fmt.Errorf, %w included.
func New(code Code, format string, args ...any) error {
	return &Error{code: code, coded: true, err: fmt.Errorf(format, args...)}
}

// Wrap attaches a code to err, unless it, or an error that it wraps, has one
// already: the place nearest to the cause knows best. A nil err stays nil.
func Wrap(code Code, err error, hints ...string) error {
	if err == nil {
		return nil
	}
	if _, ok := lookup(err); ok {
		return Hint(err, hints...)
	}
	return &Error{code: code, coded: true, err: err, hints: hints}
}

// Hint attaches hints to err: each a sentence or a command for the reader's next step.
// A nil err stays nil.
func Hint(err error, hints ...string) error {
	hints = slices.DeleteFunc(slices.Clone(hints), func(h string) bool { return h == "" })
	if err == nil || len(hints) == 0 {
		return err
	}
	return &Error{err: err, hints: hints}
}

// CodeOf returns the code of err: OK for nil, Environment where none was attached.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if c, ok := lookup(err); ok {
		return c
	}
	return Environment
}

// Coded reports whether err carries a code at all.
func Coded(err error) bool {
	_, ok := lookup(err)
	return ok
}

func lookup(err error) (Code, bool) {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return 0, false
		}
		if e.coded {
			return e.code, true
		}
		err = e.err
	}
	return 0, false
}

// HintsOf returns every hint on the way from err to its cause, outermost last,
// so that the most specific advice comes first.
func HintsOf(err error) []string {
	var hints []string
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			break
		}
		hints = append(slices.Clone(e.hints), hints...)
		err = e.err
	}
	return hints
}

// Command cbops operates the staged rollout of a circuit breaker.
package main

import (
	"context"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/cbops/cbops/cmd"
	"github.com/cbops/cbops/internal/proc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks; a second one ends the process whatever it is doing.
	context.AfterFunc(ctx, stop)
	code := cmd.Main(ctx, state(), os.Args[1:])
	stop()
	os.Exit(code)
}

// state gathers what the process was given. It is the one place that does.
func state() cmd.State {
	dir, err := os.Getwd()
	if err != nil {
		dir = "." // commands that need a path will say what is wrong with it
	}
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		width = 0
	}
	user := os.Getenv("CBOPS_USER")
	if user == "" {
		user = os.Getenv("USER")
	}
	return cmd.State{
		Now:       time.Now,
		Sleep:     sleep,
		Env:       os.LookupEnv,
		Environ:   os.Environ(),
		Dir:       dir,
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		StdinTTY:  term.IsTerminal(int(os.Stdin.Fd())),
		StdoutTTY: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTTY: term.IsTerminal(int(os.Stderr.Fd())),
		Width:     width,
		Transport: http.DefaultTransport,
		Runner:    proc.OS{Now: time.Now},
		User:      user,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Command bench compares cbops with named peers, on this machine and in one go: the
// breaker twin with Go circuit breakers in the same binary, the reading of
// Prometheus' answers and of a fleet's evidence with other ways to read them, a
// rollback of ten thousand policies with a bare loop of the same durable writes, and
// the start of cbops with that of a bare cobra program. It is a module of its own
// so that the peers are no dependencies of cbops.
//
// Slowness is reported, never an error: it fails only where something could not
// be measured.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
)

func main() {
	if done, err := child(os.Args[1:]); done {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Printf("%s %s/%s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, compare := range []func(io.Writer) error{
		compareBreakers,
		compareSizes,
		compareProcesses,
		compareAnswers,
		compareFleets,
		compareRollback,
	} {
		if err := compare(os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

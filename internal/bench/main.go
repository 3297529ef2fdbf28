// Command bench compares cbops with named peers, on this machine and in one go:
// the breaker twin with four Go circuit breakers in the same binary, and the
// start of cbops with that of a bare cobra program. It is a module of its own so
// that the peers are no dependencies of cbops.
//
// Slowness is reported, never an error: it fails only where something could not
// be measured.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Printf("%s %s/%s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := compareBreakers(os.Stdout); err != nil {
		return err
	}
	if err := compareSizes(os.Stdout); err != nil {
		return err
	}
	return compareProcesses(os.Stdout)
}

// Command bench compares cbops with named peers, on this machine and in one go:
// the breaker twin with Go circuit breakers in the same binary, the start of cbops
// with that of a bare cobra program, and the reading of a fleet's evidence with
// reading the same answers raw. It is a module of its own so that the peers are no
// dependencies of cbops.
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
	if len(os.Args) == 4 && os.Args[1] == "read-fleet" { // a process of its own, to measure its memory
		if err := readFleetHere(os.Stdout, os.Args[2], os.Args[3]); err != nil {
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
	if err := compareBreakers(os.Stdout); err != nil {
		return err
	}
	if err := compareProcesses(os.Stdout); err != nil {
		return err
	}
	return compareFleets(os.Stdout)
}

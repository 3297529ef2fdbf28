//go:build !unix

package main

import "time"

// cpuTime is not known here; the wall clock takes its place.
func cpuTime() (time.Duration, bool) { return 0, false }

//go:build !linux

package main

import "os"

func syncAll(d *os.File) error { return d.Sync() }

// Command bare is the least that a cobra program with one command can be. The
// benchmark starts it beside cbops, to tell what cbops adds to a start.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "bare"}
	root.AddCommand(&cobra.Command{
		Use: "version",
		Run: func(*cobra.Command, []string) { fmt.Println("bare devel") },
	})
	if err := root.Execute(); err != nil {
		os.Exit(1)
	}
}

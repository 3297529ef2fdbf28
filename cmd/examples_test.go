package cmd

import (
	"strings"
	"testing"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"
)

// TestExamplesParse: every command shows how it is called, and what it shows is
// accepted by the flags it has.
func TestExamplesParse(t *testing.T) {
	root := newRootCmd(&app{})
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, k := range c.Commands() {
			if k.Name() == "help" || k.Name() == "completion" {
				continue
			}
			seen++
			if k.Example == "" {
				t.Errorf("%s has no example", k.CommandPath())
			}
			if k.Short == "" {
				t.Errorf("%s has no short description", k.CommandPath())
			}
			for line := range strings.SplitSeq(strings.ReplaceAll(k.Example, "\\\n", " "), "\n") {
				line = strings.TrimSpace(line)
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				checkExample(t, k, line)
			}
			walk(k)
		}
	}
	walk(root)
	if seen < 10 {
		t.Errorf("only %d commands in the tree", seen)
	}
}

func checkExample(t *testing.T, k *cobra.Command, line string) {
	t.Helper()
	words, err := shellquote.Split(line)
	if err != nil || len(words) < 2 || words[0] != "cbops" {
		t.Errorf("%s: not a call of cbops: %s (%v)", k.CommandPath(), line, err)
		return
	}
	for i, w := range words { // redirections and pipes are the shell's
		if w == "|" || w == ">" || w == "&&" {
			words = words[:i]
			break
		}
	}
	found, rest, err := newRootCmd(&app{}).Find(words[1:])
	if err != nil {
		t.Errorf("%s: %s: %v", k.CommandPath(), line, err)
		return
	}
	if !strings.HasPrefix(found.CommandPath(), k.CommandPath()) {
		t.Errorf("%s shows an example of %s", k.CommandPath(), found.CommandPath())
	}
	if err := found.ParseFlags(rest); err != nil {
		t.Errorf("%s: %s: %v", k.CommandPath(), line, err)
	}
}

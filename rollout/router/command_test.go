package router

import "testing"

func TestParseCommand(t *testing.T) {
	if _, err := ParseCommand("--reload", "curl http://r/{tenant}", false); err == nil {
		t.Error("a placeholder inside an argument was accepted")
	}
	if _, err := ParseCommand("--reload", "a 'b", false); err == nil {
		t.Error("an open quote was accepted")
	}
	c, err := ParseCommand("--reload", `run "a b" $HOME {tenant}`, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.argv; len(got) != 4 || got[1] != "a b" || got[2] != "$HOME" {
		t.Errorf("argv = %q: quoting is honoured, nothing is expanded", got)
	}
	if !c.PerPolicy() || c.PerNode() {
		t.Error("PerPolicy or PerNode is wrong")
	}
}

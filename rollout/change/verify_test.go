package change

import (
	"strings"
	"testing"
)

func TestDisagreement(t *testing.T) {
	want := writtenFields([]byte(`{"circuit_breaker":{"enabled":true,"error_rate_threshold":0.5,"timeout_ms":30000,"note":"dropped"}}`))
	for _, c := range []struct{ name, stdout, want string }{
		{"no output", ``, ``},
		{"words", `loaded ok`, ``},
		{"object without a breaker", `{"ok":true}`, ``},
		{"agrees", `{"circuit_breaker":{"enabled":true,"error_rate_threshold":5e-1,"timeout_ms":30000.0,"success_threshold":2}}`, ``},
		{"agrees, the breaker itself", `{"enabled":true,"error_rate_threshold":0.5,"timeout_ms":30000}`, ``},
		{"lies, nested", `{"policy":{"circuit_breaker":{"enabled":false,"error_rate_threshold":0.5,"timeout_ms":30000}}}`, `loaded says enabled false, written is true`},
		{"another number", `{"enabled":true,"error_rate_threshold":0.5,"timeout_ms":60000}`, `loaded says timeout_ms 60000, written is 30000`},
		{"a string is no number", `{"enabled":true,"error_rate_threshold":0.5,"timeout_ms":"30000"}`, `loaded says timeout_ms "30000"`},
		{"leaves one out", `{"enabled":true,"timeout_ms":30000}`, `loaded does not say error_rate_threshold`},
		{"null breaker", `{"circuit_breaker":null}`, `loaded does not say enabled`},
	} {
		got := disagreement([]byte(c.stdout), want)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

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

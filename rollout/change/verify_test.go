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
		got := disagreement([]byte(c.stdout), false, want)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A strict answer has to show the breaker; a missing enabled is the router's false.
func TestStrictDisagreement(t *testing.T) {
	on := writtenFields([]byte(`{"circuit_breaker":{"enabled":true}}`))
	for _, c := range []struct {
		name, answer string
		want         fields
		agrees       bool
	}{
		{"nothing shown, enabled wanted", `{"policy_id":"chat"}`, on, false},
		{"not JSON, enabled wanted", `ok`, on, false},
		{"nothing shown, off wanted", `{"policy_id":"chat"}`, breakerOff(), true},
		{"no enabled, off wanted", `{"circuit_breaker":{"timeout_ms":1000}}`, breakerOff(), true},
		{"on, off wanted", `{"circuit_breaker":{"enabled":true}}`, breakerOff(), false},
	} {
		if got := disagreement([]byte(c.answer), true, c.want); (got == "") != c.agrees {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

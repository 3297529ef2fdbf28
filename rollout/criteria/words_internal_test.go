package criteria

import (
	"testing"
	"time"
)

func TestRound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		4 * time.Second: "4 s", time.Minute: "1 m", 72 * time.Second: "1 m 12 s", 70 * time.Second: "1 m 10 s", 10 * time.Minute: "10 m", time.Hour: "1 h",
		20 * time.Hour: "20 h", 31*time.Hour + 34*time.Minute: "31 h 34 m", 72 * time.Hour: "3.0 days",
	} {
		if got := round(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

package doctor

import (
	"testing"
	"time"
)

func TestTell(t *testing.T) {
	for _, every := range []time.Duration{time.Minute, 15 * time.Second} {
		begin := time.Now()
		hs, err := tellAll(t.Context(), every, shortest)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(every, time.Since(begin), len(hs))
	}
}

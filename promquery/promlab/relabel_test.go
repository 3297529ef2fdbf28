package promlab

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func contents(s *Store) []string {
	out := []string{}
	s.Each(func(lset map[string]string, samples func(func(time.Time, float64) bool)) {
		line := fmt.Sprint(lset)
		samples(func(t time.Time, v float64) bool { line += fmt.Sprintf(" %d:%g", t.Unix(), v); return true })
		out = append(out, line)
	})
	return out
}

func TestRelabel(t *testing.T) {
	s := NewStore()
	add := func(s *Store, name, from string, at int64, v float64) {
		t.Helper()
		if err := s.Append(map[string]string{"__name__": name, "from": from}, time.Unix(at, 0), v); err != nil {
			t.Fatal(err)
		}
	}
	add(s, "a", "x", 1, 1)
	add(s, "a", "x", 2, 2)
	add(s, "a", "y", 2, 10)
	add(s, "b", "x", 1, 5)
	add(s, "c", "x", 1, 7)
	out, err := s.Relabel(func(l map[string]string) map[string]string {
		switch l["__name__"] {
		case "a":
			return map[string]string{"__name__": "sum"}
		case "b":
			return map[string]string{"__name__": "bb", "from": l["from"], "cluster": "prod"}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"map[__name__:bb cluster:prod from:x] 1:5", "map[__name__:sum] 1:1 2:12"}
	if d := cmp.Diff(want, contents(out)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// Both go on, each for itself.
	add(s, "b", "x", 3, 6)
	if err := out.Append(map[string]string{"__name__": "bb", "from": "x", "cluster": "prod"}, time.Unix(4, 0), 9); err != nil {
		t.Fatal(err)
	}
	want[0] += " 4:9"
	if d := cmp.Diff(want, contents(out)); d != "" {
		t.Errorf("after appending to both (-want +got):\n%s", d)
	}
	if got := contents(s)[2]; got != "map[__name__:b from:x] 1:5 3:6" {
		t.Errorf("the old store: %s", got)
	}
}

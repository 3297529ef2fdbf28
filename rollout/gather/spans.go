package gather

import (
	"cmp"
	"slices"
	"sort"
)

// span is from one instant to another, both included, in milliseconds.
type span struct{ from, to int64 }

// spans are stretches of time. Once merged they are disjoint and ascend, which
// look-ups rely on.
type spans []span

// merged sorts spans and joins those that overlap.
func (s spans) merged() spans {
	slices.SortFunc(s, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	out := s[:0]
	for _, x := range s {
		if n := len(out) - 1; n >= 0 && x.from <= out[n].to {
			out[n].to = max(out[n].to, x.to)
			continue
		}
		out = append(out, x)
	}
	return out
}

// ending is the index of the first span that ends at or after t.
func (s spans) ending(t int64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].to >= t })
}

// cover reports whether one span holds all of [from, to].
func (s spans) cover(from, to int64) bool {
	i := s.ending(to)
	return i < len(s) && s[i].from <= from
}

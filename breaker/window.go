package breaker

// window holds the events of the last seconds, oldest first, in a ring that
// grows by doubling: 8 bytes an event, the failure bit in the time's lowest bit.
// Events come in order of time, or nearly: an event that is older than the last
// stays behind it, as in the router's list.
type window struct {
	ring     []int64 // time<<1 | failed; length is a power of two or 0
	head     int     // of the oldest
	n        int
	failures int
}

func (w *window) len() int { return w.n }

func (w *window) push(now int64, failed bool) {
	if w.n == len(w.ring) {
		w.grow()
	}
	e := now << 1
	if failed {
		e |= 1
		w.failures++
	}
	w.ring[(w.head+w.n)&(len(w.ring)-1)] = e
	w.n++
}

// trim drops events before edge; one at exactly edge is still in.
func (w *window) trim(edge int64) {
	for w.n > 0 {
		e := w.ring[w.head]
		if e>>1 >= edge {
			return
		}
		if e&1 != 0 {
			w.failures--
		}
		w.head = (w.head + 1) & (len(w.ring) - 1)
		w.n--
	}
	w.head = 0
}

func (w *window) grow() {
	size := max(8, 2*len(w.ring))
	ring := make([]int64, size)
	for i := range w.n {
		ring[i] = w.ring[(w.head+i)&(len(w.ring)-1)]
	}
	w.ring, w.head = ring, 0
}

// rate is the share of failures, 0 for an empty window.
func (w *window) rate() float64 {
	if w.n == 0 {
		return 0
	}
	return float64(w.failures) / float64(w.n)
}

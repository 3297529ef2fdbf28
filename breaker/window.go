package breaker

import "unsafe"

// window holds the outcomes of the last seconds, exactly, in the order in which
// they arrived. Neighbours of the same millisecond share one record of 8 bytes,
// so a window of a second never needs more than 1,000 records however busy the
// circuit is, and one outcome a millisecond or less takes 8 bytes each.
//
// Records lie in blocks that are chained: growing copies nothing, a block whose
// outcomes are all too old is dropped whole, and one spare block is kept, so that
// a steady load allocates nothing. So the cost of an operation is the same with a
// million outcomes as with none.
//
// Outcomes come in order of time, or nearly: one that is older than the last
// stays behind it, and leaves when it is the oldest in line.
type window struct {
	head, tail *block
	spare      *block
	share
	oldest int64 // time of the oldest in line, while there is one
	bytes  int   // of all blocks, the spare one included
}

// share is a number of outcomes and how many of them failed. The division is left
// to whoever wants the rate: most outcomes are recorded and nobody asks.
type share struct{ failures, of int }

// rate is failures of all, 0 for none.
func (s share) rate() float64 {
	if s.of == 0 {
		return 0
	}
	return float64(s.failures) / float64(s.of)
}

// record is what arrived in one millisecond without another in between: the
// milliseconds since the block's base in the high 32 bits, then 16 bits of
// outcomes and 16 of failures.
type record uint64

const (
	outcome   record = 1 << 16
	countMask        = 1<<16 - 1
	span             = 1 << 32 // milliseconds that a block can reach over
	minBlock         = 8       // records
	maxBlock         = 256
)

func (r record) after() int64  { return int64(r >> 32) }
func (r record) outcomes() int { return int(r >> 16 & countMask) }
func (r record) failures() int { return int(r & countMask) }

// block is a run of records. The counts are of those from first on.
type block struct {
	next     *block
	base     int64 // time of the first record ever put in, ms
	latest   int64 // of the times put in
	first    int32 // index of the oldest record still held
	n        int32
	failures int32
	records  []record
}

// push takes an outcome.
func (w *window) push(now int64, failed bool) {
	r := outcome
	if failed {
		r++
		w.failures++
	}
	if w.of == 0 {
		w.oldest = now
	}
	w.of++
	b := w.tail
	if b == nil {
		b = w.extend()
	}
	if len(b.records) == 0 {
		b.base, b.latest = now, now
	}
	after := now - b.base
	if after < 0 || after >= span {
		b = w.extend()
		b.base, b.latest = now, now
		after = 0
	}
	last := len(b.records) - 1
	switch {
	case last >= int(b.first) && b.records[last].after() == after && b.records[last].outcomes() < countMask:
		b.records[last] += r
	case len(b.records) < cap(b.records):
		b.records = append(b.records, record(after)<<32|r)
	default:
		b = w.extend()
		b.base, b.latest = now, now
		b.records = append(b.records, r)
	}
	b.n++
	b.failures += int32(r & 1)
	b.latest = max(b.latest, now)
}

// extend chains an empty block. It is a quarter of what is held, so that a small
// window stays small.
func (w *window) extend() *block {
	size := min(max(w.of/4, minBlock), maxBlock)
	b := w.spare
	if b != nil && cap(b.records) >= size {
		w.spare = nil
	} else {
		b = &block{records: make([]record, 0, size)}
		w.bytes += b.bytes()
	}
	if w.tail == nil {
		w.head = b
	} else {
		w.tail.next = b
	}
	w.tail = b
	return b
}

// trim drops outcomes before edge, oldest in line first, until it meets one that
// is not; one at exactly edge is still in (ROUTER.md §4).
func (w *window) trim(edge int64) {
	if w.of > 0 && w.oldest < edge {
		w.cut(edge)
	}
}

func (w *window) cut(edge int64) {
	for w.of > 0 {
		b := w.head
		if b.latest < edge {
			w.drop(b)
			continue
		}
		for int(b.first) < len(b.records) {
			r := b.records[b.first]
			if at := b.base + r.after(); at >= edge {
				w.oldest = at
				return
			}
			b.first++
			n, f := r.outcomes(), r.failures()
			b.n -= int32(n)
			b.failures -= int32(f)
			w.of -= n
			w.failures -= f
		}
		w.drop(b)
	}
}

// drop takes the oldest block out, with what is left in it.
func (w *window) drop(b *block) {
	w.of -= int(b.n)
	w.failures -= int(b.failures)
	w.head = b.next
	b.next, b.first, b.n, b.failures, b.records = nil, 0, 0, 0, b.records[:0]
	switch {
	case w.head == nil && cap(b.records) <= 4*minBlock:
		w.head, w.spare = b, nil
		w.bytes = b.bytes()
	case w.head == nil: // empty: a circuit without traffic is small
		w.tail, w.spare = nil, nil
		w.bytes = 0
	case w.spare == nil || cap(w.spare.records) < cap(b.records):
		w.bytes -= w.spare.bytes()
		w.spare = b
	default:
		w.bytes -= b.bytes()
	}
}

// bytes is the memory of a block; 0 for none.
func (b *block) bytes() int {
	if b == nil {
		return 0
	}
	return int(unsafe.Sizeof(*b)) + int(unsafe.Sizeof(b.records[0]))*cap(b.records)
}

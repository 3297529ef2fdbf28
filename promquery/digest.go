package promquery

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"math/bits"
	"slices"
)

// digest takes the SHA-256 of one series: its labels, as labelSet.id spells them,
// and its samples in order of time. A sample is written in few bytes, since the sum
// is what reading costs most: first a byte of two numbers, a in its upper and b in
// its lower half; then a bytes of time, then b bytes of value.
//
//   - Time: the difference to the time before, less the difference before that, in
//     milliseconds; zigzag (0, −1, 1, −2, … as 0, 1, 2, 3, …), least significant byte
//     first, without zero bytes at its end. A steady scrape takes none.
//   - Value: the IEEE 754 bits, XOR those of the value before, most significant byte
//     first, without zero bytes at its end.
//
// Before the first sample all are 0. Every NaN is the same one.
type digest struct {
	sum         hash.Hash // nil before the first sample
	last, delta int64
	value       uint64
}

// pass counts samples, which come after the ones before, into the series' digest.
func (s *labelSet) pass(run []Sample) {
	d := &s.digest
	if d.sum == nil {
		d.sum = sha256.New()
		_, _ = d.sum.Write([]byte(s.id)) // a hash never fails
	}
	const most = 1 + 8 + 8
	var buf [256 * most]byte
	n := 0
	for _, x := range run {
		delta := x.T - d.last
		dd := delta - d.delta
		zigzag := uint64(dd<<1) ^ uint64(dd>>63)
		v := math.Float64bits(x.V)
		xor := bits.ReverseBytes64(v ^ d.value)
		a, b := (bits.Len64(zigzag)+7)/8, (bits.Len64(xor)+7)/8
		buf[n] = byte(a<<4 | b)
		// Eight bytes each time: what is too much is written over.
		binary.LittleEndian.PutUint64(buf[n+1:], zigzag)
		binary.LittleEndian.PutUint64(buf[n+1+a:], xor)
		if n += 1 + a + b; n > len(buf)-most {
			_, _ = d.sum.Write(buf[:n])
			n = 0
		}
		d.last, d.delta, d.value = x.T, delta, v
	}
	_, _ = d.sum.Write(buf[:n])
}

// passed reports whether the series has passed a sample of this time or a later one.
func (s *labelSet) passed(t int64) bool { return s.digest.sum != nil && t <= s.digest.last }

// measure returns how many series passed samples on, and the digest of all.
func (t *table) measure() (series int, digest string) {
	sums := make([]string, 0, len(t.by))
	for _, s := range t.by {
		if s.digest.sum != nil {
			sums = append(sums, string(s.digest.sum.Sum(nil)))
		}
	}
	slices.Sort(sums)
	h := sha256.New()
	for _, s := range sums {
		_, _ = h.Write([]byte(s))
	}
	return len(sums), hex.EncodeToString(h.Sum(nil))
}

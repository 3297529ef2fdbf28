package promquery

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestDigest holds the digest to its description, written down here a second time
// and at leisure: it must not change from one version of cbops to the next.
func TestDigest(t *testing.T) {
	series := []struct {
		labels  []label
		samples []Sample
	}{
		{[]label{{"__name__", "m"}, {"a", "ü"}}, []Sample{{-5, 1}, {60_000, 2.5}, {120_000, 2.5}, {180_123, math.NaN()}, {1 << 50, math.Inf(-1)}}},
		{[]label{{"__name__", "m"}}, []Sample{{0, 0}}},
	}
	number := func(b *bytes.Buffer, n int) { b.Write(binary.AppendUvarint(nil, uint64(n))) }
	var sums []string
	for _, s := range series {
		var b bytes.Buffer
		number(&b, len(s.labels))
		for _, l := range s.labels {
			for _, w := range []string{l.name, l.value} {
				number(&b, len(w))
				b.WriteString(w)
			}
		}
		var last, delta int64
		var value uint64
		for _, x := range s.samples {
			d := x.T - last
			dd := d - delta
			zigzag := uint64(2 * dd)
			if dd < 0 {
				zigzag = uint64(-2*dd - 1)
			}
			var when, what []byte
			for ; zigzag > 0; zigzag /= 256 {
				when = append(when, byte(zigzag))
			}
			bits := math.Float64bits(x.V) ^ value
			for shift := 56; bits<<(56-shift) != 0 && shift >= 0; shift -= 8 {
				what = append(what, byte(bits>>shift))
			}
			b.WriteByte(byte(16*len(when) + len(what)))
			b.Write(when)
			b.Write(what)
			last, delta, value = x.T, d, math.Float64bits(x.V)
		}
		sum := sha256.Sum256(b.Bytes())
		sums = append(sums, string(sum[:]))
	}
	slices.Sort(sums)
	all := sha256.Sum256([]byte(strings.Join(sums, "")))
	want := hex.EncodeToString(all[:])

	for _, cut := range []int{1, 2, 100} { // in whatever pieces, and series in whatever order
		tab := newTable(10)
		for i := range series {
			s := series[(i+cut)%len(series)]
			set, err := tab.intern(slices.Clone(s.labels), "")
			if err != nil {
				t.Fatal(err)
			}
			for run := range slices.Chunk(s.samples, cut) {
				set.pass(run)
			}
		}
		if n, got := tab.measure(); got != want || n != 2 {
			t.Errorf("in pieces of %d: %d series, %s, want %s", cut, n, got, want)
		}
	}
	if want != "35ccab049c6c7f417468e9308987ddc51c536de23320d4237ed14b76aa795f6c" {
		t.Errorf("the digest changed: %s", want)
	}
}

package promquery

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape refuses half a surrogate pair too: it stands for no character.
func unescape(out, raw []byte) ([]byte, bool) {
	for len(raw) > 0 {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 {
			return append(out, raw...), true
		}
		out = append(out, raw[:n]...)
		if raw = raw[n+1:]; len(raw) == 0 {
			return out, false
		}
		c := raw[0]
		raw = raw[1:]
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(raw)
			if !ok {
				return out, false
			}
			raw = raw[4:]
			if utf16.IsSurrogate(r) {
				if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
					return out, false
				}
				low, ok := hex4(raw[2:])
				if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
					return out, false
				}
				raw = raw[6:]
			}
			out = utf8.AppendRune(out, r)
		default:
			return out, false
		}
	}
	return out, true
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func validNumber(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	switch {
	case len(b) == 0:
		return false
	case b[0] == '0':
		b = b[1:]
	default:
		n := digits(b)
		if n == 0 {
			return false
		}
		b = b[n:]
	}
	if len(b) > 0 && b[0] == '.' {
		n := digits(b[1:])
		if n == 0 {
			return false
		}
		b = b[1+n:]
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		n := digits(b)
		if n == 0 {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}

// fastWindow is how many bytes fastSample looks at; it wants one more to follow.
const fastWindow = 40

// Eight bytes at a time: what a digit's byte is, and what it takes to tell.
const (
	zeros  = 0x3030303030303030 // '0'
	aboves = 0x7676767676767676 // lifts what is no digit, less '0', over 0x7f
	tops   = 0x8080808080808080
)

// digits8 is the number of digits that eight bytes, in memory's order, begin with.
func digits8(c uint64) int {
	x := c ^ zeros
	return bits.TrailingZeros64(((x+aboves)|x)&tops) / 8
}

// number8 is the number that the first n bytes spell, all of them digits: pairs,
// then fours, then all eight are added up at once.
func number8(c uint64, n int) uint64 {
	c = c << (64 - 8*n) & 0x0f0f0f0f0f0f0f0f // leading zeros in front
	c = c * 2561 >> 8 & 0x00ff00ff00ff00ff
	c = c * 6553601 >> 16 & 0x0000ffff0000ffff
	return c * 42949672960001 >> 32
}

// fastSample reads a sample in the spelling that servers use, such as
// [1700000000.123,"42"], and returns its length; 0 means that it must be read the
// long way. At most 15 digits make a whole number and a power of ten that a
// float64 holds exactly, so their quotient is the nearest float64, as
// strconv.ParseFloat has it.
func fastSample(b []byte) (t int64, v float64, n int) {
	if len(b) <= fastWindow {
		return 0, 0, 0
	}
	b = b[:fastWindow:fastWindow]
	// Ten digits of seconds: the years 2001 to 2286.
	c := binary.LittleEndian.Uint64(b[1:])
	d8, d9 := b[9]-'0', b[10]-'0'
	if b[0] != '[' || b[1] == '0' || digits8(c) != 8 || d8 > 9 || d9 > 9 {
		return 0, 0, 0
	}
	t = (int64(number8(c, 8))*100 + int64(d8)*10 + int64(d9)) * 1000
	i := 11
	if b[11] == '.' {
		x, y, z := b[12]-'0', b[13]-'0', b[14]-'0'
		switch {
		case x > 9:
			return 0, 0, 0
		case y > 9:
			i, y, z = 13, 0, 0
		case z > 9:
			i, z = 14, 0
		default:
			i = 15
		}
		t += int64(x)*100 + int64(y)*10 + int64(z)
	}
	if b[i] != ',' || b[i+1] != '"' {
		return 0, 0, 0
	}
	i += 2
	c = binary.LittleEndian.Uint64(b[i:])
	k := digits8(c)
	if k == 0 {
		return fastFraction(b, t, i)
	}
	m := number8(c, k)
	if i += k; k == 8 {
		c = binary.LittleEndian.Uint64(b[i:])
		if k = digits8(c); k > 0 && k < 8 {
			m = m*[...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7}[k] + number8(c, k)
			i += k
		}
	}
	if b[i] != '"' || b[i+1] != ']' {
		return fastFraction(b, t, i)
	}
	return t, float64(m), i + 2
}

// fastFraction is fastSample for a value with a sign or decimals; at is within it.
func fastFraction(b []byte, t int64, at int) (_ int64, v float64, n int) {
	i := bytes.IndexByte(b[:at], '"') + 1
	negative := b[i] == '-'
	if negative {
		i++
	}
	var m uint64
	first, point := i, -1
	for ; i < fastWindow-2; i++ {
		d := b[i] - '0'
		if d > 9 {
			if b[i] != '.' || point >= 0 {
				break
			}
			point = i
			continue
		}
		m = m*10 + uint64(d)
	}
	count := i - first
	decimals := 0
	if point >= 0 {
		count--
		decimals = i - point - 1
	}
	if count == 0 || count > 15 || b[i] != '"' || b[i+1] != ']' {
		return 0, 0, 0
	}
	v = float64(m) / [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}[decimals]
	if negative {
		v = -v
	}
	return t, v, i + 2
}

// value reads a sample's value: a decimal number, NaN or an infinity.
func value(b []byte) (float64, bool) {
	switch string(b) {
	case "NaN":
		return math.NaN(), true
	case "Inf", "+Inf":
		return math.Inf(1), true
	case "-Inf":
		return math.Inf(-1), true
	}
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// millis reads a valid JSON number of seconds as whole milliseconds; false if it
// is none.
func millis(b []byte) (int64, bool) {
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	exp := 0
	if n := bytes.IndexAny(b, "eE"); n >= 0 {
		var err error
		if exp, err = strconv.Atoi(string(b[n+1:])); err != nil || exp < -400 || exp > 400 {
			return 0, false
		}
		b = b[:n]
	}
	whole, frac, _ := bytes.Cut(b, []byte("."))
	all := append(append(make([]byte, 0, len(b)), whole...), frac...)
	point := len(whole) + exp + 3 // where the fraction of milliseconds begins
	for len(all) > 0 && all[0] == '0' {
		all, point = all[1:], point-1
	}
	for len(all) > 0 && all[len(all)-1] == '0' {
		all = all[:len(all)-1]
	}
	if len(all) == 0 {
		return 0, true
	}
	if point > 15 || len(all) > point {
		return 0, false
	}
	var ms int64
	for i := range point {
		d := int64(0)
		if i < len(all) {
			d = int64(all[i] - '0')
		}
		ms = ms*10 + d
	}
	if negative {
		ms = -ms
	}
	return ms, true
}

package promquery

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const (
	bufferSize = 256 << 10
	// maxToken bounds one string or number, in bytes of JSON.
	maxToken = 1 << 20
	// maxDepth bounds the nesting of what is skipped.
	maxDepth = 64
)

// errCut says that the JSON ended too early, although nothing went wrong with the
// connection.
var errCut = errors.New("the JSON ends too early")

// readError is a failure of the connection while a body was read.
type readError struct{ err error }

func (e *readError) Error() string { return "the answer broke off: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// scanner reads JSON as it arrives, as strictly as RFC 8259 has it. A token lies
// in the buffer whole; what was returned is valid until the next call.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	// before counts the bytes in front of the buffer, to name places.
	before  int64
	err     error // of r, io.EOF included; kept until the buffer is used up
	scratch []byte
}

func newScanner(r io.Reader) *scanner { return &scanner{r: r, buf: make([]byte, bufferSize)} }

func (s *scanner) bad(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", s.at(), fmt.Sprintf(format, args...))
}

// at is the place of the next byte.
func (s *scanner) at() int64 { return s.before + int64(s.pos) }

// more reads on, keeping what lies between pos and end. False: nothing more comes.
func (s *scanner) more() bool {
	if s.err != nil {
		return false
	}
	if s.pos > 0 && s.end == len(s.buf) {
		copy(s.buf, s.buf[s.pos:s.end])
		s.before += int64(s.pos)
		s.pos, s.end = 0, s.end-s.pos
	}
	if s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 { // a reader may return nothing, but not for ever
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if s.err = err; n > 0 || err != nil {
			return n > 0
		}
	}
	s.err = io.ErrNoProgress
	return false
}

// ended is why there is nothing more.
func (s *scanner) ended() error {
	if errors.Is(s.err, io.EOF) {
		return errCut
	}
	return &readError{s.err}
}

// peek returns the next byte that is no space, without taking it.
func (s *scanner) peek() (byte, error) {
	for {
		for ; s.pos < s.end; s.pos++ {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\n', '\r':
			default:
				return c, nil
			}
		}
		if !s.more() {
			return 0, s.ended()
		}
	}
}

// take takes the next byte that is no space, which must be c.
func (s *scanner) take(c byte) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return s.bad("%q in place of %q", got, c)
	}
	s.pos++
	return nil
}

// finish makes sure that nothing but space follows.
func (s *scanner) finish() error {
	c, err := s.peek()
	if err == nil {
		return s.bad("%q after the end", c)
	}
	if errors.Is(err, errCut) {
		return nil
	}
	return err
}

// object calls f for each key; f takes the value. The key is valid until then.
func (s *scanner) object(f func(key []byte) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '}' {
		s.pos++
		return nil
	}
	for {
		key, err := s.str()
		if err != nil {
			return err
		}
		if s.pos < s.end && s.buf[s.pos] == ':' {
			s.pos++
		} else {
			key = append(s.scratch[:0], key...) // peek may move the buffer
			s.scratch = key
			if err := s.take(':'); err != nil {
				return err
			}
		}
		if err := f(key); err != nil {
			return err
		}
		if more, err := s.comma('}'); err != nil || !more {
			return err
		}
	}
}

// array calls f for each element; f takes it.
func (s *scanner) array(f func() error) error {
	if err := s.take('['); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == ']' {
		s.pos++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if more, err := s.comma(']'); err != nil || !more {
			return err
		}
	}
}

// comma takes a comma, or the end of the object or array.
func (s *scanner) comma(end byte) (more bool, err error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	if c != ',' && c != end {
		return false, s.bad("%q in place of ',' or %q", c, end)
	}
	s.pos++
	return c == ',', nil
}

// str takes a string.
func (s *scanner) str() ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	var escaped bool
	var all byte
	for i := 0; ; {
		for b := s.buf[s.pos:s.end]; i < len(b); i++ {
			c := b[i]
			all |= c
			switch {
			case c == '"':
				s.pos += i + 1
				return s.text(b[:i], escaped, all)
			case c < ' ':
				s.pos += i
				return nil, s.bad("a control character in a string")
			case c == '\\':
				escaped = true
				if i+1 == len(b) {
					goto next // the escaped byte is not there yet
				}
				i++
				all |= b[i]
				if b[i] < ' ' {
					s.pos += i
					return nil, s.bad("a control character in a string")
				}
			}
		}
	next:
		if i > maxToken {
			return nil, s.bad("a string of more than %d bytes", maxToken)
		}
		if !s.more() {
			return nil, s.ended()
		}
	}
}

func (s *scanner) text(raw []byte, escaped bool, all byte) ([]byte, error) {
	if all >= utf8.RuneSelf && !utf8.Valid(raw) {
		return nil, s.bad("a string is not UTF-8")
	}
	if !escaped {
		return raw, nil
	}
	out, ok := unescape(s.scratch[:0], raw)
	s.scratch = out
	if !ok {
		return nil, s.bad("a wrong escape in a string")
	}
	return out, nil
}

// number takes a number.
func (s *scanner) number() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	for i := 0; ; {
		for b := s.buf[s.pos:s.end]; i < len(b); i++ {
			if c := b[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
				if !validNumber(b[:i]) {
					return nil, s.bad("not a number")
				}
				s.pos += i
				return b[:i], nil
			}
		}
		if i > maxToken {
			return nil, s.bad("a number of more than %d bytes", maxToken)
		}
		if !s.more() {
			return nil, s.ended() // every number stands in an object or array, which does not end here
		}
	}
}

// skip takes any value.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.bad("nested more than %d deep", maxDepth)
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case '"':
		_, err := s.str()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err = s.number()
	return err
}

// word takes true, false or null.
func (s *scanner) word(w string) error {
	for s.end-s.pos < len(w) {
		if !s.more() {
			return s.ended()
		}
	}
	if string(s.buf[s.pos:s.pos+len(w)]) != w {
		return s.bad("not a value of JSON")
	}
	s.pos += len(w)
	return nil
}

// null takes null if it comes next.
func (s *scanner) null() (bool, error) {
	c, err := s.peek()
	if err != nil || c != 'n' {
		return false, err
	}
	return true, s.word("null")
}

package render

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text from outside fit for a terminal or a ticket: control
// characters, escape sequences' introducers and bidirectional overrides become
// U+FFFD, so that a label cannot move the cursor, recolour the screen or reorder
// a line. Newlines and tabs become a space: a value is always one line.
func Clean(s string) string { return clean(s, false) }

// CleanBlock is Clean for text of several lines: newlines and tabs stay.
func CleanBlock(s string) string { return clean(s, true) }

func clean(s string, block bool) string {
	ok := true
	for _, r := range s {
		if hostile(r) || r == '\n' || r == '\t' || r == utf8.RuneError {
			ok = false
			break
		}
	}
	if ok {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			if block {
				return r
			}
			return ' '
		case hostile(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

func hostile(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' ||
		r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || // bidi overrides
		r == 0x200E || r == 0x200F || r == 0x2028 || r == 0x2029 || r == 0xFEFF
}

package promquery

import "slices"

// metric reads the labels. The same bytes were read before in most pieces.
func (d *decoder) metric() error {
	if c, err := d.peek(); err != nil {
		return err
	} else if c != '{' {
		return d.bad("%q in place of labels", c)
	}
	whole := d.buf[d.pos:d.end]
	whole = whole[:labelsEnd(whole)]
	if d.set = d.to.table.known(whole); d.set != nil {
		d.pos += len(whole)
		return nil
	}
	spelt := string(whole) // the buffer moves on
	if err := d.labels(); err != nil {
		return err
	}
	set, err := d.to.table.intern(d.pairs, spelt)
	d.set = set
	return err
}

// labelsEnd is the length of the object of strings that b begins with; 0 if it
// does not end in b.
func labelsEnd(b []byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && c == '}':
			return i + 1
		}
	}
	return 0
}

func (d *decoder) labels() error {
	d.pairs = d.pairs[:0]
	size := 0
	return d.object(func(key []byte) error {
		l := label{name: string(key)}
		v, err := d.str()
		if err != nil {
			return err
		}
		l.value = string(v)
		size += len(l.name) + len(l.value)
		if len(d.pairs) >= maxLabels || size > maxLabelBytes {
			return d.bad("more than %d labels, or %d bytes of them, on one series", maxLabels, maxLabelBytes)
		}
		if slices.ContainsFunc(d.pairs, func(x label) bool { return x.name == l.name }) {
			return d.bad("a label twice on one series")
		}
		d.pairs = append(d.pairs, l)
		return nil
	})
}

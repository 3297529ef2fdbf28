package promquery

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// kind is how a query is asked, and so what may come back.
type kind int

const (
	raw kind = iota
	ranged
	instant
)

func (k kind) resultType() string {
	if k == instant {
		return "vector"
	}
	return "matrix"
}

const (
	maxLabels     = 256
	maxLabelBytes = 64 << 10
	maxNotes      = 1000
)

var (
	errHistogram = errors.New("a native histogram came back where plain samples were asked for")
	errNoResult  = errors.New("the answer holds no result: not Prometheus, or a broken proxy before it")
)

// apiError is an error that the server states in its own words.
type apiError struct{ Type, Msg string }

func (e *apiError) Error() string { return e.Type + ": " + e.Msg }

// decoder reads one answer of query or query_range into a piece.
type decoder struct {
	*scanner
	kind kind
	to   *piece

	status, resultType string
	failed             apiError
	hasResult          bool
	seen               map[string]bool // keys of the answer itself

	// the series being read
	set                *labelSet
	hasMetric, hasData bool
	field              func([]byte) error
	pairs              []label
}

// decode reads a body. Whatever is not an answer of the right kind, whole and with
// nothing after it, is an error.
func decode(r io.Reader, k kind, to *piece) error {
	d := &decoder{scanner: newScanner(r), kind: k, to: to, seen: map[string]bool{}}
	d.field = d.seriesField
	if err := d.object(d.top); err != nil {
		return err
	}
	if err := d.finish(); err != nil {
		return err
	}
	switch {
	case d.status == "error":
		return &d.failed
	case d.status != "success":
		return fmt.Errorf("status %q: not an answer of Prometheus", clean(d.status, 40))
	case !d.hasResult:
		return errNoResult
	case d.resultType != k.resultType():
		return fmt.Errorf("a %s came back where a %s was asked for", clean(d.resultType, 40), k.resultType())
	}
	return to.finish()
}

// once refuses a known key that comes twice: nobody knows which one holds.
func (d *decoder) once(key string) error {
	if d.seen[key] {
		return d.bad("key %q twice", key)
	}
	d.seen[key] = true
	return nil
}

func (d *decoder) top(key []byte) error {
	switch k := string(key); k {
	case "status":
		return d.word1(k, &d.status)
	case "errorType":
		return d.word1(k, &d.failed.Type)
	case "error":
		return d.word1(k, &d.failed.Msg)
	case "data":
		if err := d.once(k); err != nil {
			return err
		}
		if null, err := d.null(); null || err != nil {
			return err
		}
		return d.object(d.data)
	case "warnings":
		return d.notes(k, &d.to.warnings)
	case "infos":
		return d.notes(k, &d.to.infos)
	}
	return d.skip(1)
}

func (d *decoder) word1(key string, to *string) error {
	if err := d.once(key); err != nil {
		return err
	}
	b, err := d.str()
	*to = string(b)
	return err
}

// notes reads warnings or infos. Too many are an error: a warning that is left
// out would be a gap that nobody sees.
func (d *decoder) notes(key string, to *[]string) error {
	if err := d.once(key); err != nil {
		return err
	}
	if null, err := d.null(); null || err != nil {
		return err
	}
	return d.array(func() error {
		b, err := d.str()
		if err != nil {
			return err
		}
		if len(*to) >= maxNotes {
			return d.bad("more than %d %s", maxNotes, key)
		}
		*to = append(*to, clean(string(b), maxText))
		return nil
	})
}

func (d *decoder) data(key []byte) error {
	switch k := string(key); k {
	case "resultType":
		return d.word1("data."+k, &d.resultType)
	case "result":
		if err := d.once("data." + k); err != nil {
			return err
		}
		if null, err := d.null(); null || err != nil {
			return err
		}
		if d.resultType != "" && d.resultType != d.kind.resultType() {
			return fmt.Errorf("a %s came back where a %s was asked for", clean(d.resultType, 40), d.kind.resultType())
		}
		d.hasResult = true
		return d.array(d.series)
	case "stats":
		begin := d.at()
		err := d.stats()
		d.to.stats += d.at() - begin
		return err
	}
	return d.skip(2)
}

// stats looks for data.stats.samples.totalQueryableSamples; whatever else there
// is, it is passed over.
func (d *decoder) stats() error {
	into := func(otherwise int, name string, f func() error) error {
		c, err := d.peek()
		if err != nil {
			return err
		}
		if c != '{' {
			return d.skip(otherwise)
		}
		return d.object(func(key []byte) error {
			if string(key) == name {
				return f()
			}
			return d.skip(otherwise + 1)
		})
	}
	return into(2, "samples", func() error {
		return into(3, "totalQueryableSamples", func() error {
			c, err := d.peek()
			if err != nil {
				return err
			}
			if c != '-' && (c < '0' || c > '9') {
				return d.skip(4)
			}
			b, err := d.number()
			if n, bad := strconv.ParseInt(string(b), 10, 64); err == nil && bad == nil && n >= 0 {
				d.to.cost = n
			}
			return err
		})
	})
}

// series reads one element of the result.
func (d *decoder) series() error {
	d.set, d.hasMetric, d.hasData = nil, false, false
	d.to.samples.begin()
	if c, err := d.peek(); err != nil {
		return err
	} else if c != '{' {
		return d.bad("%q in place of a series", c)
	}
	if err := d.object(d.field); err != nil {
		return err
	}
	if !d.hasMetric || !d.hasData {
		return errNoResult
	}
	return d.to.add(d.set)
}

func (d *decoder) seriesField(key []byte) error {
	switch string(key) {
	case "metric":
		if d.hasMetric {
			return d.bad("key %q twice", "metric")
		}
		d.hasMetric = true
		return d.metric()
	case "value":
		return d.samples("value", d.kind == instant, d.sample)
	case "values":
		return d.samples("values", d.kind != instant, d.values)
	case "histogram", "histograms":
		// An empty list is none.
		c, err := d.peek()
		if err != nil {
			return err
		}
		if c == 'n' {
			return d.word("null")
		}
		if c != '[' {
			return errHistogram
		}
		return d.array(func() error { return errHistogram })
	}
	return d.skip(4)
}

func (d *decoder) samples(key string, right bool, read func() error) error {
	if !right {
		return d.bad("key %q in a %s", key, d.kind.resultType())
	}
	if d.hasData {
		return d.bad("key %q twice", key)
	}
	d.hasData = true
	return read()
}

// values reads samples, the usual spelling quickly.
func (d *decoder) values() error {
	if err := d.take('['); err != nil {
		return err
	}
	c, err := d.peek()
	if err != nil {
		return err
	}
	if c == ']' {
		d.pos++
		return nil
	}
	for {
		if d.end-d.pos <= fastWindow {
			d.more()
		}
		b := d.buf[d.pos:d.end]
		taken := d.to.samples.putAll(b)
		d.pos += taken
		if taken == 0 || b[taken-1] == ',' {
			// what comes next is no usual sample, or not there whole
			if err := d.sample(); err != nil {
				return err
			}
		}
		if more, err := d.comma(']'); err != nil || !more {
			return err
		}
	}
}

// sample reads one sample however it is spelt.
func (d *decoder) sample() error {
	if _, err := d.peek(); err != nil {
		return err
	}
	if t, v, n := fastSample(d.buf[d.pos:d.end]); n > 0 {
		d.to.samples.put(Sample{t, v})
		d.pos += n
		return nil
	}
	if err := d.take('['); err != nil {
		return err
	}
	b, err := d.number()
	if err != nil {
		return err
	}
	t, ok := millis(b)
	if !ok {
		return d.bad("a time that is no whole number of milliseconds")
	}
	if err := d.take(','); err != nil {
		return err
	}
	if b, err = d.str(); err != nil {
		return err
	}
	v, ok := value(b)
	if !ok {
		return d.bad("a value that is no number")
	}
	d.to.samples.put(Sample{t, v})
	return d.take(']')
}

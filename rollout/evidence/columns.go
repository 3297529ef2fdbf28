package evidence

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
)

// times are instants in milliseconds. In a bundle they are the first one, the first
// difference, and from there on the differences of differences: scrapes are regular,
// so that nearly all of it is zeros.
type times []int64

// MarshalJSON implements json.Marshaler.
func (t times) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2*len(t)+32)
	b = append(b, '[')
	var last, step int64
	for i, v := range t {
		if i > 0 {
			b = append(b, ',')
		}
		switch i {
		case 0:
			b = strconv.AppendInt(b, v, 10)
		default:
			d := v - last
			b = strconv.AppendInt(b, d-step, 10)
			step = d
		}
		last = v
	}
	return append(b, ']'), nil
}

// UnmarshalJSON implements json.Unmarshaler. Instants that do not ascend are an
// error, and so are those no clock shows.
func (t *times) UnmarshalJSON(b []byte) error {
	var raw []int64
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	var last, step int64
	for i, v := range raw {
		if v > maxInstant || v < -maxInstant {
			return errors.New("an instant out of range")
		}
		if i > 0 {
			step += v
			v = last + step
		}
		if v > maxInstant || v < 0 || step > maxInstant || step < -maxInstant || i > 0 && v <= last {
			return errors.New("instants do not ascend")
		}
		raw[i], last = v, v
	}
	*t = raw
	return nil
}

// maxInstant is the end of the year 9999, in milliseconds.
const maxInstant = 253_402_300_799_999

// column is one counter. In a bundle it is the first value and the differences where
// all are whole numbers, else {"values": …}.
type column []float64

// exact is up to where a float64 holds every whole number.
const exact = 1 << 53

// MarshalJSON implements json.Marshaler.
func (c column) MarshalJSON() ([]byte, error) {
	for _, v := range c {
		if v != math.Trunc(v) || math.Abs(v) > exact {
			return json.Marshal(struct {
				Values []float64 `json:"values"`
			}{c})
		}
	}
	b := make([]byte, 0, 3*len(c)+16)
	b = append(b, '[')
	last := 0.0
	for i, v := range c {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v-last), 10)
		last = v
	}
	return append(b, ']'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *column) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var v struct {
			Values []float64 `json:"values"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		*c = v.Values
		return nil
	}
	var raw []int64
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	out := make([]float64, len(raw))
	var sum int64
	for i, d := range raw {
		if d > 2*exact || d < -2*exact {
			return errors.New("a count out of range")
		}
		if sum += d; sum > exact || sum < -exact {
			return errors.New("a count out of range")
		}
		out[i] = float64(sum)
	}
	*c = out
	return nil
}

package evidence

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// What a bundle may hold at most; a month of a thousand tenants is far below.
const (
	maxBundleLine   = 64 << 20
	maxBundleBytes  = 4 << 30
	maxBundleCounts = 40_000_000
	maxBundleName   = 1 << 10
)

// BundleError says why a file is no bundle that can be judged.
type BundleError struct {
	// Line is counted from 1 in the unpacked text; 0 where no line is to blame.
	Line int
	Err  error
}

// Error implements error.
func (e *BundleError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return e.Err.Error()
}

// Unwrap gives the cause.
func (e *BundleError) Unwrap() error { return e.Err }

// The ways in which a bundle cannot be trusted.
var (
	ErrBundleCut      = errors.New("the bundle is cut off: its last line is missing")
	ErrBundleTampered = errors.New("the bundle was changed after it was written: its content does not match its digest")
	ErrBundleFormat   = errors.New("a bundle of another format")
)

// ReadBundle reads and checks a bundle and returns its digest. Whatever is not
// exactly what WriteBundle writes is an error: a changed byte, a missing line,
// instants out of order, a value that is not a number.
func ReadBundle(in io.Reader) (b *Bundle, digest string, err error) {
	zip, err := gzip.NewReader(in)
	if err != nil {
		return nil, "", &BundleError{Err: fmt.Errorf("not a bundle: %w", err)}
	}
	r := &bundleReader{b: &Bundle{Evidence: &Evidence{Tenants: []Tenant{}, Others: []Circuit{}, Nodes: []Node{}, Measures: []Measure{}}}}
	sc := bufio.NewScanner(io.LimitReader(zip, maxBundleBytes))
	sc.Buffer(make([]byte, 0, 1<<16), maxBundleLine)
	hash := sha256.New()
	n := 0
	for sc.Scan() {
		n++
		line := sc.Bytes()
		end, err := r.line(n, line)
		if err != nil {
			return nil, "", &BundleError{Line: n, Err: err}
		}
		if end == nil {
			hash.Write(line)
			hash.Write([]byte{'\n'})
			continue
		}
		digest = hex.EncodeToString(hash.Sum(nil))
		if end.SHA256 != digest || end.Lines != n-1 {
			return nil, "", &BundleError{Line: n, Err: ErrBundleTampered}
		}
		if sc.Scan() {
			return nil, "", &BundleError{Line: n + 1, Err: errors.New("text after the end")}
		}
		if err := sc.Err(); err != nil {
			return nil, "", &BundleError{Err: err}
		}
		return r.b, digest, nil
	}
	if err := sc.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, "", &BundleError{Line: n + 1, Err: err}
	}
	return nil, "", &BundleError{Err: ErrBundleCut}
}

type bundleReader struct {
	b      *Bundle
	counts int
}

func (r *bundleReader) line(n int, line []byte) (*bundleEnd, error) {
	if n == 1 {
		return nil, r.head(line)
	}
	var l bundleLine
	if err := strict(line, &l); err != nil {
		return nil, err
	}
	ev := r.b.Evidence
	switch {
	case l.End != nil:
		return l.End, nil
	case l.Judged != nil:
		r.b.Judged = l.Judged
		return nil, nil
	case l.Node != nil:
		r.counts += len(l.Node.Scrapes)
		ev.Nodes = append(ev.Nodes, Node{Name: l.Node.Name, Scrapes: l.Node.Scrapes, First: l.Node.First, Last: l.Node.Last,
			Older: l.Node.Older, Restarts: l.Node.Restarts})
		return nil, r.check(l.Node.Name)
	case l.Tenant != nil:
		ev.Tenants = append(ev.Tenants, Tenant{ID: l.Tenant.ID, Since: l.Tenant.Since.UTC(), Config: l.Tenant.Config, Circuits: []Circuit{},
			Baseline: Interval{l.Tenant.Baseline.From.UTC(), l.Tenant.Baseline.To.UTC()}})
		return nil, r.check(l.Tenant.ID)
	case l.Circuit != nil:
		k := len(ev.Tenants) - 1
		if k < 0 || ev.Tenants[k].ID != l.Circuit.Tenant {
			return nil, errors.New("a circuit without its tenant")
		}
		c, err := r.circuit(l.Circuit)
		ev.Tenants[k].Circuits = append(ev.Tenants[k].Circuits, c)
		return nil, err
	case l.Other != nil:
		c, err := r.circuit(l.Other)
		ev.Others = append(ev.Others, c)
		return nil, err
	case l.Measure != nil:
		l.Measure.Series = []MeasureSeries{}
		ev.Measures = append(ev.Measures, *l.Measure)
		return nil, r.check(l.Measure.Name, l.Measure.Refused)
	case l.Series != nil:
		return nil, r.series(l.Series)
	}
	return nil, errors.New("an empty line")
}

// strict decodes one JSON value and refuses what it does not know.
func strict(line []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("more than one value")
	}
	return nil
}

func (r *bundleReader) head(line []byte) error {
	var form struct {
		Kind   string `json:"kind"`
		Format int    `json:"format"`
	}
	if err := json.Unmarshal(line, &form); err != nil || form.Kind != "Bundle" {
		return errors.New("not a bundle: the first line is not its head")
	}
	if form.Format != BundleFormat {
		return fmt.Errorf("%w: %d, this cbops reads %d", ErrBundleFormat, form.Format, BundleFormat)
	}
	var h bundleHead
	if err := strict(line, &h); err != nil {
		return err
	}
	ev := r.b.Evidence
	r.b.Version, r.b.Environment, r.b.Rollout, r.b.Asked = h.Version, h.Environment, h.Rollout, h.Asked
	ev.At, ev.Interval, ev.Elastic, ev.Dialect, ev.Skew = h.At.UTC(), h.Interval, h.Elastic, h.Dialect, h.Skew
	ev.Present, ev.OtherTenants, ev.Doubles, ev.Windows, ev.Queries, ev.Gaps = h.Present, h.Others, h.Doubles, h.Windows, h.Queries, h.Gaps
	if h.At.IsZero() || h.At.UnixMilli() < 0 || h.At.UnixMilli() > maxInstant || h.Interval < 0 {
		return errors.New("no instant to judge at")
	}
	return r.check(h.Version, h.Environment, h.Rollout)
}

// check bounds names and all that was counted so far.
func (r *bundleReader) check(names ...string) error {
	for _, s := range names {
		if len(s) > maxBundleName || !utf8.ValidString(s) {
			return errors.New("a name too long, or not UTF-8")
		}
	}
	if r.counts > maxBundleCounts {
		return errors.New("more than a bundle may hold")
	}
	return nil
}

// series adds a series to the last measure.
func (r *bundleReader) series(p *bundleSeries) error {
	ev := r.b.Evidence
	k := len(ev.Measures) - 1
	if k < 0 {
		return errors.New("a series without its measure")
	}
	r.counts += len(p.T)
	if err := p.V.fits(len(p.T)); err != nil {
		return err
	}
	s := p.MeasureSeries
	s.Times, s.Values = p.T, p.V
	ev.Measures[k].Series = append(ev.Measures[k].Series, s)
	return r.check(s.Tenant, s.Provider, s.Labels)
}

func (r *bundleReader) circuit(p *bundleCircuit) (Circuit, error) {
	c := Circuit{Node: p.Node, Tenant: p.Tenant, Provider: p.Provider, Step: p.Step, Resets: p.Resets,
		Outcomes: make([]Outcome, len(p.Times)), Transitions: make([]Transition, len(p.TransitionTimes))}
	r.counts += len(p.Times) + len(p.TransitionTimes)
	if err := r.check(p.Node, p.Tenant, p.Provider); err != nil {
		return c, err
	}
	for _, col := range []column{p.Epochs, p.Success, p.Failure, p.FailFast} {
		if err := col.fits(len(p.Times)); err != nil {
			return c, err
		}
	}
	for _, col := range []column{p.TransitionEpoch, p.CO, p.OH, p.HO, p.HC, p.WindowRequests, p.WindowFailures} {
		if err := col.fits(len(p.TransitionTimes)); err != nil {
			return c, err
		}
	}
	if p.Step < 0 || !ascending(p.Epochs) || !ascending(p.TransitionEpoch) {
		return c, errors.New("epochs do not ascend")
	}
	for i := range c.Outcomes {
		c.Outcomes[i] = Outcome{T: p.Times[i], Epoch: int(p.Epochs[i]), Success: p.Success[i], Failure: p.Failure[i], FailFast: p.FailFast[i]}
	}
	for i := range c.Transitions {
		c.Transitions[i] = Transition{T: p.TransitionTimes[i], Epoch: int(p.TransitionEpoch[i]), CO: p.CO[i], OH: p.OH[i], HO: p.HO[i], HC: p.HC[i],
			WindowRequests: p.WindowRequests[i], WindowFailures: p.WindowFailures[i]}
	}
	return c, nil
}

// fits: as many values as there are instants, all of them numbers.
func (c column) fits(n int) error {
	if len(c) != n {
		return errors.New("a column of another length than its instants")
	}
	for _, v := range c {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("a value that is not a number")
		}
	}
	return nil
}

func ascending(c column) bool {
	last := 0.0
	for _, v := range c {
		if v < last || v != math.Trunc(v) || v > 1e6 {
			return false
		}
		last = v
	}
	return true
}

// Package promlab answers the Prometheus HTTP API from memory, with Prometheus'
// own PromQL engine, at whatever time it is told. The practice lab and the tests
// ask it in place of a server. It scrapes nothing; rules are evaluated by an Evaluator,
// at the instants that it is given, and the HTTP API does not show them.
package promlab

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// samplesPerChunk is Prometheus' own choice: small enough to skip, large enough
// to compress.
const samplesPerChunk = 120

// Store holds series in compressed chunks. It is safe for concurrent use.
type Store struct {
	mu     sync.RWMutex
	byKey  map[string]*memSeries
	sorted []*memSeries // by labels
	dirty  bool
}

type memSeries struct {
	lset   labels.Labels
	chunks []memChunk
	app    chunkenc.Appender
	last   int64
}

type memChunk struct {
	c        *chunkenc.XORChunk
	from, to int64
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{byKey: map[string]*memSeries{}} }

// Append adds a sample. A sample that is not newer than the series' last is
// refused, as Prometheus refuses it.
func (s *Store) Append(lset map[string]string, t time.Time, v float64) error {
	return s.Series(lset)(t, v)
}

// Series finds or makes a series and returns what adds samples to it, as Append does.
// Who adds many saves looking it up each time.
func (s *Store) Series(lset map[string]string) func(t time.Time, v float64) error {
	key := keyOf(lset)
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := s.byKey[key]
	if ms == nil {
		ms = &memSeries{lset: labels.FromMap(lset)}
		s.byKey[key] = ms
		s.sorted = append(s.sorted, ms)
		s.dirty = true
	}
	return func(t time.Time, v float64) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return ms.append(t.UnixMilli(), v)
	}
}

func keyOf(lset map[string]string) string {
	names := make([]string, 0, len(lset))
	n := 0
	for k, v := range lset {
		names = append(names, k)
		n += len(k) + len(v) + 8
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(n)
	for _, k := range names {
		b.WriteString(strconv.Itoa(len(k)))
		b.WriteByte(' ')
		b.WriteString(k)
		b.WriteString(strconv.Itoa(len(lset[k])))
		b.WriteByte(' ')
		b.WriteString(lset[k])
	}
	return b.String()
}

func (ms *memSeries) append(t int64, v float64) error {
	n := len(ms.chunks) - 1
	if n >= 0 && t <= ms.last {
		return fmt.Errorf("%s: sample at %d is not newer than the last at %d", ms.lset, t, ms.last)
	}
	if n < 0 || ms.chunks[n].c.NumSamples() >= samplesPerChunk {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			return fmt.Errorf("cannot begin a chunk: %w", err)
		}
		ms.chunks, ms.app = append(ms.chunks, memChunk{c: c, from: t}), app
		n++
	}
	ms.app.Append(0, t, v)
	ms.chunks[n].to, ms.last = t, t
	return nil
}

// Each calls f for every series, sorted by labels.
func (s *Store) Each(f func(lset map[string]string, samples func(yield func(t time.Time, v float64) bool))) {
	for _, ms := range s.all() {
		s.mu.RLock()
		e := ms.between(-1<<62, 1<<62)
		s.mu.RUnlock()
		f(ms.lset.Map(), func(yield func(time.Time, float64) bool) {
			it := e.Iterator(nil)
			for it.Next() == chunkenc.ValFloat {
				if t, v := it.At(); !yield(time.UnixMilli(t).UTC(), v) {
					return
				}
			}
		})
	}
}

func (s *Store) all() []*memSeries {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty {
		slices.SortFunc(s.sorted, func(a, b *memSeries) int { return labels.Compare(a.lset, b.lset) })
		s.dirty = false
	}
	return slices.Clone(s.sorted)
}

// Querier implements storage.Queryable.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{s, mint, maxt}, nil
}

type querier struct {
	s          *Store
	mint, maxt int64
}

// Select implements storage.Querier.
func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	set := &seriesSet{at: -1}
	for _, x := range q.s.all() {
		if !matches(x.lset, ms) {
			continue
		}
		q.s.mu.RLock()
		e := x.between(mint, maxt)
		q.s.mu.RUnlock()
		if e != nil {
			set.series = append(set.series, e)
		}
	}
	return set
}

func matches(lset labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(lset.Get(m.Name)) {
			return false
		}
	}
	return true
}

// between decodes the samples of [mint, maxt]; nil if there are none.
func (ms *memSeries) between(mint, maxt int64) *storage.SeriesEntry {
	first := sort.Search(len(ms.chunks), func(i int) bool { return ms.chunks[i].to >= mint })
	var out samples
	for _, c := range ms.chunks[first:] {
		if c.from > maxt {
			break
		}
		it := c.c.Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			if t, v := it.At(); t >= mint && t <= maxt {
				out = append(out, point{t, v})
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &storage.SeriesEntry{Lset: ms.lset, SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
		return storage.NewListSeriesIterator(out)
	}}
}

// LabelValues implements storage.LabelQuerier.
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var out []string
	for _, x := range q.s.all() {
		if v := x.lset.Get(name); v != "" && matches(x.lset, ms) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil, nil
}

// LabelNames implements storage.LabelQuerier.
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var out []string
	for _, x := range q.s.all() {
		if matches(x.lset, ms) {
			x.lset.Range(func(l labels.Label) { out = append(out, l.Name) })
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil, nil
}

// Close implements storage.LabelQuerier.
func (q *querier) Close() error { return nil }

type seriesSet struct {
	series []storage.Series
	at     int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.Series                { return s.series[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

type samples []point

func (s samples) Get(i int) sampleValue { return s[i] }
func (s samples) Len() int              { return len(s) }

// point implements chunks.Sample for a plain float.
type point struct {
	t int64
	v float64
}

func (p point) ST() int64                     { return 0 }
func (p point) T() int64                      { return p.t }
func (p point) F() float64                    { return p.v }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() sampleValue             { return p }

package promquery

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// part is what one request asks about. Times are milliseconds: raw (begin, end],
// ranged begin, begin+step, … to end, instant end alone. values are those of
// Query.SplitBy, nil for all that the query has.
type part struct {
	begin, end int64
	values     []string
}

// piece is one decoded answer.
type piece struct {
	part
	kind  kind
	step  int64
	table *table

	samples         arena
	runs            []seriesRun
	at              map[*labelSet]int // index in runs
	warnings, infos []string
	cost            int64
	// stats is how many bytes the server's own statistics took.
	stats int64
	// dropped counts samples that contradicted one of the same time.
	dropped int
}

type seriesRun struct {
	set     *labelSet
	samples []Sample
	checked bool // that they ascend, and are what was asked for
}

var errOutside = errors.New("samples at other times than were asked for")

// add keeps the run of samples that was just read for a series. In the usual order
// it is checked while it is at hand; all others wait for finish.
func (p *piece) add(set *labelSet) (err error) {
	run := p.samples.take()
	if i, ok := p.at[set]; ok { // the same series twice: its samples belong together
		r := &p.runs[i]
		r.samples, r.checked = slices.Concat(r.samples, run), false
		return nil
	}
	r := seriesRun{set: set, samples: run, checked: ascending(run)}
	if r.checked {
		r.samples, err = p.within(run)
	}
	p.at[set] = len(p.runs)
	p.runs = append(p.runs, r)
	return err
}

// finish checks and orders what was read: series by their labels, samples by time.
func (p *piece) finish() error {
	for i := range p.runs {
		r := &p.runs[i]
		if r.checked {
			continue
		}
		run, dropped := ordered(r.samples)
		p.dropped += dropped
		var err error
		if r.samples, err = p.within(run); err != nil {
			return err
		}
	}
	p.at = nil
	slices.SortFunc(p.runs, func(a, b seriesRun) int { return cmp.Compare(a.set.id, b.set.id) })
	return nil
}

func ascending(run []Sample) bool {
	for i := 1; i < len(run); i++ {
		if run[i-1].T >= run[i].T {
			return false
		}
	}
	return true
}

// ordered sorts samples by time, each once. Where two of the same time contradict
// each other, neither is known to be right, and both are left out.
func ordered(run []Sample) (out []Sample, dropped int) {
	if ascending(run) {
		return run, 0
	}
	slices.SortStableFunc(run, func(a, b Sample) int { return cmp.Compare(a.T, b.T) })
	out = run[:0]
	for i := 0; i < len(run); {
		j, same := i+1, true
		for ; j < len(run) && run[i].T == run[j].T; j++ {
			same = same && math.Float64bits(run[i].V) == math.Float64bits(run[j].V)
		}
		if same {
			out = append(out, run[i])
		} else {
			dropped += j - i
		}
		i = j
	}
	return out, dropped
}

// within makes sure that ordered samples are what was asked for. Before version 3
// Prometheus counted the left end of a range in: that sample is the piece's before.
func (p *piece) within(run []Sample) ([]Sample, error) {
	if p.kind == raw && len(run) > 0 && run[0].T == p.begin {
		run = run[1:]
	}
	if len(run) == 0 {
		return run, nil
	}
	first, last := run[0].T, run[len(run)-1].T
	switch p.kind {
	case raw:
		if first <= p.begin || last > p.end {
			return nil, errOutside
		}
	case instant:
		if first != p.end || last != p.end {
			return nil, errOutside
		}
	case ranged:
		if first < p.begin || last > p.end {
			return nil, errOutside
		}
		next := p.begin
		for _, s := range run {
			if s.T != next && (s.T-p.begin)%p.step != 0 {
				return nil, errOutside
			}
			next = s.T + p.step
		}
	}
	return run, nil
}

// blockSize is the samples of a block: half a megabyte.
const blockSize = 32 << 10

func newBlock() any { b := make([]Sample, 0, blockSize); return &b }

// arena holds samples in blocks, so that a run lies in one stretch.
type arena struct {
	pool  *sync.Pool
	used  []*[]Sample // blocks that are full
	cur   *[]Sample
	start int // of the run that is being read
}

func (a *arena) begin() {
	if a.cur == nil {
		a.cur = a.pool.Get().(*[]Sample)
	}
	a.start = len(*a.cur)
}

func (a *arena) put(s Sample) {
	if len(*a.cur) == cap(*a.cur) {
		a.grow()
	}
	*a.cur = append(*a.cur, s)
}

// putAll puts samples that b begins with, while they are spelt as usual, and
// returns how many bytes they take; what follows the last one is not a comma, or
// the comma is taken and what follows it is for another to read.
func (a *arena) putAll(b []byte) (taken int) {
	for {
		free := (*a.cur)[len(*a.cur):cap(*a.cur)]
		k := 0
		for k < len(free) {
			t, v, n := fastSample(b[taken:])
			if n == 0 {
				*a.cur = (*a.cur)[:len(*a.cur)+k]
				return taken
			}
			free[k] = Sample{t, v}
			k++
			if taken += n; b[taken] != ',' {
				*a.cur = (*a.cur)[:len(*a.cur)+k]
				return taken
			}
			taken++
		}
		*a.cur = (*a.cur)[:cap(*a.cur)]
		a.grow()
	}
}

// grow moves the run that is being read into a block with room for more.
func (a *arena) grow() {
	run := (*a.cur)[a.start:]
	var b *[]Sample
	if 2*len(run) <= blockSize {
		b = a.pool.Get().(*[]Sample)
	} else {
		big := make([]Sample, 0, 2*len(run))
		b = &big
	}
	*b = append((*b)[:0], run...)
	*a.cur = (*a.cur)[:a.start]
	a.used = append(a.used, a.cur)
	a.cur, a.start = b, 0
}

func (a *arena) take() []Sample { return slices.Clip((*a.cur)[a.start:]) }

// release gives the blocks back: no run may be used any more.
func (a *arena) release() {
	if a.cur != nil {
		a.used = append(a.used, a.cur)
	}
	for _, b := range a.used {
		if cap(*b) == blockSize {
			*b = (*b)[:0]
			a.pool.Put(b)
		}
	}
	a.used, a.cur = nil, nil
}

type label struct{ name, value string }

// labelSet is one series of a query.
type labelSet struct {
	labels []label // by name
	// id is the same for the same labels; it is what Answer.Digest says of them.
	id string
	// What the query has passed on so far, of its one visiting goroutine.
	digest digest
}

// table knows the series of one query, shared by its requests.
type table struct {
	max   int
	mu    sync.Mutex
	spelt map[string]*labelSet // by the JSON of the labels
	by    map[string]*labelSet // by id
	words map[string]string
}

func newTable(max int) *table {
	return &table{max: max, spelt: map[string]*labelSet{}, by: map[string]*labelSet{}, words: map[string]string{}}
}

type tooManySeries struct{ max int }

func (e *tooManySeries) Error() string { return fmt.Sprintf("more than %d series", e.max) }

// known returns the series whose labels were spelt like this before, or nil.
func (t *table) known(spelt []byte) *labelSet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spelt[string(spelt)]
}

// intern returns the series of these labels; spelt is their JSON, "" if unknown.
func (t *table) intern(pairs []label, spelt string) (*labelSet, error) {
	slices.SortFunc(pairs, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	id := binary.AppendUvarint(nil, uint64(len(pairs)))
	for _, l := range pairs {
		id = binary.AppendUvarint(id, uint64(len(l.name)))
		id = append(id, l.name...)
		id = binary.AppendUvarint(id, uint64(len(l.value)))
		id = append(id, l.value...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	set := t.by[string(id)]
	if set == nil {
		if len(t.by) >= t.max {
			return nil, &tooManySeries{t.max}
		}
		set = &labelSet{id: string(id), labels: slices.Clone(pairs)}
		for i, l := range set.labels {
			set.labels[i] = label{t.word(l.name), t.word(l.value)}
		}
		t.by[set.id] = set
	}
	if spelt != "" && len(t.spelt) < t.max {
		t.spelt[spelt] = set
	}
	return set, nil
}

func (t *table) word(s string) string {
	if w, ok := t.words[s]; ok {
		return w
	}
	t.words[s] = s
	return s
}

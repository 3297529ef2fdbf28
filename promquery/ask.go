package promquery

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/cbops/cbops/internal/fault"
)

// minSpan is the shortest raw piece that is divided no further.
const minSpan = time.Second

// query is one question on its way.
type query struct {
	c     *Client
	q     Query
	kind  kind
	table *table
	visit Visit
	// values are those of SplitBy; nil if there is nothing to divide.
	values []string
	labels map[string]string // handed to visit, made anew for each run
	a      Answer
	mu     sync.Mutex // of a's counts
}

func (c *Client) ask(ctx context.Context, q Query, k kind, visit Visit) (Answer, error) {
	if q.To.Before(q.From) {
		return Answer{}, fault.New(fault.Usage, "query %s: its interval ends before it begins", q.Name)
	}
	// Prometheus keeps whole milliseconds.
	q.From, q.To, q.Step = q.From.UTC().Truncate(time.Millisecond), q.To.UTC().Truncate(time.Millisecond), q.Step.Truncate(time.Millisecond)
	r := &query{c: c, q: q, kind: k, table: newTable(c.opt.MaxSeries), visit: visit, labels: map[string]string{}}
	for _, m := range q.Select {
		if m.Label == q.SplitBy && !m.Not && q.SplitBy != "" {
			r.values = sortedUnique(m.Values)
		}
	}
	r.a = Answer{Name: q.Name, From: q.From, To: q.To, Step: q.Step, Server: c.server, Warnings: []string{}, Warned: []Warning{}, Infos: []string{}}
	if k != ranged {
		r.a.Step = 0
	}
	r.a.Expr = r.expr(nil)
	began := c.door.now()
	parts := r.plan()
	if matchesNothing(q.Select) {
		parts = nil // nothing to ask
	}
	r.a.Planned = len(parts)
	err := r.all(ctx, parts)
	r.a.Elapsed = c.door.now().Sub(began)
	r.a.Series, r.a.Digest = r.table.measure()
	r.a.Warnings, r.a.Infos = sortedUnique(r.a.Warnings), sortedUnique(r.a.Infos)
	if err != nil {
		return Answer{}, err
	}
	return r.a, nil
}

// expr is the expression, for some of SplitBy's values or with nil for all.
func (r *query) expr(values []string) string {
	s := selector(r.q.Select, r.c.opt.Matchers, r.q.SplitBy, values)
	if r.q.Wrap != nil {
		return r.q.Wrap(s)
	}
	return s
}

// plan divides time into pieces of a fair size. It does not depend on how many
// values there are.
func (r *query) plan() []part {
	from, to := r.q.From.UnixMilli(), r.q.To.UnixMilli()
	switch r.kind {
	case raw:
		return r.slices(part{begin: from - 1, end: to}, r.c.opt.Chunk.Milliseconds())
	case ranged:
		step := r.q.Step.Milliseconds()
		last := from + (to-from)/step*step
		return r.slices(part{begin: from, end: last}, int64(r.c.opt.Points))
	}
	return []part{{begin: from, end: to}}
}

// slices cuts a part into ones of so many milliseconds (raw) or steps (ranged).
func (r *query) slices(p part, size int64) (out []part) {
	if r.kind == raw {
		for begin := p.begin; begin < p.end; begin += size {
			out = append(out, part{begin, min(begin+size, p.end), p.values})
		}
		return out
	}
	step := r.q.Step.Milliseconds()
	for begin := p.begin; begin <= p.end; begin += size * step {
		out = append(out, part{begin, min(begin+(size-1)*step, p.end), p.values})
	}
	return out
}

// size is how many milliseconds (raw) or steps (ranged) a part has.
func (r *query) size(p part) int64 {
	switch r.kind {
	case raw:
		return p.end - p.begin
	case ranged:
		return (p.end-p.begin)/r.q.Step.Milliseconds() + 1
	}
	return 1
}

// halve divides a part in two; false if it is as small as can be. turn counts the
// halvings before: every second one is of the other kind, which helps as much
// where samples are counted, and more where a limit is another than its words say.
func (r *query) halve(p part, l limit, turn int) (a, b part, ok bool) {
	byTime := func() bool {
		n := r.size(p)
		if r.kind == instant || n < 2 || r.kind == raw && n < 2*minSpan.Milliseconds() {
			return false
		}
		cut := r.slices(p, (n+1)/2)
		a, b = cut[0], cut[1]
		return true
	}
	byValue := func() bool {
		values := p.values
		if values == nil {
			values = r.values
		}
		if len(values) < 2 {
			return false
		}
		a, b = p, p
		a.values, b.values = values[:len(values)/2], values[len(values)/2:]
		return true
	}
	switch {
	case l == noLimit:
	case l == spanTooLong:
		ok = byTime()
	case l == textTooLong:
		ok = byValue()
	case (l == valuesFirst) != (turn%2 == 1):
		ok = byValue() || byTime()
	default:
		ok = byTime() || byValue()
	}
	return a, b, ok
}

// all asks for the parts and visits what comes back, in their order. The first one
// goes alone: where a limit divides it, the others are divided like it from the
// start. Then a few are in flight, each with at most one decoded piece in memory.
func (r *query) all(ctx context.Context, parts []part) error {
	if len(parts) == 0 {
		return nil
	}
	size, groups := r.size(parts[0]), 1
	err := r.fetch(ctx, parts[0], 0, func(p *piece) error {
		if n := r.size(p.part); p.begin == parts[0].begin {
			size = min(size, n)
		}
		if p.values != nil {
			groups = max(groups, (len(r.values)+len(p.values)-1)/len(p.values))
		}
		return r.deliver(p)
	})
	if err != nil {
		return err
	}
	var rest []part
	for _, p := range parts[1:] {
		for _, s := range r.slices(p, size) {
			rest = append(rest, r.grouped(s, groups)...)
		}
	}
	return r.flight(ctx, rest)
}

// grouped divides a part by values into about so many.
func (r *query) grouped(p part, groups int) (out []part) {
	if groups == 1 {
		return []part{p}
	}
	for values := range slices.Chunk(r.values, (len(r.values)+groups-1)/groups) {
		out = append(out, part{p.begin, p.end, values})
	}
	return out
}

// lane carries the pieces of one part.
type lane struct {
	pieces chan *piece
	err    error
}

func (r *query) flight(ctx context.Context, parts []part) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	lanes := make(chan *lane, r.c.opt.Concurrency-1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(lanes)
		for _, p := range parts {
			l := &lane{pieces: make(chan *piece)}
			select {
			case lanes <- l:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer close(l.pieces)
				l.err = r.fetch(ctx, p, 0, func(p *piece) error {
					select {
					case l.pieces <- p:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
			})
		}
	})
	defer wg.Wait()
	defer cancel()
	for l := range lanes {
		for p := range l.pieces {
			if err := r.deliver(p); err != nil {
				return err
			}
		}
		if l.err != nil {
			return l.err
		}
	}
	return ctx.Err() // the caller's, if it cut the flight short
}

// fetch asks for a part, in halves where a limit demands it.
func (r *query) fetch(ctx context.Context, p part, turn int, emit func(*piece) error) error {
	got, l, err := r.request(ctx, p)
	if err == nil {
		return emit(got)
	}
	a, b, ok := r.halve(p, l, turn)
	if !ok {
		return err
	}
	if err := r.fetch(ctx, a, turn+1, emit); err != nil {
		return err
	}
	return r.fetch(ctx, b, turn+1, emit)
}

// request sends one request. On an error it says whether smaller pieces may help.
func (r *query) request(ctx context.Context, p part) (*piece, limit, error) {
	x := &exchange{kind: r.kind, piece: func() *piece {
		return &piece{part: p, kind: r.kind, step: r.q.Step.Milliseconds(), table: r.table, samples: arena{pool: &r.c.blocks}, at: map[*labelSet]int{}, cost: -1}
	}}
	expr := r.expr(p.values)
	opts := []v1.Option{v1.WithStats(v1.AllStatsValue), v1.WithTimeout(wholeSeconds(r.c.opt.Timeout))}
	rctx := context.WithValue(ctx, exchangeKey{}, x)
	var err error
	switch r.kind {
	case ranged:
		_, _, _, err = r.c.api.QueryRange(rctx, expr, v1.Range{Start: at(p.begin), End: at(p.end), Step: r.q.Step}, opts...)
	case raw:
		expr += "[" + strconv.FormatInt(p.end-p.begin, 10) + "ms]"
		fallthrough
	default:
		_, _, _, err = r.c.api.Query(rctx, expr, at(p.end), opts...)
	}
	r.mu.Lock()
	r.a.Requests += x.requests
	r.a.Retries += x.retries
	r.a.Bytes += x.bytes
	r.mu.Unlock()
	if err == nil && x.got != nil {
		return x.got, noLimit, nil
	}
	if err == nil { // a success without a body that we saw
		err = fmt.Errorf("status %d", x.status)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // it quotes the URL
	}
	l := noLimit
	if errors.Is(err, errTooLarge) {
		l = timeFirst
	} else if refused, ok := refusalOf(err, x); ok {
		l = limitOf(refused)
	}
	return nil, l, r.c.explain(ctx, "query "+r.q.Name, x, err)
}

// wholeSeconds rounds up: servers refuse the fractions that the client writes.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// deliver passes a piece on and counts it.
func (r *query) deliver(p *piece) error {
	defer p.samples.release()
	// A raw piece begins after its left end, but a warning does not begin between.
	from, to := at(p.begin), at(p.end)
	if p.kind == raw {
		from = from.Add(time.Millisecond)
	}
	warnings := sortedUnique(p.warnings)
	for i, w := range warnings {
		warnings[i] = clean(r.c.door.secrets.hide(w), maxText)
	}
	if p.dropped > 0 {
		warnings = append(warnings, fmt.Sprintf("%d samples of the same time contradict each other and were left out", p.dropped))
	}
	for _, w := range warnings {
		r.warn(Warning{from, to, w})
	}
	for _, i := range p.infos {
		r.a.Infos = append(r.a.Infos, clean(r.c.door.secrets.hide(i), maxText))
	}
	switch {
	case p.cost < 0:
		r.a.Cost = -1
	case r.a.Cost >= 0:
		r.a.Cost += p.cost
	}
	for _, run := range p.runs {
		if len(run.samples) == 0 {
			continue
		}
		if run.set.passed(run.samples[0].T) {
			return fault.New(fault.Environment, "query %s: its expression does not keep %s, by which it was divided", r.q.Name, r.q.SplitBy)
		}
		run.set.pass(run.samples)
		r.a.Samples += len(run.samples)
		clear(r.labels)
		for _, l := range run.set.labels {
			r.labels[l.name] = l.value
		}
		if err := r.visit(Series{r.labels, run.samples}); err != nil {
			return err
		}
	}
	return nil
}

// warn keeps a warning; one that goes on from piece to piece is one.
func (r *query) warn(w Warning) {
	r.a.Warnings = append(r.a.Warnings, w.Text)
	touch := r.q.Step + time.Millisecond
	for i := range slices.Backward(r.a.Warned) {
		if last := &r.a.Warned[i]; last.Text == w.Text {
			if w.From.Sub(last.To) <= touch {
				last.To = later(last.To, w.To)
				return
			}
			break
		}
	}
	r.a.Warned = append(r.a.Warned, w)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

package gather

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/promquery"
)

// counter is one of the cumulative counters of a circuit.
type counter int

const (
	cSuccess counter = iota
	cFailure
	cFailFast
	cCO
	cOH
	cHO
	cHC
	cWR
	cWF
	counters
)

// key is a circuit of a node.
type key struct{ node, tenant, provider string }

func (k key) less(o key) bool { return compareKeys(k, o) < 0 }

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.provider, b.provider), cmp.Compare(a.node, b.node))
}

// sample is a counter's value at a time.
type sample struct {
	t int64
	v float64
	// coarse: evaluated at a step, so that for five minutes it may repeat the last
	// value of a series that is gone.
	coarse bool
}

// record is all that was read of one circuit.
type record struct {
	// series holds each counter's samples; ascending once sorted.
	series [counters][]sample
	// bad are scrapes with a value that is not a number.
	bad []int64
	// unknown are scrapes for which the value of a counter is not known.
	unknown []int64
	// held are stretches in which a counter stood at every scrape.
	held [counters]spans
	// near are stretches in which outcomes were read at every scrape.
	near spans
	// ends are series that a restart ended in a stretch that was not read.
	ends []ending
}

// ending is a counter that stood at v until a restart between from and to.
type ending struct {
	c        counter
	from, to int64
	v        float64
}

// records are the circuits that were read under one question.
type records struct {
	g    *gatherer
	by   map[key]*record
	step time.Duration
	// names are the canonical metric names that were met.
	names map[string]bool
	// labels are samples of the label sets of each node, as the server has them.
	labels map[string]map[string]string
}

func (g *gatherer) newRecords() *records {
	return &records{g: g, by: map[key]*record{}, names: map[string]bool{}, labels: map[string]map[string]string{}}
}

const prefix = promquery.Prefix

// which maps canonical labels to the circuit and the counter.
func (r *records) which(l map[string]string, node string) (key, counter, bool) {
	k := key{node, l["tenant_id"], l["provider_id"]}
	var c counter
	ok := false
	switch l["__name__"] {
	case prefix + "events_total":
		c, ok = map[string]counter{"success": cSuccess, "failure": cFailure, "fail_fast": cFailFast}[l["event_type"]]
	case prefix + "state_transitions_total":
		c, ok = map[string]counter{"closed>open": cCO, "open>half_open": cOH, "half_open>open": cHO, "half_open>closed": cHC}[l["from"]+">"+l["to"]]
	case prefix + "window_requests_total":
		c, ok = cWR, true
	case prefix + "window_failures_total":
		c, ok = cWF, true
	}
	return k, c, ok
}

// record finds or makes a circuit's record.
func (r *records) record(k key) *record {
	rec := r.by[k]
	if rec == nil {
		rec = &record{}
		r.by[k] = rec
	}
	return rec
}

// keep says which samples of a circuit to take; nil takes none.
type keep func(key) func(t int64) bool

func keepAll(key) func(int64) bool { return func(int64) bool { return true } }

// visit takes runs of samples.
func (r *records) visit(coarse bool, keep keep) promquery.Visit {
	return func(s promquery.Series) error {
		l := r.g.d.Canonical(s.Labels)
		node := r.g.d.Node(s.Labels)
		k, c, ok := r.which(l, node)
		if !ok {
			return nil
		}
		r.names[l["__name__"]] = true
		if r.labels[node] == nil {
			r.labels[node] = cloneLabels(s.Labels)
		}
		usable := int64(math.MaxInt64)
		if n := r.g.nodes[node]; n != nil {
			usable = n.usable() // the newest scrape may not be complete
		} else if r.g.nodes != nil {
			return nil // a node that was dropped
		}
		wanted := keep(k)
		if wanted == nil {
			return nil
		}
		rec := r.record(k)
		run := standing{rec: rec, c: c, apart: (r.g.ev.Interval * 3 / 2).Milliseconds()}
		for _, x := range s.Samples {
			switch {
			case x.T > usable || !wanted(x.T):
			case math.IsNaN(x.V) || math.IsInf(x.V, 0):
				rec.bad = append(rec.bad, x.T)
				run.n = 0
			case c >= cCO && !coarse:
				run.add(x)
			default:
				rec.series[c] = append(rec.series[c], sample{t: x.T, v: x.V, coarse: coarse})
			}
		}
		return nil
	}
}

// standing puts samples of a transition counter, read at every scrape, into a record:
// of a stretch in which it stood, the two ends, and that it was there in between. Such
// counters stand nearly always.
type standing struct {
	rec   *record
	c     counter
	apart int64 // how far scrapes may be apart
	n     int   // samples in the present stretch
	begin int64
}

func (s *standing) add(x promquery.Sample) {
	ss := s.rec.series[s.c]
	if last := len(ss) - 1; s.n > 0 && ss[last].v == x.V && x.T-ss[last].t <= s.apart {
		if s.n == 1 {
			s.begin = ss[last].t
			ss = append(ss, sample{t: x.T, v: x.V})
			s.rec.held[s.c] = append(s.rec.held[s.c], span{s.begin, x.T})
		} else {
			ss[last].t = x.T
			s.rec.held[s.c][len(s.rec.held[s.c])-1].to = x.T
		}
		s.n++
	} else {
		ss = append(ss, sample{t: x.T, v: x.V})
		s.n = 1
	}
	s.rec.series[s.c] = ss
}

func cloneLabels(l map[string]string) map[string]string {
	out := make(map[string]string, len(l))
	for k, v := range l {
		out[k] = v
	}
	return out
}

// labelSets are one label set a node.
func (r *records) labelSets() []map[string]string {
	var out []map[string]string
	for _, l := range r.labels {
		out = append(out, l)
	}
	return out
}

// volume is how much a circuit had counted at last.
func (r *records) volume(k key) float64 {
	v := 0.0
	for c := cSuccess; c <= cFailure; c++ {
		if ss := r.by[k].series[c]; len(ss) > 0 {
			v += ss[len(ss)-1].v
		}
	}
	return v
}

func (r *records) present() []string {
	names := []string{}
	for n := range r.names {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// keys are the circuits, sorted.
func (r *records) keys() []key {
	keys := make([]key, 0, len(r.by))
	for k := range r.by {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// steps are the distances at which outcomes may be read coarsely.
func steps() []time.Duration {
	return []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour}
}

// readOutcomes reads outcome counters in the finest steps that keep the answer
// within bounds.
func (g *gatherer) readOutcomes(ctx context.Context, r *records) error {
	outcomes := g.d.Match("events_total", g.whose())
	most := 0.0
	// How many series there are, over the whole time: they come and go with nodes.
	q := promquery.Query{Name: "size", Select: outcomes, SplitBy: "tenant_id", From: g.from, To: g.req.At,
		Step: max(g.req.At.Sub(g.from)/24, time.Minute).Truncate(time.Second),
		Wrap: func(s string) string { return "count(" + s + ")" }}
	sizes := map[int64]float64{}
	err := g.read(ctx, g.src.Range, q, func(s promquery.Series) error {
		for _, x := range s.Samples {
			sizes[x.T] += x.V // a question that had to be split answers in parts
			most = max(most, sizes[x.T])
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range steps() {
		r.step = s
		if most*float64(g.req.At.Sub(g.from)/s) <= float64(g.req.Limits.Points) {
			break
		}
	}
	return g.read(ctx, g.src.Range, promquery.Query{Name: "outcomes", Select: outcomes, SplitBy: "tenant_id",
		From: g.firstStep(r.step), To: g.req.At, Step: r.step}, r.visit(true, keepAll))
}

// firstStep is the first instant of a coarse reading: its last one is At, so that what
// has been scraped for a minute only is seen too.
func (g *gatherer) firstStep(step time.Duration) time.Time {
	return g.req.At.Add(-(g.req.At.Sub(g.from) / step) * step)
}

// stepFrom is the first instant of the coarse reading at or after t.
func (r *records) stepFrom(t int64) int64 {
	step := r.step.Milliseconds()
	ahead := (r.g.req.At.UnixMilli() - t) % step
	if ahead < 0 {
		ahead += step
	}
	return t + ahead
}

// mapToScrapes moves coarse samples to the scrape that they are from: the last one
// before the step.
func (g *gatherer) mapToScrapes(r *records) {
	for k, rec := range r.by {
		n := g.nodes[k.node]
		if n == nil {
			continue
		}
		for c := range counters {
			ss := rec.series[c]
			for i := range ss {
				if ss[i].coarse {
					ss[i].t = n.upto(ss[i].t)
				}
			}
		}
		for i := range rec.bad {
			rec.bad[i] = n.upto(rec.bad[i])
		}
	}
}

package gather

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/cbops/cbops/promquery"
)

// stretches is into how many stretches the time is cut at most when the server is
// asked what changed; each is read at every scrape at most once.
const stretches = 96

// series is one transition or window counter of a circuit.
type series struct {
	key
	c counter
}

// course is what the server says of a series over the stretches, by index: its last
// value, how many samples there are, and how often it changed.
type course struct {
	last           []float64
	count, changes []int32
}

// readTransitions reads transitions and window totals in two stages: per stretch
// the server says how each series went, and a circuit is read at every scrape only
// where it moved, appeared, or lacked a scrape.
func (g *gatherer) readTransitions(ctx context.Context, r *records) error {
	if len(g.nodes) == 0 {
		return nil
	}
	w := windows{width: max(6*time.Hour, (g.req.At.Sub(g.from)/stretches).Truncate(time.Hour)+time.Hour)}
	w.n = int((g.req.At.Sub(g.from) + w.width - 1) / w.width)
	w.from = g.req.At.Add(-time.Duration(w.n) * w.width)
	courses, err := g.readCourses(ctx, r, w)
	if err != nil {
		return err
	}
	return g.readStretches(ctx, r, w, g.placeCourses(r, w, courses))
}

// windows are the stretches (from+i·width, from+(i+1)·width], i below n. The last
// one ends at At.
type windows struct {
	from  time.Time
	width time.Duration
	n     int
}

func (w windows) start(i int) time.Time { return w.from.Add(time.Duration(i) * w.width) }
func (w windows) end(i int) time.Time   { return w.start(i + 1) }

// of is the stretch that holds t; it may lie outside [0, n).
func (w windows) of(t int64) int {
	d := t - w.from.UnixMilli() - 1
	if d < 0 {
		return -1
	}
	return int(d / w.width.Milliseconds())
}

// readCourses asks for the last value, the number of samples, and the changes of
// each transition series in each stretch. Window totals move only with them.
func (g *gatherer) readCourses(ctx context.Context, r *records, w windows) (map[series]*course, error) {
	courses := map[series]*course{}
	for _, ask := range []struct {
		name, function, filter string
		put                    func(c *course, i int, v float64)
	}{
		{"transitions, last", "last_over_time", "", func(c *course, i int, v float64) { c.last[i] = v }},
		{"transitions, count", "count_over_time", "", func(c *course, i int, v float64) { c.count[i] = int32(v) }},
		{"transitions, changes", "changes", " > 0", func(c *course, i int, v float64) { c.changes[i] = int32(v) }},
	} {
		q := promquery.Query{Name: ask.name, Select: g.d.Match("state_transitions_total", g.whose()), SplitBy: "tenant_id",
			From: w.end(0), To: w.end(w.n - 1), Step: w.width,
			Wrap: func(s string) string {
				return fmt.Sprintf("%s(%s[%dms])%s", ask.function, s, w.width.Milliseconds(), ask.filter)
			}}
		err := g.read(ctx, g.src.Range, q, func(s promquery.Series) error {
			l := g.d.Canonical(s.Labels)
			l["__name__"] = prefix + "state_transitions_total" // most functions drop it
			k, c, ok := r.which(l, g.d.Node(s.Labels))
			if !ok || g.nodes[k.node] == nil {
				return nil
			}
			id := series{k, c}
			if courses[id] == nil {
				courses[id] = newCourse(w.n)
			}
			for _, x := range s.Samples {
				if i := w.of(x.T); i >= 0 && i < w.n {
					ask.put(courses[id], i, x.V)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return courses, nil
}

func newCourse(n int) *course {
	c := &course{last: make([]float64, n), count: make([]int32, n), changes: make([]int32, n)}
	for i := range c.last {
		c.last[i] = math.NaN()
	}
	return c
}

// present reports whether the series had a sample in stretch i.
func (c *course) present(i int) bool { return i >= 0 && i < len(c.count) && c.count[i] > 0 }

// vanishing is how many circuits of a node that only vanish in a stretch are read
// at every scrape all the same: they date the restart for the others.
const vanishing = 20

// placeCourses puts what is settled by the courses into the records: where a series
// stood still at every scrape, its value at both ends. It returns the circuits that
// must be read, by stretch.
func (g *gatherer) placeCourses(r *records, w windows, courses map[series]*course) []map[key]bool {
	need := make([]map[key]bool, w.n)
	ends := map[series][]int{}
	ids := sortedSeries(courses)
	for i := range need {
		need[i] = map[key]bool{}
		expected := g.expected(w, i)
		dated := map[string]int{}
		for _, id := range ids {
			switch courses[id].in(i, expected[id.node]) {
			case absent, stood:
			case moved:
				need[i][id.key] = true
			case vanished:
				if dated[id.node] < vanishing {
					need[i][id.key] = true
					dated[id.node]++
				} else {
					ends[id] = append(ends[id], i)
				}
			}
		}
	}
	for _, id := range ids {
		c, n, rec := courses[id], g.nodes[id.node], r.record(id.key)
		for i := range w.n {
			switch {
			case need[i][id.key] || !c.present(i) && !slices.Contains(ends[id], i):
			case slices.Contains(ends[id], i):
				rec.ends = append(rec.ends, ending{id.c, w.start(i).UnixMilli(), w.end(i).UnixMilli(), lastBefore(c, i)})
			default:
				stood := span{n.after(w.start(i).UnixMilli()), n.upto(w.end(i).UnixMilli())}
				rec.held[id.c] = append(rec.held[id.c], stood)
				rec.series[id.c] = append(rec.series[id.c], sample{t: stood.from, v: c.last[i]}, sample{t: stood.to, v: c.last[i]})
			}
		}
	}
	return need
}

// lastBefore is a course's value before it vanished in stretch i.
func lastBefore(c *course, i int) float64 {
	if c.present(i) {
		return c.last[i]
	}
	return c.last[i-1]
}

// how a series went through a stretch.
type how int

const (
	absent   how = iota
	stood        // the same value at every scrape
	vanished     // the same value until a restart took it, and it did not come back
	moved        // anything else: to be read
)

// in says how the series went through stretch i, in which a series that was there at
// every scrape has expected samples.
func (c *course) in(i, expected int) how {
	before, now := c.present(i-1), c.present(i)
	still := c.changes[i] == 0 && !math.IsNaN(c.last[i]) && (!before || c.last[i-1] == c.last[i])
	switch {
	case !now && (!before || expected == 0):
		return absent
	case !now:
		return vanished
	case still && (before || i == 0) && int(c.count[i]) >= expected:
		return stood
	case still && before && i+1 < len(c.count) && !c.present(i+1):
		return vanished
	}
	return moved
}

// expected is how many samples a series that was there at every scrape of its node
// has in a stretch, by node. The newest scrape may not be stored yet.
func (g *gatherer) expected(w windows, i int) map[string]int {
	out := map[string]int{}
	for name, n := range g.nodes {
		out[name] = n.between(w.start(i).UnixMilli(), min(w.end(i).UnixMilli(), n.usable())+1)
	}
	return out
}

// readStretches reads circuits at every scrape where they must be, neighbouring
// stretches with the same tenants as one.
func (g *gatherer) readStretches(ctx context.Context, r *records, w windows, need []map[key]bool) error {
	before := 2 * max(g.ev.Interval, time.Second) // so that a change at the border has a before
	needed := map[key][]bool{}
	for i := range need {
		for k := range need[i] {
			if needed[k] == nil {
				needed[k] = make([]bool, w.n)
			}
			needed[k][i] = true
		}
	}
	there := func(k key) func(int64) bool {
		in := needed[k]
		if in == nil {
			return nil
		}
		has := func(t int64) bool { i := w.of(t); return i >= 0 && i < w.n && in[i] }
		return func(t int64) bool { return has(t) || has(t+before.Milliseconds()) }
	}
	for i := 0; i < w.n; i++ {
		if len(need[i]) == 0 {
			continue
		}
		keys := maps.Clone(need[i])
		j := i
		for j+1 < w.n && len(need[j+1]) > 0 && slices.Equal(tenantsOf(need[i]), tenantsOf(need[j+1])) {
			j++
			maps.Copy(keys, need[j])
		}
		q := promquery.Query{Name: "transitions", SplitBy: "tenant_id", From: w.start(i).Add(-before), To: w.end(j),
			Select: g.d.MatchAny([]string{"state_transitions_total", "window_requests_total", "window_failures_total"},
				promquery.Match{Label: "tenant_id", Values: tenantsOf(keys)}, promquery.Match{Label: "provider_id", Values: providersOf(keys)})}
		if err := g.read(ctx, g.src.Raw, q, r.visit(false, there)); err != nil {
			return err
		}
		i = j
	}
	return nil
}

func tenantsOf(keys map[key]bool) []string {
	var out []string
	for k := range keys {
		out = append(out, k.tenant)
	}
	return unique(out)
}

func providersOf(keys map[key]bool) []string {
	var out []string
	for k := range keys {
		out = append(out, k.provider)
	}
	return unique(out)
}

func sortedSeries(courses map[series]*course) []series {
	out := make([]series, 0, len(courses))
	for id := range courses {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b series) int {
		if c := compareKeys(a.key, b.key); c != 0 {
			return c
		}
		return int(a.c) - int(b.c)
	})
	return out
}

// Package history makes the past of a router for tests: tenants with traffic,
// errors and outages, the breaker's exact twin on each node, and what a scraper
// saw of its counters. A quiet minute is counted as a whole; a minute in which so
// many of its requests fail that a circuit might open, or one is not closed, goes
// request by request through the twin. So two months of twenty tenants take seconds, where the practice router of
// rollout/lab takes each request by itself. Causes are planted by the test, which
// therefore knows the right verdict. It is imported by tests only.
package history

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cbops/cbops/breaker"
)

// Every is the scrape interval.
const Every = time.Minute

// Provider of a tenant and its share of the tenant's requests.
type Provider struct {
	Name   string
	Weight float64
}

// Tenant is a tenant's life.
type Tenant struct {
	ID string
	// PerMinute is the mean number of requests a minute over all providers.
	PerMinute float64
	// Traffic scales it over time; nil for even.
	Traffic   func(time.Time) float64
	Providers []Provider
	// Errors is the chance that a call to a provider fails, 0 to 1; it is asked once
	// a minute.
	Errors func(provider string, at time.Time) float64
	// Configs are the breaker's configs, by when each was loaded; before the first
	// one the breaker is off.
	Configs []Loaded
	// Bypass is the share of requests that never ask the gate: their context names no
	// provider (ROUTER.md §3).
	Bypass float64
	// Silent is the chance that an admitted call never reports an outcome; nil for
	// never.
	Silent func(provider string, at time.Time) float64
}

// Loaded is a config from an instant on.
type Loaded struct {
	At      time.Time
	Enabled bool
	Config  breaker.Config
}

// Options of a world.
type Options struct {
	Seed       uint64
	Start, End time.Time
	// Nodes are instances, "node-1:9001"; none for that one. Requests are spread
	// evenly.
	Nodes   []string
	Tenants []Tenant
	// Restarts are the instants at which a node restarts.
	Restarts map[string][]time.Time
	// Blind reports that a scrape of a node fails.
	Blind func(node string, at time.Time) bool
	// Emit takes what is scraped; may be nil.
	Emit Sink
}

// Sink is asked once for each series, and returns what takes its samples; a nil one
// drops them.
type Sink func(labels map[string]string) func(at time.Time, v float64) error

// Point is what a circuit's counters said at a scrape.
type Point struct {
	T                          int64 // ms
	Epoch                      int
	Success, Failure, FailFast float64
	CO, OH, HO, HC, WR, WF     float64
}

// World is what happened and what was scraped.
type World struct {
	Options
	nodes []*node
}

type node struct {
	name    string
	reg     *breaker.Registry
	epoch   int
	scrapes []int64
	// restarts are the first scrapes after a restart.
	restarts []int64
	fresh    bool
	circuits map[breaker.Key]*circuit
	sorted   []breaker.Key
	mute     bool
	up       func(at time.Time, v float64) error
}

// circuit is one circuit of one node.
type circuit struct {
	key    breaker.Key
	node   *node
	now    Point
	points []Point
	// quiet are minutes that the twin has not been told of, newest last.
	quiet []minute
	// last is the minute before.
	last   minute
	state  breaker.State
	config breaker.Config
	set    bool
	series [counters]func(at time.Time, v float64) error
	known  [counters]bool
}

// counters is how many series a circuit can have.
const counters = 9

type minute struct {
	from int64
	n, f int
}

// Run makes a world.
func Run(o Options) (*World, error) {
	if len(o.Nodes) == 0 {
		o.Nodes = []string{"node-1:9001"}
	}
	w := &World{Options: o}
	for _, name := range o.Nodes {
		n := &node{name: name, circuits: map[breaker.Key]*circuit{}}
		n.boot()
		w.nodes = append(w.nodes, n)
	}
	var sources []*source
	for _, t := range o.Tenants {
		h := fnv.New64a()
		_, _ = h.Write([]byte(t.ID)) // a hash never fails
		sources = append(sources, &source{t: t, w: w, rng: rand.New(rand.NewPCG(o.Seed, h.Sum64()))})
	}
	for at := o.Start; at.Before(o.End); at = at.Add(Every) {
		for _, n := range w.nodes {
			for _, r := range o.Restarts[n.name] {
				if !r.Before(at) && r.Before(at.Add(Every)) {
					n.boot()
				}
			}
		}
		for _, s := range sources {
			s.minute(at)
		}
		for _, n := range w.nodes {
			if err := w.scrape(n, at.Add(Every)); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

func (n *node) boot() {
	n.reg = breaker.NewRegistry(breaker.Options{Sink: n})
	if len(n.scrapes) > 0 {
		n.epoch++
		n.fresh = true
	}
	for _, c := range n.circuits {
		c.now, c.quiet, c.last, c.state, c.set = Point{}, nil, minute{}, breaker.Closed, false
	}
}

func (n *node) circuit(k breaker.Key) *circuit {
	c := n.circuits[k]
	if c == nil {
		c = &circuit{key: k, node: n, state: breaker.Closed, config: breaker.DefaultConfig()}
		n.circuits[k] = c
	}
	return c
}

// Emit implements breaker.Sink.
func (n *node) Emit(k breaker.Key, m breaker.Metric) {
	c := n.circuit(k)
	label := func(name string) string {
		for _, l := range m.Labels {
			if l.Name == name {
				return l.Value
			}
		}
		return ""
	}
	switch m.Name {
	case prefix + "events_total":
		if n.mute {
			return
		}
		switch label("event_type") {
		case "success":
			c.now.Success += m.Value
		case "failure":
			c.now.Failure += m.Value
		case "fail_fast":
			c.now.FailFast += m.Value
		}
	case prefix + "state_transitions_total":
		c.state = breaker.State(label("to"))
		switch label("from") + ">" + label("to") {
		case "closed>open":
			c.now.CO++
		case "open>half_open":
			c.now.OH++
		case "half_open>open":
			c.now.HO++
		case "half_open>closed":
			c.now.HC++
		}
	case prefix + "window_requests_total":
		c.now.WR += m.Value
	case prefix + "window_failures_total":
		c.now.WF += m.Value
	}
}

const prefix = "router_circuit_breaker_"

// source makes a tenant's requests.
type source struct {
	t   Tenant
	w   *World
	rng *rand.Rand
}

func (s *source) loaded(at time.Time) (l Loaded) {
	for _, x := range s.t.Configs {
		if !x.At.After(at) {
			l = x
		}
	}
	return l
}

// minute sends the requests of [at, at+1 min).
func (s *source) minute(at time.Time) {
	rate := s.t.PerMinute
	if s.t.Traffic != nil {
		rate *= s.t.Traffic(at)
	}
	n := s.poisson(rate)
	if n == 0 {
		return
	}
	l := s.loaded(at)
	per := make([]int, len(s.w.nodes))
	if len(per) == 1 {
		per[0] = n
	} else {
		for range n {
			per[s.rng.IntN(len(per))]++
		}
	}
	for i, node := range s.w.nodes {
		if per[i] > 0 {
			s.onNode(node, per[i], at, l)
		}
	}
}

// call is one request on its way.
type call struct {
	at       int64
	provider int
	failed   bool
}

func (s *source) onNode(n *node, count int, at time.Time, l Loaded) {
	ps := s.t.Providers
	calls := s.split(count)
	circuits := make([]*circuit, len(ps))
	chance := make([]float64, len(ps))
	exact := false
	failures := make([]int, len(ps))
	for i, p := range ps {
		circuits[i] = n.circuit(breaker.Key{Tenant: s.t.ID, Provider: p.Name})
		chance[i] = s.t.Errors(p.Name, at)
		failures[i] = s.binomial(calls[i], chance[i])
		exact = exact || !circuits[i].calm(at.UnixMilli(), calls[i], failures[i]) || circuits[i].state != breaker.Closed || l.Enabled && (!circuits[i].set || circuits[i].config != l.Config)
	}
	if s.t.Silent != nil {
		for _, p := range ps {
			exact = exact || s.t.Silent(p.Name, at) > 0
		}
	}
	for i, c := range circuits {
		c.last = minute{at.UnixMilli(), calls[i], failures[i]}
	}
	if !exact {
		for i, c := range circuits {
			if calls[i] > 0 {
				c.now.Success += float64(calls[i] - failures[i])
				c.now.Failure += float64(failures[i])
				c.remember(at.UnixMilli(), calls[i], failures[i])
			}
		}
		return
	}
	var all []call
	for i := range ps {
		for k := range calls[i] {
			all = append(all, call{at.UnixMilli() + s.rng.Int64N(Every.Milliseconds()), i, k < failures[i]})
		}
	}
	s.rng.Shuffle(len(all), func(i, j int) { all[i].at, all[j].at = all[j].at, all[i].at })
	slices.SortFunc(all, func(a, b call) int { return cmp.Compare(a.at, b.at) })
	for _, c := range all {
		s.request(n, circuits, chance, c, at, l)
	}
}

// request takes one request through the router: the gate is asked for the selected
// provider only; when it denies, the request goes to another one, whose gate is
// not asked (ROUTER.md §3).
func (s *source) request(n *node, circuits []*circuit, chance []float64, r call, at time.Time, l Loaded) {
	c := circuits[r.provider]
	if l.Enabled && (s.t.Bypass <= 0 || s.rng.Float64() >= s.t.Bypass) {
		c.catchUp(s.rng)
		if !c.set || c.config != l.Config {
			n.reg.Configure(c.key, l.Config, r.at)
			c.config, c.set = l.Config, true
		}
		if !n.reg.Allow(c.key, r.at) {
			if len(circuits) < 2 {
				return
			}
			r.provider = s.other(r.provider)
			c = circuits[r.provider]
			r.failed = s.rng.Float64() < chance[r.provider]
		}
	}
	if s.t.Silent != nil {
		if p := s.t.Silent(c.key.Provider, at); p > 0 && s.rng.Float64() < p {
			return
		}
	}
	c.catchUp(s.rng)
	if r.failed {
		n.reg.Failure(c.key, r.at)
	} else {
		n.reg.Success(c.key, r.at)
	}
}

func (s *source) other(not int) int {
	var sum float64
	for i, p := range s.t.Providers {
		if i != not {
			sum += p.Weight
		}
	}
	x := s.rng.Float64() * sum
	last := not
	for i, p := range s.t.Providers {
		if i == not || p.Weight <= 0 {
			continue
		}
		last = i
		if x -= p.Weight; x < 0 {
			break
		}
	}
	return last
}

// calm reports that n requests of which f fail cannot open the circuit in this
// minute: no failure, or a few among so many that no stretch of a window can be half
// failures.
func (c *circuit) calm(from int64, n, f int) bool {
	if f == 0 {
		return true
	}
	const many, few = 20, 3
	if n < many || f > few || c.config.FailureThreshold <= few || c.config.ErrorRateThreshold < 0.4 {
		return false
	}
	return c.last.from == from-Every.Milliseconds() && c.last.n >= many && c.last.f+f <= few
}

// remember keeps quiet minutes as long as a window can reach.
func (c *circuit) remember(from int64, n, f int) {
	c.quiet = append(c.quiet, minute{from, n, f})
	keep := from - max(c.config.WindowSeconds, 60)*1000 - Every.Milliseconds()
	for len(c.quiet) > 1 && c.quiet[0].from < keep {
		c.quiet = c.quiet[1:]
	}
}

// catchUp tells the twin of quiet minutes. Failures among them come after most of
// their minute's successes, so that they open nothing.
func (c *circuit) catchUp(rng *rand.Rand) {
	if len(c.quiet) == 0 {
		return
	}
	c.node.mute = true
	var times []int64
	for _, m := range c.quiet {
		times = times[:0]
		for range m.n {
			times = append(times, m.from+rng.Int64N(Every.Milliseconds()))
		}
		slices.Sort(times)
		for i, t := range times {
			if back := m.n - i; back%2 == 0 && back/2 <= m.f && back > 0 {
				c.node.reg.Failure(c.key, t)
			} else {
				c.node.reg.Success(c.key, t)
			}
		}
	}
	c.quiet = c.quiet[:0]
	c.node.mute = false
}

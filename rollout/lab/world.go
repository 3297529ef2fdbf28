package lab

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// Store takes what a scrape found; *promlab.Store is one.
type Store interface {
	Append(labels map[string]string, t time.Time, v float64) error
}

// Options describe a practice world.
type Options struct {
	// Seed decides every random choice.
	Seed uint64
	// Start is when virtual time begins.
	Start time.Time
	// Nodes are the scrape targets ("node-1:9001"); none means that one.
	Nodes []string
	// Policies is the router's policy directory; nil for a router without.
	Policies Policies
	Tenants  []Tenant
	Faults   []Fault
	Slow     []Slow
	// ScrapeEvery is the scrape interval; 0 for ScrapeEvery, a minute.
	ScrapeEvery time.Duration
	// Store receives the scrapes; nil for none.
	Store Store
	// Exact simulates request by request, without the shortcut for quiet
	// stretches. The history is the same.
	Exact bool
}

// Job is the job label of the scrapes.
const Job = "router"

// ScrapeEvery is the scrape interval of a world that names none.
const ScrapeEvery = time.Minute

// World is router, traffic, faults and scraper under one virtual clock.
type World struct {
	router  *Router
	sources []*source
	faults  []Fault
	store   Store
	now     time.Time
	// clock is now for those who read it while the world moves on.
	clock  atomic.Pointer[time.Time]
	scrape time.Time
	every  time.Duration
	up     map[string]map[string]string
}

// NewWorld makes a world at its start; nothing has happened and nothing has been
// scraped.
func NewWorld(o Options) (*World, error) {
	if len(o.Nodes) == 0 {
		o.Nodes = []string{"node-1:9001"}
	}
	r, err := NewRouter(o.Policies, o.Nodes, o.Exact)
	if err != nil {
		return nil, err
	}
	r.slow = o.Slow
	if o.ScrapeEvery <= 0 {
		o.ScrapeEvery = ScrapeEvery
	}
	w := &World{router: r, faults: o.Faults, store: o.Store, scrape: o.Start.Add(o.ScrapeEvery), every: o.ScrapeEvery, up: map[string]map[string]string{}}
	w.setNow(o.Start)
	for _, t := range o.Tenants {
		w.sources = append(w.sources, newSource(t, o.Seed, o.Start.UnixMilli()))
	}
	for _, n := range o.Nodes {
		w.up[n] = map[string]string{"__name__": "up", "job": Job, "instance": n}
	}
	return w, nil
}

// Router is the world's router.
func (w *World) Router() *Router { return w.router }

// Now is the virtual time. Unlike everything else of a world it may be asked at any
// time, as a clock may.
func (w *World) Now() time.Time { return *w.clock.Load() }

func (w *World) setNow(t time.Time) {
	w.now = t
	w.clock.Store(&t)
}

// AddFault makes a provider fail; a fault in the past changes nothing.
func (w *World) AddFault(f Fault) { w.faults = append(w.faults, f) }

// Advance lets time pass until to: requests are sent and scrapes are made. A
// scrape sees what happened before its instant.
func (w *World) Advance(to time.Time) error {
	for !w.scrape.After(to) {
		w.traffic(w.scrape)
		if err := w.scrapeAll(w.scrape); err != nil {
			return err
		}
		w.scrape = w.scrape.Add(w.every)
	}
	w.traffic(to)
	return nil
}

func (w *World) traffic(to time.Time) {
	if !to.After(w.now) {
		return
	}
	for _, s := range w.sources {
		s.run(w.router, w.faults, to.UnixMilli())
	}
	w.setNow(to)
}

func (w *World) scrapeAll(at time.Time) error {
	if w.store == nil {
		return nil
	}
	for _, n := range w.router.nodes {
		n.settle()
		if err := w.store.Append(w.up[n.name], at, 1); err != nil {
			return fmt.Errorf("cannot store a scrape: %w", err)
		}
		for _, k := range n.metrics.keys() {
			for _, c := range n.metrics.circuits[k] {
				if c.scrape == nil {
					c.scrape = map[string]string{"__name__": c.name, "job": Job, "instance": n.name, "tenant_id": k.Tenant, "provider_id": k.Provider}
					for _, l := range c.extra {
						c.scrape[l.Name] = l.Value
					}
				}
				if err := w.store.Append(c.scrape, at, c.scraped()); err != nil {
					return fmt.Errorf("cannot store a scrape: %w", err)
				}
			}
		}
	}
	return nil
}

// scraped is the value that a scraper reads from the exposition: gauges have
// only the digits that were printed.
func (c *cell) scraped() float64 {
	if c.digits == 0 || c.value == float64(int64(c.value)) {
		return c.value
	}
	v, err := strconv.ParseFloat(c.printed(), 64)
	if err != nil {
		return c.value // cannot happen: printed a line above
	}
	return v
}

package breaker

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
)

// Key names a circuit. Circuits are per tenant and provider, not per policy.
type Key struct{ Tenant, Provider string }

// Options of a registry.
type Options struct {
	// Sink receives the metrics; nil for none.
	Sink Sink
	// Latency is the router's global publish latency in milliseconds, which the
	// latency trigger compares; nil reads as 0.
	Latency func() int64
}

const shards = 64

// Registry holds the circuits of one router node.
type Registry struct {
	opt    Options
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu       sync.RWMutex
	circuits map[Key]*entry
}

type entry struct {
	mu sync.Mutex
	c  circuit
}

// NewRegistry returns a registry without circuits.
func NewRegistry(opt Options) *Registry {
	r := &Registry{opt: opt, seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].circuits = map[Key]*entry{}
	}
	return r
}

func (r *Registry) shard(k Key) *shard {
	return &r.shards[maphash.Comparable(r.seed, k)%shards]
}

func (r *Registry) find(k Key) *entry {
	s := r.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.circuits[k]
}

// obtain returns the circuit, which it creates with cfg when it does not exist;
// a created one is returned locked.
func (r *Registry) obtain(k Key, cfg Config, now int64) (e *entry, created bool) {
	if e := r.find(k); e != nil {
		e.mu.Lock()
		return e, false
	}
	s := r.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.circuits[k]; e != nil {
		e.mu.Lock()
		return e, false
	}
	e = &entry{c: circuit{cfg: cfg, state: Closed, since: now}}
	e.mu.Lock()
	s.circuits[k] = e
	return e, true
}

func (r *Registry) emitter(k Key) emitter { return emitter{r.opt.Sink, k} }

func (r *Registry) latency() int64 {
	if r.opt.Latency == nil {
		return 0
	}
	return r.opt.Latency()
}

// Configure sets a circuit's config: it creates the circuit closed, or swaps the
// config of a live one and nothing else.
func (r *Registry) Configure(k Key, c Config, nowMS int64) {
	e, _ := r.obtain(k, c, nowMS)
	defer e.mu.Unlock()
	e.c.cfg = c
}

// Allow reports whether a request may go to the provider. A circuit that does
// not exist allows, and asking does not create it.
func (r *Registry) Allow(k Key, nowMS int64) bool {
	e := r.find(k)
	if e == nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.c.allow(nowMS, r.emitter(k))
}

// Success records a success; it creates the circuit where there is none.
func (r *Registry) Success(k Key, nowMS int64) {
	e, created := r.obtain(k, DefaultConfig(), nowMS)
	defer e.mu.Unlock()
	if !created {
		e.c.record(nowMS, false, 0, r.emitter(k))
		return
	}
	// The router builds a new circuit around its first outcome: the success counts
	// towards closing until a transition uses it, no error rate is stored.
	e.c.win.push(nowMS, false)
	e.c.successes = 1
	em := r.emitter(k)
	em.event("success")
	em.state(Closed)
}

// Failure records a failure; it creates the circuit where there is none.
func (r *Registry) Failure(k Key, nowMS int64) {
	e, created := r.obtain(k, DefaultConfig(), nowMS)
	defer e.mu.Unlock()
	if !created {
		e.c.record(nowMS, true, r.latency(), r.emitter(k))
		return
	}
	e.c.createdByFailure(nowMS, r.latency(), r.emitter(k))
}

// createdByFailure is the router's path for a first outcome that is a failure:
// it may emit state{open} before state{closed}.
func (c *circuit) createdByFailure(now, latency int64, e emitter) {
	c.win.push(now, true)
	c.failures = 1
	c.errorRate = c.win.rate()
	if reason := c.trips(latency); reason != "" {
		c.openAt(now)
		e.transition(Closed, Open)
		e.trigger(reason)
		e.errorRate(c.errorRate)
		e.window(c.win.len(), c.win.failures)
	}
	e.event("failure")
	e.state(Closed)
}

// Status returns what can be seen of a circuit, and whether it exists.
func (r *Registry) Status(k Key) (Status, bool) {
	e := r.find(k)
	if e == nil {
		return Status{}, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.c.status(), true
}

// Reset closes a circuit and empties its window, as the router's
// reset_recovery_state does: no transition is emitted. It reports whether there
// was such a circuit.
func (r *Registry) Reset(k Key) bool {
	e := r.find(k)
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.c = circuit{cfg: e.c.cfg, state: Closed, since: e.c.since}
	return true
}

// ForEach calls f for every circuit, sorted by tenant and provider.
func (r *Registry) ForEach(f func(Key, Status)) {
	var keys []Key
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for k := range s.circuits {
			keys = append(keys, k)
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Provider, b.Provider))
	})
	for _, k := range keys {
		if st, ok := r.Status(k); ok {
			f(k, st)
		}
	}
}

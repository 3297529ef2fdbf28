package breaker

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
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

// Registry holds the circuits of one router node. Finding a circuit takes no
// lock, using it takes that circuit's own; only making a new one is serial.
type Registry struct {
	latency func() int64
	out     *output
	seed    maphash.Seed
	table   atomic.Pointer[table]
	// grow is held while a circuit is made.
	grow  sync.Mutex
	count int
}

// table is an open-addressed hash table that is only ever added to: a circuit,
// once there, stays. A full one is replaced by a larger copy.
type table struct {
	mask  uint64
	slots []atomic.Pointer[Circuit]
}

func newTable(slots int) *table {
	return &table{mask: uint64(slots - 1), slots: make([]atomic.Pointer[Circuit], slots)}
}

// at returns the slot where a circuit is, or belongs, and the circuit if it is
// there. One slot in four at least is empty, so the search ends.
func (t *table) at(h uint64, k Key) (*atomic.Pointer[Circuit], *Circuit) {
	for i := h; ; i++ {
		slot := &t.slots[i&t.mask]
		c := slot.Load()
		if c == nil || c.hash == h && c.key == k {
			return slot, c
		}
	}
}

// Circuit is one circuit of a registry, for a caller that keeps it rather than
// look it up for each request.
type Circuit struct {
	reg  *Registry
	key  Key
	hash uint64
	// quiet is the time of the last operation if it left the circuit closed, never
	// otherwise. To ask once more in the same millisecond trims nothing and counts
	// nothing, so it needs no lock.
	quiet atomic.Int64
	mu    sync.Mutex
	c     circuit
	// Whole cache lines: neighbours in memory do not slow each other down.
	_ [cacheLine - (unsafe.Sizeof(circuit{})+64)%cacheLine]byte
}

const (
	cacheLine = 64
	never     = math.MinInt64
)

// settle ends an operation at now; the lock is held. A window that lies in the
// future drops an outcome at the next look, also in the same millisecond.
func (c *Circuit) settle(now int64) {
	q := int64(never)
	if c.c.state == Closed && c.c.cfg.WindowSeconds >= 0 {
		q = now
	}
	if c.quiet.Load() != q { // a store is dear, and most outcomes share a millisecond
		c.quiet.Store(q)
	}
}

// NewRegistry returns a registry without circuits.
func NewRegistry(opt Options) *Registry {
	r := &Registry{latency: opt.Latency, out: newOutput(opt.Sink), seed: maphash.MakeSeed()}
	if r.latency == nil {
		r.latency = func() int64 { return 0 }
	}
	r.table.Store(newTable(16))
	return r
}

func (r *Registry) find(k Key) *Circuit {
	_, c := r.table.Load().at(maphash.Comparable(r.seed, k), k)
	return c
}

// obtain returns the circuit locked, which it creates with cfg when it does not
// exist.
func (r *Registry) obtain(k Key, cfg Config, now int64) (c *Circuit, created bool) {
	if c := r.find(k); c != nil {
		c.mu.Lock()
		return c, false
	}
	r.grow.Lock()
	defer r.grow.Unlock()
	t := r.table.Load()
	h := maphash.Comparable(r.seed, k)
	slot, c := t.at(h, k)
	if c != nil {
		c.mu.Lock()
		return c, false
	}
	if 4*(r.count+1) > 3*len(t.slots) {
		t = t.doubled()
		r.table.Store(t)
		slot, _ = t.at(h, k)
	}
	c = &Circuit{reg: r, key: k, hash: h, c: circuit{cfg: cfg, state: Closed, since: now}}
	c.quiet.Store(never)
	c.mu.Lock()
	slot.Store(c)
	r.count++
	return c, true
}

func (t *table) doubled() *table {
	to := newTable(2 * len(t.slots))
	for i := range t.slots {
		if c := t.slots[i].Load(); c != nil {
			slot, _ := to.at(c.hash, c.key)
			slot.Store(c)
		}
	}
	return to
}

func (c *Circuit) emitter() emitter { return emitter{c.reg.out, &c.key} }

// Configure sets a circuit's config: it creates the circuit closed, or swaps the
// config of a live one and nothing else.
func (r *Registry) Configure(k Key, cfg Config, nowMS int64) {
	c, _ := r.obtain(k, cfg, nowMS)
	defer c.mu.Unlock()
	c.c.cfg = cfg
	c.quiet.Store(never)
}

// Circuit returns a circuit, nil if there is none.
func (r *Registry) Circuit(k Key) *Circuit { return r.find(k) }

// Allow reports whether a request may go to the provider. A circuit that does
// not exist allows, and asking does not create it.
func (r *Registry) Allow(k Key, nowMS int64) bool {
	c := r.find(k)
	return c == nil || c.Allow(nowMS)
}

// Success records a success; it creates the circuit where there is none.
func (r *Registry) Success(k Key, nowMS int64) {
	if c := r.find(k); c != nil {
		c.Success(nowMS)
		return
	}
	c, created := r.obtain(k, DefaultConfig(), nowMS)
	defer c.mu.Unlock()
	if created {
		c.c.createdBySuccess(nowMS, c.emitter())
	} else { // somebody was faster
		c.c.record(nowMS, false, 0, c.emitter())
	}
	c.settle(nowMS)
}

// Failure records a failure; it creates the circuit where there is none.
func (r *Registry) Failure(k Key, nowMS int64) {
	if c := r.find(k); c != nil {
		c.Failure(nowMS)
		return
	}
	c, created := r.obtain(k, DefaultConfig(), nowMS)
	defer c.mu.Unlock()
	if created {
		c.c.createdByFailure(nowMS, r.latency(), c.emitter())
	} else {
		c.c.record(nowMS, true, r.latency(), c.emitter())
	}
	c.settle(nowMS)
}

// Allow reports whether a request may go to the provider.
func (c *Circuit) Allow(nowMS int64) bool {
	if c.quiet.Load() == nowMS && nowMS != never {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := c.c.allow(nowMS, c.emitter())
	c.settle(nowMS)
	return ok
}

// Success records a success.
func (c *Circuit) Success(nowMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.record(nowMS, false, 0, c.emitter())
	c.settle(nowMS)
}

// Failure records a failure.
func (c *Circuit) Failure(nowMS int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.record(nowMS, true, c.reg.latency(), c.emitter())
	c.settle(nowMS)
}

// Status returns what can be seen of the circuit.
func (c *Circuit) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c.status()
}

// Status returns what can be seen of a circuit, and whether it exists.
func (r *Registry) Status(k Key) (Status, bool) {
	c := r.find(k)
	if c == nil {
		return Status{}, false
	}
	return c.Status(), true
}

// Reset closes a circuit and empties its window, as the router's
// reset_recovery_state does: no transition is emitted. It reports whether there
// was such a circuit.
func (r *Registry) Reset(k Key) bool {
	c := r.find(k)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c = circuit{cfg: c.c.cfg, state: Closed, since: c.c.since}
	c.quiet.Store(never)
	return true
}

// ForEach calls f for every circuit, sorted by tenant and provider.
func (r *Registry) ForEach(f func(Key, Status)) {
	t := r.table.Load()
	var all []*Circuit
	for i := range t.slots {
		if c := t.slots[i].Load(); c != nil {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Circuit) int {
		return cmp.Or(cmp.Compare(a.key.Tenant, b.key.Tenant), cmp.Compare(a.key.Provider, b.key.Provider))
	})
	for _, c := range all {
		f(c.key, c.Status())
	}
}

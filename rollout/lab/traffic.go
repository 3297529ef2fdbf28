package lab

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/router"
)

// Tenant is a tenant's traffic.
type Tenant struct {
	ID string
	// Policy is the policy that its requests use.
	Policy string
	// PerMinute is the mean number of requests a minute.
	PerMinute float64
	// ErrorRate is the share of requests that fail on a good day, 0 to 1.
	ErrorRate float64
	// Providers are used where the policy names none.
	Providers []Provider
}

// Fault is a provider outage from From (inclusive) to To (exclusive).
type Fault struct {
	Provider string
	From, To time.Time
	// Share of the requests fails, 0 to 1.
	Share float64
	// Tenant is the only one that sees it; "" for everybody.
	Tenant string
}

// Slow is a time, From (inclusive) to To (exclusive), in which publishing takes the
// router long. The latency trigger compares this latency, not the provider's, so it
// hits every circuit that has a failure then (ROUTER.md §1).
type Slow struct {
	From, To  time.Time
	LatencyMS int64
}

// diurnal is how far traffic swings around its mean over a day: at night 20 %
// below, at noon 20 % above.
const diurnal = 0.2

// source makes one tenant's requests. Each tenant has its own stream of random
// numbers, so that a change to one leaves the history of the others alone.
type source struct {
	tenant Tenant
	rng    *rand.Rand
	next   float64 // ms since the Unix epoch, of the next request
}

func newSource(t Tenant, seed uint64, start int64) *source {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.ID)) // a hash never fails
	s := &source{tenant: t, rng: rand.New(rand.NewPCG(seed, h.Sum64())), next: float64(start)}
	s.step()
	return s
}

// step moves on to the next request; gaps are exponential at the present rate.
func (s *source) step() {
	const day = 24 * 60 * 60 * 1000
	noon := math.Cos(2 * math.Pi * (math.Mod(s.next, day)/day - 0.5))
	perMS := s.tenant.PerMinute * (1 + diurnal*noon) / 60000
	if perMS <= 0 {
		s.next = math.Inf(1)
		return
	}
	s.next += s.rng.ExpFloat64() / perMS
}

// run sends the tenant's requests up to, but not at, end (ms).
func (s *source) run(r *Router, faults []Fault, end int64) {
	for s.next < float64(end) {
		s.request(r, faults, int64(s.next))
		s.step()
	}
}

// request takes one request through the router (ROUTER.md §3): the gate is asked
// for the selected provider only; when it denies, the request goes to another
// provider, whose gate is not asked.
func (s *source) request(r *Router, faults []Fault, now int64) {
	n := r.nodes[0]
	if len(r.nodes) > 1 {
		n = r.nodes[s.rng.IntN(len(r.nodes))]
	}
	l := n.loaded[router.Ref{Tenant: s.tenant.ID, Policy: s.tenant.Policy}]
	providers := l.providers
	if len(providers) == 0 {
		providers = s.tenant.Providers
	}
	provider, ok := s.pick(providers, "")
	if !ok {
		return
	}
	c := n.circuit(breaker.Key{Tenant: s.tenant.ID, Provider: provider})
	if l.enabled && !n.off {
		c.configure(l.config, now)
		if !c.allow(now) {
			if provider, ok = s.pick(providers, provider); !ok {
				return // rejected: no other provider, no outcome
			}
			c = n.circuit(breaker.Key{Tenant: s.tenant.ID, Provider: provider})
		}
	}
	if s.rng.Float64() < s.failing(faults, provider, now) {
		n.latencyMS = r.latency(now)
		c.failure(now)
	} else {
		c.success(now)
	}
}

// pick chooses a provider by weight, never the one to avoid.
func (s *source) pick(providers []Provider, avoid string) (string, bool) {
	var sum float64
	for _, p := range providers {
		if p.Name != avoid {
			sum += p.Weight
		}
	}
	if sum <= 0 {
		return "", false
	}
	x := s.rng.Float64() * sum
	last := ""
	for _, p := range providers {
		if p.Name == avoid || p.Weight <= 0 {
			continue
		}
		last = p.Name
		if x -= p.Weight; x < 0 {
			break
		}
	}
	return last, true
}

// failing is the chance that a request to provider fails at now.
func (s *source) failing(faults []Fault, provider string, now int64) float64 {
	share := s.tenant.ErrorRate
	for _, f := range faults {
		if f.Provider == provider && (f.Tenant == "" || f.Tenant == s.tenant.ID) &&
			now >= f.From.UnixMilli() && now < f.To.UnixMilli() {
			share = max(share, f.Share)
		}
	}
	return share
}

// latency is the publish latency at now, in milliseconds; 0 on a good day.
func (r *Router) latency(now int64) int64 {
	var ms int64
	for _, s := range r.slow {
		if now >= s.From.UnixMilli() && now < s.To.UnixMilli() {
			ms = max(ms, s.LatencyMS)
		}
	}
	return ms
}

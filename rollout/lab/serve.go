package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/cbops/cbops/rollout/policy"
)

// Paths of the practice router.
const (
	MetricsPath = "/metrics/router_metrics_http/metrics"
	RequestPath = "/v1/requests"
)

// Server is a practice world in real time, over HTTP: a request endpoint and the
// router's metrics endpoint, on a mux that other handlers can be mounted on. World
// and Router are not safe for concurrent use; the server's lock makes them so, and
// whatever else touches them goes through Do.
type Server struct {
	mux   *http.ServeMux
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	mu    sync.Mutex
	world *World
	rng   *rand.Rand
}

// NewServer serves a world with one node. The world's clock must stand at now or
// before.
func NewServer(w *World, seed uint64, now func() time.Time, sleep func(context.Context, time.Duration) error) *Server {
	s := &Server{mux: http.NewServeMux(), now: now, sleep: sleep, world: w, rng: rand.New(rand.NewPCG(seed, 1))}
	s.mux.HandleFunc("GET "+MetricsPath, s.metrics)
	s.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Not Implemented", http.StatusNotImplemented) // as the router does
	})
	s.mux.HandleFunc("POST "+RequestPath, s.request)
	return s
}

// Handle mounts another handler.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// HandleAdmin mounts the admin API of the router's node, under /admin/. The lock is the
// server's own: what an administrator reads and changes is what requests meet.
func (s *Server) HandleAdmin(o AdminOptions) error {
	o.Node, o.Lock = s.world.router.nodes[0].name, &hand{s}
	h, err := s.world.router.Admin(o)
	if err != nil {
		return err
	}
	s.Handle("/admin/", h)
	return nil
}

// hand is the server's lock as another handler takes it; the world's traffic up to now
// comes first.
type hand struct{ s *Server }

// Lock implements sync.Locker.
func (h *hand) Lock() {
	h.s.mu.Lock()
	if now := h.s.now(); now.After(h.s.world.now) {
		_ = h.s.world.Advance(now) // a world that stores no scrapes cannot fail to
	}
}

// Unlock implements sync.Locker.
func (h *hand) Unlock() { h.s.mu.Unlock() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Do runs f alone with the router, and with the time in milliseconds: the way in
// for everything that is no request. The world's traffic up to now comes first.
func (s *Server) Do(f func(r *Router, nowMS int64) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.After(s.world.now) {
		if err := s.world.Advance(now); err != nil {
			return err
		}
	}
	return f(s.world.router, now.UnixMilli())
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	var text string
	err := s.Do(func(r *Router, _ int64) error {
		text = r.Exposition(r.nodes[0].name)
		return nil
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = io.WriteString(w, text) // the client's loss
}

// WireRequest is the body of a request to RequestPath.
type WireRequest struct {
	Tenant   string `json:"tenant_id"`
	Policy   string `json:"policy_id"`
	Provider string `json:"provider_id"`
	// Ask is false for a request that names no provider, which never asks the gate;
	// nil is true.
	Ask *bool `json:"ask"`
	// Outcome is what the named provider does with the request: success, failure,
	// timeout, 5xx, slow, none (it never answers); "" leaves it to the world's
	// faults.
	Outcome string `json:"outcome"`
	// LatencyMS is how long the provider takes.
	LatencyMS int64  `json:"latency_ms"`
	Fallback  string `json:"fallback_provider"`
}

// WireAnswer is the answer. Its HTTP status is that of the outcome: 200, 502 for a
// failure, 504 for a timeout or no answer, 503 where no provider was left.
type WireAnswer struct {
	Admitted bool   `json:"admitted"`
	Provider string `json:"provider_id"`
	Outcome  string `json:"outcome"`
}

const (
	maxRequest = 64 << 10 // bytes
	maxLatency = 10 * time.Minute
)

// maxProvider is the longest provider name that is taken; it becomes a label.
const maxProvider = 255

func (q WireRequest) check() error {
	switch {
	case !policy.ValidID(q.Tenant):
		return errors.New("tenant_id: want 1 to 255 of A-Z, a-z, 0-9, _ . and -")
	case q.Policy != "" && !policy.ValidID(q.Policy):
		return errors.New("policy_id: want 1 to 255 of A-Z, a-z, 0-9, _ . and -")
	case q.Provider == "" || len(q.Provider) > maxProvider:
		return fmt.Errorf("provider_id: want 1 to %d bytes", maxProvider)
	case q.LatencyMS < 0 || time.Duration(q.LatencyMS) > maxLatency/time.Millisecond:
		return fmt.Errorf("latency_ms: want 0 to %d", maxLatency.Milliseconds())
	}
	switch q.Outcome {
	case "", "success", "failure", "timeout", "5xx", "slow", "none":
		return nil
	}
	return errors.New("outcome: want success, failure, timeout, 5xx, slow or none")
}

func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	var q WireRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	err := dec.Decode(&q)
	if err == nil {
		err = q.check()
	}
	if err != nil {
		http.Error(w, "cannot read the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	q1 := Request{Tenant: q.Tenant, Policy: q.Policy, Provider: q.Provider, Fallback: q.Fallback, Unasked: q.Ask != nil && !*q.Ask}
	var a Admission
	err = s.Do(func(r *Router, now int64) error {
		a = r.Admit(now, q1, s.rng.Float64())
		return nil
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if a.Provider == "" {
		reply(w, http.StatusServiceUnavailable, WireAnswer{Outcome: "rejected"})
		return
	}
	outcome := q.Outcome
	if !a.Admitted {
		outcome = "" // the fallback answers as it does
	}
	if s.sleep(r.Context(), time.Duration(q.LatencyMS)*time.Millisecond) != nil {
		return // the client left: such an outcome is not counted (ROUTER.md §5)
	}
	err = s.Do(func(r *Router, now int64) error {
		if outcome == "" {
			outcome = s.chance(q.Tenant, a.Provider, now)
		}
		if outcome != "none" {
			r.Record(now, q1, a.Provider, outcome != "success" && outcome != "slow")
		}
		return nil
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	status := map[string]int{"failure": http.StatusBadGateway, "5xx": http.StatusBadGateway, "timeout": http.StatusGatewayTimeout, "none": http.StatusGatewayTimeout}[outcome]
	if status == 0 {
		status = http.StatusOK
	}
	reply(w, status, WireAnswer{Admitted: a.Admitted, Provider: a.Provider, Outcome: outcome})
}

// chance is the outcome of a request that names none: the world's faults decide.
func (s *Server) chance(tenant, provider string, now int64) string {
	for _, src := range s.world.sources {
		if src.tenant.ID == tenant {
			return word(s.rng.Float64() < src.failing(s.world.faults, provider, now))
		}
	}
	quiet := &source{tenant: Tenant{ID: tenant}}
	return word(s.rng.Float64() < quiet.failing(s.world.faults, provider, now))
}

func word(failed bool) string {
	if failed {
		return "failure"
	}
	return "success"
}

func reply(w http.ResponseWriter, status int, a WireAnswer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the client's loss
}

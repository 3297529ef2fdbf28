// Package evidence is what was read about a rollout, and what follows from it
// without judgement: timelines, episodes, bins, coverage, baseline. It is pure:
// values in, values out. It asks no server (rollout/gather does) and passes no
// verdict (rollout/criteria does).
package evidence

import "time"

// Evidence is everything one evaluation may look at. It is complete: a criterion
// that needs something else cannot be judged. Times are UTC; counters are
// cumulative within an epoch (from a restart of the router node to the next).
type Evidence struct {
	// At is the instant that is judged; nothing after it is in here.
	At time.Time `json:"at"`
	// Tenants are the tenants that are judged, sorted by id.
	Tenants []Tenant `json:"tenants"`
	// Others are circuits of tenants that are not judged, restricted to the
	// providers and to the times (Windows) that matter to the judged ones: the
	// comparison that tells a failing provider from noise.
	Others []Circuit `json:"others"`
	// Windows are the intervals in which Others was read; outside them nothing
	// is known of other tenants.
	Windows []Interval `json:"windows"`
	// Nodes are the scraped router nodes, sorted by name.
	Nodes []Node `json:"nodes"`
	// Interval is the scrape interval, measured from the scrapes; 0 if unknown.
	Interval time.Duration `json:"interval"`
	// Dialect names the label dialect of the transitions: "emitted" (from/to),
	// "documented" (state), or "" when no transition series exists.
	Dialect string `json:"dialect"`
	// Present lists the metric names found for the judged tenants, sorted.
	Present []string `json:"present"`
	// Queries is what was asked and what came back.
	Queries []Query `json:"queries"`
	// Gaps are times for which an answer was partial, warned or failed.
	Gaps []Gap `json:"gaps"`
}

// Interval is a time interval, From before To. Both ends belong to it.
type Interval struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Contains reports whether t lies in the interval.
func (i Interval) Contains(t time.Time) bool { return !t.Before(i.From) && !t.After(i.To) }

// Length is To − From.
func (i Interval) Length() time.Duration { return i.To.Sub(i.From) }

// Gap is a stretch in which something could not be trusted, and why.
type Gap struct {
	Interval
	Node   string `json:"node,omitempty"`
	Reason string `json:"reason"`
}

// Node is one scraped router process.
type Node struct {
	// Name is "job/instance" as Prometheus labels it.
	Name string `json:"name"`
	// Scrapes are the times of the scrapes that succeeded (up == 1), ascending,
	// over baseline and bake.
	Scrapes []time.Time `json:"-"`
	// Restarts are the instants at which counters were found to have begun anew:
	// each is the time of the first scrape after the restart.
	Restarts []time.Time `json:"restarts"`
}

// Tenant is one judged tenant.
type Tenant struct {
	ID string `json:"id"`
	// Since is when its breaker was enabled with the config now in force.
	Since time.Time `json:"since"`
	// Baseline is the interval before Since that stands for "before".
	Baseline Interval `json:"baseline"`
	// Config is the breaker config of the judged bake.
	Config Config `json:"config"`
	// Circuits are its circuits, sorted by provider, then node. A circuit
	// without any series is not here.
	Circuits []Circuit `json:"circuits"`
}

// Config is the breaker config that is judged, with the router's defaults
// filled in (ROUTER.md §1).
type Config struct {
	Enabled            bool    `json:"enabled"`
	FailureThreshold   int64   `json:"failureThreshold"`
	SuccessThreshold   int64   `json:"successThreshold"`
	TimeoutMS          int64   `json:"timeoutMs"`
	HalfOpenMaxCalls   int64   `json:"halfOpenMaxCalls"`
	ErrorRateThreshold float64 `json:"errorRateThreshold"`
	WindowSeconds      int64   `json:"windowSeconds"`
	LatencyThresholdMS int64   `json:"latencyThresholdMs"` // 0: off
}

// Circuit is the record of one {node, tenant, provider}.
type Circuit struct {
	Node     string `json:"node"`
	Tenant   string `json:"tenant"`
	Provider string `json:"provider"`
	// Points are the cumulative counters at scrapes, ascending in time: every
	// scrape near transitions, every five minutes or so elsewhere.
	Points []Point `json:"points"`
}

// Point is a circuit's cumulative counters at one scrape.
type Point struct {
	T time.Time `json:"t"`
	// Epoch counts restarts of the node before T; counters of different epochs
	// must not be subtracted.
	Epoch int `json:"epoch"`
	// Outcomes says that Success, Failure, FailFast and the window counters were
	// read at T; Transitions the same of CO, OH, HO, HC. A point may have both.
	HasOutcomes    bool `json:"o,omitempty"`
	HasTransitions bool `json:"x,omitempty"`

	Success  float64 `json:"s,omitempty"`
	Failure  float64 `json:"f,omitempty"`
	FailFast float64 `json:"ff,omitempty"`

	CO float64 `json:"co,omitempty"` // closed → open
	OH float64 `json:"oh,omitempty"` // open → half_open
	HO float64 `json:"ho,omitempty"` // half_open → open
	HC float64 `json:"hc,omitempty"` // half_open → closed

	WindowRequests float64 `json:"wr,omitempty"`
	WindowFailures float64 `json:"wf,omitempty"`
}

// Query is one question put to Prometheus and the measure of its answer.
type Query struct {
	// Name says what the query is for: "up", "transitions", "outcomes", "others".
	Name string    `json:"name"`
	Expr string    `json:"query"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Step is 0 for a raw range selector.
	Step     time.Duration `json:"step"`
	Series   int           `json:"series"`
	Samples  int           `json:"samples"`
	Bytes    int64         `json:"bytes"`
	Server   string        `json:"server"`
	Warnings []string      `json:"warnings"`
}

// Package evidence is what was read about a rollout, and what follows from it
// without judgement: timelines, episodes, bins, coverage, baseline, provider
// health, containment, contradictions, and the bundle that keeps all of it. It is
// pure: values in, values out. It asks no server (rollout/gather does) and passes
// no verdict (rollout/criteria does).
//
// Instants inside timelines are milliseconds since the Unix epoch, Prometheus'
// own resolution: a fleet has millions of them. Counters are cumulative within an
// epoch, from a restart of the router node to the next; what is counted between
// two scrapes is a lower bound, and says so.
package evidence

import "time"

// Evidence is everything one evaluation may look at. It is complete: a criterion
// that needs something else cannot be judged. Times are UTC.
type Evidence struct {
	// At is the instant that is judged; nothing after it is in here.
	At time.Time
	// Tenants are the tenants that are judged, sorted by id.
	Tenants []Tenant
	// Others are circuits of tenants that are not judged: hourly everywhere, and
	// at every scrape within Windows. They tell a failing provider from noise.
	Others []Circuit
	// OtherTenants is how many tenants were there that are not judged; more than
	// are in Others where a bound chose among them.
	OtherTenants int
	// Windows are the intervals in which Others was read at every scrape.
	Windows []Interval
	// Nodes are the scraped router nodes, sorted by name.
	Nodes []Node
	// Doubles are scrape targets that are one router scraped twice; the dropped
	// ones are in neither Nodes nor circuits.
	Doubles []Double
	// Elastic: the deployment says that nodes come and go with the load, so that
	// one that is no longer a target owes no scrapes.
	Elastic bool
	// Interval is the scrape interval, measured from the scrapes; 0 if unknown.
	Interval time.Duration
	// Dialect says under which names the series were found.
	Dialect Dialect
	// Skew is how far the server's clock is from that of cbops.
	Skew Skew
	// Measures are what the deployment's own queries answered, sorted by name.
	Measures []Measure
	// Present lists the metric names found for the judged tenants, by their
	// canonical names, sorted.
	Present []string
	// Queries is what was asked and what came back.
	Queries []Query
	// Gaps are times for which an answer was partial, warned or failed.
	Gaps []Gap
}

// Dialect is how the deployment names the router's series.
type Dialect struct {
	// Kind is "emitted" (transitions carry from and to), "documented" (they carry
	// state), or "" when no transition series exists.
	Kind string `json:"kind"`
	// Renames says in words what is called otherwise than the router calls it.
	Renames []string `json:"renames"`
	// Aggregated: the series do not tell the router's nodes apart.
	Aggregated bool `json:"aggregated"`
	// Problems are what could not be decided, or contradicts the plan: which series
	// are the router's is then not known.
	Problems []string `json:"problems"`
	// Metrics (by the router's name, without prefix) and Labels are the names in use
	// that are not the router's; Matchers stand on every selector. With them a query
	// can be worded that the server understands.
	Metrics  map[string]string `json:"metrics,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Matchers []string          `json:"matchers,omitempty"`
}

// The kinds of dialect.
const (
	Emitted    = "emitted"
	Documented = "documented"
)

// Skew is the difference of two clocks and how well it is known.
type Skew struct {
	// Measured: without it nothing is known of the other clock.
	Measured bool `json:"measured"`
	// Ahead is how far the server's clock is ahead of that of cbops.
	Ahead time.Duration `json:"ahead"`
	// Within is the uncertainty: half the round trip and the clock's grain.
	Within time.Duration `json:"within"`
}

// maxSlack bounds what a difference of clocks may blur: beyond it one of them is
// wrong, and blurring more would not help.
const maxSlack = 10 * time.Minute

// Slack is how far an instant told by one clock may be from the same instant told
// by the other; differences below a second do not matter to scrapes.
func (s Skew) Slack() time.Duration {
	if !s.Measured || s.Ahead.Abs() < time.Second {
		return 0
	}
	return min(s.Ahead.Abs()+s.Within, maxSlack)
}

// Interval is a time interval, From before To. Both ends belong to it.
type Interval struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Contains reports whether t lies in the interval.
func (i Interval) Contains(t time.Time) bool { return !t.Before(i.From) && !t.After(i.To) }

// Overlaps reports whether the intervals have an instant in common.
func (i Interval) Overlaps(o Interval) bool { return !i.From.After(o.To) && !o.From.After(i.To) }

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
	Name string
	// Scrapes are the times of the scrapes that succeeded (up == 1), ascending,
	// over baseline and bake, in milliseconds since the Unix epoch.
	Scrapes []int64
	// First and Last bound the time in which Prometheus had it for a target, the
	// scrapes that failed included.
	First, Last int64
	// Older: its counters stood high at First, so that it had been running before,
	// unseen.
	Older bool
	// Restarts are the instants at which counters were found to have begun anew:
	// each is the time of the first scrape after the restart.
	Restarts []int64
}

// Double is one router process behind two scrape targets.
type Double struct {
	Kept    string `json:"kept"`
	Dropped string `json:"dropped"`
	// Reason has the figures that show it.
	Reason string `json:"reason"`
}

// Tenant is one judged tenant.
type Tenant struct {
	ID string
	// Since is when its breaker was enabled with the config now in force.
	Since time.Time
	// Baseline is the interval before Since that stands for "before".
	Baseline Interval
	// Config is the breaker config of the judged bake.
	Config Config
	// Circuits are its circuits, sorted by provider, then node. A circuit
	// without any series is not here.
	Circuits []Circuit
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

// Circuit is the timeline of one {node, tenant, provider}.
type Circuit struct {
	Node     string
	Tenant   string
	Provider string
	// Resets are instants at which the circuit is known to have been reset by a
	// remote call, ascending; metrics do not show them.
	Resets []int64
	// Step is the distance of Outcomes away from transitions: 5 minutes for a few
	// tenants, up to an hour for a fleet.
	Step time.Duration
	// Outcomes are cumulative counts, ascending in time: every Step, and at every
	// scrape near transitions.
	Outcomes []Outcome
	// Transitions are cumulative counts, ascending in time: at the first and last
	// scrape, on both sides of a restart, and at every scrape at or beside which
	// one of them moved. Between two of them nothing changed.
	Transitions []Transition
}

// Outcome is what a circuit had counted at one scrape.
type Outcome struct {
	T int64
	// Epoch counts restarts of the node before T; counters of different epochs
	// must not be subtracted.
	Epoch                      int
	Success, Failure, FailFast float64
}

// Transition is what a circuit had counted at one scrape.
type Transition struct {
	T     int64
	Epoch int
	// closed → open, open → half_open, half_open → open, half_open → closed.
	CO, OH, HO, HC float64
	// WindowRequests and WindowFailures grow by the window's content at every
	// closed → open and half_open → closed (ROUTER.md §5).
	WindowRequests, WindowFailures float64
}

// At is the time of the scrape.
func (o *Outcome) At() time.Time { return Instant(o.T) }

// At is the time of the scrape.
func (x *Transition) At() time.Time { return Instant(x.T) }

// Instant is the time of ms milliseconds since the Unix epoch, in UTC.
func Instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Query is one question put to Prometheus and the measure of its answer.
type Query struct {
	// Name says what the query is for: "outcomes", "transitions", "others".
	Name string    `json:"name"`
	Expr string    `json:"query"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Step is 0 for a raw range selector.
	Step    time.Duration `json:"step"`
	Series  int           `json:"series"`
	Samples int           `json:"samples"`
	// Requests is how many it took; Planned how many before a limit of the server
	// forced more.
	Requests int `json:"requests"`
	Planned  int `json:"planned"`
	// Bytes is the size of the answer's bodies.
	Bytes int64 `json:"bytes"`
	// Cost is how many stored samples the server says it touched; -1 where it
	// does not say.
	Cost int64 `json:"cost"`
	// Digest is that of the samples, whatever the chunks they came in.
	Digest   string   `json:"digest"`
	Server   string   `json:"server"`
	Warnings []string `json:"warnings"`
}

// Clone copies what a counterexample may change for tenant k: its circuits, and
// the lists of everything else. Samples of other circuits and scrapes of nodes are
// shared: they may be replaced, not written to.
func (e *Evidence) Clone(k int) *Evidence {
	c := *e
	c.Tenants = append([]Tenant{}, e.Tenants...)
	if k >= 0 && k < len(c.Tenants) {
		c.Tenants[k].Circuits = append([]Circuit{}, c.Tenants[k].Circuits...)
		for i := range c.Tenants[k].Circuits {
			x := &c.Tenants[k].Circuits[i]
			x.Outcomes = append([]Outcome{}, x.Outcomes...)
			x.Transitions = append([]Transition{}, x.Transitions...)
		}
	}
	c.Others = append([]Circuit{}, e.Others...)
	c.Windows = append([]Interval{}, e.Windows...)
	c.Nodes = append([]Node{}, e.Nodes...)
	c.Measures = append([]Measure{}, e.Measures...)
	c.Present = append([]string{}, e.Present...)
	c.Queries = append([]Query{}, e.Queries...)
	c.Gaps = append([]Gap{}, e.Gaps...)
	return &c
}

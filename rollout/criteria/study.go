package criteria

import (
	"slices"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// Study is evidence and a request with what follows from them, worked out once for
// all criteria. A study of a broken case shares with the good one whatever was not
// replaced in it. It is not safe for concurrent use.
type Study struct {
	Evidence *evidence.Evidence
	Request  Request
	// phase shifts bins, for a second look at a pass.
	phase time.Duration
	// again: hours and blocks are not required, since they were there at the first look.
	again bool

	coverage  map[time.Time]evidence.Measured
	facts     []*tenantFacts
	world     *world
	outages   []evidence.ProviderFailure
	haveFails bool
	looks     []*Study
	healthOK  *healthQuery
}

// world is what the tenants saw of their providers. A study of a broken case shares
// it as long as nobody else's counts differ: it is asked only what the others saw, and
// answers from the good evidence.
type world struct {
	ev        *evidence.Evidence
	baselines map[baselineKey]evidence.Baseline
	tallies   map[tallyKey]*evidence.Crowd
	hours     map[hoursKey]map[int64]*hourView
	who       []witness
	ids       map[string]int32
	enabled   map[string]bool // tenants by whether a policy of theirs is
	intervals []evidence.Interval
}

type baselineKey struct {
	c      *evidence.Outcome
	n      int
	before evidence.Interval
}

type tallyKey struct {
	provider string
	before   evidence.Interval
	from, to int64
}

// maxTallies bounds what is remembered of others' outcomes.
const maxTallies = 4000

func newWorld(ev *evidence.Evidence) *world {
	return &world{ev: ev, baselines: map[baselineKey]evidence.Baseline{}, tallies: map[tallyKey]*evidence.Crowd{}, hours: map[hoursKey]map[int64]*hourView{}, ids: map[string]int32{}}
}

// NewStudy makes a study of evidence.
func NewStudy(ev *evidence.Evidence, r Request) *Study {
	return &Study{Evidence: ev, Request: r, coverage: map[time.Time]evidence.Measured{}, facts: make([]*tenantFacts, len(ev.Tenants)), world: newWorld(ev)}
}

// interval is a number for an interval, of which there are few.
func (w *world) interval(i evidence.Interval) int {
	at := slices.Index(w.intervals, i)
	if at < 0 {
		at = len(w.intervals)
		w.intervals = append(w.intervals, i)
	}
	return at
}

// tenantFacts is what follows from one tenant's timelines.
type tenantFacts struct {
	t        *evidence.Tenant
	circuits []*circuitFacts
	ready    *readiness
	rates    *rates
	// hourly remembers what the tenant and the others counted in an hour, by its
	// beginning.
	hourly map[int64]*hourly
	// exposed is what it did in the outages that it shared with others.
	exposed     []cell
	haveExposed bool
}

// circuitFacts is what follows from one circuit's timeline, its tenant's config and
// baseline.
type circuitFacts struct {
	outcomes    *evidence.Outcome
	transitions *evidence.Transition
	no, nx      int
	since       time.Time
	config      evidence.Config
	baseline    evidence.Interval

	c        *evidence.Circuit
	episodes []evidence.Episode
	base     *evidence.Baseline
	proofs   []*proof
	wrong    []evidence.Contradiction
	checked  bool
	// own: the circuit is of a broken case, and remembered nowhere else.
	own bool
	// hours are the outcomes of the bake's hours, by index from since.
	hours []float64
	// excused are the fail_fasts that would have failed anyway.
	excused     []excusedCall
	haveExcused bool
}

// same reports whether facts are still those of a circuit.
func (f *circuitFacts) same(c *evidence.Circuit, t *evidence.Tenant) bool {
	return f.outcomes == first(c.Outcomes) && f.no == len(c.Outcomes) && f.transitions == first(c.Transitions) && f.nx == len(c.Transitions) &&
		f.since.Equal(t.Since) && f.config == t.Config && f.baseline == t.Baseline
}

func first[T any](s []T) *T {
	if len(s) == 0 {
		return nil
	}
	return &s[0]
}

// tenant returns the facts of the k-th tenant.
func (s *Study) tenant(k int) *tenantFacts {
	if s.facts[k] == nil {
		s.facts[k] = s.newTenant(k, nil)
	}
	return s.facts[k]
}

func (s *Study) newTenant(k int, old *tenantFacts) *tenantFacts {
	t := &s.Evidence.Tenants[k]
	f := &tenantFacts{t: t}
	for i := range t.Circuits {
		c := &t.Circuits[i]
		if old != nil {
			if j := old.find(c, t); j != nil {
				f.circuits = append(f.circuits, j)
				continue
			}
		}
		x := &circuitFacts{outcomes: first(c.Outcomes), no: len(c.Outcomes), transitions: first(c.Transitions), nx: len(c.Transitions),
			since: t.Since, config: t.Config, baseline: t.Baseline, c: c, own: old != nil}
		for _, ep := range t.Episodes(c, s.Evidence.At, s.Evidence.Skew.Slack()) {
			if !ep.Until(s.Evidence.At).Before(t.Since) {
				x.episodes = append(x.episodes, ep)
			}
		}
		x.proofs = make([]*proof, len(x.episodes))
		f.circuits = append(f.circuits, x)
	}
	return f
}

// normal is the circuit's everyday error behaviour.
func (s *Study) normal(f *circuitFacts) evidence.Baseline {
	if f.base == nil {
		var b evidence.Baseline
		if f.own {
			b = evidence.BaselineOf(f.c, f.baseline)
		} else {
			b = s.world.baseline(f.c, f.baseline)
		}
		f.base = &b
	}
	return *f.base
}

// alike reports whether both rest on the same counts.
func (f *tenantFacts) alike(o *tenantFacts) bool {
	return slices.Equal(f.circuits, o.circuits)
}

// forget drops the hours of a tenant, of which there are many and which a second look
// needs once.
func (s *Study) forget(k int) {
	if k >= 0 && s.facts[k] != nil {
		s.facts[k].hourly, s.facts[k].rates = nil, nil
	}
}

// hours is what is remembered of the tenant's hours.
func (f *tenantFacts) hours() map[int64]*hourly {
	if f.hourly == nil {
		f.hourly = map[int64]*hourly{}
	}
	return f.hourly
}

func (f *tenantFacts) find(c *evidence.Circuit, t *evidence.Tenant) *circuitFacts {
	for _, x := range f.circuits {
		if x.same(c, t) {
			return x
		}
	}
	return nil
}

// baseline remembers baselines: those of others are asked for again and again.
func (w *world) baseline(c *evidence.Circuit, before evidence.Interval) evidence.Baseline {
	k := baselineKey{first(c.Outcomes), len(c.Outcomes), before}
	b, ok := w.baselines[k]
	if !ok {
		b = evidence.BaselineOf(c, before)
		w.baselines[k] = b
	}
	return b
}

// seen is what everybody but one tenant saw of a provider between two instants.
func (s *Study) seen(provider, except string, before evidence.Interval, from, to time.Time) evidence.Share {
	k := tallyKey{provider, before, from.UnixMilli(), to.UnixMilli()}
	all, ok := s.world.tallies[k]
	if !ok {
		if len(s.world.tallies) >= maxTallies {
			clear(s.world.tallies)
		}
		all = evidence.NewCrowd(s.world.ev.Tallies(provider, before, from, to), s.world.baseline)
		s.world.tallies[k] = all
	}
	return all.Without(except)
}

// covered remembers coverage, which many tenants share.
func (s *Study) covered(since time.Time) evidence.Measured {
	m, ok := s.coverage[since]
	if !ok {
		m = s.Evidence.Coverage(since)
		s.coverage[since] = m
	}
	return m
}

// failures are the stretches in which providers failed for those who used them.
func (s *Study) failures() []evidence.ProviderFailure {
	if !s.haveFails {
		since := s.Evidence.At
		for i := range s.Evidence.Tenants {
			if t := s.Evidence.Tenants[i].Since; t.Before(since) {
				since = t
			}
		}
		s.outages, s.haveFails = s.Evidence.ProviderFailures(since, s.alpha()), true
	}
	return s.outages
}

// alpha is the error allowed per scrape of a circuit, fixed by the phase's
// minimum length so that a pass does not turn into a fail only because time
// goes on (JUDGING.md, "Symbols").
func (s *Study) alpha() float64 {
	interval := s.Evidence.Interval
	if interval <= 0 {
		interval = time.Minute
	}
	return 0.05 / (float64(max(s.Request.MinDays, 1)) * 24 * float64(time.Hour) / float64(interval))
}

// step is the scrape interval.
func (s *Study) step() time.Duration {
	if s.Evidence.Interval > 0 {
		return s.Evidence.Interval
	}
	return time.Minute
}

// broken makes a study of a case that a counterexample broke. What the case did not
// replace is not worked out again.
func (s *Study) broken(k int, ce Counterexample) *Study {
	ev := *s.Evidence
	ev.Tenants = append([]evidence.Tenant{}, ev.Tenants...)
	if k >= 0 {
		ev.Tenants[k].Circuits = append([]evidence.Circuit{}, ev.Tenants[k].Circuits...)
	}
	r := s.Request
	ce.Break(&Case{Evidence: &ev, Request: &r, Tenant: k})
	b := &Study{Evidence: &ev, Request: r, phase: s.phase, again: s.again, coverage: map[time.Time]evidence.Measured{}, facts: make([]*tenantFacts, len(ev.Tenants)), world: newWorld(&ev)}
	if !ev.At.Equal(s.Evidence.At) || ev.Interval != s.Evidence.Interval {
		return b
	}
	if sameList(ev.Nodes, s.Evidence.Nodes) && sameList(ev.Gaps, s.Evidence.Gaps) {
		b.coverage = s.coverage
	}
	// Others, measures and incidents decide what is known of providers.
	if !sameList(ev.Others, s.Evidence.Others) || !sameList(ev.Measures, s.Evidence.Measures) ||
		!sameList(r.Statements.Incidents, s.Request.Statements.Incidents) || !sameList(r.Policies, s.Request.Policies) || len(ev.Tenants) != len(s.Evidence.Tenants) {
		return b
	}
	alike := ev.Dialect.Kind == s.Evidence.Dialect.Kind && sameList(ev.Nodes, s.Evidence.Nodes) && sameList(ev.Gaps, s.Evidence.Gaps)
	facts := make([]*tenantFacts, len(ev.Tenants))
	for i := range ev.Tenants {
		switch {
		case i == k:
			facts[i] = b.newTenant(i, s.tenant(i))
		case sameTenant(&ev.Tenants[i], &s.Evidence.Tenants[i]):
			if alike {
				facts[i] = s.facts[i]
			}
		case sameCounts(&ev.Tenants[i], &s.Evidence.Tenants[i]): // another config: what it saw of its providers is the same
		default:
			return b // somebody else's counts differ
		}
	}
	// What others saw does not depend on the tenant itself: it is left out there.
	b.facts, b.world, b.outages, b.haveFails, b.healthOK = facts, s.world, s.outages, s.haveFails, s.healthOK
	if k >= 0 && b.facts[k].alike(s.tenant(k)) {
		b.facts[k].hourly = s.tenant(k).hours()
	}
	return b
}

func sameList[T any](a, b []T) bool { return len(a) == len(b) && first(a) == first(b) }

func sameTenant(a, b *evidence.Tenant) bool { return a.Config == b.Config && sameCounts(a, b) }

func sameCounts(a, b *evidence.Tenant) bool {
	return a.ID == b.ID && a.Since.Equal(b.Since) && a.Baseline == b.Baseline && sameList(a.Circuits, b.Circuits)
}

// earlier are the second looks at a pass (DESIGN.md §5): bins shifted by half of
// their width, and the evidence as it was a scrape, a quarter of an hour and an hour
// before. The hours that a pass needs are not required again.
func (s *Study) earlier() []*Study {
	if s.looks == nil {
		shifted := NewStudy(s.Evidence, s.Request)
		shifted.coverage, shifted.world, shifted.again, shifted.phase = s.coverage, s.world, true, 30*time.Minute
		s.looks = append(s.looks, shifted)
		for _, back := range []time.Duration{s.step(), 15 * time.Minute, time.Hour} {
			b := NewStudy(s.Evidence.AsOf(s.Evidence.At.Add(-back)), s.Request)
			b.again = true
			s.looks = append(s.looks, b)
		}
	}
	return s.looks
}

// incident is what was declared of a provider at an open.
func (s *Study) incident(provider string, from, to time.Time) (statement.Declared, bool) {
	return statement.Covering(s.Request.Statements.Incidents, provider, from, to, s.Evidence.At)
}

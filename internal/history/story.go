package history

import (
	"math"
	"strings"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

// Story is a past with a planted cause, what is asked about it, and the right answer,
// stated before anything is judged.
type Story struct {
	Name string
	// Planted says what happened, in a sentence.
	Planted string
	Phase   int
	Options Options
	Judged  []Judged
	At      time.Time
	// Baseline is a week where it is 0.
	Baseline time.Duration
	// Stated is what people say, and FailFast what a fail_fast is to a customer.
	Stated   statement.Set
	FailFast string
	// Measures are the deployment's queries by name; Extra are series that they read,
	// beside the router's.
	Measures map[string]string
	Extra    []Extra
	// Relabel changes the labels under which a series is stored, or drops it: the
	// exporter, relabelling or a recording rule at fault. nil changes nothing.
	Relabel func(labels map[string]string) (map[string]string, bool)
	// Again is under which labels a second scrape of the same router stores a series; nil
	// for none.
	Again func(labels map[string]string) map[string]string
	// Lost reports that a scrape did not store a series.
	Lost func(labels map[string]string, at time.Time) bool
	// Want is the verdict of each criterion of the phase; Phase verdict is theirs.
	Want    map[string]criteria.Verdict
	Verdict criteria.Verdict
}

// Extra is a series that is not the router's.
type Extra struct {
	Labels map[string]string
	Value  func(at time.Time) float64
}

// Since is when the breakers of most stories were enabled; Before is the time before
// it that they have.
const Before = 7*24*time.Hour + 2*time.Hour

// Enabled is when the breakers of most stories were enabled.
func Enabled() time.Time { return time.Date(2026, 3, 8, 10, 0, 0, 0, time.UTC) }

// GuideConfig is the guide's phase-1 config.
func GuideConfig() breaker.Config {
	c := breaker.PolicyDefaults()
	c.TimeoutMS = 30_000
	return c
}

// Fault is when a provider fails, and for whom.
type Fault struct {
	Provider string
	From     time.Time
	For      time.Duration
	Share    float64
	// Tenant is the only one that sees it; "" for everybody.
	Tenant string
}

// errors is an everyday failure share, and faults on top of it.
func errors(tenant string, usual float64, faults ...Fault) func(string, time.Time) float64 {
	return func(provider string, at time.Time) float64 {
		p := usual
		for _, f := range faults {
			if f.Provider == provider && (f.Tenant == "" || f.Tenant == tenant) && !at.Before(f.From) && at.Before(f.From.Add(f.For)) {
				p = max(p, f.Share)
			}
		}
		return p
	}
}

// Two are two providers of the same weight.
func Two() []Provider {
	return []Provider{{Name: "openai", Weight: 1}, {Name: "anthropic", Weight: 1}}
}

// usual is the everyday failure share of the stories.
const usual = 0.004

// tenant is one of a story's, never enabled.
func tenant(id string, perMinute float64, faults ...Fault) Tenant {
	return Tenant{ID: id, PerMinute: perMinute, Providers: Two(), Errors: errors(id, usual, faults...)}
}

// enabled is a tenant whose breaker got the guide's config at Enabled.
func enabled(id string, perMinute float64, faults ...Fault) Tenant {
	t := tenant(id, perMinute, faults...)
	t.Configs = []Loaded{{At: Enabled(), Enabled: true, Config: GuideConfig()}}
	return t
}

// others are tenants without a breaker, one of which has so little traffic that its
// circuits trip in shadow.
func others(faults ...Fault) []Tenant {
	return []Tenant{tenant("t-cove", 44, faults...), tenant("t-dune", 44, faults...), tenant("t-echo", 44, faults...), tenant("t-flux", 2, faults...)}
}

// story is one of t-acme in phase 1, at the guide's minimum.
func story(name, planted string, acme Tenant, rest []Tenant, want ...criteria.Verdict) Story {
	s := Story{Name: name, Planted: planted, Phase: 1, At: Enabled().AddDate(0, 0, 3), Judged: []Judged{{ID: acme.ID, Since: Enabled()}}}
	s.Options = Options{Seed: 11, Start: Enabled().Add(-Before), End: s.At, Tenants: append([]Tenant{acme}, rest...)}
	s.Stated = statement.Set{Attestations: []statement.Attestation{attested("logs-useful"), attested("latency-not-degraded")}}
	s.Verdict = want[0]
	s.Want = map[string]criteria.Verdict{}
	for i, id := range []string{"no-unexpected-opens", "closes-after-recovery", "error-rate-not-increased", "metrics-accurate", "breaker-effective"} {
		s.Want[id] = want[i+1]
	}
	s.Want["latency-not-degraded"], s.Want["logs-useful"] = criteria.Pass, criteria.Pass
	return s
}

func attested(id string) statement.Attestation {
	return statement.Attestation{ID: id, By: "on-call", Reason: "looked every day", From: Enabled().Add(time.Hour), Until: Enabled().AddDate(0, 1, 0)}
}

const (
	pass         = criteria.Pass
	fail         = criteria.Fail
	inconclusive = criteria.Inconclusive
	unmeasurable = criteria.Unmeasurable
)

// later is a time after enabling.
func later(hours float64) time.Time {
	return Enabled().Add(time.Duration(hours * float64(time.Hour)))
}

// outageFor is openai failing at every call for everybody.
func outageFor(from time.Time, d time.Duration) Fault {
	return Fault{Provider: "openai", From: from, For: d, Share: 1}
}

// ripple is a level that moves with the day and a little besides, without chance.
func ripple(level float64) func(time.Time) float64 {
	return func(at time.Time) float64 {
		h := float64(at.Unix()) / 3600
		return level * (1 + 0.1*math.Sin(2*math.Pi*h/24) + 0.01*math.Sin(h*17.3) + 0.01*math.Sin(h*5.7+1))
	}
}

// Request is what a story asks of the criteria.
func (s Story) Request() criteria.Request {
	r := criteria.NewRequest(s.Phase)
	if s.FailFast != "" {
		r.FailFast = s.FailFast
	}
	r.Statements.Add(s.Stated)
	for name := range s.Measures {
		if short, ok := strings.CutPrefix(name, evidence.StabilityPrefix); ok {
			r.Stability = append(r.Stability, criteria.Stability{Name: short, Higher: true, Margin: criteria.DefaultStability})
		}
	}
	r.Policies = []criteria.Policy{}
	for _, t := range s.Options.Tenants {
		l := (&source{t: t}).loaded(s.At)
		r.Policies = append(r.Policies, criteria.Policy{Tenant: t.ID, Policy: "chat", Enabled: l.Enabled})
	}
	return r
}

// Direct is the evidence of a story as a gatherer would read it, without a server.
func (s Story) Direct() (*evidence.Evidence, error) {
	w, err := Run(s.Options)
	if err != nil {
		return nil, err
	}
	return w.Evidence(s.At, s.baseline(), s.Judged...), nil
}

func (s Story) baseline() time.Duration {
	if s.Baseline > 0 {
		return s.Baseline
	}
	return 7 * 24 * time.Hour
}

// Emit runs a story and hands every value that a scrape stores to a sink.
func (s Story) Emit(to Sink) error {
	o := s.Options
	o.Emit = func(l map[string]string) func(time.Time, float64) error {
		stored, keep := l, true
		if s.Relabel != nil {
			stored, keep = s.Relabel(l)
		}
		if !keep {
			return nil
		}
		add := to(stored)
		if s.Again != nil {
			first, second := add, to(s.Again(stored))
			add = func(at time.Time, v float64) error {
				if err := first(at, v); err != nil {
					return err
				}
				return second(at, v)
			}
		}
		if s.Lost == nil {
			return add
		}
		return func(at time.Time, v float64) error {
			if s.Lost(l, at) {
				return nil
			}
			return add(at, v)
		}
	}
	if _, err := Run(o); err != nil {
		return err
	}
	for _, x := range s.Extra {
		add := to(x.Labels)
		for at := o.Start.Add(Every); !at.After(o.End); at = at.Add(Every) {
			if err := add(at, x.Value(at)); err != nil {
				return err
			}
		}
	}
	return nil
}

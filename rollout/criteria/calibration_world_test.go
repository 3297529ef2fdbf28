package criteria_test

import (
	"math"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// process is how a tenant's calls fail. It is not the criterion's own model: calls
// are drawn step by step, with what the process adds to chance.
type process struct {
	name string
	// perMinute is the mean traffic over a week, p the mean failure share.
	perMinute, p float64
	// burstEvery is the mean time between bursts of half an hour that hold 30 % of all
	// failures; 0 for none.
	burstEvery time.Duration
	// even: a rise comes evenly, not in the same bursts.
	even bool
	// seasonal: traffic goes up and down by half with the day, errors by half the other
	// way round, and are twice as many at weekends.
	seasonal bool
	// outages of a provider in the bake, of half an hour each, and one in the baseline
	// of every other history. controls are tenants without a breaker that see them too.
	outages, controls int
	// tenants are judged together, all alike; 0 is 1.
	tenants int
}

const (
	simBefore = 7  // days of baseline
	simAfter  = 14 // days of bake
	simStep   = 20 * time.Minute
	burstLen  = 30 * time.Minute
	burstPart = 0.3
	outageLen = 30 * time.Minute
)

// weekend and day are how errors and traffic go with the time; both are 1 in the mean
// over a week, errors as weighted with the traffic.
func (p process) traffic(t time.Time) float64 {
	if !p.seasonal {
		return 1
	}
	return 1 + 0.5*math.Sin(dayAngle(t))
}

func (p process) errors(t time.Time) float64 {
	if !p.seasonal {
		return 1
	}
	x := 1 - 0.5*math.Sin(dayAngle(t))
	if d := t.Weekday(); d == time.Saturday || d == time.Sunday {
		x *= 2
	}
	return x / (0.875 * 9 / 7) // traffic × errors has mean 1 − 0.25/2 over a day
}

func dayAngle(t time.Time) float64 { return 2 * math.Pi * float64(t.Unix()%86400) / 86400 }

// span is a stretch of time.
type span struct{ from, to time.Time }

// part is how much of (from, to] lies in any of the spans.
func part(spans []span, from, to time.Time) float64 {
	sum := 0.0
	for _, s := range spans {
		a, b := s.from, s.to
		if a.Before(from) {
			a = from
		}
		if b.After(to) {
			b = to
		}
		if b.After(a) {
			sum += b.Sub(a).Seconds()
		}
	}
	return sum / to.Sub(from).Seconds()
}

// bursts draws when errors come in bursts.
func (p process) bursts(rng *rand.Rand, from, to time.Time) []span {
	var out []span
	if p.burstEvery == 0 {
		return nil
	}
	for t := from; ; {
		t = t.Add(time.Duration(rng.ExpFloat64() * float64(p.burstEvery)))
		if !t.Before(to) {
			return out
		}
		end := t.Add(time.Duration(rng.ExpFloat64() * float64(burstLen)))
		out = append(out, span{t, end})
		t = end
	}
}

// share is the failure share of a step, given the mean of it.
func (p process) share(mean, burst float64) float64 {
	if p.burstEvery == 0 {
		return mean
	}
	often := float64(burstLen) / float64(p.burstEvery+burstLen)
	return min(mean*(1-burstPart+burstPart*burst/often), 0.9)
}

// scene holds what histories of one start have in common.
type scene struct {
	start, since, at time.Time
	node             evidence.Node
}

// scenes are one for each day of the week on which a bake may begin.
func scenes() []scene {
	var out []scene
	for d := range 7 {
		s := scene{start: time.Date(2026, 3, 1+d, 0, 0, 0, 0, time.UTC)}
		s.since = s.start.AddDate(0, 0, simBefore)
		s.at = s.since.AddDate(0, 0, simAfter)
		s.node.Name = "router/node-1"
		for t := s.start; !t.After(s.at); t = t.Add(time.Minute) {
			s.node.Scrapes = append(s.node.Scrapes, t.UnixMilli())
		}
		s.node.First, s.node.Last = s.node.Scrapes[0], s.node.Scrapes[len(s.node.Scrapes)-1]
		out = append(out, s)
	}
	return out
}

// evidence draws a history in which the mean failure share is up by rise from
// enabling on, as a gatherer would have read it at its end.
func (p process) evidence(rng *rand.Rand, s scene, rise float64) (*evidence.Evidence, criteria.Request) {
	ev := &evidence.Evidence{At: s.at, Interval: time.Minute, Dialect: evidence.Dialect{Kind: evidence.Emitted}, Skew: evidence.Skew{Measured: true},
		Nodes: []evidence.Node{s.node}, OtherTenants: p.controls}
	r := criteria.NewRequest(1)
	r.Only = []string{"error-rate-not-increased"}
	outages := p.drawOutages(rng, s)
	for _, o := range outages {
		ev.Windows = append(ev.Windows, evidence.Interval{From: o.from.Add(-simStep), To: o.to.Add(2 * simStep)})
	}
	providers := []string{"openai"}
	if p.outages > 0 {
		providers = []string{"anthropic", "openai"}
	}
	for k := range max(p.tenants, 1) + p.controls {
		judged := k < max(p.tenants, 1)
		id := tenantName(k)
		r.Policies = append(r.Policies, criteria.Policy{Tenant: id, Policy: "chat", Enabled: judged})
		t := evidence.Tenant{ID: id, Since: s.since, Baseline: evidence.Interval{From: s.start, To: s.since},
			Config: evidence.Config{Enabled: true, FailureThreshold: 5, SuccessThreshold: 2, TimeoutMS: 30000, HalfOpenMaxCalls: 3, ErrorRateThreshold: 0.5, WindowSeconds: 60}}
		for _, name := range providers {
			c := circuitSim{process: p, scene: s, rng: rng, bursts: p.bursts(rng, s.start, s.at), perMinute: p.perMinute / float64(len(providers)), judged: judged}
			if judged {
				c.rise = rise
			}
			if name == "openai" {
				c.outages = outages
			}
			x := c.run()
			x.Node, x.Tenant, x.Provider, x.Step = s.node.Name, id, name, simStep
			if judged {
				t.Circuits = append(t.Circuits, x)
			} else {
				x.Transitions = nil
				for i := range x.Outcomes {
					x.Outcomes[i].FailFast = 0
				}
				ev.Others = append(ev.Others, x)
			}
		}
		if judged {
			ev.Tenants = append(ev.Tenants, t)
		}
	}
	return ev, r
}

func tenantName(k int) string {
	return "t-" + string([]byte{'a' + byte(k/100), '0' + byte(k/10%10), '0' + byte(k%10)})
}

// drawOutages places the outages of a history: in the bake at any minute, a day apart
// at least, and before it in every other history.
func (p process) drawOutages(rng *rand.Rand, s scene) []span {
	var out []span
	if p.outages == 0 {
		return nil
	}
	minute := func(from time.Time, days float64) time.Time {
		return from.Add(time.Duration(rng.Float64()*days*24*60) * time.Minute)
	}
	if rng.IntN(2) == 0 {
		at := minute(s.start.Add(24*time.Hour), simBefore-2)
		out = append(out, span{at, at.Add(outageLen)})
	}
	each := float64(simAfter-1) / float64(p.outages)
	for i := range p.outages {
		at := minute(s.since.Add(time.Duration((float64(i)*each+0.5)*24*float64(time.Hour))), each-1)
		out = append(out, span{at, at.Add(outageLen)})
	}
	return out
}

// circuitSim draws one circuit.
type circuitSim struct {
	process
	scene
	rng       *rand.Rand
	bursts    []span
	outages   []span
	perMinute float64
	rise      float64
	judged    bool

	o evidence.Outcome
	x evidence.Transition
	c evidence.Circuit
}

// run draws steps, and minutes around an outage.
func (c *circuitSim) run() evidence.Circuit {
	c.o.T, c.x.T = c.start.UnixMilli(), c.start.UnixMilli()
	c.c.Outcomes, c.c.Transitions = append(make([]evidence.Outcome, 0, 1600), c.o), append(c.c.Transitions, c.x)
	for t := c.start.Add(simStep); t.Before(c.at); t = t.Add(simStep) {
		near := false
		for _, o := range c.outages {
			near = near || !t.Before(o.from.Add(-simStep)) && t.Before(o.to.Add(3*simStep))
		}
		if !near {
			c.step(t.Add(-simStep), t)
			continue
		}
		for m := t.Add(-simStep + time.Minute); !m.After(t); m = m.Add(time.Minute) {
			c.step(m.Add(-time.Minute), m)
		}
	}
	c.x.T = c.node.Scrapes[len(c.node.Scrapes)-2]
	c.c.Transitions = append(c.c.Transitions, c.x)
	return c.c
}

// step counts a step. In an outage everything fails; an enabled breaker opens in its
// first minute, probes once a minute, and closes in the first minute after it.
func (c *circuitSim) step(from, to time.Time) {
	mid := from.Add(to.Sub(from) / 2)
	n := 0.0
	if mean := c.perMinute * c.traffic(mid) * to.Sub(from).Minutes(); mean > 0 {
		n = distuv.Poisson{Lambda: mean, Src: c.rng}.Rand()
	}
	mean, even := c.p*c.errors(mid), 0.0
	switch {
	case from.Before(c.since):
	case c.even:
		even = c.rise
	default:
		mean += c.rise
	}
	q := even + c.share(mean, part(c.bursts, from, to))
	enabled := c.judged && !from.Before(c.since)
	f := -1.0
	for _, o := range c.outages {
		switch d := to.Sub(o.from); {
		case d <= 0 || d > outageLen+time.Minute:
		case !enabled && d <= outageLen:
			f = n
		case enabled && n < 1 && d <= outageLen:
		case enabled && d == time.Minute: // the circuit opens
			if n < 6 {
				n = 6
			}
			c.move(from, to, func(x *evidence.Transition) { x.CO++; x.WindowRequests += 5; x.WindowFailures += 5 })
			c.o.FailFast += n - 5
			n, f = 5, 5
		case enabled && d <= outageLen: // a probe fails
			c.move(from, to, func(x *evidence.Transition) { x.OH++; x.HO++ })
			c.o.FailFast += max(0, n-1)
			n, f = 1, 1
		case enabled: // two probes succeed
			n = max(n, 2)
			c.move(from, to, func(x *evidence.Transition) { x.OH++; x.HC++; x.WindowRequests += 4; x.WindowFailures += 2 })
			f = 0
		}
	}
	if f < 0 {
		f = distuv.Binomial{N: n, P: q, Src: c.rng}.Rand()
		if to.Sub(from) < simStep && 2*f >= n {
			f = 0 // the breaker has no least volume: it would have opened on this minute
		}
	}
	c.o.Success, c.o.Failure, c.o.T = c.o.Success+n-f, c.o.Failure+f, to.UnixMilli()
	c.c.Outcomes = append(c.c.Outcomes, c.o)
}

// move adds a transition, and what stood before it.
func (c *circuitSim) move(from, to time.Time, with func(x *evidence.Transition)) {
	if c.c.Transitions[len(c.c.Transitions)-1].T < from.UnixMilli() {
		c.x.T = from.UnixMilli()
		c.c.Transitions = append(c.c.Transitions, c.x)
	}
	with(&c.x)
	c.x.T = to.UnixMilli()
	c.c.Transitions = append(c.c.Transitions, c.x)
}

package criteria

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// reads says what a criterion reads of the router's metrics, and so what must be
// there for it to pass.
type reads int

const (
	// readsOutcomes: outcome counters.
	readsOutcomes reads = iota
	// readsTransitions: outcome and transition counters.
	readsTransitions
)

// readiness is what stands in the way of a pass, whatever was found.
type readiness struct {
	// missing: the series do not exist; off: the breaker is not enabled; doubtful: the
	// metrics contradict themselves; early: hours or outcomes are lacking.
	missing, untold, off, doubtful, early *TenantFinding
	measured                              evidence.Measured
}

// ready works out what a pass needs, once for each tenant.
func (s *Study) ready(k int) *readiness {
	f := s.tenant(k)
	if f.ready != nil {
		return f.ready
	}
	t := f.t
	r := &readiness{measured: s.covered(t.Since)}
	f.ready = r
	block := func(v Verdict, st State, summary, needs string, facts ...Fact) *TenantFinding {
		return &TenantFinding{Tenant: t.ID, Verdict: v, State: st, Basis: Measured, Summary: summary, Needs: needs,
			Evidence: append([]Fact{}, facts...), Episodes: []EpisodeFinding{}}
	}
	if p := s.Evidence.Dialect.Problems; len(p) > 0 {
		var facts []Fact
		for _, x := range p {
			facts = append(facts, Fact{Text: x})
		}
		r.missing = block(Unmeasurable, "", "which series are the router's is not known: "+p[0], "a setting in the plan: see docs/prometheus.md", facts...)
		return r
	}
	if !hasOutcomes(t) {
		r.missing = block(Unmeasurable, "", "no outcomes of tenant "+t.ID+" are exported",
			"the series router_circuit_breaker_events_total with event_type success and failure")
		return r
	}
	switch s.Evidence.Dialect.Kind {
	case evidence.Emitted:
	case evidence.Documented:
		r.untold = block(Unmeasurable, "", "state_transitions_total has a state label, not from and to: closes cannot be told from opens",
			"transitions with from and to labels, as the router emits them")
	default:
		r.untold = block(Unmeasurable, "", "no circuit of any tenant ever showed a transition: whether opens would show here is not known",
			"the series router_circuit_breaker_state_transitions_total; one open of any tenant shows it, a drilled one too")
	}
	if !t.Config.Enabled {
		r.off = block(Inconclusive, Stuck, "the breaker of "+t.ID+" is not enabled in its policies", "an enabled breaker, or another tenant")
	}
	if s.again {
		return r
	}
	if facts := s.contradictions(f); len(facts) > 0 && r.untold == nil { // they rest on transitions
		r.doubtful = block(Inconclusive, Stuck, "the metrics contradict themselves: "+facts[0].Text,
			"metrics that agree, see metrics-accurate; and the router's exporter and the relabelling in Prometheus", facts...)
	}
	if r.doubtful == nil {
		if f := s.ended(f); f != nil {
			r.doubtful = block(Inconclusive, Stuck, f.Text, "the series back, or the provider named as no longer used by a new bake", *f)
		}
	}
	r.early = s.early(f, r, block)
	return r
}

const (
	// endedFor is how long a circuit's series must be away, and endedCalls how many
	// outcomes it would have counted since, for them not to be away by chance: after a
	// restart they come back with the next call.
	endedFor   = 12 * time.Hour
	endedCalls = 50
	// After a restart they may stay away for as long as a tenant that works by day is.
	endedRestarted = 36 * time.Hour
)

// ended finds a circuit whose series end while its node goes on being scraped: a
// counter does not go away.
func (s *Study) ended(f *tenantFacts) *Fact {
	for _, c := range f.circuits {
		n := len(c.c.Outcomes)
		if n < 2 {
			continue
		}
		begin, last := c.c.Outcomes[0].At(), c.c.Outcomes[n-1].At()
		away := s.Evidence.At.Sub(last)
		d := c.c.Delta(begin, last)
		if away < endedFor || away < endedRestarted && s.restarted(c.c.Node, last) || !s.scrapedAt(c.c.Node) || d.Outcomes()*away.Hours()/max(last.Sub(begin).Hours(), 1) < endedCalls {
			continue
		}
		return &Fact{Text: fmt.Sprintf("the series of %s on %s end at %s, though the node is scraped: what happened since is not known", c.c.Provider, c.c.Node, stamp(last)),
			Provider: c.c.Provider, Node: c.c.Node, From: &last}
	}
	return nil
}

// restarted reports whether a node restarted after an instant.
func (s *Study) restarted(node string, after time.Time) bool {
	for i := range s.Evidence.Nodes {
		if n := &s.Evidence.Nodes[i]; n.Name == node && len(n.Restarts) > 0 {
			return n.Restarts[len(n.Restarts)-1] > after.UnixMilli()
		}
	}
	return false
}

// scrapedAt reports whether a node was scraped within the last hour.
func (s *Study) scrapedAt(node string) bool {
	for i := range s.Evidence.Nodes {
		if n := &s.Evidence.Nodes[i]; n.Name == node && len(n.Scrapes) > 0 {
			return s.Evidence.At.Sub(evidence.Instant(n.Scrapes[len(n.Scrapes)-1])) <= time.Hour
		}
	}
	return false
}

// early: too few measured hours, or too few days with enough outcomes.
func (s *Study) early(f *tenantFacts, r *readiness, block func(Verdict, State, string, string, ...Fact) *TenantFinding) *TenantFinding {
	need, have := s.Request.MinDays*24, r.measured.Hours
	if have < need {
		tf := block(Inconclusive, Waiting, fmt.Sprintf("%d of %d measured hours", have, need), fmt.Sprintf("%d more measured hours", need-have))
		eta := s.Evidence.At.Add(time.Duration(need-have) * time.Hour)
		tf.ETA = &eta
		return tf
	}
	good, lean := 0, 0
	for _, b := range s.blocks(f, r.measured) {
		if b >= float64(s.Request.MinOutcomesPerDay) {
			good++
		} else {
			lean++
		}
	}
	if good >= s.Request.MinDays {
		return nil
	}
	if last, any := lastOutcome(f.t); !any || s.Evidence.At.Sub(last) > 6*time.Hour {
		when := "since enabling"
		if any {
			when = "since " + stamp(last)
		}
		return block(Inconclusive, Stuck, "traffic stopped: no outcome "+when, "traffic through the breaker")
	}
	return block(Inconclusive, Waiting, fmt.Sprintf("%d of %d days with at least %d outcomes (%d with fewer)", good, s.Request.MinDays, s.Request.MinOutcomesPerDay, lean),
		"more traffic, a lower criteria.minOutcomesPerDay in the plan, or the tenant left out by name (criteria.quiet)")
}

// blocks are the outcomes in each 24 measured hours, however long those took.
func (s *Study) blocks(f *tenantFacts, m evidence.Measured) []float64 {
	var out []float64
	for i := 0; i+24 <= len(m.Measured); i += 24 {
		sum := 0.0
		for _, h := range m.Measured[i : i+24] {
			at := int(h.Sub(f.t.Since) / time.Hour)
			for _, c := range f.circuits {
				if hours := s.hours(c); at < len(hours) {
					sum += hours[at]
				}
			}
		}
		out = append(out, sum)
	}
	return out
}

// hours are a circuit's outcomes in each hour of the bake. An hour that bridges a gap
// has none.
func (s *Study) hours(f *circuitFacts) []float64 {
	if f.hours == nil {
		f.hours = make([]float64, max(1, int(s.Evidence.At.Sub(f.since)/time.Hour)))
		for _, b := range f.c.Bins(f.since, s.Evidence.At, time.Hour) {
			if i := int(b.From.Sub(f.since) / time.Hour); i < len(f.hours) {
				f.hours[i] = b.Success + b.Failure
			}
		}
	}
	return f.hours
}

// blocked is the finding that stands in place of a pass, nil if nothing does.
func (r *readiness) blocked(what reads) *TenantFinding {
	for _, b := range []*TenantFinding{r.missing, r.silent(what), r.off, r.doubtful, r.early} {
		if b != nil {
			c := *b
			c.Evidence = append([]Fact{}, b.Evidence...)
			return &c
		}
	}
	return nil
}

func (r *readiness) silent(what reads) *TenantFinding {
	if what == readsTransitions {
		return r.untold
	}
	return nil
}

// cannotFail: nothing was exported that a fail could rest on.
func (r *readiness) cannotFail(what reads) bool { return r.missing != nil || r.silent(what) != nil }

func hasOutcomes(t *evidence.Tenant) bool {
	for i := range t.Circuits {
		for _, o := range t.Circuits[i].Outcomes {
			if o.Success+o.Failure > 0 {
				return true
			}
		}
	}
	return false
}

// lastOutcome is when an outcome was last counted, to within a scrape or a step.
func lastOutcome(t *evidence.Tenant) (last time.Time, ok bool) {
	for i := range t.Circuits {
		all := t.Circuits[i].Outcomes
		for j := len(all) - 1; j > 0; j-- {
			if a, b := all[j-1], all[j]; a.Success+a.Failure != b.Success+b.Failure {
				if b.At().After(last) {
					last, ok = b.At(), true
				}
				break
			}
		}
	}
	return last, ok
}

// contradictions are what the router cannot have done, and series that fell silent.
func (s *Study) contradictions(f *tenantFacts) []Fact {
	var facts []Fact
	for _, c := range f.circuits {
		if !c.checked {
			c.wrong, c.checked = evidence.Contradictions(c.c, f.t.Config, f.t.Since, s.Evidence.Interval), true
		}
		for _, x := range c.wrong {
			at := x.At
			facts = append(facts, Fact{Text: fmt.Sprintf("%s, %s: %s", c.c.Provider, stamp(at), x.Text), Provider: c.c.Provider, Node: c.c.Node, From: &at, To: &at})
		}
	}
	return facts
}

// stamp is an instant for people.
func stamp(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") + " UTC" }

// round shortens a duration for people.
func round(d time.Duration) string {
	switch {
	case d.Abs() >= 48*time.Hour:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	case d.Abs() >= time.Minute:
		t := d.Round(time.Second).String()
		if strings.HasSuffix(t, "m0s") {
			t = strings.TrimSuffix(t, "0s")
		}
		if strings.HasSuffix(t, "h0m") {
			t = strings.TrimSuffix(t, "0m")
		}
		return strings.TrimSpace(strings.NewReplacer("h", " h ", "m", " m ", "s", " s").Replace(t))
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// percent prints a share as percent, points a difference of shares.
func percent(x float64) string { return digits(100*x) + " %" }

func points(x float64) string { return digits(100*x) + " points" }

// digits prints a number with three significant digits and no exponent.
func digits(x float64) string {
	a := math.Abs(x)
	switch {
	case a == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 1:
		return fmt.Sprintf("%.2f", x)
	case a >= 0.1:
		return fmt.Sprintf("%.3f", x)
	case a >= 0.001:
		return fmt.Sprintf("%.4f", x)
	}
	return fmt.Sprintf("%.1g", x)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func number(x float64) *float64 { return &x }

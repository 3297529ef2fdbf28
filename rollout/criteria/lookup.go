package criteria

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// Lookup is a query for a person to paste. The instants are in it, so that it gives
// the same answer whenever it is put, as long as the server keeps the samples.
type Lookup struct {
	// Shows says what it answers.
	Shows string `json:"shows"`
	// Query is PromQL for an instant query.
	Query string `json:"query"`
}

// maxNamed bounds the tenants that a query names one by one.
const maxNamed = 20

// lookups are the queries that show what a finding that did not pass rests on: about
// the tenants that it is about, under the names that the deployment uses.
func (s *Study) lookups(f *Finding) []Lookup {
	out := []Lookup{}
	var subjects []*evidence.Tenant
	for i := range f.Tenants {
		tf := &f.Tenants[i]
		if tf.Verdict == f.Verdict && !slices.ContainsFunc(f.LeftOut, func(l LeftOut) bool { return l.Tenant == tf.Tenant && tf.Waived == nil }) {
			for k := range s.Evidence.Tenants {
				if t := &s.Evidence.Tenants[k]; t.ID == tf.Tenant && len(subjects) < maxNamed {
					subjects = append(subjects, t)
				}
			}
		}
	}
	if f.Verdict == Pass || f.Basis == Attested {
		return out
	}
	l := &lookup{s: s, d: s.Evidence.Dialect, at: s.Evidence.At}
	switch f.ID {
	case Latency{}.ID():
		return append(out, l.measure(evidence.Latency, subjects, f.Verdict)...)
	case Stable{}.ID():
		for _, q := range s.Request.Stability {
			out = append(out, l.measure(evidence.StabilityPrefix+q.Name, nil, f.Verdict)...)
		}
		return out
	}
	if len(subjects) == 0 {
		return out
	}
	l.about(subjects)
	early := false
	for _, t := range subjects {
		early = early || s.covered(t.Since).Hours < s.Request.MinDays*24
	}
	switch {
	case f.Verdict == Unmeasurable && !f.Broken:
		return append(out, l.labels()...)
	case f.Verdict == Inconclusive && early:
		return append(out, l.scraped()...)
	case f.ID == ErrorRate{}.ID():
		return append(out, l.shares()...)
	case f.ID == Wasted{}.ID(), f.ID == Effective{}.ID():
		return append(append(out, l.opens()...), l.events()...)
	case f.ID == Accurate{}.ID():
		return append(append(out, l.transitions()...), l.events()...)
	case f.ID == (Closes{}).ID():
		return append(out, l.transitions()...)
	}
	return append(out, l.opens()...)
}

// lookup words queries about some tenants.
type lookup struct {
	s     *Study
	d     evidence.Dialect
	at    time.Time
	since time.Time
	// before is where the baselines begin.
	before time.Time
	who    string
}

func (l *lookup) about(ts []*evidence.Tenant) {
	var ids []string
	for i, t := range ts {
		if i == 0 || t.Since.Before(l.since) {
			l.since, l.before = t.Since, t.Baseline.From
		}
		ids = append(ids, regexp.QuoteMeta(t.ID))
	}
	tenant := l.label("tenant_id")
	if len(ids) == 1 {
		l.who = tenant + "=" + strconv.Quote(ts[0].ID)
		return
	}
	l.who = tenant + "=~" + strconv.Quote(strings.Join(ids, "|"))
}

func (l *lookup) label(canonical string) string {
	if name := l.d.Labels[canonical]; name != "" {
		return name
	}
	return canonical
}

// selector selects a metric of the tenants; "" where it is not known what it is called.
func (l *lookup) selector(metric string, more ...string) string {
	name, ok := l.d.Metrics[metric]
	switch {
	case !ok:
		name = routerPrefix + metric
	case name == "":
		return ""
	}
	return name + "{" + strings.Join(append(append([]string{l.who}, more...), l.d.Matchers...), ",") + "}"
}

const (
	routerPrefix      = "router_circuit_breaker_"
	metricEvents      = "events_total"
	metricTransitions = "state_transitions_total"
)

func (l *lookup) by(labels ...string) string {
	for i := range labels {
		labels[i] = l.label(labels[i])
	}
	return "sum by (" + strings.Join(labels, ", ") + ") "
}

// grown is by how much counters grew from one instant to another, summed. A series
// that first appears in between counts from 0, which increase() does not do; a
// restart in between is not seen.
func grown(sum, selector string, from, to time.Time) string {
	last := fmt.Sprintf("%s(last_over_time(%s[%s] @ %d))", sum, selector, seconds(to.Sub(from)), to.Unix())
	return fmt.Sprintf("%s - %s(%s @ %d) or %s", last, sum, selector, from.Unix(), last)
}

// increased is the same for counters that move all the time, where the first step
// does not matter: shorter, and restarts are seen.
func increased(sum, selector string, from, to time.Time) string {
	return fmt.Sprintf("%s(increase(%s[%s] @ %d))", sum, selector, seconds(to.Sub(from)), to.Unix())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", max(1, int(d/time.Second))) }

func (l *lookup) sum(shows, metric string, labels []string, more ...string) []Lookup {
	x := l.selector(metric, more...)
	if x == "" {
		return nil
	}
	return []Lookup{{Shows: shows, Query: grown(l.by(labels...), x, l.since, l.at)}}
}

func (l *lookup) opens() []Lookup {
	if l.d.Kind != evidence.Emitted {
		return nil
	}
	return l.sum("opens since enabling, by provider", metricTransitions, []string{"tenant_id", "provider_id"},
		l.label("from")+`="closed"`, l.label("to")+`="open"`)
}

func (l *lookup) transitions() []Lookup {
	if l.d.Kind != evidence.Emitted {
		return nil
	}
	return l.sum("transitions since enabling", metricTransitions, []string{"tenant_id", "provider_id", "from", "to"})
}

func (l *lookup) events() []Lookup {
	x := l.selector(metricEvents)
	if x == "" {
		return nil
	}
	return []Lookup{{"outcomes and fail_fasts since enabling", increased(l.by("tenant_id", "provider_id", "event_type"), x, l.since, l.at)}}
}

// shares are failures over outcomes, after and before. The finding compares hours of
// the week and takes out what a failing provider did to all, so that its figures
// differ a little.
func (l *lookup) shares() []Lookup {
	event := l.label("event_type")
	failed, all := l.selector(metricEvents, event+`="failure"`), l.selector(metricEvents, event+`=~"failure|success"`)
	if failed == "" {
		return nil
	}
	share := func(shows string, from, to time.Time) Lookup {
		return Lookup{shows, increased(l.by("tenant_id"), failed, from, to) + " / " + increased(l.by("tenant_id"), all, from, to)}
	}
	return []Lookup{share("failures over outcomes since enabling", l.since, l.at), share("the same before enabling", l.before, l.since)}
}

// labels show what the series that are missing, or are not as the router's, look like.
func (l *lookup) labels() []Lookup {
	x := l.selector(metricTransitions)
	if x == "" {
		return nil
	}
	return []Lookup{
		{"what there is of transitions: no answer, no series", fmt.Sprintf("count without (%s) (last_over_time(%s[%s] @ %d))", l.label("provider_id"), x, seconds(l.at.Sub(l.since)), l.at.Unix())},
		{"what there is of outcomes", fmt.Sprintf("count by (%s) (last_over_time(%s[%s] @ %d))", l.label("event_type"), l.selector(metricEvents), seconds(l.at.Sub(l.since)), l.at.Unix())},
	}
}

// scraped is how many hours the router's nodes were scraped.
func (l *lookup) scraped() []Lookup {
	for _, q := range l.s.Evidence.Queries {
		if q.Name == "scrapes" && strings.HasSuffix(q.Expr, "}") {
			return []Lookup{{"hours scraped since enabling, a line a node", fmt.Sprintf("sum_over_time(%s[%s] @ %d) * %g / 3600",
				q.Expr, seconds(l.at.Sub(l.since)), l.at.Unix(), l.s.Evidence.Interval.Seconds())}}
		}
	}
	return nil
}

// measure is a query of the deployment's own, as it was asked; where it answers
// numbers, its mean since enabling and before.
func (l *lookup) measure(name string, ts []*evidence.Tenant, v Verdict) []Lookup {
	m := l.s.Evidence.Measure(name)
	if m == nil {
		return nil
	}
	if m.Refused != "" || len(m.Series) == 0 || strings.Contains(m.Expr, "#") { // a comment would swallow what is put around it
		return []Lookup{{"the query as it was asked", m.Expr}}
	}
	if v == Unmeasurable {
		return []Lookup{{"what it answers", fmt.Sprintf("last_over_time((%s)[%s:%s] @ %d)", m.Expr, seconds(m.Step), seconds(m.Step), l.at.Unix())}}
	}
	from, last := l.s.bakes()
	if len(ts) > 0 {
		last = ts[0].Since
		from = last
	}
	mean := func(shows string, from, to time.Time) Lookup {
		return Lookup{shows, fmt.Sprintf("avg_over_time((%s)[%s:%s] @ %d)", m.Expr, seconds(to.Sub(from)), seconds(m.Step), to.Unix())}
	}
	return []Lookup{mean("its mean since enabling", last, l.at), mean("the same before enabling", l.s.baselineFrom(from), from)}
}

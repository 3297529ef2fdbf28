// Package gather asks Prometheus and turns the answers into evidence. It decides
// nothing: what is missing becomes a gap or an absent circuit, never a zero that
// nobody counted. How Prometheus is reached is promquery's; what follows from the
// evidence is rollout/evidence's and rollout/criteria's.
//
// A fixed number of questions is asked for any number of tenants (JUDGING.md,
// "Asking Prometheus"). Outcome counters are read in coarse steps, transitions in
// two stages: the server says in which stretches which series changed, appeared or
// lacked a scrape, and only those are read at every scrape, together with the
// outcomes near what changed.
package gather

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// Source answers queries; *promquery.Client is one.
type Source interface {
	// Raw gives the samples of a selector in [From, To] to visit.
	Raw(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error)
	// Range evaluates at From, From+Step, … up to To.
	Range(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error)
	// Instant evaluates at To.
	Instant(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error)
}

// TenantRequest is one tenant to be judged.
type TenantRequest struct {
	ID     string
	Since  time.Time
	Config evidence.Config
}

// Request says what is to be judged.
type Request struct {
	Tenants []TenantRequest
	At      time.Time
	// Baseline is the length of the time before Since that stands for "before".
	Baseline time.Duration
	// Dialect says under which names to look; DialectProblems what could not be
	// decided: it forbids every pass.
	Dialect         promquery.Dialect
	DialectProblems []promquery.Problem
	// Elastic says that router nodes come and go with the load.
	Elastic bool
	// Skew is how far the server's clock is from that of cbops.
	Skew evidence.Skew
	// Resets are resets by remote call that are known; metrics do not show them.
	Resets []Reset
	// Measures are the deployment's own queries.
	Measures []MeasureQuery
	// Limits bound what is read; the zero value is for a large fleet.
	Limits Limits
	// Progress is told what is being read; may be nil.
	Progress func(string)
}

// Reset is a circuit that a remote call closed.
type Reset struct {
	// Node may be "": then on every node.
	Node, Tenant, Provider string
	At                     time.Time
}

// Limits bound what one run reads and keeps.
type Limits struct {
	// Points is how many outcome samples the coarse reading may take; the step is
	// chosen by it. 0 for four million, some 150 MiB.
	Points int
	// Others is how many tenants that are not judged are read; 0 for 300.
	Others int
	// Windows is how many stretches are read at every scrape around what changed;
	// 0 for 64. Stretches near each other are read as one to keep it.
	Windows int
}

const (
	// near is how far raw samples are read around a transition.
	near = 20 * time.Minute
	// longest bounds how much of one episode is read of other tenants.
	longest = 6 * time.Hour
	// margin is read before the baseline, so that its first bin has a start.
	margin = 10 * time.Minute
	// lookback is for how long a server repeats the last value of a series that is
	// gone and was not marked stale.
	lookback = 5 * time.Minute
)

// gatherer is one run of Gather.
type gatherer struct {
	src Source
	req Request
	d   promquery.Dialect
	ev  *evidence.Evidence
	// from is where reading begins: before the earliest baseline.
	from time.Time
	// judged are the ids of the judged tenants, sorted.
	judged []string
	nodes  nodes
}

// Gather reads all that the criteria may look at. The number of queries does not
// depend on the number of tenants. An error means that there is no answer at all.
func Gather(ctx context.Context, src Source, req Request) (*evidence.Evidence, error) {
	g := newGatherer(src, req)
	if len(req.Tenants) == 0 {
		return g.ev, nil
	}
	j := g.newRecords()
	for _, step := range []struct {
		name string
		run  func(context.Context, *records) error
	}{
		{"outcomes", g.readOutcomes}, {"scrapes", g.readScrapes}, {"transitions", g.readTransitions}, {"outcomes near transitions", g.readNear},
	} {
		g.progress("reading %s", step.name)
		if err := step.run(ctx, j); err != nil {
			return nil, fmt.Errorf("reading %s: %w", step.name, err)
		}
	}
	g.tenants(j)
	g.progress("reading other tenants")
	if err := g.readOthers(ctx); err != nil {
		return nil, fmt.Errorf("reading other tenants: %w", err)
	}
	if len(req.Measures) > 0 {
		g.progress("reading the plan's queries")
		if err := g.readMeasures(ctx); err != nil {
			return nil, err
		}
	}
	g.sortGaps()
	return g.ev, nil
}

func newGatherer(src Source, req Request) *gatherer {
	if req.Limits.Points <= 0 {
		req.Limits.Points = 4_000_000
	}
	if req.Limits.Others <= 0 {
		req.Limits.Others = 300
	}
	if req.Limits.Windows <= 0 {
		req.Limits.Windows = 64
	}
	g := &gatherer{src: src, req: req, d: req.Dialect, ev: &evidence.Evidence{
		At: req.At.UTC(), Tenants: []evidence.Tenant{}, Others: []evidence.Circuit{}, Windows: []evidence.Interval{},
		Nodes: []evidence.Node{}, Doubles: []evidence.Double{}, Present: []string{}, Measures: []evidence.Measure{}, Queries: []evidence.Query{}, Gaps: []evidence.Gap{},
		Elastic: req.Elastic, Skew: req.Skew, Dialect: DialectOf(req.Dialect, req.DialectProblems),
	}}
	for i, t := range req.Tenants {
		if b := t.Since.Add(-req.Baseline); i == 0 || b.Before(g.from) {
			g.from = b
		}
		g.judged = append(g.judged, t.ID)
	}
	g.from = g.from.Add(-margin)
	slices.Sort(g.judged)
	g.judged = slices.Compact(g.judged)
	return g
}

// DialectOf is what evidence keeps of a dialect.
func DialectOf(d promquery.Dialect, problems []promquery.Problem) evidence.Dialect {
	out := evidence.Dialect{Kind: d.Kind, Renames: append([]string{}, d.Renames...), Aggregated: d.Aggregated, Problems: []string{}}
	if len(d.Metrics) > 0 {
		out.Metrics = maps.Clone(d.Metrics)
	}
	if len(d.Labels) > 0 {
		out.Labels = maps.Clone(d.Labels)
	}
	for _, p := range problems {
		text := p.Text
		if p.Setting != "" {
			text += "; set " + p.Setting + " in the plan"
		}
		out.Problems = append(out.Problems, text)
	}
	return out
}

func (g *gatherer) progress(format string, args ...any) {
	if g.req.Progress != nil {
		g.req.Progress(fmt.Sprintf(format, args...))
	}
}

// ask is how a question is put: Raw, Range or Instant.
type ask func(ctx context.Context, q promquery.Query, visit promquery.Visit) (promquery.Answer, error)

// read puts a question and keeps the books: the query, its size, and a gap for
// every warning over the time that it is about, since a warned answer may be
// partial.
func (g *gatherer) read(ctx context.Context, how ask, q promquery.Query, visit promquery.Visit) error {
	a, err := how(ctx, q, visit)
	if err != nil {
		return fmt.Errorf("query %s: %w", q.Name, err)
	}
	g.ev.Queries = append(g.ev.Queries, QueryOf(a))
	g.warn(a)
	return nil
}

// QueryOf is the record that evidence keeps of an answer.
func QueryOf(a promquery.Answer) evidence.Query {
	return evidence.Query{Name: a.Name, Expr: a.Expr, From: a.From.UTC(), To: a.To.UTC(), Step: a.Step,
		Series: a.Series, Samples: a.Samples, Requests: a.Requests, Planned: a.Planned, Bytes: a.Bytes, Cost: a.Cost,
		Digest: a.Digest, Server: a.Server, Warnings: append([]string{}, a.Warnings...)}
}

func (g *gatherer) warn(a promquery.Answer) {
	for _, w := range a.Warned {
		g.gap(w.From, w.To, "", "the server warned: "+w.Text)
	}
}

func (g *gatherer) gap(from, to time.Time, node, reason string) {
	g.ev.Gaps = append(g.ev.Gaps, evidence.Gap{Interval: evidence.Interval{From: from.UTC(), To: to.UTC()}, Node: node, Reason: reason})
}

func (g *gatherer) sortGaps() {
	slices.SortFunc(g.ev.Gaps, func(a, b evidence.Gap) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		if c := a.To.Compare(b.To); c != 0 {
			return c
		}
		return strings.Compare(a.Node+a.Reason, b.Node+b.Reason)
	})
	g.ev.Gaps = slices.CompactFunc(g.ev.Gaps, func(a, b evidence.Gap) bool {
		return a.From.Equal(b.From) && a.To.Equal(b.To) && a.Node == b.Node && a.Reason == b.Reason
	})
}

// tenants puts the timelines of the judged tenants into the evidence.
func (g *gatherer) tenants(r *records) {
	circuits := r.circuits()
	g.ev.Present = r.present()
	for _, t := range g.req.Tenants {
		et := evidence.Tenant{ID: t.ID, Since: t.Since.UTC(), Config: t.Config, Circuits: []evidence.Circuit{},
			Baseline: evidence.Interval{From: t.Since.Add(-g.req.Baseline).UTC(), To: t.Since.UTC()}}
		for _, c := range circuits {
			if c.Tenant == t.ID {
				et.Circuits = append(et.Circuits, c)
			}
		}
		g.ev.Tenants = append(g.ev.Tenants, et)
	}
	slices.SortFunc(g.ev.Tenants, func(a, b evidence.Tenant) int { return strings.Compare(a.ID, b.ID) })
	g.ev.Nodes = g.nodes.evidence()
}

// whose matches the judged tenants.
func (g *gatherer) whose() promquery.Match {
	return promquery.Match{Label: "tenant_id", Values: g.judged}
}

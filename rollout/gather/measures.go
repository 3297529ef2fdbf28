package gather

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/evidence"
)

// MeasureQuery is a query of the deployment's own: for what the router does not
// export.
type MeasureQuery struct {
	// Name is evidence.Latency, TenantErrorRate, ProviderHealthy, or "stability/" and
	// a name.
	Name string
	// Expr is PromQL; its series carry tenant_id or provider_id where they are about
	// one.
	Expr string
}

const (
	// measurePoints and measureSeries bound the answer to one such query.
	measurePoints = 2_000_000
	measureSeries = 5_000
)

// errTooMuch ends a reading that would exceed measurePoints.
var errTooMuch = errors.New("more than is kept")

// readMeasures asks the deployment's own queries. One that the server refuses, or
// that answers too much, is kept with the reason: a criterion that needs it cannot
// be measured, and all others can.
func (g *gatherer) readMeasures(ctx context.Context) error {
	for _, q := range g.req.Measures {
		m, err := g.readMeasure(ctx, q)
		if err != nil {
			return fmt.Errorf("query %s: %w", q.Name, err)
		}
		g.ev.Measures = append(g.ev.Measures, m)
	}
	slices.SortFunc(g.ev.Measures, func(a, b evidence.Measure) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

func (g *gatherer) readMeasure(ctx context.Context, q MeasureQuery) (evidence.Measure, error) {
	steps := []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour}
	if q.Name == evidence.ProviderHealthy {
		steps = []time.Duration{min(max(g.ev.Interval, 15*time.Second), 5*time.Minute), 5 * time.Minute}
	}
	for _, step := range steps {
		m, err := g.readAt(ctx, q, step)
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, errTooMuch):
			continue
		case promquery.IsRefused(err):
			// What the server says of the query is for the operator's eyes: the query is his.
			m.Refused = strings.TrimPrefix(err.Error(), "query "+q.Name+": ")
			return m, nil
		default:
			return m, err
		}
	}
	return evidence.Measure{Name: q.Name, Expr: q.Expr, Step: steps[len(steps)-1], Series: []evidence.MeasureSeries{},
		Refused: fmt.Sprintf("it answers more than %d series or %d values: aggregate it, by (tenant_id) at most", measureSeries, measurePoints)}, nil
}

// readAt evaluates a query at steps. Values that are not numbers are counted and left
// out.
func (g *gatherer) readAt(ctx context.Context, q MeasureQuery, step time.Duration) (evidence.Measure, error) {
	m := evidence.Measure{Name: q.Name, Expr: q.Expr, Step: step, Series: []evidence.MeasureSeries{}}
	at := map[string]int{}
	points := 0
	visit := func(s promquery.Series) error {
		labels := labelText(s.Labels)
		i, ok := at[labels]
		if !ok {
			i = len(m.Series)
			at[labels] = i
			l := g.d.Canonical(s.Labels)
			m.Series = append(m.Series, evidence.MeasureSeries{Tenant: l["tenant_id"], Provider: l["provider_id"], Labels: labels, Times: []int64{}, Values: []float64{}})
		}
		if points += len(s.Samples); points > measurePoints || len(m.Series) > measureSeries {
			return errTooMuch
		}
		x := &m.Series[i]
		for _, v := range s.Samples {
			if math.IsNaN(v.V) || math.IsInf(v.V, 0) {
				x.NotNumbers++
				continue
			}
			x.Times, x.Values = append(x.Times, v.T), append(x.Values, v.V)
		}
		return nil
	}
	from := g.from.Truncate(step).Add(step)
	a, err := g.src.Range(ctx, promquery.Query{Name: q.Name, From: from, To: g.req.At, Step: step, Wrap: func(string) string { return q.Expr }}, visit)
	if err == nil {
		g.ev.Queries = append(g.ev.Queries, QueryOf(a))
		for i := range m.Series {
			for _, w := range a.Warned { // a warned answer may be partial: nothing of it counts
				drop(&m.Series[i], w.From, w.To)
			}
		}
	}
	slices.SortFunc(m.Series, func(a, b evidence.MeasureSeries) int { return cmp.Compare(a.Labels, b.Labels) })
	return m, err
}

// drop takes out what a series said from one instant to another.
func drop(s *evidence.MeasureSeries, from, to time.Time) {
	times, values := []int64{}, []float64{}
	for i, t := range s.Times {
		if at := instant(t); at.Before(from) || at.After(to) {
			times, values = append(times, t), append(values, s.Values[i])
		}
	}
	s.Times, s.Values = times, values
}

// labelText is a series' labels in the order of their names.
func labelText(l map[string]string) string {
	names := make([]string, 0, len(l))
	for n := range l {
		names = append(names, n)
	}
	slices.Sort(names)
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = fmt.Sprintf("%s=%q", n, l[n])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

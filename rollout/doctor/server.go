package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/criteria"
)

// server looks at the server itself: does it answer, which is it, what time is it.
func (x *examination) server(ctx context.Context) error {
	k := Check{ID: "reachability", Verdict: criteria.Pass, Summary: x.c.Server() + " answers"}
	build, err := x.c.BuildInfo(ctx)
	switch {
	case errors.Is(err, promquery.ErrNotAvailable):
		k.Evidence = []string{"it does not tell its version"}
	case err != nil:
		return err
	default:
		x.out.Version = build.Version
		name := build.Application
		if name == "" {
			name = "Prometheus"
		}
		k.Evidence = []string{strings.TrimSpace(name + " " + build.Version)}
		if build.Version == "" {
			k.Evidence = []string{name + ", a build without a version"}
		}
	}
	x.add(k)
	return x.clock(ctx)
}

// How far clocks may differ: seconds do not matter to scrapes, a scrape does.
const (
	clockFine = 5 * time.Second
	clockBad  = 30 * time.Second
)

func (x *examination) clock(ctx context.Context) error {
	s, err := x.c.Skew(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		x.add(Check{ID: "clock", Verdict: criteria.Unmeasurable, Summary: "not measured: " + err.Error()})
		return nil
	}
	k := Check{ID: "clock", Verdict: criteria.Pass, Summary: fmt.Sprintf("the server's clock and this one agree within %.0f s", max(s.RoundTrip.Seconds(), 1)),
		Evidence: []string{"the router's clock: not measured, the router exports no time"}}
	if d := s.Query.Abs() - s.RoundTrip/2; d > clockFine {
		word := "ahead of"
		if s.Query < 0 {
			word = "behind"
		}
		k.Verdict = criteria.Inconclusive
		if d > clockBad {
			k.Verdict = criteria.Fail
		}
		k.Summary = fmt.Sprintf("the server's clock is %s %s this one", s.Query.Abs().Round(time.Second), word)
		k.Evidence = append(k.Evidence, "what was enabled when is told by one clock, what happened when by the other")
		k.Next = []string{"synchronise both machines, or give --at and --since by the server's clock"}
	}
	x.add(k)
	return nil
}

// What the phases need of the past: the seven days before enabling, and the phase's
// least length (guide, "Decision Point" of each phase).
const baselineDays = 7

// retention compares how long samples are kept with what the rollout needs.
func (x *examination) retention(ctx context.Context) error {
	r, err := x.c.Retention(ctx)
	if err != nil {
		return x.absent("retention", err, "ask whoever runs it: phase 3 needs 21 days of samples")
	}
	k := Check{ID: "retention", Verdict: criteria.Pass, Summary: "samples are kept for " + r.Text}
	if r.Time == 0 {
		k.Verdict = criteria.Unmeasurable
		k.Summary = fmt.Sprintf("%q: for how long samples are kept is not told", r.Text)
		k.Next = []string{"see that at least 21 days are kept: phase 3 needs them"}
		x.add(k)
		return nil
	}
	have := int(r.Time.Hours() / 24)
	for phase := 1; phase <= 4; phase++ {
		need := criteria.MinDays(phase) + baselineDays
		k.Evidence = append(k.Evidence, fmt.Sprintf("phase %d needs %d days: %d before enabling and %d after it", phase, need, baselineDays, need-baselineDays))
		if have < need {
			k.Verdict = criteria.Fail
			k.Summary = fmt.Sprintf("samples are kept for %d days, phase %d needs %d", have, phase, need)
			k.Next = []string{"set --storage.tsdb.retention.time to 30d or more"}
		}
	}
	x.add(k)
	return nil
}

// words is the dialect as the histories are renamed into it: names, and the labels
// that every real series carries.
func (x *examination) words(ctx context.Context) (Dialect, error) {
	d := Dialect{Name: x.d.Kind, Metrics: map[string]string{}, Labels: map[string]string{}, Extra: map[string]string{}, Varying: []string{}}
	if d.Name == "" {
		d.Name = promquery.Emitted // nothing has moved: what the router emits is what will come
	}
	for short, name := range x.d.Metrics {
		d.Metrics[promquery.Prefix+short] = name
	}
	for canonical, name := range x.d.Labels {
		d.Labels[canonical] = name
	}
	if x.d.Kind == promquery.Documented {
		d.Labels["to"], d.Labels["from"] = x.d.Label("state"), ""
	}
	if x.d.Aggregated {
		d.Labels["instance"] = ""
	}
	at := x.req.At
	sets, err := x.c.LabelSets(ctx, [][]promquery.Match{x.d.Match("events_total")}, at.Add(-x.req.Window), at, 500)
	if err != nil && !errors.Is(err, promquery.ErrNotAvailable) {
		return d, err
	}
	roles := []string{"__name__", "instance", "job"}
	for _, l := range promquery.CanonicalLabels() {
		roles = append(roles, x.d.Label(l))
	}
	values := map[string][]string{}
	for _, s := range sets.Sets {
		for l, v := range s {
			values[l] = append(values[l], v)
		}
	}
	for l, vs := range values {
		slices.Sort(vs)
		switch distinct := slices.Compact(vs); {
		case slices.Contains(roles, l) && l != "job":
		case len(distinct) == 1:
			d.Extra[l] = distinct[0]
		default:
			d.Varying = append(d.Varying, l)
		}
	}
	slices.Sort(d.Varying)
	names, err := x.c.LabelValues(ctx, "__name__", nil, at.Add(-x.req.Window), at, 5000)
	if err != nil && !errors.Is(err, promquery.ErrNotAvailable) {
		return d, err
	}
	for _, n := range names.Values {
		if strings.Contains(n, "circuit_breaker") || strings.Contains(n, "circuitbreaker") {
			d.Present = append(d.Present, n)
		}
	}
	return d, nil
}

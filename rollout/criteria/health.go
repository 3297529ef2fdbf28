package criteria

import (
	"fmt"
	"sort"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// healthQuery is the deployment's providerHealthy query: 1 while a provider is
// healthy, 0 while it fails.
type healthQuery struct {
	m *evidence.Measure
	// problem is why it is not used; "" if it is.
	problem string
	by      map[string]*evidence.MeasureSeries
}

// health checks the providerHealthy query, once; nil where there is none.
func (s *Study) health() *healthQuery {
	m := s.Evidence.Measure(evidence.ProviderHealthy)
	if m == nil || s.healthOK != nil {
		return s.healthOK
	}
	h := &healthQuery{m: m, by: map[string]*evidence.MeasureSeries{}}
	s.healthOK = h
	switch {
	case m.Refused != "":
		h.problem = m.Refused
		return h
	case len(m.Series) == 0:
		h.problem = "it answers nothing"
		return h
	}
	for i := range m.Series {
		x := &m.Series[i]
		switch {
		case x.Provider == "":
			h.problem = "a series without provider_id: " + x.Labels
		case h.by[x.Provider] != nil:
			h.problem = "several series of " + x.Provider + ": want one a provider, by (provider_id)"
		case x.NotNumbers > len(x.Values):
			h.problem = "no numbers for " + x.Provider
		}
		bad, failing := 0, 0
		for _, v := range x.Values {
			if v != 0 && v != 1 {
				bad++
			}
			if v < 0.5 {
				failing++
			}
		}
		excused := h.excuses(x, s.step())
		switch {
		case h.problem != "": // the first is the one to mend
		case bad > 0:
			h.problem = fmt.Sprintf("values other than 0 and 1 for %s", x.Provider)
		case float64(failing) > brokenWitness*float64(len(x.Values)):
			h.problem = fmt.Sprintf("%s is said to fail %.0f %% of all the time: a query that says so excuses everything", x.Provider, 100*float64(failing)/float64(len(x.Values)))
		}
		if h.problem == "" && excused > brokenWitness {
			h.problem = fmt.Sprintf("%s is said to fail so often that %.0f %% of all opens would lie beside that: a query that flaps excuses nearly everything", x.Provider, 100*excused)
		}
		if h.problem != "" {
			return h
		}
		h.by[x.Provider] = x
	}
	return h
}

// slack is how far from an open a failing value may lie and still be about it.
func (h *healthQuery) slack(step time.Duration) time.Duration { return step + h.m.Step }

// excuses is the share of all the time in which an open would be explained by a series.
func (h *healthQuery) excuses(x *evidence.MeasureSeries, step time.Duration) float64 {
	n := len(x.Times)
	if n < 2 {
		return 0
	}
	slack := h.slack(step).Milliseconds()
	var sum int64
	end := x.Times[0]
	for i, t := range x.Times {
		if x.Values[i] < 0.5 {
			from, to := max(t-slack, end), min(t+slack, x.Times[n-1])
			sum += max(0, to-from)
			end = max(end, to)
		}
	}
	return float64(sum) / float64(max(x.Times[n-1]-x.Times[0], 1))
}

// failed reports whether the provider was said to fail at any time in (from, to].
func (h *healthQuery) failed(provider string, from, to time.Time) bool {
	x := h.by[provider]
	if x == nil {
		return false
	}
	for _, v := range x.Within(from, to) {
		if v < 0.5 {
			return true
		}
	}
	return false
}

// back bounds when the provider was healthy again for good in (from, to].
func (h *healthQuery) back(provider string, from, to time.Time) (evidence.Interval, bool) {
	x := h.by[provider]
	if x == nil {
		return evidence.Interval{}, false
	}
	var i evidence.Interval
	known := false
	start := sort.Search(len(x.Times), func(k int) bool { return x.Times[k] > from.UnixMilli() })
	prev := from
	for k := start; k < len(x.Times) && x.Times[k] <= to.UnixMilli(); k++ {
		at := evidence.Instant(x.Times[k])
		switch {
		case x.Values[k] < 0.5:
			known = false
		case !known:
			i, known = evidence.Interval{From: prev, To: at}, true
		}
		prev = at
	}
	return i, known
}

// healthFact tells what is wrong with the query, where something is.
func (s *Study) healthFact() []Fact {
	if h := s.health(); h != nil && h.problem != "" {
		return []Fact{{Text: "queries.providerHealthy is not used: " + h.problem}}
	}
	return nil
}

package evidence

import (
	"sort"
	"time"
)

// Names of what is measured by queries that a deployment gives, because the router
// exports nothing like it. A stability query is called "stability/" and its name.
const (
	Latency         = "latency"
	TenantErrorRate = "tenantErrorRate"
	ProviderHealthy = "providerHealthy"
	StabilityPrefix = "stability/"
)

// Measure is what such a query answered over baseline and bake.
type Measure struct {
	Name string        `json:"name"`
	Expr string        `json:"query"`
	Step time.Duration `json:"step"`
	// Refused is what the server said where it could not evaluate the query, or what
	// was wrong with the answer as a whole; "" otherwise.
	Refused string `json:"refused,omitempty"`
	// Series are sorted by their labels.
	Series []MeasureSeries `json:"series"`
}

// MeasureSeries is one series of the answer: a value at each of Times, in
// milliseconds since the Unix epoch.
type MeasureSeries struct {
	// Tenant and Provider are the series' tenant_id and provider_id; "" without.
	Tenant   string `json:"tenant,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Labels are all of its labels in the order of their names, for people.
	Labels string  `json:"labels"`
	Times  []int64 `json:"-"`
	// Values are numbers; NotNumbers counts the NaN and the infinite ones that were
	// left out.
	Values     []float64 `json:"-"`
	NotNumbers int       `json:"notNumbers,omitempty"`
}

// Measure returns what a query answered; nil where there is no such query.
func (e *Evidence) Measure(name string) *Measure {
	for i := range e.Measures {
		if e.Measures[i].Name == name {
			return &e.Measures[i]
		}
	}
	return nil
}

// Within returns the values in (from, to].
func (s *MeasureSeries) Within(from, to time.Time) []float64 {
	i := sort.Search(len(s.Times), func(i int) bool { return s.Times[i] > from.UnixMilli() })
	j := sort.Search(len(s.Times), func(i int) bool { return s.Times[i] > to.UnixMilli() })
	return s.Values[i:max(i, j)]
}

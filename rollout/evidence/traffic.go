package evidence

import (
	"cmp"
	"slices"
	"time"
)

// Tier is a traffic class of ROUTER.md §1, by requests a minute.
type Tier string

// The tiers of the guide's companion plan.
const (
	LowTier    Tier = "low"    // below 100
	MediumTier Tier = "medium" // 100 to 1,000
	HighTier   Tier = "high"   // above 1,000
)

// TierOf is the tier of a rate in requests a minute.
func TierOf(perMinute float64) Tier {
	switch {
	case perMinute < 100:
		return LowTier
	case perMinute <= 1000:
		return MediumTier
	}
	return HighTier
}

// Traffic is what a tenant sends, measured by its outcomes.
type Traffic struct {
	Tenant string `json:"tenant"`
	Tier   Tier   `json:"tier"`
	Rates
	Circuits []CircuitTraffic `json:"circuits"`
}

// CircuitTraffic is what a tenant sends to one provider, over all nodes.
type CircuitTraffic struct {
	Provider string `json:"provider"`
	Rates
}

// Rates are requests a minute over whole hours.
type Rates struct {
	// Median of the hours, the busiest hour, and the trough: the quietest hour of
	// the day, by the median of that hour over the days.
	Median float64 `json:"median"`
	Peak   float64 `json:"peak"`
	Trough float64 `json:"trough"`
	// Outcomes were counted, Failures of them failed.
	Outcomes float64 `json:"outcomes"`
	Failures float64 `json:"failures"`
	// ErrorRate is Failures/Outcomes; nil without outcomes.
	ErrorRate *float64 `json:"errorRate"`
	// Opens are closed → open, at least that many. Of a tenant that was never enabled
	// they are shadow opens (ROUTER.md §3).
	Opens int `json:"opens"`
	// Hours were measured.
	Hours int `json:"hours"`
}

// Hourly is what one circuit counted hour by hour from a start, over all nodes.
type Hourly struct {
	Tenant, Provider string
	// Outcomes and Failures by hour; an hour that was not measured is negative.
	Outcomes, Failures []float32
	Opens              int
}

// TrafficOf summarises hourly counts by tenant, sorted. start is the beginning of
// the first hour; the hours of the day are UTC.
func TrafficOf(start time.Time, hours []Hourly) []Traffic {
	slices.SortFunc(hours, func(a, b Hourly) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Provider, b.Provider))
	})
	out := []Traffic{}
	for i := 0; i < len(hours); {
		j := i
		t := Traffic{Tenant: hours[i].Tenant, Circuits: []CircuitTraffic{}}
		all := Hourly{}
		for ; j < len(hours) && hours[j].Tenant == t.Tenant; j++ {
			t.Circuits = append(t.Circuits, CircuitTraffic{hours[j].Provider, ratesOf(start, hours[j])})
			all.Add(hours[j])
		}
		t.Rates = ratesOf(start, all)
		t.Tier = TierOf(t.Median)
		out = append(out, t)
		i = j
	}
	return out
}

// Add adds o to h; an hour that only one of them measured counts as that one's.
func (h *Hourly) Add(o Hourly) {
	for len(h.Outcomes) < len(o.Outcomes) {
		h.Outcomes, h.Failures = append(h.Outcomes, -1), append(h.Failures, -1)
	}
	for i, v := range o.Outcomes {
		if v >= 0 {
			h.Outcomes[i], h.Failures[i] = max(h.Outcomes[i], 0)+v, max(h.Failures[i], 0)+o.Failures[i]
		}
	}
	h.Opens += o.Opens
}

func ratesOf(start time.Time, h Hourly) Rates {
	r := Rates{Opens: h.Opens}
	var all []float64
	var ofDay [24][]float64
	for i, n := range h.Outcomes {
		if n < 0 {
			continue
		}
		perMinute := float64(n) / 60
		all = append(all, perMinute)
		hour := start.Add(time.Duration(i) * time.Hour).UTC().Hour()
		ofDay[hour] = append(ofDay[hour], perMinute)
		r.Outcomes += float64(n)
		r.Failures += float64(h.Failures[i])
		r.Peak = max(r.Peak, perMinute)
	}
	r.Hours = len(all)
	if r.Hours == 0 {
		return r
	}
	r.Median = median(all)
	r.Trough = r.Peak
	for _, v := range ofDay {
		if len(v) > 0 {
			r.Trough = min(r.Trough, median(v))
		}
	}
	if r.Outcomes > 0 {
		rate := r.Failures / r.Outcomes
		r.ErrorRate = &rate
	}
	return r
}

func median(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

package history

import (
	"fmt"
	"math"
	"time"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/statement"
)

// healthyFleet is twenty tenants over sixty days with ordinary noise: traffic and
// errors that go up and down with the day and the week, short bursts of errors, and
// three real outages: before phase 1, so that the router is known to show transitions,
// and in phases 3 and 4. The rollout takes the guide's
// minimum of each phase. Traffic is such that also at night a single failure does not
// fill a window: with less, the guide's config opens on noise (ROUTER.md §4), which
// other stories tell.
const (
	healthyTenants = 20
	healthyDays    = 60
)

// Healthy are four stories of one past: each phase of a rollout in which nothing is
// wrong, judged at its minimum length. Every one passes.
func Healthy(seed uint64) []Story {
	start := Enabled().Add(-Before)
	begins := [6]time.Time{1: Enabled().AddDate(0, 0, 10)}
	for phase := 1; phase <= 4; phase++ {
		begins[phase+1] = begins[phase].AddDate(0, 0, criteria.MinDays(phase)).Add(time.Hour) // judged, and then enabled
	}
	// How many tenants are enabled from the beginning of each phase: 1, then the
	// guide's 3 to 5, then half, then all.
	upTo := [5]int{0, 1, 5, 10, healthyTenants}
	outages := []Fault{
		outageFor(begins[1].Add(-62*time.Hour), 25*time.Minute),
		outageFor(begins[3].Add(9*24*time.Hour), 40*time.Minute),
		outageFor(begins[4].Add(53*time.Hour), 20*time.Minute),
	}
	o := Options{Seed: seed, Start: start, End: start.AddDate(0, 0, healthyDays)}
	since := map[string]time.Time{}
	for i := range healthyTenants {
		t := Tenant{ID: fmt.Sprintf("t-%02d", i+1), PerMinute: 180 + 20*float64(i%7), Providers: Two()}
		t.Traffic = dayAndWeek(0.45, 0.7, float64(i%5))
		t.Errors = ordinary(i, 0.002+0.0006*float64(i%6), outages)
		for phase := 1; phase <= 4; phase++ {
			if i < upTo[phase] {
				since[t.ID] = begins[phase]
				t.Configs = []Loaded{{At: begins[phase], Enabled: true, Config: GuideConfig()}}
				break
			}
		}
		o.Tenants = append(o.Tenants, t)
	}
	var stories []Story
	for phase := 1; phase <= 4; phase++ {
		s := fleet(fmt.Sprintf("a healthy fleet, phase %d", phase), "nothing is wrong but for three outages in sixty days", phase, nil, nil)
		s.Options, s.At = o, begins[phase+1].Add(-time.Hour)
		for _, t := range o.Tenants[:upTo[phase]] {
			s.Judged = append(s.Judged, Judged{ID: t.ID, Since: since[t.ID]})
			s.Stated.Bakes = append(s.Stated.Bakes, statement.Bake{Tenant: t.ID, From: since[t.ID]})
		}
		for i := range s.Stated.Attestations {
			s.Stated.Attestations[i].From, s.Stated.Attestations[i].Until = begins[phase].Add(time.Hour), s.At.AddDate(0, 0, 30)
		}
		stories = append(stories, s)
	}
	stories[1] = stories[1].but(inconclusive, "consistent-across-tenants") // no outage was shared in phase 2
	return stories
}

// dayAndWeek is traffic that falls to a share at night, later for some, and at the
// weekend.
func dayAndWeek(night, weekend, lag float64) func(time.Time) float64 {
	return func(at time.Time) float64 {
		h := float64(at.Hour()) + float64(at.Minute())/60 - lag
		v := night + (1-night)*(1-math.Cos(2*math.Pi*h/24))/2
		if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
			v *= weekend
		}
		return v
	}
}

// ordinary errors are a third more frequent by day than by night, and three times as
// frequent for some minutes every eleven hours or so.
func ordinary(i int, p float64, outages []Fault) func(string, time.Time) float64 {
	every, lasts := time.Duration(600+37*i)*time.Minute, time.Duration(4+i%5)*time.Minute
	return func(provider string, at time.Time) float64 {
		v := p * (1 + 0.15*math.Sin(2*math.Pi*float64(at.Hour())/24))
		if at.Sub(time.Unix(0, 0))%every < lasts {
			v *= 3
		}
		for _, f := range outages {
			if f.Provider == provider && !at.Before(f.From) && at.Before(f.From.Add(f.For)) {
				v = max(v, f.Share)
			}
		}
		return v
	}
}

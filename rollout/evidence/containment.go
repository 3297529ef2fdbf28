package evidence

import "time"

// Containment says how much of a circuit's traffic an episode kept away from its
// provider: fail_fast over fail_fast and outcomes while not closed, probes left
// out (ROUTER.md §3). The scrapes bound it; 0 means that the breaker did nothing.
type Containment struct {
	// Known: something was counted; without it the bounds say nothing.
	Known bool `json:"known"`
	// FailFast and Outcomes were counted in the episode for certain. Outcomes are
	// those that no probe explains.
	FailFast float64 `json:"failFast"`
	Outcomes float64 `json:"outcomes"`
	// FailFastMost and OutcomesMost may have been counted in it at most.
	FailFastMost float64 `json:"failFastMost"`
	OutcomesMost float64 `json:"outcomesMost"`
	// Lower and Upper bound the share, 0 to 1.
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
}

// Containment measures an episode of a circuit from an instant on: from enabling,
// where it was tripped before. Calls that were under way when the circuit opened
// count as outcomes, and so does the time between the scrapes around the open.
func (ep *Episode) Containment(c *Circuit, cfg Config, since, at time.Time) Containment {
	from, to := ep.Opened.From, ep.Until(at)
	sure := ep.Surely(at)
	if from.Before(since) {
		from = since
	}
	if sure.From.Before(since) {
		sure.From = since
	}
	least, _ := c.Between(sure.From, sure.To)
	_, most := c.Between(from, to)
	if !most.OK {
		most = c.Delta(from, to) // the end of what was read: there is nothing beyond it
	}
	if !most.OK {
		return Containment{}
	}
	probesLeast := most.HO
	if ep.Closed != nil {
		probesLeast++
	}
	probesMost := most.OH * float64(max(cfg.HalfOpenMaxCalls, 1))
	outside := max(0, most.Outcomes()-probesLeast)
	k := Containment{FailFast: least.FailFast, Outcomes: max(0, least.Outcomes()-probesMost), FailFastMost: most.FailFast, OutcomesMost: outside}
	if most.FailFast+outside <= 0 {
		return k
	}
	k.Known = true
	if k.FailFast > 0 {
		k.Lower = k.FailFast / (k.FailFast + outside)
	}
	if most.FailFast > 0 {
		k.Upper = most.FailFast / (most.FailFast + k.Outcomes)
	}
	return k
}

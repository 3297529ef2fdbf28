package doctor

import (
	"strings"
	"time"
)

// intent is what an alert is for: the histories in which it must fire and those in
// which it must not. What fires must also resolve where the history ends well.
type intent struct {
	text   string
	fire   []string
	silent []string
}

// documented is an alert that the router's documents describe (ROUTER.md §5).
type documented struct {
	name, severity string
	// expr is the documented expression in the documents' own names; reconstructed
	// where they describe it in words only.
	expr          string
	reconstructed bool
	hold          time.Duration
	// required: the guide tells operators to watch this one.
	required bool
	intent   intent
	// replacement is in canonical names; "" where the documented expression serves.
	replacement     string
	replacementHold time.Duration
	// note says what the replacement does differently, and what it cannot see.
	note string
}

// by groups by circuit; circuits are per node, and the sum over nodes counts them.
const by = "sum by (tenant_id, provider_id) "

// sel is a selector in canonical names.
func sel(metric, matchers string) string { return metric + "{" + matchers + "}" }

// notClosed is 1 (per node) for a circuit that is open or half-open: it left closed
// more often than it came back. Counters of one process give its state at any time,
// first opens and restarts included, because a restart closes every circuit and
// takes the counters away.
//
// A dialect that lost the label from can tell open from the rest, not half-open from
// closed.
func (d Dialect) notClosed() string {
	if d.label("from") == "" {
		in := by + "(" + sel(mTransitions, `to="open"`) + ")"
		return in + " - (" + by + "(" + sel(mTransitions, `to="half_open"`) + ") or " + in + " * 0)"
	}
	left := by + "(" + sel(mTransitions, `from="closed"`) + ")"
	back := by + "(" + sel(mTransitions, `to="closed"`) + ")"
	return left + " - (" + back + " or " + left + " * 0)"
}

// consulted holds for circuits whose gate was asked lately: an open circuit that
// nobody asks is one of a tenant without a breaker (tripped in shadow), or without
// traffic, or one that a remote call has reset without a transition.
func consulted() string {
	return by + "(increase(" + sel(mEvents, `event_type="fail_fast"`) + "[10m])) > 0 or " +
		by + "(increase(" + sel(mTransitions, `to="half_open"`) + "[10m])) > 0"
}

// open holds for circuits that are not closed and act on it.
func (d Dialect) open() string {
	return "(" + d.notClosed() + ") > 0 and on (tenant_id, provider_id) (" + consulted() + ")"
}

// opens counts what a selector of transitions counted in the last w, first
// appearances included: increase() cannot see a counter that appears at 1. Where a
// restart made the counter smaller, it counts since the restart. A node that was not
// scraped w ago is left out: its old counts would look new.
func opens(matchers, w string) string {
	s := sel(mTransitions, matchers)
	return by + "((" + s + " - (" + s + " offset " + w + ") >= 0 or " + s + ") and on (instance) group by (instance) (" + mEvents + " offset " + w + "))"
}

// opening are the matchers of a closed circuit that opens; without the label from,
// also of a half-open one.
func (d Dialect) opening() string {
	if d.label("from") == "" {
		return `to="open"`
	}
	return `from="closed",to="open"`
}

// openedFor holds for circuits that opened lately and have had the reason.
func (d Dialect) openedFor(reason string) string {
	return opens(d.opening(), "10m") + " > 0 and on (tenant_id, provider_id) group by (tenant_id, provider_id) (" +
		sel(mReason, `reason="`+reason+`"`) + ")"
}

const reasonNote = "trigger_reason is set to 1 and never counts. The replacement fires when a circuit opens that has, or has ever had, this reason: which of its reasons it was this time the metrics do not tell. "

// catalogue is every documented alert, in the order of the documents.
func (d Dialect) catalogue() []documented {
	opened := by + "(rate(" + sel(mTransitions, `state="open"`) + "[5m])) > 0"
	increase := func(reason string) string {
		return "increase(" + sel(mReason, `reason="`+reason+`"`) + "[5m]) > 0"
	}
	acting := []string{hHealthy, hNoise, hShadow, hGap}
	return []documented{
		{name: "RouterCircuitBreakerOpened", severity: "warning", expr: opened, hold: 10 * time.Minute, required: true,
			intent: intent{"a circuit is open for ten minutes",
				[]string{hOutage, hTenant, hProbes, hSingle, hWedge}, append([]string{hNoOpen, hFlapping}, acting...)},
			replacement: d.open(), replacementHold: 10 * time.Minute,
			note: "It counts how often the circuit left closed and came back, so it sees a first open, and holds while the circuit is open or half-open. A circuit that nobody asks, in shadow or without traffic, does not count."},
		{name: "RouterCircuitBreakerHighFailureRate", severity: "critical", hold: 5 * time.Minute, required: true,
			expr: by + "(rate(" + sel(mEvents, `event_type="failure"`) + "[5m])) / " + by + "(rate(" + mEvents + "[5m])) > 0.5",
			intent: intent{"most calls that reach a provider fail",
				[]string{hNoOpen, hOutage, hTenant, hProbes}, []string{hHealthy, hNoise, hGap, hFlapping}},
			replacement: by + "(rate(" + sel(mEvents, `event_type="failure"`) + "[5m])) / " + by + "(rate(" + sel(mEvents, `event_type=~"success|failure"`) + "[5m])) > 0.5" +
				" and on (tenant_id, provider_id) " + by + "(increase(" + sel(mEvents, `event_type="failure"`) + "[5m])) >= 3",
			replacementHold: 5 * time.Minute,
			note:            "A denied request reached no provider, so fail_fast is out of the denominator. Fewer than three failures in five minutes do not count: on a quiet tenant one failure would be 100 %."},
		{name: "RouterCircuitBreakerMultipleProvidersOpen", severity: "critical", expr: "count(" + opened + ") > 2", hold: 5 * time.Minute, required: true,
			intent: intent{"several providers of one tenant are open together",
				[]string{hTenant}, append([]string{hOutage, hProbes, hSingle, hFlapping}, acting...)},
			replacement: "count by (tenant_id) (" + d.open() + ") > 1", replacementHold: 5 * time.Minute,
			note: "Counted per tenant, as the guide means it, and from two on: a tenant with two providers could never have more than two open."},
		{name: "RouterCircuitBreakerHalfOpenProbesFailed", severity: "warning", hold: 10 * time.Minute, required: true,
			expr: by + "(rate(" + sel(mTransitions, `state="open"`) + "[5m])) > " + by + "(rate(" + sel(mTransitions, `state="half_open"`) + "[5m]))",
			intent: intent{"probes fail again and again",
				[]string{hOutage, hTenant, hProbes}, append([]string{hSingle, hNoOpen, hFlapping}, acting...)},
			replacement: by + "(increase(" + sel(mTransitions, `from="half_open",to="open"`) + "[15m])) > 2 unless on (tenant_id, provider_id) " +
				by + "(increase(" + sel(mTransitions, `to="closed"`) + "[15m])) > 0",
			replacementHold: 10 * time.Minute,
			note:            "Every half-open is followed by an open while probes fail, so the two rates are equal and neither exceeds the other, whatever the labels. The replacement counts failed probes: three in fifteen minutes, and no close."},
		{name: "CircuitBreakerLatencyThresholdExceeded", severity: "warning", expr: increase("latency_threshold_exceeded"), reconstructed: true,
			intent:      intent{"a circuit opens on latency", []string{hLatency}, []string{hHealthy, hNoise, hOutage, hSingle, hShadow, hGap}},
			replacement: d.openedFor("latency_threshold_exceeded"),
			note:        reasonNote + "The latency is that of the router's own publishing, not the provider's."},
		{name: "CircuitBreakerFailureThresholdExceeded", severity: "warning", expr: increase("failure_threshold_exceeded"), reconstructed: true,
			intent:      intent{"a circuit opens on consecutive failures", []string{hOutage, hTenant, hSingle}, []string{hHealthy, hNoise, hLatency, hShadow, hGap}},
			replacement: d.openedFor("failure_threshold_exceeded"), note: strings.TrimSpace(reasonNote)},
		{name: "CircuitBreakerErrorRateExceeded", severity: "warning", expr: increase("error_rate_threshold_exceeded"), reconstructed: true,
			intent:      intent{"a circuit opens on its error rate", []string{hNoise, hOutage}, []string{hHealthy, hLatency, hSingle, hGap}},
			replacement: d.openedFor("error_rate_threshold_exceeded"), note: strings.TrimSpace(reasonNote)},
		{name: "CircuitBreakerHalfOpenFailures", severity: "warning", reconstructed: true,
			expr:        "rate(" + sel(mReason, `reason="half_open_failure"`) + "[5m]) > 0",
			intent:      intent{"probes of a half-open circuit fail", []string{hOutage, hTenant, hProbes}, []string{hHealthy, hSingle, hNoOpen, hGap, hShadow}},
			replacement: by + "(increase(" + sel(mTransitions, `from="half_open",to="open"`) + "[5m])) > 0",
			note:        "A failed probe is a transition from half_open to open, and that is counted. The very first one of a circuit is not seen."},
		{name: "CircuitBreakerMultipleCircuitBreakersOpen", severity: "critical", reconstructed: true, hold: 5 * time.Minute,
			expr:        "count(" + sel(mState, `state="open"`) + " == 1) > 2",
			intent:      intent{"more than two circuits are open", []string{hOutage, hTenant}, append([]string{hProbes, hSingle, hFlapping}, acting...)},
			replacement: "count(" + d.open() + ") > 2", replacementHold: 5 * time.Minute,
			note: "The old state series are never removed: once open, always 1. The replacement counts circuits that are open now, in the whole fleet."},
		{name: "CircuitBreakerOpenTooLong", severity: "warning", reconstructed: true,
			expr:        "time() - " + prefix + "last_transition_timestamp > 1800 and on (tenant_id, provider_id) " + sel(mState, `state="open"`) + " == 1",
			intent:      intent{"a circuit is open for more than half an hour", []string{hOutage, hTenant, hProbes, hSingle, hWedge}, append([]string{hFlapping, hNoOpen}, acting...)},
			replacement: "sum_over_time(((" + d.notClosed() + ") > bool 0)[1h:1m]) > 30 and on (tenant_id, provider_id) (" + d.open() + ")",
			note:        "Its value is the minutes of the last hour in which the circuit was not closed. It needs no timestamp, and holds only while the circuit is open."},
		{name: "CircuitBreakerFlapping", severity: "warning", reconstructed: true,
			expr:   "increase(" + mTransitions + "[10m]) > 1",
			intent: intent{"a circuit opens and closes all the time", []string{hFlapping}, []string{hHealthy, hSingle, hNoOpen, hShadow, hGap}},
			note:   "The documented expression serves. It also fires during an outage, when a circuit opens again after every probe."},
	}
}

package policy

import (
	"math"
	"strconv"
	"strings"

	"github.com/cbops/cbops/breaker"
)

// Breaker is what a policy says about the breaker, with the router's defaults
// filled in (ROUTER.md §1).
type Breaker struct {
	Enabled bool
	Config  breaker.Config
}

// Breaker returns the policy's breaker, and whether it has one at all. Fields of
// a wrong type keep the default: Lint reports them.
func (d *Document) Breaker() (Breaker, bool) {
	b := Breaker{Config: breaker.PolicyDefaults()}
	cb := d.root.get(breakerKey)
	if cb == nil || cb.kind != object {
		return b, false
	}
	if e := cb.get("enabled"); e != nil && e.kind == boolean {
		b.Enabled = e.str == "true"
	}
	for name, p := range map[string]*int64{
		"failure_threshold":         &b.Config.FailureThreshold,
		"success_threshold":         &b.Config.SuccessThreshold,
		"timeout_ms":                &b.Config.TimeoutMS,
		"half_open_max_calls":       &b.Config.HalfOpenMaxCalls,
		"error_rate_window_seconds": &b.Config.WindowSeconds,
		"latency_threshold_ms":      &b.Config.LatencyThresholdMS,
	} {
		if v, ok := integer(cb.get(name)); ok {
			*p = v
		}
	}
	if v, ok := float(cb.get("error_rate_threshold")); ok {
		b.Config.ErrorRateThreshold = v
	}
	return b, true
}

// IDs returns the ids that the document itself names, "" where it names none.
func (d *Document) IDs() (tenant, policyID string) {
	if n := d.root.get("tenant_id"); n != nil && n.kind == text {
		tenant = n.str
	}
	if n := d.root.get("policy_id"); n != nil && n.kind == text {
		policyID = n.str
	}
	return tenant, policyID
}

// Providers returns the names of the providers the policy can pick, in the
// document's order.
func (d *Document) Providers() []string {
	var names []string
	if list := d.root.get("providers"); list != nil && list.kind == array {
		for _, e := range list.elems {
			if n := e.get("name"); n != nil && n.kind == text {
				names = append(names, n.str)
			}
		}
		return names
	}
	if w := d.root.get("weights"); w != nil && w.kind == object {
		for _, m := range w.members {
			names = append(names, m.key)
		}
	}
	return names
}

// integer reads a number that is an integer as Erlang's JSON parser sees it: no
// point and no exponent.
func integer(n *node) (int64, bool) {
	if n == nil || n.kind != number || strings.ContainsAny(n.str, ".eE") {
		return 0, false
	}
	v, err := strconv.ParseInt(n.str, 10, 64)
	return v, err == nil
}

func float(n *node) (float64, bool) {
	if n == nil || n.kind != number {
		return 0, false
	}
	v, err := strconv.ParseFloat(n.str, 64)
	return v, err == nil && !math.IsInf(v, 0)
}

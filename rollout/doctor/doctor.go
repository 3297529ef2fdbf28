// Package doctor asks whether the monitoring would tell the truth: could this alert
// fire, would it stay silent on a good day, would it resolve; does this panel show
// something, and is it so. It finds out by trial. A Practice holds histories of the
// practice router (an outage, flapping, a wedge, a quiet day, …) renamed into the
// dialect of the deployment, and every expression is run over them by Prometheus'
// own engine.
//
// Examine puts that together with what a server says of itself and of the router:
// names, scrapes, nodes, restarts, retention, clocks, containment, and whether the
// router behaves like the twin. How rules, dashboards and policies are found, and how
// a result is shown, is not its matter.
package doctor

import (
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
)

// Check is one line of a diagnosis.
type Check struct {
	// ID is stable: "alerts/RouterCircuitBreakerOpened", "dashboards/uid/panel-3/A".
	ID      string           `json:"id"`
	Verdict criteria.Verdict `json:"verdict"`
	Summary string           `json:"summary"`
	// Advisory: it can fail a diagnosis, not hold it up: there is nothing to see yet.
	Advisory bool `json:"advisory,omitempty"`
	// Evidence are the facts under the summary, worst first.
	Evidence []string `json:"evidence"`
	// Next is what to do: a sentence, or a command to paste.
	Next []string `json:"next"`
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

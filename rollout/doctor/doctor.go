// Package doctor asks whether the monitoring would tell the truth: could this alert
// fire, would it stay silent on a good day, would it resolve; does this panel show
// something, and is it so. It finds out by trial. A Practice holds histories of the
// practice router (an outage, flapping, a wedge, a quiet day, …) renamed into the
// dialect of the deployment, and every expression is run over them by Prometheus'
// own engine.
//
// It reads rules and dashboards as values and bytes, and asks a server through
// Source only; how either is fetched, what series a server has, and how a result is
// shown is not its matter.
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
	// Evidence are the facts under the summary, worst first.
	Evidence []string `json:"evidence"`
	// Next is what to do: a sentence, or a command to paste.
	Next []string `json:"next"`
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

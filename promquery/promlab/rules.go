package promlab

import (
	"time"
)

// Rule is one alerting or recording rule. Exactly one of Alert and Record names
// it.
type Rule struct {
	Alert  string
	Record string
	Expr   string
	// For is how long the expression must hold before the alert fires; KeepFiringFor
	// how long it fires after the expression held last.
	For           time.Duration
	KeepFiringFor time.Duration
	// Labels of an alert may be templates; annotations are kept and never rendered.
	Labels      map[string]string
	Annotations map[string]string
	// Line of the rule in its file, from 1; 0 for a rule that came from no file.
	Line int
}

// Name is the alert's name or the recorded metric's.
func (r Rule) Name() string {
	if r.Alert != "" {
		return r.Alert
	}
	return r.Record
}

// Group is a list of rules that are evaluated one after another at one instant: a
// rule sees what the recording rules before it recorded at that instant.
type Group struct {
	Name string
	// Interval between evaluations; 0 for the server's own.
	Interval time.Duration
	// QueryOffset is how far in the past the rules are evaluated.
	QueryOffset time.Duration
	// Limit is the number of alerts or series a rule may have; 0 for any.
	Limit  int
	Labels map[string]string
	Rules  []Rule
}

// AlertState is the state of an alert that is active.
type AlertState string

// The states of an active alert. One that is inactive does not exist.
const (
	Pending AlertState = "pending"
	Firing  AlertState = "firing"
)

// Alert is an active alert.
type Alert struct {
	// Labels are those of the result, without the metric name, with the rule's own
	// and alertname.
	Labels map[string]string
	State  AlertState
	// ActiveAt is when the expression began to hold.
	ActiveAt time.Time
	Value    float64
}

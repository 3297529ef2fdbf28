package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cbops/cbops/rollout/criteria"
)

func TestDialectExpr(t *testing.T) {
	d := Dialect{Name: "own", Metrics: map[string]string{mEvents: "llm:events", mReason: ""}, Labels: map[string]string{"tenant_id": "tenant", "event_type": "type", "instance": "", "from": ""}}
	for canonical, want := range map[string]string{
		`sum by (tenant_id, provider_id) (rate(` + mEvents + `{event_type="failure",tenant_id!="x"}[5m]))`: `sum by (tenant, provider_id) (rate(llm:events{tenant!="x",type="failure"}[5m]))`,
		`a and on (instance, tenant_id) group by (instance) (b)`:                                           `a and on (tenant) group(b)`,
		`a * on (provider_id) group_left (tenant_id) b`:                                                    `a * on (provider_id) group_left (tenant) b`,
		`up == 0`: `up == 0`,
		mReason:   "the dialect own does not have the metric " + mReason,
		`sum by (from) (` + mTransitions + `{from="open"})`: "the dialect own does not have the label from",
	} {
		got, err := d.expr(canonical)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", canonical, got, want)
		}
	}
}

// Every replacement is proven in a deployment's own dialect, and has its names.
func TestReplacementsInOtherDialects(t *testing.T) {
	own := Dialect{Name: "own", Labels: map[string]string{"tenant_id": "tenant", "provider_id": "upstream", "to": "new_state"}, Metrics: map[string]string{}, Extra: map[string]string{"region": "eu"}}
	for _, m := range metricNames() {
		own.Metrics[m] = "llm_" + strings.TrimPrefix(m, "router_")
	}
	for name, tt := range map[string]struct {
		d    Dialect
		left []string // the alerts that are not proven, and why
	}{
		"renamed":          {own, nil},
		"without instance": {Dialect{Labels: map[string]string{"instance": "", "job": ""}}, nil},
		// The documents' own dialect: transitions by target state only.
		"documented": {Dialect{Name: "documented", Labels: map[string]string{"to": "state", "from": ""}},
			[]string{
				"RouterCircuitBreakerOpened: in the history wedge it does not fire, and must", // half-open cannot be told from closed
				"RouterCircuitBreakerHalfOpenProbesFailed: there is none: the dialect documented does not have the label from",
				"CircuitBreakerHalfOpenFailures: there is none: the dialect documented does not have the label from",
				"CircuitBreakerOpenTooLong: in the history wedge it does not fire, and must",
			}},
	} {
		e, err := practice(t, PracticeOptions{Dialect: tt.d}).Export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.left, e.Left, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: not proven (-want +got):\n%s", name, d)
		}
		for _, g := range e.Groups {
			for _, r := range g.Rules {
				if name == "renamed" && (strings.Contains(r.Expr, "tenant_id") || strings.Contains(r.Expr, prefix) || strings.Contains(r.Annotations["summary"], "tenant_id")) {
					t.Errorf("%s speaks the router's own dialect: %s, %s", r.Alert, r.Expr, r.Annotations["summary"])
				}
			}
		}
	}
}

// Where transitions do have the label state, the documented alert can fire; in a
// dialect with other names it cannot, and the finding says which names.
func TestDocumentedAlertsFollowTheDialect(t *testing.T) {
	doc := report(t, practice(t, PracticeOptions{Dialect: Dialect{Name: "documented", Labels: map[string]string{"to": "state", "from": ""}}}), AlertInput{Known: true})
	if f := find(t, doc, "RouterCircuitBreakerOpened"); !f.Fires || strings.Contains(f.Summary, "cannot fire") || doc.Dialect != "documented" {
		t.Errorf("in the dialect %s: %s", doc.Dialect, f.Summary)
	}
	own := report(t, practice(t, PracticeOptions{Dialect: Dialect{Name: "own", Metrics: map[string]string{mTransitions: "llm_moves_total", mEvents: ""}}}), AlertInput{Known: true})
	for name, want := range map[string]string{
		"RouterCircuitBreakerOpened":          "cannot fire: nothing is called router_circuit_breaker_state_transitions_total; in the dialect own it is llm_moves_total",
		"RouterCircuitBreakerHighFailureRate": "cannot fire: the dialect own does not have router_circuit_breaker_events_total",
	} {
		if f := find(t, own, name); f.Verdict != criteria.Fail || !strings.Contains(f.Summary, want) {
			t.Errorf("%s: %s\nwant %s", name, f.Summary, want)
		}
	}
	if f := find(t, own, "RouterCircuitBreakerOpened"); f.Replacement == nil || f.Replacement.Proven || !strings.Contains(f.Replacement.Doubt, "does not have the metric") {
		t.Errorf("a replacement that needs what does not exist: %+v", f.Replacement)
	}
}

// A window that is too short at one scrape interval is long enough at another.
func TestScrapeIntervalCounts(t *testing.T) {
	in := AlertInput{Rules: []ServerRule{alert("Own", `rate(router_circuit_breaker_events_total{event_type="failure"}[1m]) > 0.1`, 0)}}
	if f := ownAlert(t, practice(t, PracticeOptions{Scrape: 15 * time.Second}), in); f.Verdict != criteria.Pass {
		t.Errorf("every 15 s: %s", f.Summary)
	}
	if f := ownAlert(t, practice(t, PracticeOptions{Scrape: time.Minute}), in); !strings.Contains(f.Summary, "cannot fire: [1m] holds fewer than two scrapes") {
		t.Errorf("every minute: %s", f.Summary)
	}
}

// An alert with a long `for` gets outages that are longer still.
func TestLongForIsTried(t *testing.T) {
	in := AlertInput{Rules: []ServerRule{alert("Own", mErrorRate+" > 0.5", 3*time.Hour), alert("Disk", "node_filesystem_avail_bytes < 1", 11*time.Hour)}}
	if got := in.LongestFor(Dialect{}); got != 3*time.Hour {
		t.Errorf("the longest `for` about the breaker is %s", got)
	}
	if f := ownAlert(t, practice(t, PracticeOptions{Hold: in.LongestFor(Dialect{})}), in); f.Verdict != criteria.Pass {
		t.Errorf("%s: %s", f.Verdict, f.Summary)
	}
}

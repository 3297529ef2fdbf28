package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
)

// TestBadQueries: a query of the deployment's own that answers several series, none,
// no numbers, or numbers of another kind is named, and nothing passes on it.
func TestBadQueries(t *testing.T) {
	w := store(t, gatewayed(t))
	root := everything(t, w.story)
	run := func(phase int, criterion string, queries ...string) (criteria.Finding, criteria.Evaluation, string) {
		t.Helper()
		args := []string{"evaluate", "--phase", fmt.Sprint(phase), "--since", history.Enabled().Format(time.RFC3339), "--criteria", criterion, "-o", "json"}
		for _, q := range queries {
			args = append(args, "--query", q)
		}
		code, out, stderr := drive(t, w.clock, w.all, root, args...)
		var e criteria.Evaluation
		if err := json.Unmarshal([]byte(out), &e); err != nil || len(e.Criteria) != 1 {
			t.Fatalf("%q: exit %d: %v\n%s", queries, code, err, stderr)
		}
		if code == 0 && e.Criteria[0].Verdict != criteria.Pass {
			t.Errorf("%q: exit 0 for %s", queries, e.Criteria[0].Verdict)
		}
		return e.Criteria[0], e, out
	}
	const twice = `gateway_latency_seconds or label_replace(gateway_latency_seconds, "instance", "gw:2", "", "")`
	const latency, stability = "latency-not-degraded", "stability-improved"
	for _, tt := range []struct{ criterion, query, want string }{
		{latency, `latency=` + twice, "2 series for t-acme"},
		{latency, `latency=gateway_latency_seconds{tenant_id="t-cove"}`, "nothing for t-acme"},
		{latency, `latency=gateway_latency_seconds > 1e9`, "it answers nothing"},
		{latency, `latency=gateway_latency_seconds * -1`, "a latency is above 0"},
		{latency, `latency=gateway_latency_seconds / (gateway_latency_seconds - gateway_latency_seconds) - Inf`, "not numbers"},
		{latency, `latency="fast"`, ""},
		{stability, `stability/uptime:higher=gateway_latency_seconds`, "2 series"},
		{stability, `stability/uptime:higher=gateway_downtime`, "it answers nothing"},
		{stability, `stability/uptime:lower=gateway_uptime / (gateway_uptime - gateway_uptime) - Inf`, "not numbers"},
		{stability, `stability/uptime:higher="up"`, ""},
		{stability, `stability/uptime:higher=avg(gateway_uptime`, "refuses the query"},
		{stability, `stability/uptime:higher=gateway_uptime * 0 + 1`, "it is 1.00 all the time"},
		{stability, `stability/uptime:higher=timestamp(gateway_uptime)`, "a counter"},
		{stability, `stability/uptime:higher=gateway_uptime[5m]`, ""},
	} {
		phase := 1
		if tt.criterion == stability {
			phase = 3
		}
		f, _, out := run(phase, tt.criterion, tt.query)
		if f.Verdict != criteria.Unmeasurable || !strings.Contains(f.Summary, tt.want) || f.Needs == "" {
			t.Errorf("%s: %s, %q, needs %q; want %q", tt.query, f.Verdict, f.Summary, f.Needs, tt.want)
		}
		if !strings.Contains(out, "cbops ticket draft --from "+tt.criterion) {
			t.Errorf("%s: no next command", tt.query)
		}
	}
	// These only help others: what is wrong is said, and the criterion is judged without.
	for _, tt := range []struct{ query, want string }{
		{`tenantErrorRate=gateway_uptime * 100`, "queries.tenantErrorRate is not used for t-acme: a value of "},
		{`tenantErrorRate=gateway_downtime`, "queries.tenantErrorRate is not used for t-acme: it answers nothing"},
		{`tenantErrorRate=` + twice, "queries.tenantErrorRate is not used for t-acme: "},
		{`tenantErrorRate=-gateway_uptime`, "below 0"},
		{`providerHealthy=gateway_uptime`, "queries.providerHealthy is not used: a series without provider_id"},
		{`providerHealthy=label_replace(gateway_uptime, "provider_id", "openai", "", "")`, "queries.providerHealthy is not used: values other than 0 and 1 for openai"},
		{`providerHealthy=label_replace(gateway_uptime * 0, "provider_id", "openai", "", "")`, "excuses everything"},
		{`providerHealthy="healthy"`, "queries.providerHealthy is not used: "},
	} {
		f, e, _ := run(1, "error-rate-not-increased", tt.query)
		if notes := strings.Join(e.Notes, "\n"); !strings.Contains(notes, tt.want) {
			t.Errorf("%s: no %q in %q", tt.query, tt.want, notes)
		}
		if f.Verdict != criteria.Pass && f.Verdict != criteria.Inconclusive {
			t.Errorf("%s: %s", tt.query, f.Verdict)
		}
	}
}

package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
)

// promlabTransport answers every request from the practice Prometheus, whatever
// host the plan names: a rehearsal never reaches a network.
type promlabTransport struct{ http.RoundTripper }

// run is the script of the rehearsal.
func (r *rehearsal) run(ctx context.Context) error {
	enabled := r.start.AddDate(0, 0, baselineDays)
	end := enabled.AddDate(0, 0, bakeDays)
	since := enabled.Format(time.RFC3339)

	r.step(ctx, "validate", "Are plan and policies right?", fault.OK, contains("3 files", "0 errors"), "validate")
	r.step(ctx, "loadtest", "Does the breaker do what the guide says? The load tests.", fault.OK, nil, "loadtest")
	if err := r.pass("seven days", fmt.Sprintf("Seven virtual days of traffic, breaker off: %s to %s.", day(r.start), day(enabled)), enabled); err != nil {
		return err
	}
	r.step(ctx, "apply "+canary, "The first canary gets the phase-1 policy. It has 90 requests a minute.", fault.OK,
		r.loadedEnabled(canary, true), "apply", "-f", "phase1.json", "--tenant", canary, "--policy", demoPolicy, "--yes")
	r.step(ctx, "apply "+noisy, "So does the second. It has 3 requests a minute.", fault.OK,
		r.loadedEnabled(noisy, true), "apply", "-f", "phase1.json", "--tenant", noisy, "--policy", demoPolicy, "--yes")
	if err := r.pass("four days", fmt.Sprintf("Four virtual days, %s to %s; openai fails for 20 minutes.", day(enabled), day(end)), end); err != nil {
		return err
	}
	for _, c := range []struct {
		tenant, title string
		code          fault.Code
		verdict       criteria.Verdict
	}{
		{canary, "May the first canary go on? All of phase 1; openai failed in it.", fault.OK, criteria.Pass},
		{noisy, "And the second? Its breaker opens on single failures.", fault.Failed, criteria.Fail},
	} {
		args := []string{"evaluate", "--phase", "1", "--tenant", c.tenant, "--since", since, "--attest", "attest.yaml"}
		r.step(ctx, "evaluate "+c.tenant, c.title, c.code, func(string) string { return r.checkEvaluation(ctx, args, c.verdict) }, args...)
	}
	r.step(ctx, "ticket", "The finding becomes a ticket draft; nothing is filed.", fault.OK, contains("[CB-OPS]", noisy),
		"ticket", "draft", "--from", "no-unexpected-opens", "--phase", "1", "--tenant", noisy, "--since", since)
	r.step(ctx, "rollback "+noisy, "The second canary is rolled back: disabled, reloaded, proven, held.", fault.OK,
		r.loadedEnabled(noisy, false), "rollback", "tenant", noisy, "--yes")
	r.step(ctx, "apply again "+noisy, "Nobody can enable it again by accident: the hold stands.", fault.Failed,
		r.loadedEnabled(noisy, false), "apply", "-f", "phase1.json", "--tenant", noisy, "--policy", demoPolicy, "--yes")
	return ctx.Err()
}

func day(t time.Time) string { return t.UTC().Format("2 Jan 15:04") }

// contains checks that an answer has all the words.
func contains(words ...string) func(string) string {
	return func(out string) string {
		for _, w := range words {
			if !strings.Contains(out, w) {
				return fmt.Sprintf("the answer does not say %q", w)
			}
		}
		return ""
	}
}

// loadedEnabled checks what the practice router has in memory, not the file.
func (r *rehearsal) loadedEnabled(tenant string, want bool) func(string) string {
	return func(string) string {
		raw, ok := r.world.Router().Loaded(tenant, demoPolicy)
		var d struct {
			Breaker struct {
				Enabled bool `json:"enabled"`
			} `json:"circuit_breaker"`
		}
		if !ok || json.Unmarshal(raw, &d) != nil {
			return fmt.Sprintf("the router has no readable policy %s/%s loaded", tenant, demoPolicy)
		}
		if d.Breaker.Enabled != want {
			return fmt.Sprintf("the router runs %s with enabled: %v, should be %v", tenant, d.Breaker.Enabled, want)
		}
		return ""
	}
}

// checkEvaluation asks again for JSON and looks into the answer: the verdict, and
// that it rests on openings that were judged.
func (r *rehearsal) checkEvaluation(ctx context.Context, args []string, want criteria.Verdict) string {
	_, out := r.command(ctx, append(append([]string{}, args...), "-o", "json")...)
	var e struct {
		Verdict  criteria.Verdict `json:"verdict"`
		Partial  bool             `json:"partial"`
		Criteria []struct {
			ID      string                   `json:"id"`
			Verdict criteria.Verdict         `json:"verdict"`
			Tenants []criteria.TenantFinding `json:"tenants"`
		} `json:"criteria"`
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&e); err != nil {
		return fmt.Sprintf("the evaluation is no JSON: %v", err)
	}
	if e.Verdict != want || e.Partial || len(e.Criteria) != len(criteria.IDs(1)) {
		return fmt.Sprintf("verdict %s on %d criteria, partial %v; should be %s on all of phase 1", e.Verdict, len(e.Criteria), e.Partial, want)
	}
	for _, c := range e.Criteria {
		if c.ID != "no-unexpected-opens" {
			continue
		}
		for _, t := range c.Tenants {
			if len(t.Episodes) > 0 && c.Verdict == want {
				return ""
			}
		}
		return fmt.Sprintf("no-unexpected-opens says %s without an episode that it judged", c.Verdict)
	}
	return "no-unexpected-opens was not judged"
}

// faults says which trouble of the practice world was noticed.
func (r *rehearsal) faults() []render.RehearsalFault {
	ok := map[string]bool{}
	for _, s := range r.steps {
		ok[s.Name] = s.OK
	}
	const after = "4 days"
	return []render.RehearsalFault{
		{Name: "openai fails for everybody", Caught: ok["evaluate "+canary], By: "no-unexpected-opens", After: after},
		{Name: "breaker of " + noisy + " opens on noise", Caught: ok["evaluate "+noisy], By: "no-unexpected-opens", After: after,
			Told: ok["ticket"], RolledBack: ok["rollback "+noisy]},
	}
}

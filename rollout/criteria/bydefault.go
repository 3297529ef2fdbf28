package criteria

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cbops/cbops/rollout/statement"
)

// ByDefault is enabled-by-default: "circuit breaker is default behavior (can be
// disabled per policy if needed)" (guide, Phase 4 step 2): every policy of every
// tenant is enabled, or listed with a reason.
type ByDefault struct{}

// ID implements Criterion.
func (ByDefault) ID() string { return "enabled-by-default" }

// Judge implements Criterion.
func (ByDefault) Judge(s *Study, _ int) TenantFinding {
	tf := TenantFinding{Verdict: Unmeasurable, Basis: Measured, Evidence: []Fact{}, Episodes: []EpisodeFinding{}}
	if len(s.Request.Policies) == 0 {
		tf.Summary = "no policies are known"
		tf.Needs = "the policy directory: --policies DIR"
		return tf
	}
	listed := func(p Policy) *statement.Disabled {
		i := slices.IndexFunc(s.Request.Statements.Disabled, func(d statement.Disabled) bool {
			return d.Tenant == p.Tenant && (d.Policy == "" || d.Policy == p.Policy)
		})
		if i < 0 {
			return nil
		}
		return &s.Request.Statements.Disabled[i]
	}
	var off []string
	excepted := 0
	tenants := []string{}
	for _, p := range s.Request.Policies {
		tenants = appendNew(tenants, p.Tenant)
		if p.Enabled {
			continue
		}
		if d := listed(p); d != nil {
			excepted++
			tf.Evidence = append(tf.Evidence, Fact{Text: fmt.Sprintf("%s/%s stays off: %s", p.Tenant, p.Policy, d.Reason)})
			continue
		}
		name := p.Tenant + "/" + p.Policy
		if p.Problem != "" {
			name += " (cannot be read: " + p.Problem + ")"
		}
		off = append(off, name)
	}
	if len(off) > 0 {
		tf.Verdict = Fail
		shown := off[:min(len(off), maxFacts)]
		tf.Summary = fmt.Sprintf("%d of %d policies are off and not listed, e.g. %s", len(off), len(s.Request.Policies), shown[0])
		tf.Evidence = append([]Fact{{Text: "off: " + strings.Join(shown, ", ")}}, tf.Evidence...)
		tf.Needs = "the breaker enabled there, or the policy listed with a reason (criteria.disabled in the plan)"
		return tf
	}
	if enabled := len(s.Request.Policies) - excepted; excepted > enabled {
		tf.Verdict = Fail
		tf.Summary = fmt.Sprintf("%d policies are listed as off, %d are on: off is the default here", excepted, enabled)
		tf.Needs = "the breaker enabled in most policies"
		return tf
	}
	tf.Verdict = Pass
	tf.Summary = fmt.Sprintf("%d policies of %s are enabled", len(s.Request.Policies)-excepted, plural(len(tenants), "tenant"))
	if excepted > 0 {
		tf.Summary += fmt.Sprintf(", %d listed as off with a reason", excepted)
	}
	return tf
}

// Counterexamples implements Criterion.
func (ByDefault) Counterexamples(*Study, int) []Counterexample {
	return []Counterexample{
		{"one policy more, and it is off", func(c *Case) {
			c.Request.Policies = append(slices.Clone(c.Request.Policies), Policy{Tenant: "t-planted", Policy: "planted"})
		}},
		{"no policies", func(c *Case) { c.Request.Policies = nil }},
	}
}

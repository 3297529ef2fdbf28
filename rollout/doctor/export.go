package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/cbops/cbops/promquery/promlab"
)

// Export is a set of alerts for the deployment, in place of the documented ones.
type Export struct {
	// Groups are the rules, each proven on the histories; promlab.FormatRules writes
	// them as a rule file.
	Groups []promlab.Group
	// Left names the alerts that are not among them, and why.
	Left []string
}

// Export makes rules of the documented alerts: their replacements, or what is
// documented where that serves, in the dialect. An alert that is not proven is left out.
func (p *Practice) Export(ctx context.Context) (Export, error) {
	d := p.opt.Dialect
	out := Export{Groups: []promlab.Group{{Name: "router-circuit-breaker", Rules: []promlab.Rule{}}, {Name: "circuit-breaker", Rules: []promlab.Rule{}}}, Left: []string{}}
	for _, doc := range d.catalogue() {
		if doc.replacement == "" {
			doc.replacement, doc.replacementHold = doc.expr, doc.hold
		}
		r, err := p.replacement(ctx, doc)
		if err != nil {
			return out, err
		}
		if !r.Proven {
			out.Left = append(out.Left, doc.name+": "+r.Doubt)
			continue
		}
		rule := promlab.Rule{Alert: doc.name, Expr: r.Expr, For: doc.replacementHold, Labels: map[string]string{"severity": doc.severity},
			Annotations: map[string]string{"summary": d.summary(doc), "description": doc.note}}
		g := &out.Groups[1]
		if strings.HasPrefix(doc.name, "Router") {
			g = &out.Groups[0]
		}
		g.Rules = append(g.Rules, rule)
	}
	return out, nil
}

// summary is the alert's summary, with the labels that its expression keeps.
func (d Dialect) summary(doc documented) string {
	tenant, provider := d.label("tenant_id"), d.label("provider_id")
	switch {
	case strings.HasPrefix(doc.replacement, "count by (tenant_id)"):
		return fmt.Sprintf("{{ $labels.%s }}: %s", tenant, doc.intent.text)
	case strings.HasPrefix(doc.replacement, "count("):
		return fmt.Sprintf("{{ $value }} circuits: %s", doc.intent.text)
	}
	return fmt.Sprintf("{{ $labels.%s }} on {{ $labels.%s }}: %s", tenant, provider, doc.intent.text)
}

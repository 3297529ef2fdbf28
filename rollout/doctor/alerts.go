package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

// ServerRule is a rule as a server says it has it.
type ServerRule struct {
	promlab.Rule
	Group    string
	Interval time.Duration
	// Limit is the group's; 0 for none.
	Limit int
	// Health is "ok", "err" or "unknown", as the server says; "" where nobody asked it.
	Health    string
	LastError string
}

// FromGroups are the rules of rule files, as a server that loaded them would have them.
func FromGroups(groups []promlab.Group) []ServerRule {
	out := []ServerRule{}
	for _, g := range groups {
		for _, r := range g.Rules {
			merged := maps.Clone(g.Labels)
			if merged == nil {
				merged = map[string]string{}
			}
			maps.Copy(merged, r.Labels)
			r.Labels = merged
			out = append(out, ServerRule{Rule: r, Group: g.Name, Interval: g.Interval, Limit: g.Limit})
		}
	}
	return out
}

// AlertInput is what is known of a server's rules.
type AlertInput struct {
	Rules []ServerRule
	// Known: Rules is all there is. Otherwise the server's rules could not be read,
	// and whether a documented alert is loaded is not known.
	Known bool
}

// AlertFinding is what was found about one alert.
type AlertFinding struct {
	Name string `json:"name"`
	// Group of the server's rule; "" for one that is not loaded.
	Group string `json:"group"`
	// Loaded is "yes", "no" or "unknown"; Health is the server's word.
	Loaded string `json:"loaded"`
	Health string `json:"health"`
	// Documented: ROUTER.md §5 describes it. Reconstructed: the tried expression was
	// written here after a description in words.
	Documented    bool   `json:"documented"`
	Reconstructed bool   `json:"reconstructed"`
	Required      bool   `json:"required"`
	Intent        string `json:"intent"`
	Severity      string `json:"severity"`
	// Expr is what was tried: the server's where it is loaded.
	Expr string `json:"expr"`
	For  string `json:"for"`
	// Fires, Silent, Resolves: it can fire where it should; it is silent on a good
	// day; what fired ended. Resolves is absent where it never fired.
	Fires    bool  `json:"fires"`
	Silent   bool  `json:"silent"`
	Resolves *bool `json:"resolves,omitempty"`

	Verdict criteria.Verdict `json:"verdict"`
	Summary string           `json:"summary"`
	Reasons []Reason         `json:"reasons"`
	Notes   []string         `json:"notes"`
	Trials  []Trial          `json:"trials"`
	// Replacement is absent where none is needed or known.
	Replacement *Replacement `json:"replacement,omitempty"`
}

// Replacement is an expression to put in place of a documented one, in the dialect.
type Replacement struct {
	Expr     string `json:"expr"`
	For      string `json:"for"`
	Severity string `json:"severity"`
	Note     string `json:"note"`
	// Proven: the engine saw it fire where it must, stay silent where it must, and
	// resolve. Otherwise Doubt says what it did.
	Proven bool    `json:"proven"`
	Doubt  string  `json:"doubt,omitempty"`
	Trials []Trial `json:"trials"`
}

// AlertReport is what was found about a server's alerts.
type AlertReport struct {
	Dialect string         `json:"dialect"`
	Alerts  []AlertFinding `json:"alerts"`
	// Notes name what was not tried.
	Notes []string `json:"notes"`
}

// maxAlerts bounds how many alerts of a server's own are tried.
const maxAlerts = 200

// Alerts tries every documented alert, and every alert of the server that reads the
// breaker's metrics or names that look like them.
func (p *Practice) Alerts(ctx context.Context, in AlertInput) (AlertReport, error) {
	report := AlertReport{Dialect: p.opt.Dialect.name(), Alerts: []AlertFinding{}, Notes: []string{}}
	known, rs := map[string]bool{}, p.recordings(in)
	for _, d := range p.opt.Dialect.catalogue() {
		known[d.name] = true
		loaded := in.named(d.name)
		if len(loaded) == 0 {
			rule := ServerRule{Rule: promlab.Rule{Alert: d.name, Expr: d.expr, For: d.hold, Labels: map[string]string{"severity": d.severity}}}
			f, err := p.alert(ctx, rs, rule, &d)
			if err != nil {
				return report, err
			}
			f.Loaded = "no"
			if !in.Known {
				f.Loaded = "unknown"
			}
			report.Alerts = append(report.Alerts, f)
		}
		for _, r := range loaded {
			f, err := p.alert(ctx, rs, r, &d)
			if err != nil {
				return report, err
			}
			f.Loaded = "yes"
			report.Alerts = append(report.Alerts, f)
		}
	}
	tried := 0
	for _, r := range in.Rules {
		if r.Alert == "" || known[r.Alert] || !p.concerns(rs, r) {
			continue
		}
		if tried++; tried > maxAlerts {
			report.Notes = append(report.Notes, fmt.Sprintf("%s was not tried: at most %d alerts of a server's own are", r.Alert, maxAlerts))
			continue
		}
		f, err := p.alert(ctx, rs, r, nil)
		if err != nil {
			return report, err
		}
		f.Loaded = "yes"
		report.Alerts = append(report.Alerts, f)
	}
	for i := range report.Alerts {
		report.Alerts[i].sum()
	}
	return report, nil
}

func (in AlertInput) named(alert string) []ServerRule {
	var out []ServerRule
	for _, r := range in.Rules {
		if r.Alert == alert {
			out = append(out, r)
		}
	}
	return out
}

// concerns reports whether a rule reads the breaker's metrics, or names that look
// like them, itself or through recording rules.
func (p *Practice) concerns(rs recordings, r ServerRule) bool {
	for _, dep := range append(rs.neededBy(r.Expr), r) {
		x, err := p.engine.Check(dep.Expr)
		if err != nil {
			if p.opt.Dialect.lookalike(dep.Expr) {
				return true
			}
			continue
		}
		found := false
		walk(x, func(n parser.Node) {
			vs, ok := n.(*parser.VectorSelector)
			if !ok {
				return
			}
			if name := nameOf(vs); name != "" {
				found = found || p.opt.Dialect.canonicalMetric(name) != "" || p.opt.Dialect.lookalike(name)
				return
			}
			for _, c := range metricNames() {
				found = found || promlab.CouldSelect(vs, p.opt.Dialect.metric(c))
			}
		})
		if found {
			return true
		}
	}
	return false
}

// LongestFor is the longest `for` of the alerts about the breaker, by the dialect's
// names: what PracticeOptions.Hold is to be.
func (in AlertInput) LongestFor(d Dialect) time.Duration {
	p := &Practice{opt: PracticeOptions{Dialect: d}, engine: promlab.NewEngine(time.Minute)}
	rs := p.recordings(in)
	var longest time.Duration
	for _, r := range in.Rules {
		if r.Alert != "" && r.For > longest && p.concerns(rs, r) {
			longest = r.For
		}
	}
	return longest
}

// recordings finds recording rules by what they record, for one report.
type recordings struct {
	p     *Practice
	rules []ServerRule
	by    map[string][]int
	// left is how many more parts the report may evaluate: see inquest.
	left *int
}

func (p *Practice) recordings(in AlertInput) recordings {
	left := maxAllParts
	rs := recordings{p, in.Rules, map[string][]int{}, &left}
	for i, r := range in.Rules {
		if r.Record != "" {
			rs.by[r.Record] = append(rs.by[r.Record], i)
		}
	}
	return rs
}

// maxRecordings bounds how many recording rules one alert may need.
const maxRecordings = 50

// neededBy are the recording rules that an expression needs, each before those that
// need it.
func (rs recordings) neededBy(expr string) []ServerRule {
	var out []ServerRule
	taken := map[string]bool{}
	var add func(expr string)
	add = func(expr string) {
		x, err := rs.p.engine.Check(expr)
		if err != nil {
			return
		}
		for _, record := range rs.selected(x) {
			if taken[record] || len(taken) >= maxRecordings {
				continue
			}
			taken[record] = true
			for _, i := range rs.by[record] {
				add(rs.rules[i].Expr)
				out = append(out, rs.rules[i])
			}
		}
	}
	add(expr)
	return out
}

// selected are the recorded metrics that an expression could select, sorted.
func (rs recordings) selected(x parser.Expr) []string {
	var out []string
	walk(x, func(n parser.Node) {
		vs, ok := n.(*parser.VectorSelector)
		if !ok {
			return
		}
		if name := nameOf(vs); name != "" {
			if rs.by[name] != nil {
				out = append(out, name)
			}
			return
		}
		for record := range rs.by {
			if promlab.CouldSelect(vs, record) {
				out = append(out, record)
			}
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// alert tries one rule. d is what the documents say about it; nil for a rule of the
// server's own, whose intent nobody knows.
func (p *Practice) alert(ctx context.Context, rs recordings, r ServerRule, d *documented) (AlertFinding, error) {
	f := AlertFinding{Name: r.Alert, Group: r.Group, Health: r.Health, Expr: r.Expr, For: model.Duration(r.For).String(),
		Severity: r.Labels["severity"], Reasons: []Reason{}, Notes: []string{}, Trials: []Trial{}}
	want := intent{silent: []string{hHealthy}}
	if d != nil {
		f.Documented, f.Required, f.Reconstructed, f.Intent, want = true, d.required, d.reconstructed && r.Group == "", d.intent.text, d.intent
		rep, err := p.replacement(ctx, *d)
		if err != nil {
			return f, err
		}
		f.Replacement = rep
	}
	if r.Health == "err" {
		f.Reasons = append(f.Reasons, Reason{Unknown, "", "the server cannot evaluate it: " + oneLine(r.LastError)})
	}
	g := promlab.Group{Name: "practice", Interval: r.Interval, Limit: r.Limit}
	deps := map[string]promlab.Rule{}
	for _, dep := range append(rs.neededBy(r.Expr), r) {
		x, notes, err := p.adapt(dep.Expr)
		if err != nil {
			f.Verdict, f.Summary = criteria.Fail, "cannot fire: the expression cannot be read: "+oneLine(err.Error())
			if promlab.Costly(err) { // too much for a trial, not for a server
				f.Verdict, f.Summary = criteria.Unmeasurable, "was not tried: "+oneLine(err.Error())
			}
			return f, nil
		}
		for _, n := range notes {
			if !slices.Contains(f.Notes, n) {
				f.Notes = append(f.Notes, n)
			}
		}
		rule := dep.Rule
		rule.Expr, rule.Annotations = x.String(), nil
		g.Rules = append(g.Rules, rule)
		if rule.Record != "" {
			deps[rule.Record] = rule
		}
	}
	t, err := p.try(ctx, g, want)
	if err != nil {
		return f, fmt.Errorf("trying %s: %w", r.Alert, err)
	}
	f.Trials = t.trials
	p.judge(ctx, rs.left, &f, t, deps, want)
	return f, nil
}

// replacement is the documented alert's replacement in the dialect, proven or not;
// nil where the documented expression serves.
func (p *Practice) replacement(ctx context.Context, d documented) (*Replacement, error) {
	if d.replacement == "" {
		return nil, nil
	}
	r := &Replacement{For: model.Duration(d.replacementHold).String(), Severity: d.severity, Note: d.note, Trials: []Trial{}}
	expr, err := p.opt.Dialect.expr(d.replacement)
	if err != nil {
		r.Doubt = "there is none: " + err.Error()
		return r, nil
	}
	r.Expr = expr
	t, err := p.try(ctx, promlab.Group{Rules: []promlab.Rule{{Alert: d.name, Expr: expr, For: d.replacementHold}}}, d.intent)
	if err != nil {
		return nil, fmt.Errorf("trying the replacement of %s: %w", d.name, err)
	}
	r.Trials, r.Proven = t.trials, true
	for _, tr := range t.trials {
		if w := tr.wrong(); w != "" {
			r.Proven, r.Doubt = false, "in the history "+tr.History+" it "+w
			break
		}
	}
	return r, nil
}

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Severity of an issue: an error must not reach the router, a warning may.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Issue is one thing that is wrong with a document.
type Issue struct {
	// Place is file:line:column.
	Place    string
	Severity Severity
	Message  string
	Hint     string
	// Range: the value has the right type and is out of the documented range. The
	// router takes it nevertheless (ROUTER.md §1).
	Range bool
	off   int
}

// HasErrors reports whether an issue is an error.
func HasErrors(issues []Issue) bool {
	return slices.ContainsFunc(issues, func(i Issue) bool { return i.Severity == Error })
}

// topLevel are the keys the router parses; it drops others silently.
func topLevel() []string {
	return []string{"version", "defaults", "escalate_on", "weights", "providers", "fallback", "fallbacks", "sticky",
		"rate_limit", breakerKey, "pre", "validators", "post", "metadata", "policy_id", "tenant_id"}
}

// field is one field of circuit_breaker (ROUTER.md §1).
type field struct {
	name     string
	want     string
	low, hi  float64
	breaks   string // what the router does with a value of a wrong type
	overflow bool   // above hi is a warning: used in practice
}

func fields() []field {
	return []field{
		{name: "enabled", want: "a boolean", breaks: "every routed request crashes"},
		{name: "failure_threshold", want: "an integer", low: 1, hi: 100, breaks: "the circuit never trips, silently"},
		{name: "success_threshold", want: "an integer", low: 1, hi: 10, breaks: "the circuit may never close"},
		{name: "timeout_ms", want: "an integer", low: 1000, hi: 300000, breaks: "the breaker process crashes once a circuit is open, and all circuit state is lost"},
		{name: "half_open_max_calls", want: "an integer", low: 1, hi: 100, breaks: "probes may never be admitted"},
		{name: "error_rate_threshold", want: "a number", low: 0, hi: 1, overflow: true, breaks: "the circuit may never trip"},
		{name: "error_rate_window_seconds", want: "an integer", low: 1, hi: 3600, breaks: "the breaker process crashes"},
		{name: "latency_threshold_ms", want: "an integer", low: 1, hi: 1 << 40, breaks: "the latency trigger does not work"},
	}
}

// misspelt are keys seen in runbooks, with what the router reads.
func misspelt(key string) string {
	return map[string]string{
		"open_timeout_ms":        "timeout_ms",
		"half_open_max_attempts": "half_open_max_calls",
	}[key]
}

// maxIssues bounds what is reported of one document: a place is found by reading
// the document up to it, and nobody mends the hundredth before the first.
const maxIssues = 100

type linter struct {
	d      *Document
	issues []Issue
}

func (l *linter) full() bool { return len(l.issues) > maxIssues }

func (l *linter) add(s Severity, off int, hint, format string, args ...any) {
	switch {
	case l.full():
		return
	case len(l.issues) == maxIssues:
		s, hint, format, args = Error, "mend the ones above first", "more than %d issues; the rest is not listed", []any{maxIssues}
	}
	l.issues = append(l.issues, Issue{Place: l.d.place(off), Severity: s, Message: fmt.Sprintf(format, args...), Hint: hint, off: off})
}

// Lint checks a document against the router's schema. tenant and policyID are
// those of its path; empty ones are not compared (a fragment has no path). The
// issues come in the document's order.
func (d *Document) Lint(tenant, policyID string) []Issue {
	l := &linter{d: d}
	known := topLevel()
	for _, m := range d.root.members {
		if l.full() {
			break
		}
		if !slices.Contains(known, m.key) {
			if near := nearest(m.key, known); near != "" {
				l.add(Error, m.keyStart, fmt.Sprintf("did you mean %q? The router drops unknown keys silently", near), "unknown key %q", m.key)
			} else {
				l.add(Warning, m.keyStart, "the router drops it silently; move it into \"metadata\"", "unknown key %q", m.key)
			}
			continue
		}
		l.top(m, tenant, policyID)
	}
	slices.SortStableFunc(l.issues, func(a, b Issue) int { return a.off - b.off })
	return l.issues
}

func (l *linter) top(m member, tenant, policyID string) {
	v := m.value
	switch m.key {
	case "tenant_id":
		l.id(m, tenant, "tenant")
	case "policy_id":
		l.id(m, policyID, "policy")
	case "version":
		l.want(m, text)
	case "defaults", "rate_limit", "metadata":
		l.want(m, object)
	case "escalate_on", "pre", "validators", "post":
		l.want(m, array)
	case "weights":
		if l.want(m, object) {
			for _, w := range v.members {
				l.want(w, number)
			}
		}
	case "providers":
		if l.want(m, array) {
			l.providers(v)
		}
	case "fallbacks":
		if l.want(m, array) {
			l.fallbacks(v)
		}
	case "fallback":
		if v.kind != object {
			l.add(Error, v.start, `write {"provider": …, "conditions": […]}, or use fallbacks`,
				"fallback is %s: the router's policy parser crashes on it", v.kind)
		}
	case "sticky":
		if l.want(m, object) {
			l.sticky(v)
		}
	case breakerKey:
		if v.kind != object {
			l.add(Error, v.start, "", "circuit_breaker is %s, not an object", v.kind)
			return
		}
		l.breaker(v)
	}
}

func (l *linter) want(m member, k kind) bool {
	if m.value.kind != k {
		l.add(Error, m.value.start, "", "%q is %s, want %s", m.key, m.value.kind, k)
		return false
	}
	return true
}

func (l *linter) id(m member, path, what string) {
	if l.want(m, text) && path != "" && m.value.str != path {
		l.add(Error, m.value.start, "the path counts; the router does not notice the difference",
			"%q is %q, but the path says %s %q", m.key, m.value.str, what, path)
	}
}

func (l *linter) providers(v *node) {
	for _, e := range v.elems {
		if e.kind != object {
			l.add(Error, e.start, "", "a provider is %s, want an object with name and weight", e.kind)
			continue
		}
		if n := e.get("name"); n == nil || n.kind != text || n.str == "" {
			l.add(Error, e.start, "", "a provider without a name")
		}
		if w := e.get("weight"); w != nil && w.kind != number {
			l.add(Error, w.start, "", "weight is %s, want a number (an integer is percent)", w.kind)
		}
		for _, m := range e.members {
			if m.key == breakerKey {
				l.add(Warning, m.keyStart, "set it at the top level; circuits are per tenant and provider",
					"the router ignores circuit_breaker of a single provider")
			}
		}
	}
}

func (l *linter) fallbacks(v *node) {
	for _, e := range v.elems {
		if e.kind != object {
			l.add(Error, e.start, "", "a fallback rule is %s, want an object", e.kind)
			continue
		}
		if w := e.get("when"); w != nil && w.kind != object {
			l.add(Error, w.start, "", "\"when\" is %s, want an object with status", w.kind)
		} else if s := w.get("status"); s != nil && s.kind != array {
			l.add(Error, s.start, "", "\"status\" is %s, want a list", s.kind)
		}
		if to := e.get("to"); to != nil && to.kind != text {
			l.add(Error, to.start, "", "\"to\" is %s, want a provider's name", to.kind)
		}
		if r := e.get("retry"); r != nil {
			if _, ok := integer(r); !ok {
				l.add(Error, r.start, "", "\"retry\" is %s, want an integer", r.kind)
			}
		}
	}
}

func (l *linter) sticky(v *node) {
	if e := v.get("enabled"); e != nil && e.kind != boolean {
		l.add(Error, e.start, "", "sticky.enabled is %s, want a boolean", e.kind)
	}
	if k := v.get("session_key"); k != nil && k.kind != text {
		l.add(Error, k.start, "", "sticky.session_key is %s, want a string", k.kind)
	}
	if t := v.get("ttl"); t != nil && (t.kind != text || !ttl(t.str)) {
		l.add(Error, t.start, "", "sticky.ttl: want digits and one of s, m, h, like \"10m\"")
	}
	if t := v.get("ttl_seconds"); t != nil {
		if _, ok := integer(t); !ok {
			l.add(Error, t.start, "", "sticky.ttl_seconds is %s, want an integer", t.kind)
		}
	}
}

func ttl(s string) bool {
	n := len(s) - 1
	return n > 0 && strings.Trim(s[:n], "0123456789") == "" && strings.ContainsAny(s[n:], "smh")
}

func (l *linter) breaker(cb *node) {
	var names []string
	for _, f := range fields() {
		names = append(names, f.name)
	}
	for _, m := range cb.members {
		if l.full() {
			return
		}
		i := slices.Index(names, m.key)
		if i < 0 {
			hint := "the router ignores this key; it reads " + strings.Join(names, ", ")
			if s := misspelt(m.key); s != "" {
				hint = fmt.Sprintf("the router reads %q; this key is ignored", s)
			} else if s := nearest(m.key, names); s != "" {
				hint = fmt.Sprintf("did you mean %q? This key is ignored", s)
			}
			l.add(Error, m.keyStart, hint, "unknown key %q", m.key)
			continue
		}
		l.field(fields()[i], m.value)
	}
	l.neverCloses(cb)
}

func (l *linter) field(f field, v *node) {
	var x float64
	ok := false
	switch f.want {
	case "a boolean":
		if v.kind != boolean {
			l.add(Error, v.start, "", "%s is %s, want a boolean: with that, %s", f.name, v.kind, f.breaks)
		}
		return
	case "an integer":
		var i int64
		i, ok = integer(v)
		x = float64(i)
	default:
		x, ok = float(v)
	}
	switch {
	case !ok && v.kind == number:
		l.add(Error, v.start, "", "%s is %s, want %s", f.name, clip(v.str), f.want)
	case !ok:
		l.add(Error, v.start, "", "%s is %s, want %s: with that, %s", f.name, v.kind, f.want, f.breaks)
	case x > f.hi && f.overflow:
		l.add(Warning, v.start, "", "%s %s is above 1.0: it switches the error-rate trigger off", f.name, clip(v.str))
	case x < f.low || x > f.hi:
		l.add(Error, v.start, "", "%s %s is out of range, %.0f to %.0f", f.name, clip(v.str), f.low, f.hi)
		l.issues[len(l.issues)-1].Range = len(l.issues) <= maxIssues
	}
}

// neverCloses warns where half-open admits fewer probes than closing needs
// (ROUTER.md §4). Defaults count: the router fills them in.
func (l *linter) neverCloses(cb *node) {
	b, _ := l.d.Breaker()
	at := cb.get("success_threshold")
	if at == nil {
		at = cb.get("half_open_max_calls")
	}
	if at != nil && b.Config.HalfOpenMaxCalls > 0 && b.Config.SuccessThreshold > b.Config.HalfOpenMaxCalls {
		l.add(Warning, at.start, "raise half_open_max_calls or lower success_threshold",
			"can never close: success_threshold %d needs more probes than half_open_max_calls %d admits",
			b.Config.SuccessThreshold, b.Config.HalfOpenMaxCalls)
	}
}

// nearest returns the known key that key was probably meant to be, or "".
func nearest(key string, known []string) string {
	best, dist := "", 3
	if len(key) > 64 {
		return ""
	}
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(key), k, nil); d < dist && d < (len(k)+1)/2 {
			best, dist = k, d
		}
	}
	return best
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// LintTenant checks the policies of one tenant against each other: circuits are
// per tenant and provider, so two policies that share a provider and differ in
// circuit_breaker overwrite each other's config on every decision (ROUTER.md §1).
func LintTenant(docs []*Document) []Issue {
	var issues []Issue
	for i, a := range docs {
		for _, b := range docs[:i] {
			x, okX := a.Breaker()
			y, okY := b.Breaker()
			if !okX || !okY || !x.Enabled || !y.Enabled || x == y {
				continue
			}
			for _, p := range a.Providers() {
				if slices.Contains(b.Providers(), p) {
					at := a.root.get(breakerKey)
					issues = append(issues, Issue{Place: a.place(at.start), Severity: Warning, off: at.start,
						Message: fmt.Sprintf("differs from circuit_breaker in %s, and both use provider %q: they overwrite each other's config on every decision", b.path, p),
						Hint:    "give both the same circuit_breaker"})
					break
				}
			}
		}
	}
	return issues
}

package promquery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// What detection reads at most: names of metrics, series of each of two metrics,
	// values of a label that may hold tenants, and such labels.
	maxNames      = 2_000
	maxSets       = 500
	maxValues     = 20_000
	maxCandidates = 12
	// namePattern finds the breaker's metrics under most names: with "circuit breaker"
	// in them, or "cb" as a word.
	namePattern = `(?i:.*circuit_?breaker.*|(.*[_:])?cb[_:].*)`
	setting     = "prometheus.dialect."
)

// DialectConfig is what the plan says of a dialect: names in use by canonical
// names, of metrics without Prefix. It is believed, and checked.
type DialectConfig struct{ Metrics, Labels map[string]string }

// Check returns what is wrong with the settings by themselves, sorted.
func (c DialectConfig) Check() []string {
	bad := []string{}
	for k, v := range c.Metrics {
		switch {
		case !slices.Contains(CanonicalMetrics(), strings.TrimPrefix(k, Prefix)):
			bad = append(bad, fmt.Sprintf("metrics.%s: the router has no such metric", k))
		case !legacyMetric(v):
			bad = append(bad, fmt.Sprintf("metrics.%s: %q is not the name of a metric", k, v))
		}
	}
	for k, v := range c.Labels {
		switch {
		case !slices.Contains(CanonicalLabels(), k):
			bad = append(bad, fmt.Sprintf("labels.%s: the router has no such label", k))
		case !legacyLabel(v) || v == nameLabel:
			bad = append(bad, fmt.Sprintf("labels.%s: %q is not the name of a label", k, v))
		}
	}
	slices.Sort(bad)
	return bad
}

// Hints help to detect a dialect.
type Hints struct {
	// Tenants and Providers are names that policies hold: values tell labels.
	Tenants, Providers []string
	// Series from At−Window to At are looked at; Window 0 is a day.
	At     time.Time
	Window time.Duration
	Config DialectConfig
}

// Problem is something that detection cannot decide, or that contradicts the plan.
type Problem struct {
	Text       string   `json:"text"`
	Candidates []string `json:"candidates,omitempty"`
	// Setting of the plan decides it.
	Setting string `json:"setting,omitempty"`
}

// detection is one run of Detect.
type detection struct {
	c        *Client
	h        Hints
	from     time.Time
	d        Dialect
	found    map[string]bool // canonical metrics
	problems []Problem
}

// Detect finds out what a deployment calls the router's metrics and labels, from
// the series that are there. It asks few and bounded questions, however many
// tenants there are. Canonical names win where they exist. Where several
// candidates are left it takes none and says so; where there is nothing at all,
// the dialect is the canonical one, of kind "".
func Detect(ctx context.Context, c *Client, h Hints) (Dialect, []Problem, error) {
	if h.Window <= 0 {
		h.Window = 24 * time.Hour
	}
	x := &detection{c: c, h: h, from: h.At.Add(-h.Window), found: map[string]bool{}, problems: []Problem{},
		d: Dialect{Metrics: map[string]string{}, Labels: map[string]string{}}}
	if err := x.metrics(ctx); err != nil {
		return Dialect{}, nil, err
	}
	events, err := x.sets(ctx, "events_total")
	if err != nil {
		return Dialect{}, nil, err
	}
	transitions, err := x.sets(ctx, "state_transitions_total")
	if err != nil {
		return Dialect{}, nil, err
	}
	x.vocabulary("event_type", events, "success", "failure", "fail_fast")
	x.transitions(transitions)
	either := labelTable(append(slices.Clone(events), transitions...))
	for _, role := range []struct {
		label string
		known []string
	}{{"tenant_id", h.Tenants}, {"provider_id", h.Providers}} {
		if err := x.identity(ctx, role.label, role.known, either); err != nil {
			return Dialect{}, nil, err
		}
	}
	for _, label := range []string{"reason", "transition_type"} { // on series that are not looked at
		if name := h.Config.Labels[label]; name != "" {
			x.rename(label, name)
		}
	}
	x.nodes(either)
	slices.Sort(x.d.Renames)
	slices.SortFunc(x.problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Setting, b.Setting), cmp.Compare(a.Text, b.Text)) })
	return x.d, x.problems, nil
}

func (x *detection) problem(set string, candidates []string, format string, args ...any) {
	if set != "" {
		set = setting + set
	}
	x.problems = append(x.problems, Problem{Text: fmt.Sprintf(format, args...), Candidates: candidates, Setting: set})
}

func (x *detection) rename(label, name string) {
	if name != label {
		x.d.Labels[label] = name
		x.d.Renames = append(x.d.Renames, label+" is called "+name)
	}
}

// metrics finds the names in use.
func (x *detection) metrics(ctx context.Context) error {
	pattern := namePattern
	for _, name := range slices.Sorted(maps.Values(x.h.Config.Metrics)) {
		pattern += "|" + regexp.QuoteMeta(name)
	}
	names, err := x.c.LabelValues(ctx, nameLabel, [][]Match{{{Label: nameLabel, pattern: pattern}}}, x.from, x.h.At, maxNames)
	if err != nil {
		return fmt.Errorf("finding the breaker's metrics: %w", err)
	}
	if names.Truncated {
		x.problem("", nil, "more than %d metrics may be the breaker's; the rest was not looked at", maxNames)
	}
	x.warned(names.Warnings)
	by := map[string][]string{}
	for _, n := range names.Values {
		if short := shortOf(n); short != "" {
			by[short] = append(by[short], n)
		}
	}
	for _, short := range CanonicalMetrics() {
		set := cmp.Or(x.h.Config.Metrics[short], x.h.Config.Metrics[Prefix+short])
		candidates := by[short]
		switch {
		case set != "":
			if !slices.Contains(names.Values, set) {
				x.problem("metrics."+short, candidates, "%s is set to %s, but there is no such series", short, set)
			} else {
				x.found[short] = true
			}
			x.metric(short, set)
		case slices.Contains(candidates, Prefix+short):
			x.found[short] = true
		case len(candidates) == 1:
			x.found[short] = true
			x.metric(short, candidates[0])
		case len(candidates) > 1:
			x.d.Metrics[short] = ""
			x.problem("metrics."+short, candidates, "%s%s may be any of %s", Prefix, short, strings.Join(candidates, ", "))
		}
	}
	return nil
}

func (x *detection) metric(short, name string) {
	if name != Prefix+short {
		x.d.Metrics[short] = name
		x.d.Renames = append(x.d.Renames, Prefix+short+" is called "+name)
	}
}

// shortOf tells which metric a name stands for, by the words in it; "" if none.
// What was derived from a counter (a rate, a creation time) is not it.
func shortOf(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == ':' || r == '.' })
	has := func(any ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(any, w) })
	}
	breaker := has("cb", "circuitbreaker")
	for i := 1; i < len(words); i++ {
		breaker = breaker || words[i-1] == "circuit" && words[i] == "breaker"
	}
	derived := regexp.MustCompile(`^(i?rate|increase|i?delta|deriv|avg|ratio)\d*[smhdw]?$`)
	for _, w := range words {
		if w != "rate" && derived.MatchString(w) || w == "created" || w == "bucket" {
			return ""
		}
	}
	if !breaker {
		return ""
	}
	rate := has("rate")
	switch {
	case rate && has("error", "failure"):
		return "error_rate"
	case rate:
		return "" // of something
	case has("timeout") && has("transitions", "transition"):
		return "timeout_transitions_total"
	case has("timeout") && has("remaining"):
		return "timeout_remaining_ms"
	case has("window") && has("requests"):
		return "window_requests_total"
	case has("window") && has("failures"):
		return "window_failures_total"
	case has("trigger") && has("reason", "reasons"):
		return "trigger_reason"
	case has("transitions", "transition"):
		return "state_transitions_total"
	case has("events", "event"):
		return "events_total"
	case has("state", "states"):
		return "state"
	}
	return ""
}

// sets reads label sets of a metric that was found.
func (x *detection) sets(ctx context.Context, short string) ([]map[string]string, error) {
	if !x.found[short] {
		return nil, nil
	}
	found, err := x.c.LabelSets(ctx, [][]Match{x.d.Match(short)}, x.from, x.h.At, maxSets)
	if err != nil {
		return nil, fmt.Errorf("reading the labels of %s: %w", x.d.Metric(short), err)
	}
	x.warned(found.Warnings)
	return found.Sets, nil
}

// warned: an answer with a warning may be partial, and so may be what was found.
func (x *detection) warned(warnings []string) {
	for _, w := range warnings {
		x.problem("", nil, "the server warned while the dialect was looked for: %s", w)
	}
}

package promlab

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// GroupStatus is a rule group as /api/v1/rules shows it.
type GroupStatus struct {
	Name string `json:"name"`
	File string `json:"file"`
	// Interval and EvaluationTime are in seconds.
	Interval       float64      `json:"interval"`
	Limit          int          `json:"limit"`
	EvaluationTime float64      `json:"evaluationTime"`
	LastEvaluation time.Time    `json:"lastEvaluation"`
	Rules          []RuleStatus `json:"rules"`
}

// RuleStatus is a rule as /api/v1/rules shows it. Duration, KeepFiringFor and
// EvaluationTime are in seconds; a recording rule has no State and no Alerts.
type RuleStatus struct {
	Type           string            `json:"type"` // alerting, recording
	Name           string            `json:"name"`
	Query          string            `json:"query"`
	Labels         map[string]string `json:"labels"`
	Annotations    map[string]string `json:"annotations"`
	Duration       float64           `json:"duration"`
	KeepFiringFor  float64           `json:"keepFiringFor"`
	State          string            `json:"state"`  // inactive, pending, firing
	Health         string            `json:"health"` // ok, err, unknown
	LastError      string            `json:"lastError,omitempty"`
	EvaluationTime float64           `json:"evaluationTime"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
	Alerts         []AlertStatus     `json:"alerts"`
}

// AlertStatus is an active alert of a rule.
type AlertStatus struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"` // pending, firing
	ActiveAt    time.Time         `json:"activeAt"`
	Value       string            `json:"value"`
}

// selection is what the requests about series and labels have in common.
type selection struct {
	from, to int64
	sets     [][]*labels.Matcher
	most     int
}

// selection reads match[], start, end and limit; it has answered if it is nil.
func (s *server) selection(w http.ResponseWriter, r *http.Request) *selection {
	if err := r.ParseForm(); err != nil {
		badData(w, fmt.Errorf("error parsing form values: %w", err))
		return nil
	}
	sel := &selection{from: math.MinInt64, to: math.MaxInt64}
	var err error
	if sel.most, err = limit(r); err != nil {
		badParameter(w, "limit", err)
		return nil
	}
	for name, to := range map[string]*int64{"start": &sel.from, "end": &sel.to} {
		if v := r.FormValue(name); v != "" {
			t, err := at(v, time.Time{})
			if err != nil {
				badParameter(w, name, fmt.Errorf("invalid time value for '%s': %w", name, err))
				return nil
			}
			*to = t.UnixMilli()
		}
	}
	for _, m := range r.Form["match[]"] {
		ms, err := s.parser.ParseMetricSelector(m)
		if err != nil {
			badParameter(w, "match[]", err)
			return nil
		}
		if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			badParameter(w, "match[]", errors.New("match[] must contain at least one non-empty matcher"))
			return nil
		}
		sel.sets = append(sel.sets, ms)
	}
	return sel
}

// chosen returns the label sets that a selection is about, sorted.
func (s *server) chosen(sel *selection) (out []labels.Labels) {
	for _, ms := range s.store.all() {
		if slices.ContainsFunc(sel.sets, func(set []*labels.Matcher) bool { return matches(ms.lset, set) }) && s.store.within(ms, sel.from, sel.to) {
			out = append(out, ms.lset)
		}
	}
	return out
}

// within reports whether a series has samples in [from, to]; only chunks that
// straddle a bound are decoded.
func (s *Store) within(ms *memSeries, from, to int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range ms.chunks {
		if c.to < from || c.from > to {
			continue
		}
		if c.from >= from || c.to <= to {
			return true // its first or last sample is in
		}
		if ms.between(from, to) != nil {
			return true
		}
	}
	return false
}

func (s *server) series(w http.ResponseWriter, r *http.Request) {
	sel := s.selection(w, r)
	if sel == nil {
		return
	}
	if len(sel.sets) == 0 {
		badData(w, errors.New("no match[] parameter provided"))
		return
	}
	all, cut := first(s.chosen(sel), sel.most)
	out := make([]map[string]string, len(all))
	for i, l := range all {
		out[i] = l.Map()
	}
	answer(w, out, warned(cut), nil)
}

func (s *server) labelNames(w http.ResponseWriter, r *http.Request) {
	s.strings(w, r, func(l labels.Labels, add func(string)) { l.Range(func(l labels.Label) { add(l.Name) }) })
}

func (s *server) labelValues(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	s.strings(w, r, func(l labels.Labels, add func(string)) { add(l.Get(name)) })
}

// strings answers with the sorted strings that each has for the selected series.
func (s *server) strings(w http.ResponseWriter, r *http.Request, each func(l labels.Labels, add func(string))) {
	sel := s.selection(w, r)
	if sel == nil {
		return
	}
	if len(sel.sets) == 0 {
		sel.sets = [][]*labels.Matcher{nil} // everything
	}
	found := map[string]bool{}
	for _, l := range s.chosen(sel) {
		each(l, func(v string) {
			if v != "" {
				found[v] = true
			}
		})
	}
	out, cut := first(append([]string{}, slices.Sorted(maps.Keys(found))...), sel.most)
	answer(w, out, warned(cut), nil)
}

func warned(cut bool) []string {
	if cut {
		return []string{truncated}
	}
	return nil
}

func (s *server) rules(w http.ResponseWriter, _ *http.Request) {
	groups := []GroupStatus{}
	if s.opt.Rules != nil {
		groups = append(groups, s.opt.Rules()...)
	}
	out := []map[string]any{}
	for _, g := range groups {
		rules := []any{}
		for _, r := range g.Rules {
			if r.Type == "recording" {
				rules = append(rules, recording{r.Type, r.Name, r.Query, r.Labels, r.Health, r.LastError, r.EvaluationTime, r.LastEvaluation})
				continue
			}
			r.Alerts = append([]AlertStatus{}, r.Alerts...)
			rules = append(rules, r)
		}
		out = append(out, map[string]any{"name": g.Name, "file": g.File, "interval": g.Interval, "limit": g.Limit,
			"evaluationTime": g.EvaluationTime, "lastEvaluation": g.LastEvaluation, "rules": rules})
	}
	answer(w, map[string]any{"groups": out}, nil, nil)
}

// recording is what a recording rule shows of RuleStatus.
type recording struct {
	Type           string            `json:"type"`
	Name           string            `json:"name"`
	Query          string            `json:"query"`
	Labels         map[string]string `json:"labels"`
	Health         string            `json:"health"`
	LastError      string            `json:"lastError,omitempty"`
	EvaluationTime float64           `json:"evaluationTime"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
}

// metadata: nothing is scraped here, so nothing is known.
func (s *server) metadata(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{}, nil, nil)
}

func (s *server) buildinfo(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]string{"version": "promlab", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}, nil, nil)
}

func (s *server) runtimeinfo(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"startTime": s.began.UTC(), "serverTime": s.opt.Now().UTC(), "reloadConfigSuccess": true,
		"lastConfigTime": s.began.UTC(), "corruptionCount": 0, "storageRetention": s.opt.Retention}, nil, nil)
}

func (s *server) flags(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]string{"storage.tsdb.retention.time": s.opt.Retention, "query.max-samples": fmt.Sprint(s.opt.MaxSamples), "query.lookback-delta": "5m"}, nil, nil)
}

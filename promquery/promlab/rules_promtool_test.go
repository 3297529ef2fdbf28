package promlab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/cbops/cbops/internal/promtest"
)

// unitTest is the part of promtool's test file format that is written here.
type unitTest struct {
	RuleFiles          []string   `yaml:"rule_files"`
	EvaluationInterval string     `yaml:"evaluation_interval"`
	Tests              []testCase `yaml:"tests"`
}

type testCase struct {
	Interval    string        `yaml:"interval"`
	InputSeries []inputSeries `yaml:"input_series"`
	ExprTests   []exprTest    `yaml:"promql_expr_test"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type exprTest struct {
	Expr       string      `yaml:"expr"`
	EvalTime   string      `yaml:"eval_time"`
	ExpSamples []expSample `yaml:"exp_samples"`
}

type expSample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// history is random series at one minute; a nil sample is a gap.
type history struct {
	names  []string // m{a="1"}
	lsets  []map[string]string
	values [][]*float64
}

func (h history) store(t fataler) *Store {
	s := NewStore()
	for i, lset := range h.lsets {
		for k, v := range h.values[i] {
			if v == nil {
				continue
			}
			if err := s.Append(lset, epoch().Add(time.Duration(k)*time.Minute), *v); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

func (h history) input() []inputSeries {
	var out []inputSeries
	for i, n := range h.names {
		var vs []string
		for _, v := range h.values[i] {
			if v == nil {
				vs = append(vs, "_")
			} else {
				vs = append(vs, strconv.FormatFloat(*v, 'g', -1, 64))
			}
		}
		out = append(out, inputSeries{n, strings.Join(vs, " ")})
	}
	return out
}

type fataler interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// epoch is where promtool's virtual time begins.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

const minutes = 30

// last is the last instant that promtool evaluates: the last one that is asked for.
func last() time.Time { return epoch().Add((minutes - 1) * time.Minute) }

func drawHistory(t *rapid.T) history {
	var h history
	for _, name := range []string{"m", "n"} {
		for a := range rapid.IntRange(1, 2).Draw(t, name+" series") {
			lset := map[string]string{"__name__": name, "a": strconv.Itoa(a)}
			h.names = append(h.names, fmt.Sprintf(`%s{a="%d"}`, name, a))
			h.lsets = append(h.lsets, lset)
			// Runs, not noise: a timer of minutes must have a chance to run out.
			var vs []*float64
			for len(vs) < minutes {
				var v *float64
				if x := rapid.SampledFrom([]float64{0, 1, 2, 3, -1}).Draw(t, "value"); x >= 0 {
					v = &x
				}
				for range rapid.IntRange(1, 9).Draw(t, "run") {
					vs = append(vs, v)
				}
			}
			h.values = append(h.values, vs[:minutes])
		}
	}
	return h
}

func drawGroup(t *rapid.T) Group {
	durations := rapid.SampledFrom([]time.Duration{0, 0, 30 * time.Second, time.Minute, 2 * time.Minute, 150 * time.Second, 5 * time.Minute})
	g := Group{Name: "g", QueryOffset: rapid.SampledFrom([]time.Duration{0, 0, time.Minute}).Draw(t, "offset")}
	if rapid.Bool().Draw(t, "group labels") {
		g.Labels = map[string]string{"team": "routing"}
	}
	// Recording rules under names of their own, in any place of the order: some
	// alerts read one that comes later.
	recs := []Rule{
		{Record: "rec:sum", Expr: "sum by (a) (m)", Labels: map[string]string{"by": "a"}},
		{Record: "rec:count", Expr: "count(m > 1)"},
		{Record: "rec:of_rec", Expr: "rec:sum * 2"},
	}
	exprs := []string{"m > 1", "m == 2", "sum by (a) (m) > 2", "rec:sum > 1", "rec:of_rec > 3", "absent(n)", "m > 1 unless on (a) n > 0",
		"rate(m[3m]) > 0", "changes(m[5m]) > 1", "vector(1)", "rec:count > 0", `count(ALERTS{alertstate="firing"}) > 1`,
		"max_over_time(rec:count[4m:1m]) > 1", "m offset 2m > 1", "{__name__=~\"rec:.*\"} > 2", "m > 1 or n > 1", "m @ 600 > 0 and m > 0"}
	for i := range rapid.IntRange(1, 4).Draw(t, "alerts") {
		r := Rule{Alert: fmt.Sprintf("A%d", i), Expr: rapid.SampledFrom(exprs).Draw(t, "expr"),
			For: durations.Draw(t, "for"), KeepFiringFor: durations.Draw(t, "keep")}
		switch rapid.IntRange(0, 3).Draw(t, "labels") {
		case 1:
			r.Labels = map[string]string{"severity": "page", "team": "own"}
		case 2:
			r.Labels = map[string]string{"value": "{{ $value }}", "a2": "{{ $labels.a }}x"}
		}
		recs = append(recs, r)
	}
	g.Rules = rapid.Permutation(recs).Draw(t, "order")
	return g
}

// Property: at every minute, ALERTS, ALERTS_FOR_STATE and what is recorded are what
// the real promtool comes to for the same rules and series.
func TestRulesAgreeWithPromtool(t *testing.T) {
	promtool := promtest.Binary(t, "promtool")
	dir := t.TempDir()
	var firing, pending int
	rapid.Check(t, func(t *rapid.T) {
		h, g := drawHistory(t), drawGroup(t)
		every := rapid.SampledFrom([]time.Duration{30 * time.Second, time.Minute}).Draw(t, "every")
		engine := NewEngine(every)
		in, out := h.store(t), NewStore()
		ev, err := NewEvaluator(engine, in, out, g)
		if err != nil {
			t.Fatal(err)
		}
		failed := false
		err = ev.Run(t.Context(), epoch(), last(), every, func(_ int, _ time.Time, as []Alert, err error) {
			failed = failed || err != nil
			for _, a := range as {
				if a.State == Firing {
					firing++
				} else {
					pending++
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if failed {
			t.Skip("promtool stops at the first rule that fails")
		}
		u := unitTest{RuleFiles: []string{"rules.yml"}, EvaluationInterval: model.Duration(every).String(),
			Tests: []testCase{{Interval: "1m", InputSeries: h.input(), ExprTests: expectations(t, engine, out)}}}
		if said, err := runPromtool(promtool, dir, g, u); err != nil {
			t.Fatalf("promtool does not agree: %v\n%s", err, said)
		}
	})
	if least := least(200); firing < least || pending < least {
		t.Errorf("%d firing and %d pending alerts were compared: too few to say anything", firing, pending)
	}
}

// expectations are what out holds at every minute, as promtool's tests.
func expectations(t fataler, engine *Engine, out *Store) []exprTest {
	var tests []exprTest
	for m := range minutes {
		const written = `{__name__=~"ALERTS.*|rec:.*"}`
		v, err := engine.Instant(context.Background(), out, written, epoch().Add(time.Duration(m)*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		e := exprTest{Expr: written, EvalTime: fmt.Sprintf("%dm", m), ExpSamples: []expSample{}}
		for _, s := range v {
			e.ExpSamples = append(e.ExpSamples, expSample{seriesText(s.Metric), s.F})
		}
		tests = append(tests, e)
	}
	return tests
}

func seriesText(l labels.Labels) string {
	m := l.Map()
	name := m["__name__"]
	delete(m, "__name__")
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+strconv.Quote(m[k]))
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

func runPromtool(promtool, dir string, g Group, u unitTest) (string, error) {
	rules, err := FormatRules([]Group{g})
	if err != nil {
		return "", err
	}
	text, err := yaml.Marshal(u)
	if err != nil {
		return "", err
	}
	for name, b := range map[string][]byte{"rules.yml": rules, "test.yml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	said, err := exec.Command(promtool, "test", "rules", filepath.Join(dir, "test.yml")).CombinedOutput()
	return string(said), err
}

// The comparison can fail: promtool refuses what is one evaluation off.
func TestPromtoolSeesADifference(t *testing.T) {
	promtool := promtest.Binary(t, "promtool")
	two := 2.0
	vs := make([]*float64, minutes)
	for i := range vs {
		vs[i] = &two
	}
	h := history{names: []string{`m{a="0"}`}, lsets: []map[string]string{{"__name__": "m", "a": "0"}}, values: [][]*float64{vs}}
	run := func(hold time.Duration) error {
		g := Group{Name: "g", Rules: []Rule{{Alert: "A", Expr: "m > 1", For: hold}}}
		engine, out := NewEngine(time.Minute), NewStore()
		ev, err := NewEvaluator(engine, h.store(t), out, g)
		if err != nil {
			t.Fatal(err)
		}
		if err := ev.Run(t.Context(), epoch(), last(), time.Minute, nil); err != nil {
			t.Fatal(err)
		}
		u := unitTest{RuleFiles: []string{"rules.yml"}, EvaluationInterval: "1m", Tests: []testCase{{Interval: "1m", InputSeries: h.input(), ExprTests: expectations(t, engine, out)}}}
		g.Rules[0].For = 5 * time.Minute
		_, err = runPromtool(promtool, t.TempDir(), g, u)
		return err
	}
	if err := run(5 * time.Minute); err != nil {
		t.Errorf("promtool does not agree with the same rule: %v", err)
	}
	if err := run(6 * time.Minute); err == nil {
		t.Error("promtool agrees with an alert that fires a minute later")
	}
}

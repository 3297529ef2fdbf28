package promlab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql"
	"pgregory.net/rapid"
)

// seen is what an evaluation told, per rule in order of time.
func seen(t fataler, g Group, h history, run func(ev *Evaluator, o Observe) error) map[int][]string {
	ev, err := NewEvaluator(NewEngine(time.Minute), h.store(t), NewStore(), g)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int][]string{}
	err = run(ev, func(rule int, at time.Time, as []Alert, err error) {
		out[rule] = append(out[rule], fmt.Sprint(at.Unix(), as, err))
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Property: Run tells what Eval at each instant tells.
func TestRunIsEvalAtEachInstant(t *testing.T) {
	separable, not := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		h, g := drawHistory(t), drawGroup(t)
		g.Limit = rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "limit")
		// What promtool would stop at: an expression that is wrong at some instants, and
		// a second rule for the same series.
		g.Rules = append(g.Rules, Rule{Alert: "Wrong", Expr: "m > on () n"})
		if rapid.Bool().Draw(t, "twice") {
			g.Rules = append(g.Rules, Rule{Record: "rec:count", Expr: "count(n)"}, Rule{Alert: "Twice", Expr: "rec:count > 0"})
		}
		a := seen(t, g, h, func(ev *Evaluator, o Observe) error {
			if ev.separable() {
				separable++
			} else {
				not++
			}
			return ev.Run(t.Context(), epoch(), last(), time.Minute, o)
		})
		b := seen(t, g, h, func(ev *Evaluator, o Observe) error {
			for at := epoch(); !at.After(last()); at = at.Add(time.Minute) {
				if err := ev.Eval(t.Context(), at, o); err != nil {
					return err
				}
			}
			return nil
		})
		if d := cmp.Diff(b, a); d != "" {
			t.Fatalf("Run differs from Eval (-Eval +Run):\n%s", d)
		}
	})
	if least := least(10); separable < least || not < least {
		t.Errorf("%d groups in one go, %d instant by instant: one of the two was not compared", separable, not)
	}
}

// What Range returned stays what it was, whatever is asked next.
func TestRangeResultsAreTheCallers(t *testing.T) {
	e, s, other := NewEngine(time.Minute), ramp(1, 2, 3, 4, 5, 6, 7, 8).store(t), ramp(9, 9, 9, 9, 9, 9, 9, 9).store(t)
	ask := func(expr string) string {
		m, err := e.Range(t.Context(), s, expr, epoch(), epoch().Add(7*time.Minute), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := e.Range(t.Context(), other, "m", epoch(), epoch().Add(7*time.Minute), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		return m.String()
	}
	if got := ask("m"); strings.Contains(got, "9 @") || !strings.Contains(got, "8 @") {
		t.Errorf("changed after it was returned:\n%s", got)
	}
}

// ramp is one series m{a="0"} with a value a minute.
func ramp(vs ...float64) history {
	h := history{names: []string{`m{a="0"}`}, lsets: []map[string]string{{"__name__": "m", "a": "0"}}, values: [][]*float64{nil}}
	for _, v := range vs {
		h.values[0] = append(h.values[0], &v)
	}
	return h
}

// states is one letter a minute: "." nothing, "p" pending, "f" firing, "!" an error.
func states(t *testing.T, g Group, h history, rule int) string {
	t.Helper()
	ev, err := NewEvaluator(NewEngine(time.Minute), h.store(t), NewStore(), g)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	end := epoch().Add(time.Duration(len(h.values[0])-1) * time.Minute)
	err = ev.Run(t.Context(), epoch(), end, time.Minute, func(i int, _ time.Time, as []Alert, err error) {
		if i != rule {
			return
		}
		switch {
		case err != nil:
			b.WriteString("!")
		case len(as) == 0:
			b.WriteString(".")
		case as[0].State == Firing:
			b.WriteString("f")
		default:
			b.WriteString("p")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTimers(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule Rule
		want string
	}{
		{"no for", Rule{}, "..ff.ffff..."},
		{"for", Rule{For: 2 * time.Minute}, "..pp.ppff..."},
		{"for longer than it ever holds", Rule{For: 4 * time.Minute}, "..pp.pppp..."},
		{"keep firing", Rule{KeepFiringFor: 2 * time.Minute}, "..fffffffff."},
		{"pending is not kept", Rule{For: 2 * time.Minute, KeepFiringFor: 2 * time.Minute}, "..pp.ppffff."},
		{"a label with the value is a new alert with every value", Rule{For: time.Minute, Labels: map[string]string{"v": "{{ $value }}"}}, "..pp.pppf..."},
	} {
		tt.rule.Alert, tt.rule.Expr = "A", "m > 1"
		h := ramp(0, 0, 2, 3, 0, 2, 3, 4, 4, 0, 0, 0)
		if got := states(t, Group{Rules: []Rule{tt.rule}}, h, 0); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestLaterRulesSeeEarlierOnes(t *testing.T) {
	rec, al := Rule{Record: "r", Expr: "m * 2"}, Rule{Alert: "A", Expr: "r > 3"}
	h := ramp(0, 2, 0, 2, 2)
	if got := states(t, Group{Rules: []Rule{rec, al}}, h, 1); got != ".f.ff" {
		t.Errorf("after the recording rule: %s", got)
	}
	if got := states(t, Group{Rules: []Rule{al, rec}}, h, 0); got != "..f.f" {
		t.Errorf("before the recording rule, it sees the evaluation before: %s", got)
	}
}

func TestLimit(t *testing.T) {
	h := ramp(2, 2, 2)
	h.names, h.lsets = append(h.names, `m{a="1"}`), append(h.lsets, map[string]string{"__name__": "m", "a": "1"})
	two, no := 2.0, 0.0
	h.values = append(h.values, []*float64{&no, &two, &no})
	if got := states(t, Group{Limit: 1, Rules: []Rule{{Alert: "A", Expr: "m > 1", For: time.Minute}}}, h, 0); got != "p!p" {
		t.Errorf("more alerts than the limit are an error and forget all of them: %s", got)
	}
	if got := states(t, Group{Limit: 1, Rules: []Rule{{Record: "r", Expr: "m > 1"}}}, h, 0); got != ".!." {
		t.Errorf("more series than the limit are an error: %s", got)
	}
}

func TestSameLabelsAreAnError(t *testing.T) {
	h := ramp(2)
	h.names, h.lsets, h.values = append(h.names, ""), append(h.lsets, map[string]string{"__name__": "m", "a": "1"}), append(h.values, h.values[0])
	for _, r := range []Rule{{Alert: "A"}, {Record: "r"}} {
		r.Expr, r.Labels = "m > 1", map[string]string{"a": "same"}
		if got := states(t, Group{Rules: []Rule{r}}, h, 0); got != "!" {
			t.Errorf("%s: two results with the same labels: %s", r.Name(), got)
		}
	}
}

func TestBounds(t *testing.T) {
	e := NewEngine(time.Minute)
	for _, expr := range []string{
		strings.Repeat("(", 200) + "m" + strings.Repeat(")", 200),
		"m" + strings.Repeat(" + m", 20_000),
		"max_over_time(m[10y:1s])",
		"max_over_time(max_over_time(m[1d:1s])[1d:1s])",
		"max_over_time(m[5y:])",
		"m{",
		"",
	} {
		if _, err := e.Check(expr); err == nil {
			t.Errorf("accepted: %.60s", expr)
		}
		if _, err := NewEvaluator(e, NewStore(), NewStore(), Group{Rules: []Rule{{Alert: "A", Expr: expr}}}); err == nil {
			t.Errorf("evaluated: %.60s", expr)
		}
	}
	for _, expr := range []string{"m" + strings.Repeat(" + m", 500), "max_over_time(m[30d:1m])", "1"} {
		if _, err := e.Check(expr); err != nil {
			t.Errorf("%.60s: %v", expr, err)
		}
	}
}

func TestCostly(t *testing.T) {
	for err, want := range map[error]bool{
		fmt.Errorf("x: %w", promql.ErrTooManySamples("y")): true, promql.ErrQueryTimeout("y"): true, promql.ErrQueryCanceled("y"): false, nil: false,
	} {
		if Costly(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}

func TestEndedContextEndsARun(t *testing.T) {
	for _, expr := range []string{"m > 1", "ALERTS"} {
		ev, err := NewEvaluator(NewEngine(time.Minute), ramp(2).store(t), NewStore(), Group{Rules: []Rule{{Alert: "A", Expr: expr}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := testContext(t)
		cancel()
		if err := ev.Run(ctx, epoch(), last(), time.Minute, nil); err == nil {
			t.Errorf("%s: went on after the end of its context", expr)
		}
	}
}

// least is how often something must have been compared; -short makes a fifth of the
// checks.
func least(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

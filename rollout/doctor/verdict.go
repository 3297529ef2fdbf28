package doctor

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/criteria"
)

// judge turns trials into a verdict and its reasons. Worst first: an alert that
// cannot fire, one that is silent when it must fire, one that cries on a good day,
// one that never ends.
func (p *Practice) judge(ctx context.Context, left *int, f *AlertFinding, t tried, deps map[string]promlab.Rule, want intent) {
	var missed, cries, stuck, early, broken []string
	f.Silent = true
	costly := false
	for _, tr := range t.trials {
		f.Fires = f.Fires || tr.Fires
		switch {
		case tr.Error != "":
			broken = append(broken, tr.History+": "+tr.Error)
			costly = costly || tr.costly
		case tr.Early || tr.History == hHealthy && tr.Fires:
			early = append(early, tr.History)
		case tr.Must == "fire" && !tr.Fires:
			missed = append(missed, tr.History)
		case tr.Must == "be silent" && tr.Fires:
			cries = append(cries, tr.History)
		}
		if tr.Resolves != nil {
			if !*tr.Resolves {
				stuck = append(stuck, tr.History)
			}
			ok := len(stuck) == 0
			f.Resolves = &ok
		}
	}
	f.Silent = len(early) == 0
	q := p.inquest(ctx, left, t.stores, deps)
	x, err := p.engine.Check(t.rule.Expr)
	if err != nil { // it was checked before it was tried
		f.Verdict, f.Summary = criteria.Fail, "cannot fire: "+err.Error()
		return
	}
	switch {
	case f.Health == "err":
		f.Verdict, f.Summary = criteria.Fail, "cannot fire: "+f.Reasons[0].Text
	case len(broken) > 0 && costly:
		f.Verdict, f.Summary = criteria.Unmeasurable, "was not tried: it costs too much in "+broken[0]
	case len(broken) > 0:
		f.Verdict, f.Summary = criteria.Fail, "cannot be evaluated in "+broken[0]
	case len(early) > 0:
		f.Verdict, f.Summary = criteria.Fail, "fires always: in the history "+early[0]+" nothing was wrong"
	case !f.Fires:
		f.Reasons = append(f.Reasons, q.never(t, x)...)
		switch {
		case allDead(f.Reasons):
			f.Verdict, f.Summary = criteria.Fail, "cannot fire: "+f.Reasons[0].Text
		case len(missed) > 0 && f.Reasons[0].Kind != TooShort && f.Reasons[0].Kind != Elsewhere:
			f.Verdict, f.Summary = criteria.Fail, "does not fire in the "+list("history", missed)+": "+f.Reasons[0].Text
		default:
			f.Verdict, f.Summary = criteria.Inconclusive, fmt.Sprintf("fired in none of %d histories: %s", len(t.trials), f.Reasons[0].Text)
		}
	case len(missed) > 0:
		f.Reasons = append(f.Reasons, q.misses(t, x, missed[0])...)
		f.Verdict, f.Summary = criteria.Fail, "does not fire in the "+list("history", missed)+": "+f.Reasons[0].Text
	case len(stuck) > 0:
		f.Reasons = append(f.Reasons, q.latches(x, p.index(stuck[0]))...)
		f.Verdict, f.Summary = criteria.Fail, "never resolves: "+f.Reasons[0].Text
	case len(cries) > 0:
		f.Verdict, f.Summary = criteria.Fail, "fires in the "+list("history", cries)+", where it must be silent"
	default:
		f.Verdict, f.Summary = criteria.Pass, "fires, is silent when all is well, and resolves"
		if f.Resolves == nil {
			f.Summary = "fires, and is silent when all is well"
		}
	}
}

// sum adds what being loaded says to the verdict.
func (f *AlertFinding) sum() {
	switch {
	case f.Loaded == "no" && f.Required:
		f.Verdict = criteria.Fail
		f.Summary = "is not loaded; as documented it " + f.Summary
	case f.Loaded == "no":
		f.Summary = "is not loaded; as documented it " + f.Summary
	case f.Loaded == "unknown":
		f.Verdict = criteria.Unmeasurable
		f.Summary = "may be loaded or not: the server's rules could not be read; as documented it " + f.Summary
	}
}

func list(word string, names []string) string {
	if len(names) == 1 {
		return word + " " + names[0]
	}
	return strings.TrimSuffix(word, "y") + "ies " + strings.Join(names, ", ")
}

func allDead(rs []Reason) bool {
	return len(rs) > 0 && !slices.ContainsFunc(rs, func(r Reason) bool { return !r.dead() })
}

func (p *Practice) index(name string) int {
	return slices.IndexFunc(p.histories, func(h history) bool { return h.name == name })
}

// never explains an alert that fired in no history.
func (q *inquest) never(t tried, x parser.Expr) []Reason {
	if rs := q.why(x); rs != nil {
		return rs
	}
	if h := q.p.histories[q.p.index(hOutage)]; t.rule.For > h.over.Sub(h.fault) {
		return one(TooShort, x, "`for` asks for %s, and the longest outage tried is %s", model.Duration(t.rule.For), model.Duration(h.over.Sub(h.fault)))
	}
	for _, k := range slices.Sorted(maps.Keys(t.rule.Labels)) {
		if v := t.rule.Labels[k]; strings.Contains(v, "$value") || strings.Contains(v, ".Value") {
			return one(Hold, x, "the label %s shows the value: every change makes a new alert, whose `for` begins anew", k)
		}
	}
	var held time.Duration
	for _, tr := range t.trials {
		held = max(held, tr.held)
	}
	return one(Hold, x, "it holds for %s at most, and `for` asks for %s", model.Duration(held), model.Duration(t.rule.For))
}

// misses explains an alert that fires, but not in a history in which it must.
func (q *inquest) misses(t tried, x parser.Expr, history string) []Reason {
	i := q.p.index(history)
	h := q.p.histories[i]
	var rs []Reason
	if q.dilutes(x) {
		rs = one(FailFast, x, "its denominator counts fail_fast, requests that reached no provider")
	}
	if why := q.in(i).why(x); why != nil {
		return append(rs, why...)
	}
	if n, ok := x.(*parser.BinaryExpr); ok && n.Op.IsComparisonOperator() && n.VectorMatching == nil && n.RHS.Type() == parser.ValueTypeScalar {
		high, some := math.Inf(-1), false
		for _, s := range q.values(n.LHS.String())[i] {
			for _, f := range s.Floats {
				if at := time.UnixMilli(f.T); !at.Before(h.fault.Add(10*time.Minute)) && at.Before(h.over) && !math.IsNaN(f.F) {
					high, some = max(high, f.F), true
				}
			}
		}
		if some {
			return append(rs, one(Threshold, n, "ten minutes into the fault %s is at most %s", text(n.LHS), number(high))...)
		}
	}
	if held := t.trials[i].held; len(q.values(x.String())[i]) > 0 {
		return append(rs, one(Hold, x, "it holds for %s at most there, and `for` asks for %s", model.Duration(held), model.Duration(t.rule.For))...)
	}
	return append(rs, one(Threshold, x, "it never holds there")...)
}

package render

import (
	"fmt"
	"slices"

	"github.com/cbops/cbops/rollout/criteria"
)

// maxRows is how many tenants or episodes are named one by one.
const maxRows = 10

// matrix shows the tenants against the criteria that are judged for each: all of them
// up to ten. Beyond that only exceptions: tenants that are judged otherwise than most,
// worst first, and the criteria in which they are.
func (e Evaluation) matrix() *Matrix {
	if len(e.Tenants) < 2 {
		return nil
	}
	var rows []MatrixRow
	for i := range e.Criteria {
		f := &e.Criteria[i]
		if len(f.Tenants) > 0 && f.Tenants[0].Tenant != "" {
			rows = append(rows, MatrixRow{f.ID, marks(f, e.Tenants)})
		}
	}
	m := &Matrix{Columns: e.Tenants, Rows: rows}
	if len(e.Tenants) <= maxRows {
		return m
	}
	return exceptions(m)
}

// marks are those of a criterion for each tenant; None where it does not count.
func marks(f *criteria.Finding, tenants []string) []Mark {
	out := make([]Mark, len(tenants))
	for i, id := range tenants {
		for j := range f.Tenants {
			if t := &f.Tenants[j]; t.Tenant == id && t.Waived == nil && !leftOut(f, id) && (f.Counts() || t.Verdict == criteria.Fail) {
				out[i] = MarkOf(t.Verdict, t.State)
			}
		}
	}
	return out
}

// exceptions reduces a matrix to the columns and rows in which a tenant fares worse
// than most: where all fare alike, the criterion's own line says it.
func exceptions(m *Matrix) *Matrix {
	type column struct {
		at    int
		worst Mark
	}
	var odd []column
	rows := map[int]bool{}
	for c := range m.Columns {
		worst := None
		for r, row := range m.Rows {
			if k := row.Marks[c]; k > Good && k != usual(row.Marks) {
				worst = max(worst, k)
				rows[r] = true
			}
		}
		if worst > None {
			odd = append(odd, column{c, worst})
		}
	}
	slices.SortStableFunc(odd, func(a, b column) int { return int(b.worst - a.worst) })
	out := &Matrix{Note: fmt.Sprintf("%d tenants fare alike; no exceptions", len(m.Columns))}
	if len(odd) > 0 {
		out.Note = fmt.Sprintf("%d of %d tenants fare worse than the rest", len(odd), len(m.Columns))
		if len(odd) == 1 {
			out.Note = fmt.Sprintf("1 of %d tenants fares worse than the rest", len(m.Columns))
		}
	}
	if len(odd) > maxRows {
		out.Note += fmt.Sprintf("; the %d worst:", maxRows)
		odd = odd[:maxRows]
	}
	for _, c := range odd {
		out.Columns = append(out.Columns, m.Columns[c.at])
	}
	for r, row := range m.Rows {
		if !rows[r] {
			continue
		}
		x := MatrixRow{Name: row.Name}
		for _, c := range odd {
			x.Marks = append(x.Marks, row.Marks[c.at])
		}
		out.Rows = append(out.Rows, x)
	}
	return out
}

// usual is the mark that more than half of the tenants have; None if there is none.
func usual(marks []Mark) Mark {
	count := map[Mark]int{}
	for _, k := range marks {
		count[k]++
	}
	for k, n := range count {
		if 2*n > len(marks) {
			return k
		}
	}
	return None
}

package cmd

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cbops/cbops/rollout/criteria"
)

// A question of before statements is read with the guide's settings for what it does
// not say; one that asks for less than any plan may is refused, since it would pass on
// nothing.
func TestReadAsked(t *testing.T) {
	change := func(with func(*criteria.Request)) string {
		r := criteria.NewRequest(1)
		with(&r)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	guide := change(func(*criteria.Request) {})
	for _, tt := range []struct{ name, raw, want string }{
		{"of this version", guide, ""},
		{"of the first", `{"params":{"Phase":1,"MinDays":3,"MinOutcomesPerDay":100},"only":["no-unexpected-opens"]}`, ""},
		{"of the first, of no phase", `{"params":{}}`, "phase 0"},
		{"of the first, without days", `{"params":{"Phase":1,"MinOutcomesPerDay":100}}`, "minDays 0: phase 1 takes 3 at least"},
		{"of a later one", strings.Replace(guide, "{", `{"mercy":true,`, 1), "a later version asked it"},
		{"of nothing", `{}`, "phase 0"},
		{"of no hours", change(func(r *criteria.Request) { r.MinDays = 0 }), "minDays 0"},
		{"of no outcomes", change(func(r *criteria.Request) { r.MinOutcomesPerDay = 0 }), "minOutcomesPerDay 0"},
		{"of any latency", change(func(r *criteria.Request) { r.Margins.Latency = 9 }), "margins.latency is looser than the default"},
		{"of a negative margin", change(func(r *criteria.Request) { r.Margins.ErrorRate.Cap = -1 }), "a margin that no plan may set"},
		{"cut off", guide[:20], "unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := readAsked([]byte(tt.raw))
			if tt.want == "" {
				if err != nil || r.Phase != 1 || r.MinDays != 3 || r.Margins != criteria.DefaultMargins() || r.FailFast != criteria.FailFastUnknown {
					t.Errorf("got %+v, %v", r, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if r, err := readAsked([]byte(`{"phase":3,"minDays":14}`)); err != nil || r.Margins != criteria.DefaultMargins() || r.MinOutcomesPerDay != criteria.MinOutcomesPerDay {
		t.Errorf("without margins: %+v, %v", r, err)
	}
	if raw, err := json.Marshal(criteria.Request{}); err != nil || len(raw) == 0 {
		t.Fatal(err)
	} else if _, err := readAsked(raw); err == nil {
		t.Error("an empty request is judged")
	}
}

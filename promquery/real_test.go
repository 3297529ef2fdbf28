package promquery_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/promtest"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

// TestLimitsOfPrometheus: the real server's own limit of samples is answered by
// smaller pieces, and what comes back is what a server without it, and the practice
// server, answer.
func TestLimitsOfPrometheus(t *testing.T) {
	history, store := promtest.NewHistory(), promlab.NewStore()
	var tenants []string
	for i := range 40 {
		tenants = append(tenants, fmt.Sprintf("t-%02d", i))
		l := map[string]string{"__name__": "events_total", "tenant_id": tenants[i], "odd": "a\\b\"c\nü"}
		for j := range 300 {
			at := start.Add(time.Duration(j)*time.Minute + time.Duration(i)*time.Millisecond)
			for _, to := range []interface {
				Append(map[string]string, time.Time, float64) error
			}{history, store} {
				if err := to.Append(l, at, float64(i*j)/3); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	open, tight := promtest.Start(t, history), promtest.Start(t, history, "--query.max-samples=700")
	for _, c := range []struct {
		name string
		ask  func(*promquery.Client, promquery.Visit) (promquery.Answer, error)
	}{
		{"raw", func(c *promquery.Client, v promquery.Visit) (promquery.Answer, error) {
			return c.Raw(t.Context(), promquery.Query{Name: "raw", SplitBy: "tenant_id", From: start.Add(5 * time.Millisecond), To: start.Add(4 * time.Hour),
				Select: metric("events_total", promquery.Match{Label: "tenant_id", Values: tenants})}, v)
		}},
		{"range", func(c *promquery.Client, v promquery.Visit) (promquery.Answer, error) {
			return c.Range(t.Context(), promquery.Query{Name: "range", SplitBy: "tenant_id", From: start, To: start.Add(4 * time.Hour), Step: 5 * time.Minute,
				Select: metric("events_total", promquery.Match{Label: "tenant_id", Values: tenants})}, v)
		}},
		{"long range", func(c *promquery.Client, v promquery.Visit) (promquery.Answer, error) { // 14,400 steps
			return c.Range(t.Context(), promquery.Query{Name: "range", From: start, To: start.Add(4*time.Hour - time.Millisecond), Step: time.Second,
				Select: metric("events_total", promquery.Match{Label: "tenant_id", Values: tenants[:1]})}, v)
		}},
		{"instant", func(c *promquery.Client, v promquery.Visit) (promquery.Answer, error) {
			return c.Instant(t.Context(), promquery.Query{Name: "instant", SplitBy: "tenant_id", To: start.Add(4 * time.Hour),
				Select: metric("events_total", promquery.Match{Label: "tenant_id", Values: tenants}), Wrap: func(s string) string { return "count_over_time(" + s + "[2h])" }}, v)
		}},
	} {
		want, got, inLab := data{}, data{}, data{}
		points := func(o *promquery.Options) { o.Points = 11_000 }
		whole, err := c.ask(client(t, open, points), want.visit)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := c.ask(client(t, tight, points), got.visit)
		if err != nil {
			t.Fatal(err)
		}
		lab, err := c.ask(lab(t, store, points), inLab.visit)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(inLab, want) || cut.Digest != whole.Digest || lab.Digest != whole.Digest || whole.Samples == 0 || len(whole.Warnings)+len(cut.Warnings) > 0 {
			t.Errorf("%s: other samples:\n%+v\n%+v\n%+v", c.name, whole, cut, lab)
		}
		if whole.Requests != whole.Planned || (cut.Requests > cut.Planned) != (c.name != "instant") || whole.Cost <= 0 || lab.Cost != whole.Cost {
			t.Errorf("%s: %d of %d requests, with the limit %d; cost %d, in the lab %d", c.name, whole.Requests, whole.Planned, cut.Requests, whole.Cost, lab.Cost)
		}
	}
	// A wrong query is refused in the server's words, and divided by nobody.
	bad := promquery.Query{Name: "bad", To: start, Wrap: func(string) string { return "sum(" }}
	if a, err := client(t, open).Instant(t.Context(), bad, data{}.visit); err == nil || !strings.Contains(err.Error(), "refuses the query: invalid parameter \"query\"") {
		t.Errorf("%+v %v", a, err)
	}
}

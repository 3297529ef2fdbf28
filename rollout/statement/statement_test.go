package statement_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/statement"
)

func day(d, h int) time.Time { return time.Date(2026, 3, d, h, 0, 0, 0, time.UTC) }

// What covers an open, and whether it suffices by itself.
func TestCovering(t *testing.T) {
	open := day(10, 12)
	tests := []struct {
		name   string
		all    []statement.Incident
		ok     bool
		marked string
	}{
		{"declared at once", []statement.Incident{{Provider: "openai", From: day(10, 11), To: day(10, 13), Declared: day(10, 11)}}, true, ""},
		{"still going on", []statement.Incident{{Provider: "openai", From: day(10, 11), Declared: day(10, 11)}}, true, ""},
		{"of another provider", []statement.Incident{{Provider: "cohere", From: day(10, 11), To: day(10, 13), Declared: day(10, 11)}}, false, ""},
		{"over by then", []statement.Incident{{Provider: "openai", From: day(10, 9), To: day(10, 11), Declared: day(10, 9)}}, false, ""},
		{"afterwards", []statement.Incident{{Provider: "openai", From: day(10, 11), To: day(10, 13), Declared: day(10, 15)}}, true, "declared after the open"},
		{"without a when", []statement.Incident{{Provider: "openai", From: day(10, 11), To: day(10, 13)}}, true, "it does not say when it was declared"},
		{"after --at", []statement.Incident{{Provider: "openai", From: day(10, 11), To: day(10, 13), Declared: day(13, 1)}}, false, ""},
		{"for everything", []statement.Incident{{Provider: "openai", From: day(1, 0), Declared: day(1, 0)}}, true, "longer than 24 hours"},
		{"for everything, day by day", []statement.Incident{
			{Provider: "openai", From: day(9, 12), To: day(10, 11), Declared: day(9, 12)},
			{Provider: "openai", From: day(10, 11), To: day(11, 10), Declared: day(10, 11)},
		}, true, "longer than 24 hours"},
		{"most of the time, with pauses", []statement.Incident{
			{Provider: "openai", From: day(9, 0), To: day(9, 20), Declared: day(9, 0)},
			{Provider: "openai", From: day(10, 3), To: day(10, 23), Declared: day(10, 3)},
		}, true, "with the others of this provider around it, more than 24 hours are declared"},
		{"twice a day", []statement.Incident{
			{Provider: "openai", From: day(9, 12), To: day(9, 14), Declared: day(9, 12)},
			{Provider: "openai", From: day(10, 11), To: day(10, 14), Declared: day(10, 11)},
		}, true, ""},
		{"late and in time", []statement.Incident{
			{Provider: "openai", From: day(10, 11), To: day(10, 13), Declared: day(10, 15)},
			{Provider: "openai", From: day(10, 10), To: day(10, 13), Declared: day(10, 10)},
		}, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, ok := statement.Covering(tt.all, "openai", open.Add(-time.Minute), open, day(11, 0))
			if ok != tt.ok || d.Marked != tt.marked {
				t.Errorf("got %v %q, want %v %q", ok, d.Marked, tt.ok, tt.marked)
			}
		})
	}
}

func TestCheckFindsContradictions(t *testing.T) {
	tests := []struct {
		name string
		set  statement.Set
		bad  bool
	}{
		{"none", statement.Set{}, false},
		{"fine", statement.Set{Incidents: []statement.Incident{{Provider: "openai", From: day(1, 0), To: day(1, 1)}},
			Bakes: []statement.Bake{{Tenant: "t-acme", From: day(1, 0), To: day(2, 0)}, {Tenant: "t-acme", From: day(2, 0)}}}, false},
		{"an incident ends before it begins", statement.Set{Incidents: []statement.Incident{{Provider: "openai", From: day(2, 0), To: day(1, 1)}}}, true},
		{"two ends of one incident", statement.Set{Incidents: []statement.Incident{
			{Provider: "openai", From: day(1, 0), To: day(1, 1)}, {Provider: "openai", From: day(1, 0), To: day(1, 5)}}}, true},
		{"an attestation that was never valid", statement.Set{Attestations: []statement.Attestation{{ID: "logs-useful", From: day(2, 0), Until: day(1, 0)}}}, true},
		{"two bakes run", statement.Set{Bakes: []statement.Bake{{Tenant: "t-acme", From: day(1, 0)}, {Tenant: "t-acme", From: day(3, 0)}}}, true},
		{"bakes overlap", statement.Set{Bakes: []statement.Bake{{Tenant: "t-acme", From: day(1, 0), To: day(3, 0)}, {Tenant: "t-acme", From: day(2, 0)}}}, true},
		{"a bake ends before it begins", statement.Set{Bakes: []statement.Bake{{Tenant: "t-acme", From: day(3, 0), To: day(1, 0)}}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if bad := tt.set.Check(); len(bad) > 0 != tt.bad {
				t.Errorf("got %q", bad)
			}
		})
	}
}

package plan_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/plan"
)

// FuzzParseStatements: what a file says is taken whole, or refused with its place on
// one line; a text is never longer than what a page can show.
func FuzzParseStatements(f *testing.F) {
	for _, s := range []string{
		"attestations:\n  - {id: logs-useful, by: on-call, reason: read, from: 2026-03-09, until: 2026-04-09}\n",
		`{"incidents": [{"provider": "openai", "by": "x", "reason": "5xx", "from": "2026-03-09T10:00:00Z", "drill": true}]}`,
		"waivers: [{id: logs-useful, tenant: t-acme, by: x, reason: y, expires: 2026-03-09}]\nquiet: [{tenant: t, reason: r}]\n",
		"bakes: [{tenant: t, from: 2026-03-01, to: 2026-03-08}, {tenant: t, from: 2026-03-07}]",
		"a: &a [x]\nattestations: [*a, *a]", "attestations: &x [*x]", "attestations:\n\t- x", "--- \n--- \n", "attestations: [{id: !!binary aGk=}]", "\xff", "{", "? [a]: b",
		"disabled: [{tenant: t, policy: \"\\e[2J\", reason: r}]", "attestations: [{<<: {id: x}}]",
	} {
		f.Add(s)
	}
	kinds := []string{plan.Attestations, plan.Incidents, plan.Waivers, plan.QuietTenants, plan.LeftDisabled, plan.Bakes}
	placed := regexp.MustCompile(`^f\.yaml:[1-9]\d*:[1-9]\d*: .`)
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := plan.ParseStatements("f.yaml", []byte(raw), kinds...)
		if err != nil {
			if !placed.MatchString(err.Error()) && len(raw) <= plan.MaxBytes {
				t.Fatalf("no place: %q", err)
			}
			if fault.CodeOf(err) != fault.Usage {
				t.Fatalf("code %d: %v", fault.CodeOf(err), err)
			}
			return
		}
		if bad := s.Check(); len(bad) > 0 {
			t.Fatalf("taken, and contradicts itself: %q", bad)
		}
		for _, a := range s.Attestations {
			check(t, a.ID, a.By, a.Reason)
			if !a.Until.After(a.From) {
				t.Fatalf("%+v", a)
			}
		}
		for _, i := range s.Incidents {
			check(t, i.Provider, i.By, i.Reason)
		}
		for _, w := range s.Waivers {
			check(t, w.ID, w.By, w.Reason)
			if w.Expires.IsZero() {
				t.Fatalf("a waiver without end: %+v", w)
			}
		}
		for _, q := range s.Quiet {
			check(t, q.Tenant, q.Reason)
		}
		for _, d := range s.Disabled {
			check(t, d.Tenant, d.Reason)
		}
		for _, b := range s.Bakes {
			check(t, b.Tenant)
		}
	})
}

// check: needed texts are there, on one line, and of a length that a page can show.
func check(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if s == "" || len(s) > 1000 || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, "\u202a\u202e\u2028\ufeff") {
			t.Fatalf("taken: %q", s)
		}
	}
}

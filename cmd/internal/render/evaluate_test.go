package render

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
	"github.com/cbops/cbops/rollout/statement"
)

func march(day, hour int) time.Time { return time.Date(2026, 3, day, hour, 0, 0, 0, time.UTC) }

// tenant is a finding of one tenant.
func tenant(id string, v criteria.Verdict, summary string) criteria.TenantFinding {
	t := criteria.TenantFinding{Tenant: id, Verdict: v, Basis: criteria.Measured, Summary: summary, Evidence: []criteria.Fact{}, Episodes: []criteria.EpisodeFinding{}}
	if v == criteria.Inconclusive {
		t.State = criteria.Waiting
	}
	return t
}

// finding is a criterion over tenants; its own words are the first one's.
func finding(id string, ts ...criteria.TenantFinding) criteria.Finding {
	f := criteria.Finding{ID: id, Verdict: ts[0].Verdict, Basis: ts[0].Basis, State: ts[0].State, Summary: ts[0].Summary, Guide: "g",
		Evidence: []criteria.Fact{}, LeftOut: []criteria.LeftOut{}, Counterexamples: []string{}, Queries: []string{}, Lookups: []criteria.Lookup{}, Tenants: ts}
	return f
}

// everySort is an evaluation in which every notion of sentence and statement occurs.
func everySort() Evaluation {
	opens := finding("no-unexpected-opens", tenant("t-acme", criteria.Fail, "2 episodes, 0 expected"))
	no := false
	opens.Tenants[0].Episodes = []criteria.EpisodeFinding{{Provider: "openai", Node: "node-1", OpenedFrom: march(9, 1), OpenedTo: march(9, 2), Expected: &no, Premature: true, Reason: "opened at 1 failed of 1"}}
	opens.Needs = "a config that does not open on noise"
	opens.Lookups = []criteria.Lookup{{Shows: "opens since enabling", Query: `sum(router_circuit_breaker_state_transitions_total{from="closed"})`}}

	closes := finding("closes-after-recovery", tenant("t-acme", criteria.Pass, "no episode; opens at failure 1 and closes at probe 2"))
	closes.Tenants[0].Basis, closes.Basis = criteria.Twin, criteria.Twin

	rate := finding("error-rate-not-increased", tenant("t-acme", criteria.Inconclusive, "12,000 of 31,000 outcomes"))
	eta := march(14, 0)
	rate.ETA, rate.Detectable, rate.Needs = &eta, "a rise of 0.4 points", "about 2 days more"
	rate.Tenants[0].Statistics = []criteria.Statistic{{Name: "without fail_fast", Unit: "share", Before: 0.01, After: 0.012, Rise: 0.002, Lower: -0.001, Upper: 0.006, Margin: 0.003, Detectable: 0.004}}

	latency := finding("latency-not-degraded", tenant("t-acme", criteria.Pass, "attested by on-call, 9 Mar 2026, until 8 Apr 2026: looked at the gateway"))
	latency.Tenants[0].Basis, latency.Basis = criteria.Attested, criteria.Attested

	accurate := finding("metrics-accurate", tenant("t-acme", criteria.Inconclusive, "no outcome since 10 Mar"))
	accurate.State, accurate.Tenants[0].State, accurate.Needs = criteria.Stuck, criteria.Stuck, "traffic through the breaker"

	logs := finding("logs-useful", tenant("", criteria.Unmeasurable, "nobody attests it"))
	logs.Basis, logs.Tenants[0].Basis = criteria.Attested, criteria.Attested

	effective := finding("breaker-effective", tenant("t-acme", criteria.Inconclusive, "no episode was seen"))
	effective.Advisory = true

	wide := finding("no-tenant-wide-open", tenant("t-acme", criteria.Unmeasurable, "would pass, but also passes with every circuit open"))
	wide.Broken, wide.Tenants[0].Broken = true, true

	consistent := finding("consistent-across-tenants", tenant("t-acme", criteria.Inconclusive, "ratio 1.4; but 15 minutes earlier: 3.1"))
	consistent.Fragile, consistent.Tenants[0].Fragile = true, true

	false1 := finding("no-false-positives", tenant("t-acme", criteria.Pass, "no episode"), tenant("t-quiet", criteria.Inconclusive, "3 outcomes"))
	false1.LeftOut = []criteria.LeftOut{{Tenant: "t-quiet", Reason: "left out: a test tenant"}}

	wasted := finding("wasted-calls-reduced", tenant("t-acme", criteria.Fail, "0.4 of the calls kept away"))
	wasted.Waived = &statement.Waiver{ID: "wasted-calls-reduced", By: "on-call", Reason: "known leak", Expires: march(20, 0)}
	wasted.Tenants[0].Waived = wasted.Waived

	e := criteria.Evaluation{APIVersion: APIVersion, Kind: "Evaluation", Environment: "PROD", Phase: 3, At: march(12, 0), Verdict: criteria.Fail, Partial: true,
		Window: evidence.Interval{From: march(8, 0), To: march(12, 0)}, Baseline: evidence.Interval{From: march(1, 0), To: march(8, 0)},
		Tenants:  []string{"t-acme", "t-quiet"},
		Criteria: []criteria.Finding{opens, closes, rate, latency, accurate, logs, effective, wide, consistent, false1, wasted},
		Coverage: criteria.Coverage{MeasuredHours: 90, RequiredHours: 72, Gaps: []evidence.Gap{}},
		Attestations: []criteria.AttestationState{
			{Attestation: statement.Attestation{ID: "latency-not-degraded", By: "on-call", Reason: "looked at the gateway", From: march(9, 0), Until: march(39, 0)}, Judged: true, Counts: true},
			{Attestation: statement.Attestation{ID: "logs-useful", By: "support", Reason: "read in February", From: march(1, 0), Until: march(10, 0)}, Judged: true, Problem: "expired"},
		},
		Incidents: []criteria.IncidentState{
			{Incident: statement.Incident{Provider: "openai", By: "on-call", Reason: "5xx all morning", From: march(9, 8), To: march(9, 10), Declared: march(9, 9)}},
			{Incident: statement.Incident{Provider: "opneai", By: "on-call", Reason: "a slip", From: march(9, 8)}, Problem: "no judged tenant uses a provider of this name: did you mean openai?"},
		},
		Waivers: []criteria.WaiverState{
			{Waiver: *wasted.Waived, Holds: true},
			{Waiver: statement.Waiver{ID: "metrics-accurate", Tenant: "t-acme", By: "on-call", Reason: "exporter bug", Expires: march(11, 0)}},
		},
		Quiet:        []statement.Quiet{{Tenant: "t-quiet", By: "on-call", Reason: "a test tenant"}},
		Overrides:    []statement.Override{{Setting: "margins.latency", By: "sre", Reason: "agreed with customers"}},
		EarlierBakes: []statement.Bake{{Tenant: "t-acme", From: march(1, 0), To: march(8, 0), Reason: "opened on noise"}},
		Notes:        []string{"4 of 4 other tenants have no breaker and serve as controls"}, Queries: []evidence.Query{}, Next: []string{"cbops rollback tenant t-acme"}}
	return Evaluation{Evaluation: e}
}

// plainly is what a reader of a format reads: without wrapping, escapes and markup.
func plainly(t *testing.T, f Format, b []byte) string {
	t.Helper()
	s := string(b)
	switch f {
	case Markdown:
		s = strings.NewReplacer(`\`, "", "&lt;", "<", "&gt;", ">").Replace(s)
	case GitHub:
		s = strings.NewReplacer("%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(s)
	case JUnit:
		var parts []string
		d := xml.NewDecoder(strings.NewReader(s))
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch x := tok.(type) {
			case xml.StartElement:
				for _, a := range x.Attr {
					parts = append(parts, a.Value)
				}
			case xml.CharData:
				parts = append(parts, string(x))
			}
		}
		s = strings.Join(parts, "\n")
	case YAML, JSON:
		var v any
		if err := yaml.Unmarshal(b, &v); err != nil { // JSON is YAML
			t.Fatal(err)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		s = string(raw)
	}
	return regexp.MustCompile(`\s+`).ReplaceAllString(s, " ")
}

// TestEveryFormatShowsEveryNotion: basis, waiting and stuck, attestations, waivers,
// advisory, fragile and broken findings, earlier bakes, overrides, who is left out.
func TestEveryFormatShowsEveryNotion(t *testing.T) {
	notions := []struct{ name, words, data string }{
		{"the answer", "Phase 3, partial: 1 of 9 criteria fails, 2 are not measurable, 1 is stuck, 2 wait about 2 days; 1 waived.", `"partial":true`},
		{"the window", "8 Mar 00:00 to 12 Mar 00:00 UTC · 90 measured hours of 72 needed", `"measuredHours":90`},
		{"a fail", "2 episodes, 0 expected", `"verdict":"fail"`},
		{"an episode with its time and reason", "opened at 1 failed of 1, e.g. 9 Mar 02:00:00 UTC", `"reason":"opened at 1 failed of 1"`},
		{"what would change it", "needs a config that does not open on noise", `"needs":"a config that does not open on noise"`},
		{"a query to paste", `opens since enabling`, `"shows":"opens since enabling"`},
		{"its text", `sum(router_circuit_breaker_state_transitions_total{from="closed"})`, `sum(router_circuit_breaker_state_transitions_total{from=\"closed\"})`},
		{"basis twin", "no episode; opens at failure 1 and closes at probe 2 (basis: twin)", `"basis":"twin"`},
		{"basis attested, with who and until when", "attested by on-call, 9 Mar 2026, until 8 Apr 2026: looked at the gateway", `"until":"2026-04-08T00:00:00Z"`},
		{"waiting", "waiting: 12,000 of 31,000 outcomes", `"state":"waiting"`},
		{"an interval against a limit", "between -0.1 % and 0.6 % (95 %); limit 0.3 %", `"upper":0.006`},
		{"the smallest effect", "smallest effect that would show: a rise of 0.4 points", `"detectable":"a rise of 0.4 points"`},
		{"stuck", "stuck: no outcome since 10 Mar", `"state":"stuck"`},
		{"unmeasurable", "nobody attests it", `"verdict":"unmeasurable"`},
		{"what to write by hand", "attestations: [{id: logs-useful, by: …, reason: …, from: 2026-03-12T00:00:00Z, until: 2026-04-11}]", `"needs":""`},
		{"advisory", "advisory in this phase: waiting: no episode was seen", `"advisory":true`},
		{"broken", "broken: would pass, but also passes with every circuit open", `"broken":true`},
		{"fragile", "waiting: fragile: ratio 1.4; but 15 minutes earlier: 3.1", `"fragile":true`},
		{"a tenant left out", "left out: t-quiet", `"leftOut":[{"reason":"left out: a test tenant","tenant":"t-quiet"}]`},
		{"why it is left out", "t-quiet, by on-call: a test tenant", `"quiet":[{"by":"on-call","reason":"a test tenant","tenant":"t-quiet"}]`},
		{"a waived criterion", "waived until 20 Mar 2026 (fail): 0.4 of the calls kept away", `"waived":{"by":"on-call"`},
		{"a waiver that holds", "wasted-calls-reduced, by on-call, until 20 Mar 2026: known leak", `"holds":true`},
		{"a waiver that expired", "metrics-accurate for t-acme, by on-call, expired 11 Mar 2026, no longer counts: exporter bug", `"holds":false`},
		{"an attestation that expired", "logs-useful, by support, 1 Mar 2026, until 10 Mar 2026, does not count: expired: read in February", `"problem":"expired"`},
		{"an incident", "openai, 9 Mar 2026 08:00 UTC to 9 Mar 2026 10:00 UTC, declared 9 Mar 2026 09:00 UTC, by on-call: 5xx all morning", `"provider":"openai","reason":"5xx all morning"`},
		{"an incident that counts for nothing", "does not count: no judged tenant uses a provider of this name: did you mean openai?", `did you mean openai?`},
		{"an override", "margins.latency, by sre: agreed with customers", `"setting":"margins.latency"`},
		{"an earlier bake", "bake of t-acme, 1 Mar 2026 to 8 Mar 2026, does not count: opened on noise", `"reason":"opened on noise"`},
	}
	for _, f := range []Format{Text, Markdown, JUnit, GitHub, JSON, YAML} {
		b, err := Bytes(everySort(), Options{Format: f})
		if err != nil {
			t.Fatal(err)
		}
		got := plainly(t, f, b)
		for _, n := range notions {
			want := n.words
			if f == JSON || f == YAML {
				want = n.data
			}
			if f == GitHub && n.name == "the window" {
				continue // an annotation stands beside the job that ran
			}
			if !strings.Contains(got, want) {
				t.Errorf("%s drops %s: no %q", f, n.name, want)
			}
		}
		if t.Failed() && testing.Verbose() {
			t.Logf("%s:\n%s", f, b)
		}
	}
}

// TestNothingIsSaidTwice: in text, no line of evidence and no query comes again.
func TestNothingIsSaidTwice(t *testing.T) {
	e := everySort()
	again := e.Criteria[0]
	again.ID = "no-false-positives"
	e.Criteria = append(e.Criteria, again)
	b, err := Bytes(e, Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(string(b), "\n") {
		if line = strings.TrimSpace(line); len(line) > 60 && seen[line] && strings.Contains(line, "(") {
			t.Errorf("twice: %s", line)
		}
		seen[line] = true
	}
	if !strings.Contains(string(b), "as for no-unexpected-opens") {
		t.Errorf("the query that two criteria share:\n%s", b)
	}
}

// TestCriteriaThatWaitForTheSameAreOneSection: four times the same hours are said once.
func TestCriteriaThatWaitForTheSameAreOneSection(t *testing.T) {
	e := everySort()
	e.Criteria = nil
	for _, id := range []string{"no-unexpected-opens", "closes-after-recovery", "metrics-accurate"} {
		f := finding(id, tenant("t-acme", criteria.Inconclusive, "36 of 72 measured hours"))
		f.Needs = "36 more measured hours"
		e.Criteria = append(e.Criteria, f)
	}
	p := e.Page()
	if len(p.Sections) != 1 || p.Sections[0].Title != "no-unexpected-opens, closes-after-recovery, metrics-accurate" {
		t.Errorf("%+v", p.Sections)
	}
	if x := (Explanation{Evaluation: e, Criterion: "metrics-accurate"}).Page(); x.Sections[0].Title != "metrics-accurate" {
		t.Errorf("--explain=ID is about one: %+v", x.Sections)
	}
}

func TestMatrix(t *testing.T) {
	e := everySort()
	ids := []string{}
	opens, hours, saved := finding("no-unexpected-opens", tenant("t-00", criteria.Pass, "ok")), finding("metrics-accurate", tenant("t-00", criteria.Pass, "ok")), finding("wasted-calls-reduced", tenant("t-00", criteria.Inconclusive, "no outage"))
	opens.Tenants, hours.Tenants, saved.Tenants = nil, nil, nil
	for i := range 20 {
		id := "t-" + string(rune('a'+i))
		ids = append(ids, id)
		v := criteria.Pass
		if i == 6 {
			v = criteria.Fail
		}
		opens.Tenants = append(opens.Tenants, tenant(id, v, "x"))
		hours.Tenants = append(hours.Tenants, tenant(id, criteria.Pass, "x"))
		saved.Tenants = append(saved.Tenants, tenant(id, criteria.Inconclusive, "no outage"))
	}
	opens.Verdict = criteria.Fail
	e.Criteria = []criteria.Finding{opens, hours, saved}
	e.Tenants = ids
	m := e.matrix()
	if !slices.Equal(m.Columns, []string{"t-g"}) || len(m.Rows) != 1 || m.Rows[0].Marks[0] != Bad {
		t.Errorf("beyond ten only what differs: %+v", m)
	}
	e.Tenants = ids[:9]
	if m = e.matrix(); len(m.Columns) != 9 || len(m.Rows) != 3 || m.Note != "" {
		t.Errorf("up to ten, all of them: %+v", m)
	}
	e.Tenants = ids[:1]
	if e.matrix() != nil {
		t.Error("a matrix of one tenant")
	}
	e.Tenants = ids
	for i := range 12 {
		e.Criteria[0].Tenants[i].Verdict = criteria.Fail
	}
	e.Criteria[0].Tenants[19].Verdict = criteria.Unmeasurable
	if m = e.matrix(); len(m.Columns) != 1 || m.Columns[0] != "t-t" {
		t.Errorf("most fail: that is no exception, the criterion's line says it: %+v", m)
	}
}

// hostileText is what a policy, a label or a statement could hold.
const hostileText = "x\x1b[2J\u202e\n::error::forged\n| a | <script>`[l](javascript:1)`</script> ]]> &lol; %0A*b*"

// TestHostileTextStaysText: in no format does a text from outside move the cursor,
// begin a command, an element or a line of its own.
func TestHostileTextStaysText(t *testing.T) {
	e := everySort()
	for i := range e.Criteria {
		f := &e.Criteria[i]
		f.Summary, f.Needs, f.Detectable = hostileText, hostileText, hostileText
		for j := range f.Tenants {
			f.Tenants[j].Summary = hostileText
			f.Tenants[j].Evidence = append(f.Tenants[j].Evidence, criteria.Fact{Text: hostileText + "!"})
		}
		f.Lookups = append(f.Lookups, criteria.Lookup{Shows: hostileText, Query: hostileText})
	}
	for i := range e.Waivers {
		e.Waivers[i].Reason, e.Waivers[i].By = hostileText, hostileText
	}
	e.Incidents[0].Reason, e.Quiet[0].Reason, e.Overrides[0].Reason, e.EarlierBakes[0].Reason = hostileText, hostileText, hostileText, hostileText
	e.Attestations[1].Reason, e.Notes[0], e.Next[0], e.Environment, e.Tenants[0] = hostileText, hostileText, hostileText, hostileText, hostileText
	for _, f := range []Format{Text, Markdown, JUnit, GitHub, JSON, YAML} {
		b, err := Bytes(e, Options{Format: f})
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		s := string(b)
		if !utf8.ValidString(s) || strings.ContainsAny(s, "\x1b\u009b") || f != JSON && f != YAML && strings.Contains(s, "\u202e") {
			t.Errorf("%s lets control characters through", f)
		}
		for line := range strings.SplitSeq(s, "\n") {
			if strings.HasPrefix(line, "::error::") || strings.HasPrefix(strings.TrimSpace(line), "| a |") {
				t.Errorf("%s: forged: %q", f, line)
			}
			if f == Markdown && strings.Contains(line, "<script") && !strings.Contains(line, "x\ufffd") {
				t.Errorf("markdown: %q", line)
			}
		}
		if f == Markdown {
			outside := regexp.MustCompile("(?s)(````*)\n.*?\n(````*)\n").ReplaceAllString(s, "")
			if strings.Contains(outside, "<script") || strings.Contains(outside, "[l](") {
				t.Errorf("markup outside a fence:\n%s", outside)
			}
		}
		plainly(t, f, b) // what it is, it must parse as
	}
}

// TestNarrowTerminal: nothing but what is pasted whole is wider than the terminal.
func TestNarrowTerminal(t *testing.T) {
	for _, width := range []int{40, 60, 80} {
		b, err := Bytes(everySort(), Options{Width: width})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			n := utf8.RuneCountInString(line)
			if n > width && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(line, "    ") && !strings.HasPrefix(line, "next") {
				t.Errorf("%d columns of %d: %s", n, width, line)
			}
		}
	}
}

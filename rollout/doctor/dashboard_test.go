package doctor

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cbops/cbops/internal/fault"
)

func parsedDashboard(t testing.TB, text string) *Dashboard {
	t.Helper()
	d, err := ParseDashboard("d.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The same panel in every form that Grafana has written dashboards in.
func TestDashboardForms(t *testing.T) {
	const target = `{"refId": "A", "expr": "up", "hide": true}`
	classic := `{"uid": "u", "title": "T", "schemaVersion": 39, "templating": {"list": [
		{"name": "tenant_id", "type": "query", "multi": true, "current": {"value": ["$__all"]}},
		{"name": "step", "type": "interval", "query": "1m,5m", "current": {"value": "5m"}},
		{"name": "env", "type": "custom", "query": "prod, dev", "current": {}}
	]}, "panels": [{"id": 3, "title": "P", "type": "stat", "datasource": {"type": "prometheus", "uid": "x"}, "targets": [` + target + `]}]}`
	v2 := `{"title": "T", "variables": [
		{"kind": "QueryVariable", "spec": {"name": "tenant_id", "multi": true, "current": {"value": ["$__all"]}}},
		{"kind": "IntervalVariable", "spec": {"name": "step", "query": "1m,5m", "current": {"value": "5m"}}},
		{"kind": "CustomVariable", "spec": {"name": "env", "query": "prod, dev", "current": {"value": ""}}}
	], "elements": {"panel-3": {"kind": "Panel", "spec": {"id": 3, "title": "P", "vizConfig": {"kind": "VizConfig", "group": "stat"}, "data": {"kind": "QueryGroup", "spec": {"queries": [
		{"kind": "PanelQuery", "spec": {"refId": "A", "hidden": true, "query": {"kind": "DataQuery", "group": "prometheus", "spec": {"expr": "up"}}}}]}}}}}}`
	want := &Dashboard{UID: "u", Title: "T",
		Variables: []Variable{{"tenant_id", "query", true, ""}, {"step", "interval", false, "5m"}, {"env", "custom", false, "prod"}},
		Panels:    []Panel{{ID: 3, Title: "P", Type: "stat", Targets: []Target{{"A", "up", true, "prometheus", ""}}}}}
	for name, text := range map[string]string{
		"classic": classic,
		"API":     `{"dashboard": ` + classic + `, "meta": {"slug": "t"}}`,
		"v1":      `{"apiVersion": "dashboard.grafana.app/v1beta1", "kind": "Dashboard", "metadata": {"name": "u"}, "spec": ` + classic + `}`,
		"v2":      `{"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "metadata": {"name": "u"}, "spec": ` + v2 + `}`,
		"BOM":     "\ufeff" + classic,
	} {
		got := parsedDashboard(t, text)
		for i := range got.Panels {
			got.Panels[i].Place = ""
			for j := range got.Panels[i].Targets {
				got.Panels[i].Targets[j].Place = ""
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestRowsAndLibraryPanels(t *testing.T) {
	d := parsedDashboard(t, `{"panels": [
		{"type": "row", "title": "open", "collapsed": false, "panels": []},
		{"id": 1, "title": "in open"},
		{"type": "row", "title": "shut", "collapsed": true, "panels": [{"id": 2, "title": "in shut", "targets": [{"expr": "a"}]}]},
		{"id": 3, "libraryPanel": {"uid": "lib-1", "name": "Shared"}},
		{"id": "4", "datasource": "Loki", "targets": [{"datasource": {"type": "loki"}, "expr": "{app=\"x\"}"}, {"target": "graphite"}]}
	]}`)
	var got []string
	for _, p := range d.Panels {
		got = append(got, strings.Join([]string{p.Row, p.Title, p.Library, p.Place}, "|"))
	}
	want := []string{"open|in open||panels[1]", "shut|in shut||panels[2].panels[0]", "||Shared|panels[3]", "|||panels[4]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ts := d.Panels[3].Targets; len(ts) != 1 || ts[0].Source != "loki" || ts[0].Place != "panels[4].targets[0].expr" || d.Panels[3].ID != 4 {
		t.Errorf("%+v", d.Panels[3])
	}
	// Before schema 16, panels lay in rows.
	old := parsedDashboard(t, `{"rows": [{"title": "R", "panels": [{"id": 1, "targets": [{"expr": "up"}]}]}]}`)
	if len(old.Panels) != 1 || old.Panels[0].Row != "R" || old.Panels[0].Targets[0].Place != "rows[0].panels[0].targets[0].expr" {
		t.Errorf("%+v", old.Panels)
	}
	lib := parsedDashboard(t, `{"spec": {"elements": {"p": {"kind": "LibraryPanel", "spec": {"id": 1, "title": "L", "libraryPanel": {"name": "Shared"}}}}}}`)
	if lib.Panels[0].Library != "Shared" {
		t.Errorf("%+v", lib.Panels)
	}
}

// badDashboards are documents with what must be said of them.
func badDashboards() map[string]string {
	return map[string]string{
		``:                                "d.json:1:1: not JSON",
		"{\n  \"panels\": [}":             "d.json:2:14: not JSON: invalid character '}'",
		`{"panels": []} x`:                "d.json:1:16: not JSON: something stands after",
		`[]`:                              "d.json: the document: is a list, not an object",
		`{"a": 1}`:                        "d.json: the document: no Grafana dashboard",
		`{"dashboard": 5}`:                "d.json: dashboard: is a number, not an object",
		`{"spec": []}`:                    "d.json: spec: is a list, not an object",
		`{"panels": {}}`:                  "d.json: panels: is an object, not a list",
		`{"panels": [null]}`:              "d.json: panels[0]: is nothing, not an object",
		`{"panels": [{"targets": "up"}]}`: "d.json: panels[0].targets: is a string, not a list",
		`{"panels": [{"targets": [1]}]}`:  "d.json: panels[0].targets[0]: is a number, not an object",
		`{"panels": [{"targets": [{"expr": true}]}]}`:                        "d.json: panels[0].targets[0].expr: is a boolean, not a string",
		`{"elements": [1]}`:                                                  "d.json: elements: is a list, not an object",
		`{"elements": {"p": {"spec": 1}}}`:                                   "d.json: elements.p.spec: is a number, not an object",
		`{"elements": {}, "variables": [{}]}`:                                "d.json: variables[0].spec: is nothing, not an object",
		`{"panels": [], "templating": {"list": ["x"]}}`:                      "d.json: templating.list[0]: is a string, not an object",
		`{"panels": [` + strings.Repeat(`{},`, maxPanels) + `{}]}`:           "d.json: panels[500]: more than 500 panels",
		`{"panels": [{"targets": [` + strings.Repeat(`{},`, 2000) + `{}]}]}`: "d.json: panels[0].targets[2000]: more than 2000 queries",
		strings.Repeat(`{"panels": [{"type": "row", "panels": [`, 1) + strings.Repeat(`{"type": "row", "panels": [`, 10) + strings.Repeat(`]}`, 11) + `]}`: "rows nested more than 4 deep",
		strings.Repeat(`[`, 20_000): "d.json:1:10001: not JSON: invalid character '[' exceeded max depth",
	}
}

func TestParseDashboardRefuses(t *testing.T) {
	bad := badDashboards()
	bad[`{"panels": "`+strings.Repeat("x", MaxDashboardBytes)+`"}`] = "d.json: a dashboard of 4194318 bytes; at most 4194304 are read"
	for text, want := range bad {
		_, err := ParseDashboard("d.json", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || fault.CodeOf(err) != fault.Usage {
			t.Errorf("%.60s: %v\nwant %s", text, err, want)
		}
	}
}

func FuzzParseDashboard(f *testing.F) {
	for text := range badDashboards() {
		if len(text) < 1000 {
			f.Add([]byte(text))
		}
	}
	fixture, err := os.ReadFile("testdata/documented.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fixture)
	f.Add([]byte(`{"spec": {"elements": {"p": {"kind": "Panel", "spec": {"data": {"spec": {"queries": [{"spec": {"query": {"spec": {"expr": "up{a=\"$b\"}"}}}}]}}}}}}}`))
	p := practice(f, PracticeOptions{})
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDashboard("d.json", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "d.json:") {
				t.Fatalf("an error without its place: %v", err)
			}
			return
		}
		if len(d.Panels) > maxPanels || len(d.Variables) > maxVariables {
			t.Fatalf("%d panels, %d variables", len(d.Panels), len(d.Variables))
		}
		// Every query can be filled in, or is refused; what was filled in is PromQL.
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				q, err := p.fill(d, target.Expr, time.Unix(0, 0))
				if err != nil {
					continue
				}
				if _, err := p.engine.Check(q.x.String()); err != nil {
					t.Fatalf("%q became %q: %v", target.Expr, q.x, err)
				}
			}
		}
		if _, err := json.Marshal(d); err != nil {
			t.Fatal(err)
		}
	})
}

package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/cbops/cbops/internal/fault"
)

const (
	// MaxDashboardBytes bounds a dashboard, in bytes; big ones have some hundred kilobytes.
	MaxDashboardBytes = 4 << 20
	maxPanels         = 500
	maxTargets        = 2000
	maxVariables      = 200
	// maxRows bounds how deep rows may nest; Grafana nests them once.
	maxRows = 4
)

// Dashboard is what matters here of a Grafana dashboard.
type Dashboard struct {
	UID       string
	Title     string
	Variables []Variable
	Panels    []Panel
}

// Variable is a template variable.
type Variable struct {
	Name string
	// Type as Grafana calls it: query, custom, interval, constant, textbox, …
	Type string
	// Many: several values, or All, may be chosen.
	Many bool
	// Value is the one that is chosen now, or the first; "" for none or All.
	Value string
}

// Panel is a panel with its queries.
type Panel struct {
	ID    int
	Title string
	Type  string
	// Row is the title of the row that it stands in.
	Row string
	// Library names the library panel that it shows; its queries are kept elsewhere.
	Library string
	Targets []Target
	// Place in the document: "panels[3]".
	Place string
}

// Target is one query of a panel.
type Target struct {
	RefID  string
	Expr   string
	Hidden bool
	// Source is the type of the data source; "" where the dashboard does not say.
	Source string
	Place  string
}

// ParseDashboard reads a dashboard: the JSON model of any schema (rows, nested panels,
// the Kubernetes forms v1 and v2), or an answer of Grafana's API around it. Faults are
// named with line and column, or with their place in the document.
func ParseDashboard(file string, data []byte) (*Dashboard, error) {
	if len(data) > MaxDashboardBytes {
		return nil, fault.New(fault.Usage, "%s: a dashboard of %d bytes; at most %d are read", file, len(data), MaxDashboardBytes)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var root any
	err := dec.Decode(&root)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something stands after the dashboard")
		}
	}
	if err != nil {
		return nil, fault.New(fault.Usage, "%s: not JSON: %s", place(file, data, dec, err), err)
	}
	d := &Dashboard{Variables: []Variable{}, Panels: []Panel{}}
	p := &dashboardParser{d: d}
	p.root(node{root, ""})
	if p.err != nil {
		return nil, fault.New(fault.Usage, "%s: %s", file, p.err)
	}
	return d, nil
}

// place is file:line:column of a syntax error.
func place(file string, data []byte, dec *json.Decoder, err error) string {
	off := dec.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		off = max(syntax.Offset-1, 0)
	}
	off = min(off, int64(len(data)))
	before := data[:off]
	line := 1 + bytes.Count(before, []byte("\n"))
	col := 1 + len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return file + ":" + strconv.Itoa(line) + ":" + strconv.Itoa(col)
}

// node is a value with its place.
type node struct {
	v    any
	path string
}

func (n node) get(key string) node {
	m, _ := n.v.(map[string]any)
	path := key
	if n.path != "" {
		path = n.path + "." + key
	}
	return node{m[key], path}
}

func (n node) exists() bool { return n.v != nil }

func (n node) text() string {
	s, _ := n.v.(string)
	return s
}

func (n node) bool() bool {
	b, _ := n.v.(bool)
	return b
}

func (n node) number() int {
	switch v := n.v.(type) {
	case json.Number:
		i, _ := strconv.Atoi(v.String()) // an id that is no number is no id
		return i
	case string:
		i, _ := strconv.Atoi(v)
		return i
	}
	return 0
}

// dashboardParser keeps the first fault and goes no further.
type dashboardParser struct {
	d       *Dashboard
	targets int
	err     error
}

func (p *dashboardParser) bad(n node, format string, args ...any) {
	if p.err == nil {
		where := n.path
		if where == "" {
			where = "the document"
		}
		p.err = fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
	}
}

// object reports whether n is an object, and complains otherwise.
func (p *dashboardParser) object(n node) bool {
	_, ok := n.v.(map[string]any)
	if !ok {
		p.bad(n, "is %s, not an object", kindOf(n.v))
	}
	return ok
}

// list calls f for every element; what is missing is an empty list.
func (p *dashboardParser) list(n node, f func(node)) {
	if !n.exists() {
		return
	}
	l, ok := n.v.([]any)
	if !ok {
		p.bad(n, "is %s, not a list", kindOf(n.v))
		return
	}
	for i, v := range l {
		if p.err != nil {
			return
		}
		f(node{v, n.path + "[" + strconv.Itoa(i) + "]"})
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}

// root finds the dashboard in what was given.
func (p *dashboardParser) root(n node) {
	if !p.object(n) {
		return
	}
	if inner := n.get("dashboard"); inner.exists() { // the API's answer
		if !p.object(inner) {
			return
		}
		n = inner
	}
	if spec := n.get("spec"); spec.exists() { // the Kubernetes form
		if !p.object(spec) {
			return
		}
		p.d.UID = n.get("metadata").get("name").text()
		n = spec
	}
	p.d.Title = n.get("title").text()
	if uid := n.get("uid").text(); uid != "" {
		p.d.UID = uid
	}
	switch {
	case n.get("elements").exists():
		p.elements(n)
	case n.get("panels").exists() || n.get("rows").exists():
		p.list(n.get("templating").get("list"), p.variable)
		p.panels(n.get("panels"), "", 0)
		p.list(n.get("rows"), func(r node) {
			if p.object(r) {
				p.panels(r.get("panels"), r.get("title").text(), 1)
			}
		})
	default:
		p.bad(n, "no Grafana dashboard: it has neither panels nor rows nor elements")
	}
}

func (p *dashboardParser) panels(n node, row string, depth int) {
	if depth > maxRows {
		p.bad(n, "rows nested more than %d deep", maxRows)
		return
	}
	p.list(n, func(e node) {
		if !p.object(e) {
			return
		}
		if e.get("type").text() == "row" {
			title := e.get("title").text()
			p.panels(e.get("panels"), title, depth+1)
			if row = ""; !e.get("collapsed").bool() {
				row = title // what comes after an open row belongs to it
			}
			return
		}
		panel := Panel{ID: e.get("id").number(), Title: e.get("title").text(), Type: e.get("type").text(), Row: row, Place: e.path}
		if l := e.get("libraryPanel"); l.exists() {
			panel.Library = firstOf(l.get("name").text(), l.get("uid").text(), "without a name")
		}
		source := e.get("datasource").get("type").text()
		p.list(e.get("targets"), func(t node) {
			if p.object(t) {
				p.target(&panel, t, t.get("expr"), t.get("refId").text(), t.get("hide").bool(), firstOf(t.get("datasource").get("type").text(), source))
			}
		})
		p.add(panel, e)
	})
}

func (p *dashboardParser) add(panel Panel, at node) {
	if len(p.d.Panels) == maxPanels {
		p.bad(at, "more than %d panels", maxPanels)
		return
	}
	if panel.Targets == nil {
		panel.Targets = []Target{}
	}
	p.d.Panels = append(p.d.Panels, panel)
}

func (p *dashboardParser) target(panel *Panel, at, expr node, ref string, hidden bool, source string) {
	if p.targets++; p.targets > maxTargets {
		p.bad(at, "more than %d queries", maxTargets)
		return
	}
	if !expr.exists() {
		return // a query of another kind of data source
	}
	if _, ok := expr.v.(string); !ok {
		p.bad(expr, "is %s, not a string", kindOf(expr.v))
		return
	}
	panel.Targets = append(panel.Targets, Target{RefID: ref, Expr: expr.text(), Hidden: hidden, Source: source, Place: expr.path})
}

func (p *dashboardParser) variable(n node) {
	if !p.object(n) {
		return
	}
	if len(p.d.Variables) == maxVariables {
		p.bad(n, "more than %d variables", maxVariables)
		return
	}
	v := Variable{Name: n.get("name").text(), Type: n.get("type").text(), Many: n.get("multi").bool() || n.get("includeAll").bool()}
	v.Value = chosen(n)
	p.d.Variables = append(p.d.Variables, v)
}

// chosen is the value of a variable that is chosen now, or else the first on offer.
func chosen(n node) string {
	switch v := n.get("current").get("value").v.(type) {
	case string:
		if v != "" && v != "$__all" {
			return v
		}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok && s != "$__all" {
				return s
			}
		}
	}
	options, _ := n.get("options").v.([]any)
	for _, o := range options {
		if s := (node{v: o}).get("value").text(); s != "" && s != "$__all" {
			return s
		}
	}
	if t := n.get("type").text(); slices.Contains([]string{"custom", "interval", "constant", "textbox"}, t) {
		return firstItem(n.get("query").text())
	}
	return ""
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

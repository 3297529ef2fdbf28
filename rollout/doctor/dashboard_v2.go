package doctor

import (
	"maps"
	"slices"
	"strings"
)

// elements reads Grafana's second schema: panels are elements by name, and rows are
// part of a layout that does not matter here.
func (p *dashboardParser) elements(n node) {
	p.list(n.get("variables"), func(v node) {
		spec := v.get("spec")
		if !p.object(v) || !p.object(spec) {
			return
		}
		if len(p.d.Variables) == maxVariables {
			p.bad(v, "more than %d variables", maxVariables)
			return
		}
		kind := strings.ToLower(strings.TrimSuffix(v.get("kind").text(), "Variable"))
		one := Variable{Name: spec.get("name").text(), Type: kind, Many: spec.get("multi").bool() || spec.get("includeAll").bool(), Value: chosen(spec)}
		if one.Value == "" && (kind == "custom" || kind == "interval" || kind == "constant" || kind == "text") {
			one.Value = firstItem(spec.get("query").text())
		}
		p.d.Variables = append(p.d.Variables, one)
	})
	all := n.get("elements")
	if !p.object(all) {
		return
	}
	m, _ := all.v.(map[string]any)
	for _, name := range slices.SortedFunc(maps.Keys(m), byNumber) {
		e := all.get(name)
		if p.err != nil || !p.object(e) {
			return
		}
		spec := e.get("spec")
		if !p.object(spec) {
			return
		}
		panel := Panel{ID: spec.get("id").number(), Title: spec.get("title").text(), Type: firstOf(spec.get("vizConfig").get("group").text(), spec.get("vizConfig").get("kind").text()), Place: e.path}
		if e.get("kind").text() == "LibraryPanel" {
			l := spec.get("libraryPanel")
			panel.Library = firstOf(l.get("name").text(), l.get("uid").text(), "without a name")
		}
		p.list(spec.get("data").get("spec").get("queries"), func(q node) {
			if !p.object(q) {
				return
			}
			inner := q.get("spec").get("query")
			source := inner.get("group").text()
			if source == "" && inner.get("kind").text() != "DataQuery" { // the first drafts
				source = inner.get("kind").text()
			}
			p.target(&panel, q, inner.get("spec").get("expr"), q.get("spec").get("refId").text(), q.get("spec").get("hidden").bool(), source)
		})
		p.add(panel, e)
	}
}

// byNumber orders panel-2 before panel-10.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// firstItem is the first of a list separated by commas, as variables keep their
// choices: "1m,5m,10m" or "short : 1m, long : 1h".
func firstItem(list string) string {
	first, _, _ := strings.Cut(list, ",")
	if _, value, ok := strings.Cut(first, " : "); ok {
		first = value
	}
	return strings.TrimSpace(first)
}

package promquery

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// labelValues are the values that each label has in a few series.
type labelValues map[string]map[string]bool

func labelTable(sets []map[string]string) labelValues {
	t := labelValues{}
	for _, s := range sets {
		for k, v := range s {
			if t[k] == nil {
				t[k] = map[string]bool{}
			}
			t[k][v] = true
		}
	}
	return t
}

// names are the labels for whose values f holds, sorted.
func (t labelValues) names(f func(label string, values map[string]bool) bool) []string {
	var out []string
	for l, v := range t {
		if l != nameLabel && f(l, v) {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

func (t labelValues) has(label string) bool { return t[label] != nil }

func within(values map[string]bool, words ...string) bool {
	for v := range values {
		if !slices.Contains(words, v) {
			return false
		}
	}
	return true
}

// set applies the plan's setting for a label; false if there is none.
func (x *detection) set(label string, t labelValues) bool {
	name := x.h.Config.Labels[label]
	if name == "" {
		return false
	}
	if len(t) > 0 && !t.has(name) {
		x.problem("labels."+label, t.names(func(string, map[string]bool) bool { return true }), "%s is set to %s, but the series have no such label", label, name)
	}
	x.rename(label, name)
	return true
}

// vocabulary finds a label whose values are known words.
func (x *detection) vocabulary(label string, sets []map[string]string, words ...string) {
	t := labelTable(sets)
	if x.set(label, t) || len(t) == 0 {
		return
	}
	by := t.names(func(_ string, v map[string]bool) bool { return within(v, words...) })
	switch {
	case t.has(label) && !slices.Contains(by, label):
		x.problem("labels."+label, by, "%s has values other than %s", label, strings.Join(words, ", "))
	case t.has(label) && len(by) == 1: // canonical
	case len(by) == 1:
		x.rename(label, by[0])
	case len(by) > 1:
		x.problem("labels."+label, by, "%s may be any of %s: each has the values %s", label, strings.Join(by, ", "), strings.Join(words, ", "))
	default:
		x.problem("labels."+label, nil, "no label has the values of %s: %s", label, strings.Join(words, ", "))
	}
}

// transitions finds the labels of the states, and so the kind.
func (x *detection) transitions(sets []map[string]string) {
	t := labelTable(sets)
	if len(t) == 0 {
		return
	}
	words := []string{"closed", "open", "half_open"}
	states := t.names(func(_ string, v map[string]bool) bool { return within(v, words...) })
	set := x.h.Config.Labels
	name := func(canonical string) string {
		if set[canonical] != "" {
			return set[canonical]
		}
		return canonical
	}
	// What the plan names, or the canonical names, where they hold states.
	switch from, to, state := name("from"), name("to"), name("state"); {
	case set["from"] != "" || set["to"] != "":
		x.set("from", t)
		x.set("to", t)
		x.d.Kind = Emitted
		return
	case set["state"] != "":
		x.set("state", t)
		x.d.Kind = Documented
		return
	case slices.Contains(states, from) && slices.Contains(states, to):
		x.d.Kind = Emitted
		return
	case len(states) == 1 && states[0] == state:
		x.d.Kind = Documented
		return
	}
	side := func(words ...string) []string {
		return slices.DeleteFunc(slices.Clone(states), func(l string) bool {
			return !slices.ContainsFunc(strings.Split(strings.ToLower(l), "_"), func(w string) bool { return slices.Contains(words, w) })
		})
	}
	from := side("from", "previous", "prev", "old", "source", "src")
	to := side("to", "next", "new", "target", "current", "state")
	to = slices.DeleteFunc(to, func(l string) bool { return slices.Contains(from, l) })
	switch {
	case len(states) == 2 && len(from) == 1 && len(to) == 1:
		x.rename("from", from[0])
		x.rename("to", to[0])
		x.d.Kind = Emitted
	case len(states) == 1 && len(to) == 1:
		x.rename("state", to[0])
		x.d.Kind = Documented
	case len(states) == 0:
		x.problem("labels.to", nil, "transitions carry no label with the states %s", strings.Join(words, ", "))
	default:
		x.problem("labels.to", states, "which of %s is the state that a transition leads to is not clear", strings.Join(states, ", "))
	}
}

// identity finds the label of tenants or providers: by its name, and where names
// leave a doubt by known values.
func (x *detection) identity(ctx context.Context, label string, known []string, t labelValues) error {
	if x.set(label, t) || len(t) == 0 {
		return nil
	}
	// A label exported_X beside X: X may be the scraper's own, not the router's.
	if t.has(label) && !t.has("exported_"+label) {
		return nil
	}
	word := strings.TrimSuffix(label, "_id")
	named := t.names(func(l string, _ map[string]bool) bool {
		l = strings.ToLower(strings.TrimPrefix(l, "exported_"))
		return l == word || l == word+"id" || strings.HasPrefix(l, word+"_")
	})
	held, err := x.holding(ctx, known, t)
	if err != nil {
		return err
	}
	doubt := "%s may be any of %s"
	switch {
	case len(held) == 1:
		x.rename(label, held[0])
	case len(held) > 1:
		x.problem("labels."+label, held, doubt+": all have values that the policies name", label, strings.Join(held, ", "))
	case len(named) == 1:
		x.rename(label, named[0])
	case len(named) > 1:
		x.problem("labels."+label, named, doubt+", and none has a value that the policies name", label, strings.Join(named, ", "))
	default:
		x.problem("labels."+label, t.names(func(string, map[string]bool) bool { return true }), "no label is called like %s, and none has a value that the policies name", label)
	}
	return nil
}

// holding are the labels with values that are known.
func (x *detection) holding(ctx context.Context, known []string, t labelValues) ([]string, error) {
	if len(known) == 0 {
		return nil, nil
	}
	short := "events_total"
	if !x.found[short] {
		short = "state_transitions_total"
	}
	candidates := t.names(func(l string, _ map[string]bool) bool {
		return !slices.Contains([]string{"job", "instance", x.d.Label("event_type"), x.d.Label("from"), x.d.Label("to"), x.d.Label("state")}, l)
	})
	var held []string
	for _, l := range candidates[:min(len(candidates), maxCandidates)] {
		values, err := x.c.LabelValues(ctx, l, [][]Match{x.d.Match(short)}, x.from, x.h.At, maxValues)
		if err != nil {
			return nil, fmt.Errorf("reading the values of %s: %w", l, err)
		}
		x.warned(values.Warnings)
		if slices.ContainsFunc(values.Values, func(v string) bool { return slices.Contains(known, v) }) {
			held = append(held, l)
		}
	}
	return held, nil
}

// nodes finds what tells the router's nodes apart.
func (x *detection) nodes(t labelValues) {
	if len(t) == 0 {
		return
	}
	instance := "instance"
	if name := x.h.Config.Labels[instance]; name != "" {
		x.set(instance, t)
		instance = name
	} else if !t.has(instance) {
		// A pod is one node of the router; a host may run several.
		others := slices.DeleteFunc([]string{"pod", "pod_name", "kubernetes_pod_name", "hostname", "host", "node"}, func(l string) bool { return !t.has(l) })
		if len(others) == 0 {
			x.d.Aggregated = true
			x.d.Renames = append(x.d.Renames, "no label tells the router's nodes apart: they are added up")
			return
		}
		instance = others[0]
		x.rename("instance", instance)
	}
	job := "job"
	if name := x.h.Config.Labels[job]; name != "" {
		x.set(job, t)
		job = name
	}
	labels := []string{instance}
	if t.has(job) {
		labels = []string{job, instance}
	}
	if !slices.Equal(labels, []string{"job", "instance"}) {
		x.d.NodeLabels = labels
		x.d.Renames = append(x.d.Renames, "nodes are told apart by "+strings.Join(labels, " and "))
	}
}

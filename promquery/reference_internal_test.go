package promquery

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// node is JSON as the reference reads it: with double keys, in order.
type node struct {
	value  any // nil, bool, string, json.Number, []node or []member
	object bool
}

type member struct {
	key string
	node
}

func readNode(d *json.Decoder) (n node, err error) {
	t, err := d.Token()
	if err != nil {
		return n, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return node{value: t}, nil
	}
	if delim == '[' {
		list := []node{}
		for d.More() {
			x, err := readNode(d)
			if err != nil {
				return n, err
			}
			list = append(list, x)
		}
		n.value = list
	} else {
		ms := []member{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return n, err
			}
			x, err := readNode(d)
			if err != nil {
				return n, err
			}
			ms = append(ms, member{k.(string), x})
		}
		n = node{value: ms, object: true}
	}
	_, err = d.Token()
	return n, err
}

var errReference = errors.New("not an answer")

// get returns the one member of a name.
func (n node) get(key string) (node, bool, error) {
	ms, ok := n.value.([]member)
	if !ok {
		return node{}, false, errReference
	}
	var found []node
	for _, m := range ms {
		if m.key == key {
			found = append(found, m.node)
		}
	}
	switch len(found) {
	case 0:
		return node{}, false, nil
	case 1:
		return found[0], true, nil
	}
	return node{}, false, errReference
}

func (n node) text(key string) (string, error) {
	x, ok, err := n.get(key)
	if !ok || err != nil {
		return "", err
	}
	s, ok := x.value.(string)
	if !ok {
		return "", errReference
	}
	return s, nil
}

var decimal = regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)

func referenceSample(n node) (s Sample, err error) {
	pair, ok := n.value.([]node)
	if !ok || len(pair) != 2 {
		return s, errReference
	}
	t, ok := pair[0].value.(json.Number)
	v, ok2 := pair[1].value.(string)
	if !ok || !ok2 {
		return s, errReference
	}
	if i := strings.IndexAny(t.String(), "eE"); i >= 0 {
		if e, err := strconv.Atoi(t.String()[i+1:]); err != nil || e < -400 || e > 400 {
			return s, errReference
		}
	}
	r, ok := new(big.Rat).SetString(t.String())
	if !ok {
		return s, errReference
	}
	if r.Mul(r, big.NewRat(1000, 1)); !r.IsInt() || r.Num().CmpAbs(big.NewInt(1e15)) >= 0 {
		return s, errReference
	}
	s.T = r.Num().Int64()
	switch v {
	case "NaN":
		s.V = math.NaN()
	case "Inf", "+Inf":
		s.V = math.Inf(1)
	case "-Inf":
		s.V = math.Inf(-1)
	default:
		if !decimal.MatchString(v) {
			return s, errReference
		}
		if s.V, err = strconv.ParseFloat(v, 64); err != nil {
			return s, errReference
		}
	}
	return s, nil
}

// reference decodes with encoding/json what decode decodes by hand.
func reference(body []byte, k kind) (*piece, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, errReference
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	n, err := readNode(d)
	if err != nil || !n.object {
		return nil, errReference
	}
	p := newPiece()
	status, err := n.text("status")
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"errorType", "error"} {
		if _, err := n.text(key); err != nil {
			return nil, err
		}
	}
	for key, to := range map[string]*[]string{"warnings": &p.warnings, "infos": &p.infos} {
		x, ok, err := n.get(key)
		if err != nil {
			return nil, err
		}
		if !ok || x.value == nil {
			continue
		}
		list, ok := x.value.([]node)
		if !ok || len(list) > maxNotes {
			return nil, errReference
		}
		for _, w := range list {
			s, ok := w.value.(string)
			if !ok {
				return nil, errReference
			}
			*to = append(*to, clean(s, maxText))
		}
	}
	data, ok, err := n.get("data")
	if err != nil || !ok || !data.object {
		return nil, errReference
	}
	kindOf, err := data.text("resultType")
	if err != nil || kindOf != k.resultType() || status != "success" {
		return nil, errReference
	}
	result, ok, err := data.get("result")
	if err != nil || !ok {
		return nil, errReference
	}
	list, ok := result.value.([]node)
	if !ok {
		return nil, errReference
	}
	for _, m := range data.value.([]member) {
		if m.key == "stats" {
			referenceCost(m.node, p)
		}
	}
	for _, x := range list {
		if err := referenceSeries(x, k, p); err != nil {
			return nil, err
		}
	}
	return p, p.finish()
}

// referenceCost looks for stats.samples.totalQueryableSamples; the last one counts.
func referenceCost(stats node, p *piece) {
	for _, samples := range stats.members("samples") {
		for _, total := range samples.members("totalQueryableSamples") {
			x, _ := total.value.(json.Number)
			if c, err := strconv.ParseInt(x.String(), 10, 64); err == nil && c >= 0 {
				p.cost = c
			}
		}
	}
}

func (n node) members(key string) (out []node) {
	ms, _ := n.value.([]member)
	for _, m := range ms {
		if m.key == key {
			out = append(out, m.node)
		}
	}
	return out
}

func referenceSeries(n node, k kind, p *piece) error {
	if !n.object {
		return errReference
	}
	labels, ok, err := n.get("metric")
	if err != nil || !ok || !labels.object {
		return errReference
	}
	var pairs []label
	size := 0
	for _, m := range labels.value.([]member) {
		v, ok := m.value.(string)
		if !ok || slices.ContainsFunc(pairs, func(l label) bool { return l.name == m.key }) {
			return errReference
		}
		pairs = append(pairs, label{m.key, v})
		size += len(m.key) + len(v)
	}
	if len(pairs) > maxLabels || size > maxLabelBytes {
		return errReference
	}
	for _, m := range n.value.([]member) {
		if m.key == "histogram" || m.key == "histograms" {
			if l, ok := m.value.([]node); m.value != nil && (!ok || len(l) > 0) {
				return errReference
			}
		}
	}
	own, other := "values", "value"
	if k == instant {
		own, other = other, own
	}
	if _, ok, err := n.get(other); ok || err != nil {
		return errReference
	}
	v, ok, err := n.get(own)
	if err != nil || !ok {
		return errReference
	}
	samples := []node{v}
	if k != instant {
		if samples, ok = v.value.([]node); !ok {
			return errReference
		}
	}
	p.samples.begin()
	for _, x := range samples {
		s, err := referenceSample(x)
		if err != nil {
			return err
		}
		p.samples.put(s)
	}
	set, err := p.table.intern(pairs, "")
	if err != nil {
		return err
	}
	return p.add(set)
}

package change

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// breakerFields are the fields of circuit_breaker that the router knows
// (ROUTER.md §1); others it drops, so what it loaded cannot show them.
var breakerFields = [...]string{
	"enabled", "failure_threshold", "success_threshold", "timeout_ms", "half_open_max_calls",
	"error_rate_threshold", "error_rate_window_seconds", "latency_threshold_ms",
}

// writtenFields are the fields of a document's circuit_breaker that a router
// which loaded it must show.
func writtenFields(doc []byte) fields {
	var d struct {
		Breaker map[string]json.RawMessage `json:"circuit_breaker"`
	}
	if json.Unmarshal(bytes.TrimPrefix(doc, []byte("\xEF\xBB\xBF")), &d) != nil {
		return nil // checked before: a document that is written parses
	}
	f := fields{}
	for _, k := range breakerFields {
		if v, ok := d.Breaker[k]; ok {
			f[k] = v
		}
	}
	return f
}

// off reports whether a policy without any circuit_breaker would do.
func (f fields) off() bool {
	return len(f) == 0 || len(f) == 1 && string(f["enabled"]) == "false"
}

// disagreement compares what a node showed with what was written. An answer that
// is no JSON object, or shows no breaker, says nothing either way: there the
// node's word alone is the proof. A strict answer has to show it.
func disagreement(stdout []byte, strict bool, want fields) string {
	var top any
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimSpace(stdout)))
	dec.UseNumber()
	silent := ""
	if strict && !want.off() {
		silent = "the node shows no circuit_breaker of it"
	}
	if dec.Decode(&top) != nil || dec.More() {
		return silent
	}
	if _, ok := top.(map[string]any); !ok {
		return silent
	}
	var diffs []string
	found := breakersIn(top, 0)
	if len(found) == 0 {
		return silent
	}
	for _, loaded := range found {
		for _, k := range slices.Sorted(maps.Keys(want)) {
			have, ok := loaded[k]
			if !ok && k == "enabled" && string(want[k]) == "false" {
				continue // the router's default (ROUTER.md §1)
			}
			if !ok {
				diffs = append(diffs, fmt.Sprintf("loaded does not say %s, written is %s", k, want[k]))
			} else if !sameValue(have, want[k]) {
				b, _ := json.Marshal(have) // it came out of JSON
				diffs = append(diffs, fmt.Sprintf("loaded says %s %s, written is %s", k, b, want[k]))
			}
		}
	}
	return strings.Join(slices.Compact(diffs), "; ")
}

// breakersIn finds the breaker objects in a verify command's answer: the values
// of circuit_breaker, else the object that has enabled itself.
func breakersIn(v any, depth int) []map[string]any {
	m, ok := v.(map[string]any)
	if !ok || depth > 8 {
		return nil
	}
	if cb, ok := m["circuit_breaker"]; ok {
		if b, ok := cb.(map[string]any); ok {
			return []map[string]any{b}
		}
		return []map[string]any{{}} // null, undefined: it shows no field at all
	}
	if _, ok := m["enabled"]; ok {
		return []map[string]any{m}
	}
	var found []map[string]any
	for _, k := range slices.Sorted(maps.Keys(m)) {
		found = append(found, breakersIn(m[k], depth+1)...)
	}
	return found
}

// sameValue compares as the router would: 0.5 is 5e-1, and 1.0 is 1.
func sameValue(have any, want json.RawMessage) bool {
	dec := json.NewDecoder(bytes.NewReader(want))
	dec.UseNumber()
	var w any
	if dec.Decode(&w) != nil {
		return false
	}
	hn, ok1 := have.(json.Number)
	wn, ok2 := w.(json.Number)
	if ok1 && ok2 {
		return sameNumber(hn.String(), wn.String())
	}
	hb, err1 := json.Marshal(have)
	wb, err2 := json.Marshal(w)
	return err1 == nil && err2 == nil && bytes.Equal(hb, wb)
}

func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	// An exponent of a million digits is not worth the memory to expand it.
	if len(a) > 40 || len(b) > 40 || hugeExponent(a) || hugeExponent(b) {
		return false
	}
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok1 && ok2 && x.Cmp(y) == 0
}

func hugeExponent(s string) bool {
	_, exp, ok := strings.Cut(strings.ToLower(s), "e")
	return ok && len(strings.TrimLeft(exp, "+-0")) > 3
}

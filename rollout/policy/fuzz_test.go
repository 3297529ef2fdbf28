package policy_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/cbops/cbops/rollout/policy"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1e400}`, `{"circuit_breaker":{"enabled":true}}`, "\xef\xbb\xbf{}", `{"a":"\ud800"}`, `[[[[`, `{"a":"\u0000"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := policy.Parse("p.json", raw)
		std := json.Valid(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
		if err != nil {
			return
		}
		if !std {
			t.Fatalf("accepted what is not JSON: %q", raw)
		}
		doc.Lint("t-acme", "chat")
		doc.Breaker()
	})
}

// FuzzMerge: outside circuit_breaker no byte differs, the result parses, and
// merging again changes nothing.
func FuzzMerge(f *testing.F) {
	frag := []byte(`{"policy_id":"x","circuit_breaker":{"enabled":true,"failure_threshold":5,"error_rate_threshold":0.5}}`)
	for _, s := range []string{`{}`, `{"a":1}`, "{\n  \"a\": 1,\n  \"circuit_breaker\": {\n    \"enabled\": false\n  },\n  \"z\": 2\n}\n",
		"{\r\n\t\"a\":[1]\r\n}", `{"circuit_breaker":{}}`, `{"circuit_breaker":{"enabled":true,"timeout_ms":1e3}, "b":"\ud800"}`, "\xef\xbb\xbf{ }"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := policy.Parse("p.json", raw)
		if err != nil {
			return
		}
		fragment, err := policy.Parse("f.json", frag)
		if err != nil {
			t.Fatal(err)
		}
		out, changed, err := policy.Merge(doc, fragment)
		if err != nil {
			return
		}
		if changed == bytes.Equal(out, raw) {
			t.Fatalf("changed %v, but bytes equal %v", changed, bytes.Equal(out, raw))
		}
		again, err := policy.Parse("p.json", out)
		if err != nil {
			t.Fatalf("result does not parse: %v\n%s", err, out)
		}
		if b, ok := again.Breaker(); !ok || !b.Enabled || b.Config.FailureThreshold != 5 {
			t.Fatalf("not applied: %+v", b)
		}
		if twice, changed, err := policy.Merge(again, fragment); err != nil || changed || !bytes.Equal(twice, out) {
			t.Fatalf("not idempotent: %v %v\n%s\n%s", changed, err, out, twice)
		}
		before, after := doc.Outside(), again.Outside()
		if !bytes.Equal(before, after) {
			t.Fatalf("bytes outside circuit_breaker differ:\n%q\n%q", before, after)
		}
	})
}

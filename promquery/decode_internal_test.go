package promquery

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// newPiece takes samples of any time.
func newPiece() *piece {
	return &piece{kind: raw, table: newTable(1000), samples: arena{pool: &sync.Pool{New: newBlock}}, at: map[*labelSet]int{}, cost: -1,
		part: part{begin: math.MinInt64 / 4, end: math.MaxInt64 / 4}, step: 1}
}

// show spells what a piece holds.
func show(p *piece) string {
	var b strings.Builder
	for _, r := range p.runs {
		fmt.Fprintf(&b, "%q", r.set.labels)
		for _, s := range r.samples {
			fmt.Fprintf(&b, " %d:%x", s.T, math.Float64bits(s.V))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%q %q %d %d", p.warnings, p.infos, p.cost, p.dropped)
	return b.String()
}

// same compares decode with the reference, whole and byte by byte.
func same(t testing.TB, body []byte, k kind) {
	t.Helper()
	// Half a surrogate pair stands for no character; encoding/json makes up one.
	half := regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`).ReplaceAll(body, nil)
	if regexp.MustCompile(`(?i)\\ud[89a-f]`).Match(half) || bytes.Count(body, []byte{'['})+bytes.Count(body, []byte{'{'}) > maxDepth {
		return
	}
	want, bad := reference(body, k)
	for _, r := range []io.Reader{bytes.NewReader(body), iotest.OneByteReader(bytes.NewReader(body)), iotest.DataErrReader(bytes.NewReader(body))} {
		got := newPiece()
		err := decode(r, k, got)
		if (err == nil) != (bad == nil) {
			t.Fatalf("%q: decode says %v, encoding/json %v", body, err, bad)
		}
		if err == nil && show(got) != show(want) {
			t.Fatalf("%q:\n%s\nencoding/json has\n%s", body, show(got), show(want))
		}
	}
}

// spellings are answers in unusual and in wrong spelling.
func spellings() []string {
	series := func(s string) string {
		return `{"status":"success","data":{"resultType":"matrix","result":[` + s + `]}}`
	}
	values := func(v string) string { return series(`{"metric":{"__name__":"up","a":"b"},"values":[` + v + `]}`) }
	long := strings.Repeat(`[1700000000.123,"42"],`, 5000) + `[1700000060,"43"]`
	return []string{
		series(""), values(""), values(long), values(strings.ReplaceAll(long, ",", " , ")),
		values(`[1700000000.123,"42"],[1700000060.5,"-0.25"],[1700000120,"1e3"],[1.7000001805e9,"NaN"],[1700000240.00,"+Inf"],[1700000300,"-Inf"]`),
		values(`[0,"0"],[-1.5,"-0"],[0.001,"0.1"],[1e-3,"0.30000000000000004"],[12345678901,"123456789012345"],[12345678902,"1234567890123456789"]`),
		values(`[1,"4\u0032"]`), values(`[1,"0.1234567890123456789"]`), values(`[1,"1."],[2,".5"],[3,"+7"],[4,"00012"]`),
		values(`[01,"1"]`), values(`[1.,"1"]`), values(`[.5,"1"]`), values(`[+1,"1"]`), values(`[1,"1"`), values(`[1,"1",2]`), values(`[1]`), values(`[]`), values(`["1",1]`),
		values(`[1,""]`), values(`[1,"1 "]`), values(`[1,"0x1p4"]`), values(`[1,"1_000"]`), values(`[1,"inf"]`), values(`[1,"1e400"]`), values(`[1,"1e-400"]`), values(`[1e400,"1"]`), values(`[1.00001,"1"]`), values(`[9999999999999,"1"]`),
		values(`[1,"2"],[1,"2"],[1,"3"]`), values(`[3,"2"],[1,"2"],[2,"3"],`), values(`[1,"2"] [2,"3"]`), values(`,`),
		"\t\r\n " + `{ "infos" : [ ] , "data" : { "stats" : {"timings":{"x":[1,2,{"y":null}]},"samples":{"totalQueryableSamples":123,"peakSamples":4}} , "result" : [ { "values" : [ [ 1 , "2" ] ] , "metric" : { } , "extra" : { "a" : [ true , false , null , -1.5e-7 , "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00" ] } } ] , "resultType" : "matrix" } , "status" : "success" , "warnings" : [ "w\u0000\u001b[31m" ] } ` + "\n",
		series(`{"metric":{"a":"\u00e9\"\\\n","é":"x}{\"y"},"values":[[1,"2"]]},{"metric":{"é":"x}{\"y","a":"é\"\\\n"},"values":[[2,"3"]]}`),
		series(`{"metric":{"a":"b"},"values":[[1,"2"]]},{"metric":{"a":"b"},"values":[[1,"2"],[2,"5"]]},{"metric":{"a":"b"},"values":[[2,"6"]]},{"metric":{"a":"b"},"values":[[2,"6"]]}`),
		series(`{"metric":{"a":1},"values":[]}`), series(`{"metric":[],"values":[]}`), series(`{"metric":{},"value":[1,"2"]}`), series(`{"metric":{},"values":[],"histograms":[]}`), series(`{"metric":{},"values":[],"histograms":[[1,{}]]}`), series(`{"metric":{},"histogram":null,"values":[]}`), series(`{"metric":{},"values":[],"histogram":{}}`), series(`{"metric":{},"values":[],"histogram":1}`),
		series(`{"metric":{"a":"b",},"values":[]}`), series(`{"metric":{"a":"b"},"values":null}`), series(`[1,"2"]`), series(`{}`), series(`1`), series(`{"metric":{}}`),
		`{"status":"success","data":{"resultType":"matrix","result":[],"stats":[1]},"warnings":null}`, `{"status":"success","data":{"resultType":"matrix","result":[],"stats":{"samples":{"totalQueryableSamples":"x"}}}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[],"stats":{"samples":{"totalQueryableSamples":-1}}}}`, `{"status":"success","data":{"resultType":"matrix","result":[],"stats":{"samples":7}}}`,
		`{"status":"success","data":{"resultType":"vector","result":[]}}`, `{"status":"success","data":{"resultType":"matrix","result":{}}}`, `{"status":"success","data":[]}`, `{"status":1}`, `{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":[1]}`,
		`{"status":"error","errorType":"x","error":"y"}`, `{"status":"error","status":"success","data":{"resultType":"matrix","result":[]}}`,
		``, ` `, `null`, `[]`, `1`, `"x"`, `{`, `{"`, `{"a`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":tru`, `{"a":truex}`, `{"a":nul}`, `{"a":-}`, `{"a":1e}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{a:1}`, `{"a" 1}`, `{"a":1}}`, `{"a":1}x`, `{"a":[1 2]}`, `{"a":[1,]}`, "{\"a\":\"\x01\"}", "{\"a\":\"\\\x01\"}", "\ufeff{}", `/**/{}`,
	}
}

// TestDecodeEqualsEncodingJSON: any legal spelling is read as encoding/json reads
// it, and what is not an answer is refused by both.
func TestDecodeEqualsEncodingJSON(t *testing.T) {
	accepted := 0
	for _, s := range spellings() {
		same(t, []byte(s), raw)
		if _, err := reference([]byte(s), raw); err == nil {
			accepted++
		}
	}
	if accepted < 18 || accepted > len(spellings())-40 {
		t.Errorf("%d of %d are accepted: nothing is compared", accepted, len(spellings()))
	}
	for _, s := range spellings() {
		vector := strings.NewReplacer(`"matrix"`, `"vector"`, `"values":[[`, `"value":[`, `"values" : [ [`, `"value":[`, `]]}`, `]}`, `] ] ,`, `],`).Replace(s)
		same(t, []byte(vector), instant)
		if _, err := reference([]byte(vector), instant); err == nil {
			accepted++
		}
	}
	if accepted < 30 {
		t.Errorf("%d are accepted: no vector is compared", accepted)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range spellings() {
		if len(s) < 4000 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		same(t, body, raw)
		same(t, body, instant)
	})
}

// The quick way of reading a sample equals the long one wherever it answers.
func FuzzSample(f *testing.F) {
	for _, s := range []string{`[1700000000.123,"42"]`, `[1.5,"-0.000000000000001"]`, `[1700000000,"999999999999999"]`, `[12,"0012.50"]`, `[999999999999.999,"1"]`, `[1000000000000,"0"]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tm, v, n := fastSample([]byte(s + strings.Repeat(" ", fastWindow+1)))
		if n == 0 {
			return
		}
		num, text, _ := strings.Cut(strings.Trim(s[:n], "[]"), ",")
		ms, ok := millis([]byte(num))
		want, err := strconv.ParseFloat(strings.Trim(text, `"`), 64)
		if !ok || !validNumber([]byte(num)) || ms != tm || err != nil || math.Float64bits(want) != math.Float64bits(v) {
			t.Errorf("%q: quickly %d %v, the long way %d %v", s[:n], tm, v, ms, want)
		}
	})
}

// The quick way is the one that is taken.
func TestTheUsualSpellingIsQuick(t *testing.T) {
	for _, s := range []string{`[1700000000.123,"42"]`, `[1700000000,"0"]`, `[1700000000.1,"0.090909"]`, `[1700000000.12,"-123456.5"]`} {
		if _, _, n := fastSample([]byte(s + strings.Repeat(" ", fastWindow+1))); n != len(s) {
			t.Errorf("%s: %d", s, n)
		}
	}
}

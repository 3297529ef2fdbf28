package evidence_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cbops/cbops/rollout/evidence"
)

func utc(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// drawCircuit is any circuit that evidence may hold.
func drawCircuit(t *rapid.T, tenant string) evidence.Circuit {
	c := evidence.Circuit{Node: "router/n1", Tenant: tenant, Provider: rapid.StringN(1, 8, 40).Draw(t, "provider"),
		Step: time.Duration(rapid.IntRange(0, 60).Draw(t, "step")) * time.Minute, Outcomes: []evidence.Outcome{}, Transitions: []evidence.Transition{}}
	value := func() float64 {
		if rapid.IntRange(0, 9).Draw(t, "whole") == 0 {
			return rapid.Float64Range(0, 1e12).Draw(t, "v")
		}
		return float64(rapid.Int64Range(0, 1<<53).Draw(t, "n"))
	}
	at, epoch := int64(1_770_000_000_000), 0
	for range rapid.IntRange(0, 20).Draw(t, "outcomes") {
		at += rapid.Int64Range(1, 400_000).Draw(t, "dt")
		epoch += rapid.IntRange(0, 1).Draw(t, "epoch")
		c.Outcomes = append(c.Outcomes, evidence.Outcome{T: at, Epoch: epoch, Success: value(), Failure: value(), FailFast: value()})
		if rapid.Bool().Draw(t, "transition") {
			c.Transitions = append(c.Transitions, evidence.Transition{T: at, Epoch: epoch, CO: value(), OH: value(), HO: value(), HC: value(), WindowRequests: value(), WindowFailures: value()})
		}
	}
	return c
}

func drawBundle(t *rapid.T) *evidence.Bundle {
	ev := &evidence.Evidence{At: utc(1_770_100_000_000), Interval: time.Minute, Dialect: evidence.Dialect{Kind: evidence.Emitted, Renames: []string{"tenant_id is called tenant"}, Problems: []string{"p"}},
		Skew: evidence.Skew{Measured: true, Ahead: time.Second, Within: time.Millisecond}, Present: []string{"router_circuit_breaker_events_total"},
		Doubles: []evidence.Double{}, Windows: []evidence.Interval{{From: utc(1), To: utc(2)}}, Queries: []evidence.Query{{Name: "outcomes", Warnings: []string{"w\n"}}},
		Gaps: []evidence.Gap{{Interval: evidence.Interval{From: utc(3), To: utc(9)}, Reason: "r"}}, OtherTenants: 3,
		Tenants: []evidence.Tenant{}, Others: []evidence.Circuit{}, Nodes: []evidence.Node{}, Measures: []evidence.Measure{}}
	for i := range rapid.IntRange(0, 3).Draw(t, "tenants") {
		id := fmt.Sprintf("t-%d", i)
		et := evidence.Tenant{ID: id, Since: utc(1_770_050_000_000), Baseline: evidence.Interval{From: utc(1), To: utc(2)},
			Config: evidence.Config{Enabled: true, ErrorRateThreshold: 0.1}, Circuits: []evidence.Circuit{}}
		for range rapid.IntRange(0, 2).Draw(t, "circuits") {
			et.Circuits = append(et.Circuits, drawCircuit(t, id))
		}
		ev.Tenants = append(ev.Tenants, et)
	}
	ev.Others = append(ev.Others, drawCircuit(t, "t-other"))
	for i := range rapid.IntRange(0, 2).Draw(t, "measures") {
		m := evidence.Measure{Name: fmt.Sprintf("stability/%d", i), Expr: "x", Step: time.Minute, Series: []evidence.MeasureSeries{}, Refused: rapid.SampledFrom([]string{"", "no"}).Draw(t, "refused")}
		for range rapid.IntRange(0, 2).Draw(t, "series") {
			s := evidence.MeasureSeries{Tenant: "t-0", Provider: "openai", Labels: "{a=\"b\"}", NotNumbers: 1, Times: []int64{}, Values: []float64{}}
			for j := range rapid.IntRange(0, 5).Draw(t, "values") {
				s.Times = append(s.Times, 1_770_000_000_000+int64(j)*60_000)
				s.Values = append(s.Values, rapid.Float64Range(-10, 1e9).Draw(t, "value"))
			}
			m.Series = append(m.Series, s)
		}
		ev.Measures = append(ev.Measures, m)
	}
	ev.Nodes = append(ev.Nodes, evidence.Node{Name: "router/n1", Scrapes: []int64{5, 65, 127, 128}, First: 5, Last: 128, Restarts: []int64{127}})
	return &evidence.Bundle{Version: "v1", Environment: "PROD", Rollout: "r", Asked: json.RawMessage(`{"phase":1}`), Judged: json.RawMessage(`{"verdict":"pass","text":"<a&b>"}`), Evidence: ev}
}

func write(t interface{ Fatal(...any) }, b *evidence.Bundle) ([]byte, string) {
	var buf bytes.Buffer
	digest, err := evidence.WriteBundle(&buf, b)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), digest
}

// What was written comes back, to the last bit, and again makes the same bytes.
func TestBundleComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBundle(t)
		raw, digest := write(t, b)
		got, d, err := evidence.ReadBundle(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, got); diff != "" || d != digest {
			t.Fatalf("digest %s and %s\n%s", digest, d, diff)
		}
		if again, _ := write(t, got); !bytes.Equal(raw, again) {
			t.Fatal("written again, it has other bytes")
		}
	})
}

func unpack(t *testing.T, raw []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pack(t *testing.T, text []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	if _, err := zip.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Any byte changed, any line taken away, repeated or swapped, and any cut is found.
func TestBundleTamperingIsFound(t *testing.T) {
	raw, _ := write(t, rapid.Custom(drawBundle).Example(7))
	text := unpack(t, raw)
	if _, _, err := evidence.ReadBundle(bytes.NewReader(pack(t, text))); err != nil {
		t.Fatalf("the bundle packed anew is still itself: %v", err)
	}
	refused := func(what string, bad []byte) {
		t.Helper()
		b, _, err := evidence.ReadBundle(bytes.NewReader(pack(t, bad)))
		var be *evidence.BundleError
		if err == nil || b != nil || !errors.As(err, &be) {
			t.Fatalf("%s: read as if nothing had happened (%v)", what, err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		i := rng.IntN(len(text))
		bad := bytes.Clone(text)
		bad[i] ^= byte(1 + rng.IntN(255))
		refused(fmt.Sprintf("byte %d of %d changed", i, len(text)), bad)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i := range lines[:len(lines)-1] {
		refused(fmt.Sprintf("line %d gone", i+1), bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil))
		refused(fmt.Sprintf("line %d twice", i+1), bytes.Join(append(append([][]byte{}, lines[:i+1]...), lines[i:]...), nil))
		refused(fmt.Sprintf("cut after line %d", i), bytes.Join(lines[:i], nil))
	}
	for i := range raw[:len(raw)-1] {
		if _, _, err := evidence.ReadBundle(bytes.NewReader(raw[:i])); err == nil {
			t.Fatalf("cut off after %d of %d bytes, and read", i, len(raw))
		}
	}
}

func TestBundleOfAnotherFormatSaysSo(t *testing.T) {
	raw, _ := write(t, rapid.Custom(drawBundle).Example(1))
	text := bytes.Replace(unpack(t, raw), []byte(`"format":1`), []byte(`"format":9,"new":{}`), 1)
	if _, _, err := evidence.ReadBundle(bytes.NewReader(pack(t, text))); !errors.Is(err, evidence.ErrBundleFormat) || !strings.Contains(err.Error(), "9, this cbops reads 1") {
		t.Errorf("got %v", err)
	}
}

// A bundle that unpacks to more than it may hold is refused before memory is.
func TestBundleBomb(t *testing.T) {
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	zeros := make([]byte, 1<<20)
	for range 65 {
		if _, err := zip.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := evidence.ReadBundle(&buf); err == nil {
		t.Error("65 MiB of nothing on one line were read")
	}
}

// A month of 1,000 tenants with three providers each fits in 50 MB.
func TestBundleOfAMonth(t *testing.T) {
	if testing.Short() {
		t.Skip("a large bundle: skipped by -short")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	ev := &evidence.Evidence{At: utc(1_772_600_000_000), Interval: time.Minute}
	const start = int64(1_770_000_000_000)
	scrapes := []int64{}
	for i := range int64(30 * 24 * 60) {
		scrapes = append(scrapes, start+i*60_000+rng.Int64N(7))
	}
	ev.Nodes = []evidence.Node{{Name: "router/n1", Scrapes: scrapes}}
	for i := range 1000 {
		et := evidence.Tenant{ID: fmt.Sprintf("t-%04d", i)}
		for _, p := range []string{"openai", "anthropic", "cohere"} {
			c := evidence.Circuit{Node: "router/n1", Tenant: et.ID, Provider: p, Step: time.Hour}
			var o evidence.Outcome
			for h := range int64(30 * 24) {
				n := rng.IntN(2000)
				o.T, o.Success, o.Failure = scrapes[h*60], o.Success+float64(n), o.Failure+float64(rng.IntN(n/50+1))
				c.Outcomes = append(c.Outcomes, o)
			}
			var x evidence.Transition
			for range 60 { // sixty episodes a month
				x.T += int64(1 + rng.IntN(40_000_000))
				x.CO, x.WindowRequests, x.WindowFailures = x.CO+1, x.WindowRequests+40, x.WindowFailures+20
				c.Transitions = append(c.Transitions, x)
				x.T, x.OH, x.HC = x.T+60_000, x.OH+1, x.HC+1
				c.Transitions = append(c.Transitions, x)
				for k := range int64(40) { // outcomes at every scrape around each
					c.Outcomes = append(c.Outcomes, evidence.Outcome{T: o.T + x.T + k*60_000, Success: o.Success, Failure: o.Failure})
				}
			}
			et.Circuits = append(et.Circuits, c)
		}
		ev.Tenants = append(ev.Tenants, et)
	}
	w := &counting{}
	if _, err := evidence.WriteBundle(w, &evidence.Bundle{Evidence: ev}); err != nil {
		t.Fatal(err)
	}
	t.Logf("a month of 1,000 tenants × 3 providers with 60 episodes each: %.1f MB", float64(w.n)/1e6)
	if w.n > 50_000_000 {
		t.Errorf("the bundle has %d bytes", w.n)
	}
}

type counting struct{ n int }

func (c *counting) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func FuzzReadBundle(f *testing.F) {
	var buf bytes.Buffer
	if _, err := evidence.WriteBundle(&buf, rapid.Custom(drawBundle).Example(3)); err != nil {
		f.Fatal(err)
	}
	zip, err := gzip.NewReader(&buf)
	if err != nil {
		f.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"kind":"Bundle","format":1,"at":"2026-03-01T00:00:00Z"}` + "\n" + `{"circuit":{"t":[1,2,-9]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var buf bytes.Buffer
		zip := gzip.NewWriter(&buf)
		_, _ = zip.Write(text)
		_ = zip.Close()
		b, _, err := evidence.ReadBundle(&buf)
		if err != nil {
			return
		}
		if _, err := evidence.WriteBundle(io.Discard, b); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}

package promquery_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

const day = 24 * 3600 * 1000

// edges are offsets around the pieces of a day.
var edges = []int64{0, 1, day - 1, day, day + 1, 2*day - 1, 2 * day, 2*day + 1, 3 * day}

// TestRawTakesEverySampleOnce: whatever the interval, Raw passes on exactly the
// samples in it, also those at the edges of its pieces.
func TestRawTakesEverySampleOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offsets := rapid.SliceOfNDistinct(rapid.OneOf(rapid.Int64Range(0, 3*day), rapid.SampledFrom(edges)), 1, 30, rapid.ID[int64]).Draw(t, "samples")
		from := rapid.SampledFrom([]int64{0, 1, day, 1000}).Draw(t, "from")
		to := from + rapid.OneOf(rapid.Int64Range(0, 2*day), rapid.SampledFrom([]int64{day - 1, day, day + 1, 2 * day})).Draw(t, "length")
		slices.Sort(offsets)
		store, want := promlab.NewStore(), []promquery.Sample(nil)
		for _, o := range offsets {
			if err := store.Append(map[string]string{"__name__": "m"}, start.Add(time.Duration(o)*time.Millisecond), float64(o)); err != nil {
				t.Fatal(err)
			}
			if o >= from && o <= to {
				want = append(want, promquery.Sample{T: start.UnixMilli() + o, V: float64(o)})
			}
		}
		h := promlab.NewServer(store, promlab.Options{Now: func() time.Time { return start }})
		c, err := promquery.New(promquery.Options{URL: "http://lab", Transport: promlab.Transport(h)})
		if err != nil {
			t.Fatal(err)
		}
		got := data{}
		a, err := c.Raw(t.Context(), promquery.Query{Name: "m", Select: metric("m"), From: start.Add(time.Duration(from) * time.Millisecond), To: start.Add(time.Duration(to) * time.Millisecond)}, got.visit)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[`__name__="m"`], want) || a.Samples != len(want) {
			t.Fatalf("%d samples, want %d: %v", a.Samples, len(want), got)
		}
	})
}

// A server before version 3 counts the left end of a range in: the piece before
// has that sample already.
func TestLeftClosedServer(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch q := r.FormValue("query"); q {
		case "m[86400000ms]":
			fmt.Fprint(w, matrix(`{"metric":{},"values":[[99.999,"0"],[100,"1"],[86499.999,"2"]]}`))
		case "m[1ms]":
			fmt.Fprint(w, matrix(`{"metric":{},"values":[[86499.999,"2"],[86500,"3"]]}`))
		default:
			t.Errorf("asked for %s", q)
		}
	})
	got := data{}
	_, err := client(t, url).Raw(t.Context(), promquery.Query{Name: "m", Select: metric("m"), From: time.UnixMilli(100_000), To: time.UnixMilli(86_500_000)}, got.visit)
	if err != nil || fmt.Sprint(got[""]) != "[{100000 1} {86499999 2} {86500000 3}]" {
		t.Errorf("%v %v", got, err)
	}
}

// Samples from outside of what was asked for are no evidence.
func TestSamplesOutside(t *testing.T) {
	for _, c := range []struct{ name, values string }{
		{"before", `[0.5,"1"]`}, {"after", `[9,"1"]`}, {"off the grid", `[2.5,"1"]`},
	} {
		url := answers(t, matrix(`{"metric":{},"values":[`+c.values+`]}`))
		q := promquery.Query{Name: "m", Select: metric("m"), From: time.UnixMilli(1000), To: time.UnixMilli(8000), Step: time.Second}
		_, err := client(t, url).Range(t.Context(), q, data{}.visit)
		if err == nil || !strings.Contains(err.Error(), "other times") {
			t.Errorf("range, %s: %v", c.name, err)
		}
		if _, err = client(t, url).Raw(t.Context(), q, data{}.visit); (err == nil) != (c.name == "off the grid") {
			t.Errorf("raw, %s: %v", c.name, err)
		}
	}
}

// world is a small store with several tenants.
func world(t testing.TB) *promlab.Store {
	t.Helper()
	s := promlab.NewStore()
	for tenant := range 7 {
		for _, kind := range []string{"success", "failure"} {
			for i := range 250 {
				at := start.Add(time.Duration(i)*14*time.Minute + time.Duration(tenant)*137*time.Millisecond)
				if err := s.Append(map[string]string{"__name__": "events", "tenant_id": fmt.Sprintf("t-%d", tenant), "kind": kind}, at, float64(i*tenant)+0.25); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return s
}

// strict is a server with limits of its own, in the words of servers.
type strict struct {
	next     http.RoundTripper
	span     time.Duration // the longest it answers for
	steps    int
	values   int
	says     string
	status   int    // 422 for 0
	kind     string // execution for ""
	refusals int
}

func (s *strict) RoundTrip(req *http.Request) (*http.Response, error) {
	clone := req.Clone(req.Context())
	body, _ := req.GetBody()
	clone.Body = body
	if err := clone.ParseForm(); err != nil {
		return nil, err
	}
	q := clone.Form.Get("query")
	var ms int64
	if _, after, ok := strings.Cut(q, "}["); ok {
		_, _ = fmt.Sscanf(after, "%dms", &ms)
	}
	var from, to, step float64
	_, _ = fmt.Sscan(clone.Form.Get("start"), &from)
	_, _ = fmt.Sscan(clone.Form.Get("end"), &to)
	_, _ = fmt.Sscan(clone.Form.Get("step"), &step)
	n := 0
	if _, after, ok := strings.Cut(q, `tenant_id=~"`); ok {
		n = strings.Count(after[:strings.Index(after, `"`)], "|") + 1
	}
	says := s.says
	if s.values > 0 && n > s.values && says == "" {
		says = "exceeded series limit: rpc error: code = Code(422) desc = limit 2 violated (got 3)"
	} else if says == "" {
		says = "the query time range exceeds the limit (query length: 1h0m0s, limit: 1m0s) (err-mimir-max-query-length)"
	}
	if s.span > 0 && ms > s.span.Milliseconds() || s.steps > 0 && step > 0 && (to-from)/step+1 > float64(s.steps)+1e-6 || s.values > 0 && n > s.values {
		s.refusals++
		rec := fmt.Sprintf(`{"status":"error","errorType":%q,"error":%q}`, cmp.Or(s.kind, "execution"), says)
		return &http.Response{StatusCode: cmp.Or(s.status, 422), Header: http.Header{}, Body: readCloser(rec), Request: req}, nil
	}
	return s.next.RoundTrip(req)
}

// TestForcedSplits: whatever limits force whatever pieces, the samples and their
// digest are those of an answer in one piece.
func TestForcedSplits(t *testing.T) {
	h := promlab.NewServer(world(t), promlab.Options{Now: func() time.Time { return start }})
	tenants := []string{"t-0", "t-1", "t-2", "t-3", "t-4", "t-5", "t-6"}
	ask := func(t *rapid.T, c *promquery.Client, raw bool, wrap func(string) string) (promquery.Answer, data) {
		q := promquery.Query{Name: "events", SplitBy: "tenant_id", From: start.Add(time.Hour), To: start.Add(26 * time.Hour),
			Select: metric("events", promquery.Match{Label: "tenant_id", Values: tenants})}
		got := data{}
		f := c.Raw
		if !raw {
			f, q.Step, q.Wrap = c.Range, 11*time.Minute, wrap
		}
		a, err := f(t.Context(), q, got.visit)
		if err != nil {
			t.Fatal(err)
		}
		return a, got
	}
	rapid.Check(t, func(t *rapid.T) {
		isRaw := rapid.Bool().Draw(t, "raw")
		var wrap func(string) string
		if rapid.Bool().Draw(t, "wrapped") {
			wrap = func(s string) string { return "sum by (tenant_id) (" + s + ")" }
		}
		open := promquery.Options{URL: "http://lab", Transport: promlab.Transport(h), Chunk: 100 * time.Hour, Points: 11_000}
		c, err := promquery.New(open)
		if err != nil {
			t.Fatal(err)
		}
		whole, want := ask(t, c, isRaw, wrap)
		s := &strict{next: promlab.Transport(h), says: rapid.SampledFrom([]string{
			"query processing would load too many samples into memory in query execution",
			"the number of matching timeseries exceeds 3; either narrow down the search",
			"exceeded chunks limit: rpc error: code = Code(422) desc = limit 2 violated (got 3)",
			"", // each limit in its own words
		}).Draw(t, "says")}
		s.span = time.Duration(rapid.Int64Range(int64(5*time.Hour), int64(60*time.Hour)).Draw(t, "span"))
		s.steps = rapid.IntRange(20, 300).Draw(t, "steps")
		s.values = rapid.IntRange(0, 7).Draw(t, "values")
		if c, err = promquery.New(promquery.Options{
			URL: "http://lab", Transport: s,
			Chunk:       time.Duration(rapid.Int64Range(int64(5*time.Hour), int64(60*time.Hour)).Draw(t, "chunk")),
			Points:      rapid.IntRange(30, 300).Draw(t, "points"),
			Concurrency: rapid.IntRange(1, 6).Draw(t, "concurrency"),
		}); err != nil {
			t.Fatal(err)
		}
		cut, got := ask(t, c, isRaw, wrap)
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("other samples: %d, want %d", cut.Samples, whole.Samples)
		}
		if cut.Digest != whole.Digest || cut.Samples != whole.Samples || cut.Series != whole.Series || cut.Expr != whole.Expr || whole.Requests != 1 || cut.Retries != 0 {
			t.Fatalf("other answer:\n%+v\n%+v", cut, whole)
		}
		if cut.Requests < cut.Planned || s.refusals == 0 && cut.Requests != cut.Planned {
			t.Fatalf("%d requests, %d planned, %d refused", cut.Requests, cut.Planned, s.refusals)
		}
	})
}

// A limit met once is not met in every piece: the others are cut like the first.
func TestLimitsAreLearnt(t *testing.T) {
	h := promlab.NewServer(world(t), promlab.Options{Now: func() time.Time { return start }})
	s := &strict{next: promlab.Transport(h), span: 3 * time.Hour, says: "query processing would load too many samples into memory in query execution"}
	c := client(t, "http://lab", func(o *promquery.Options) { o.Transport = s; o.Chunk = 12 * time.Hour })
	a, err := c.Raw(t.Context(), promquery.Query{Name: "x", Select: metric("events", promquery.Match{Label: "kind", Values: []string{"failure"}}), From: start, To: start.Add(48*time.Hour - time.Millisecond)}, data{}.visit)
	if err != nil || s.refusals != 3 || a.Planned != 4 || a.Requests != 4*4+3 {
		t.Errorf("%d refusals, %+v, %v", s.refusals, a, err)
	}
}

// The body limit of the client's own forces pieces too.
func TestOwnSizeLimitSplits(t *testing.T) {
	c := lab(t, world(t), func(o *promquery.Options) { o.MaxBytes = 20_000; o.Chunk = 100 * time.Hour })
	q := promquery.Query{Name: "events", Select: metric("events"), From: start, To: start.Add(60 * time.Hour)}
	got, want := data{}, data{}
	a, err := c.Raw(t.Context(), q, got.visit)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := lab(t, world(t)).Raw(t.Context(), q, want.visit)
	if err != nil || !reflect.DeepEqual(got, want) || a.Digest != whole.Digest {
		t.Errorf("err %v, digests %s %s", err, a.Digest, whole.Digest)
	}
	if a.Planned != 1 || a.Requests < 5 || a.Bytes <= whole.Bytes {
		t.Errorf("%+v", a)
	}
}

// Where nothing is left to divide, the limit is the answer.
func TestNothingLeftToSplit(t *testing.T) {
	h := promlab.NewServer(world(t), promlab.Options{Now: func() time.Time { return start }})
	for _, says := range []string{"query processing would load too many samples into memory in query execution", "too long query; got 20000 bytes; mustn't exceed `-search.maxQueryLen=16384` bytes", "exceeded series limit: limit 1 violated (got 2)"} {
		s := &strict{next: promlab.Transport(h), span: 1, says: says}
		c := client(t, "http://lab", func(o *promquery.Options) { o.Transport = s })
		q := promquery.Query{Name: "events", SplitBy: "tenant_id", From: start, To: start.Add(10 * 24 * time.Hour), Select: metric("events", promquery.Match{Label: "tenant_id", Values: []string{"t-1", "t-2"}})}
		_, err := c.Raw(t.Context(), q, data{}.visit)
		if err == nil || !strings.Contains(err.Error(), "refuses the query even in the smallest piece: "+says[:20]) || promquery.IsUnavailable(err) || s.refusals > 20 {
			t.Errorf("after %d refusals: %v", s.refusals, err)
		}
	}
}

// An expression that does not keep the label it is divided by would be added up
// wrongly: an error.
func TestSplitLabelIsKept(t *testing.T) {
	h := promlab.NewServer(world(t), promlab.Options{Now: func() time.Time { return start.Add(time.Hour) }})
	s := &strict{next: promlab.Transport(h), values: 1, says: "exceeded series limit"}
	c := client(t, "http://lab", func(o *promquery.Options) { o.Transport = s })
	q := promquery.Query{Name: "sum", SplitBy: "tenant_id", To: start.Add(time.Hour), Select: metric("events", promquery.Match{Label: "tenant_id", Values: []string{"t-1", "t-2"}}),
		Wrap: func(s string) string { return "sum(" + s + ")" }}
	if _, err := c.Instant(t.Context(), q, data{}.visit); err == nil || !strings.Contains(err.Error(), "does not keep tenant_id") {
		t.Errorf("err %v", err)
	}
}

// A warning is about the piece that it came with, not about all that was asked.
func TestWarningsHavePlaces(t *testing.T) {
	asked := 0
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 3 || asked == 4 || asked == 7 {
			fmt.Fprint(w, `{"status":"success","warnings":["partial"],"data":{"resultType":"matrix","result":[]}}`)
			return
		}
		fmt.Fprint(w, matrix(""))
	})
	c := client(t, url, func(o *promquery.Options) { o.Concurrency = 1 })
	a, err := c.Raw(t.Context(), promquery.Query{Name: "m", Select: metric("m"), From: start, To: start.Add(10*24*time.Hour - time.Millisecond)}, data{}.visit)
	if err != nil || len(a.Warnings) != 1 || len(a.Warned) != 2 {
		t.Fatalf("%+v %v", a, err)
	}
	if w := a.Warned[0]; !w.From.Equal(start.Add(48*time.Hour)) || !w.To.Equal(start.Add(4*24*time.Hour-time.Millisecond)) || w.Text != "partial" {
		t.Errorf("%+v", w)
	}
}

// The pieces in flight are bounded, and so is what is decoded and not yet visited.
func TestConcurrencyIsBounded(t *testing.T) {
	var flying, most, visited, decoded counter
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		most.max(flying.add(1))
		defer flying.add(-1)
		time.Sleep(time.Millisecond)
		to := r.FormValue("time")
		decoded.add(1)
		if d := decoded.get() - visited.get(); d > 3+3+1 {
			t.Errorf("%d pieces ahead of the visit", d)
		}
		fmt.Fprint(w, matrix(`{"metric":{},"values":[[`+to+`,"1"]]}`))
	})
	c := client(t, url, func(o *promquery.Options) { o.Concurrency = 3 })
	got := data{}
	_, err := c.Raw(t.Context(), promquery.Query{Name: "m", Select: metric("m"), From: start, To: start.Add(60 * 24 * time.Hour)}, func(s promquery.Series) error {
		visited.add(1)
		return got.visit(s)
	})
	if err != nil || len(got[""]) != 61 || most.get() > 3 || most.get() < 2 {
		t.Errorf("%d in flight, %d samples, %v", most.get(), len(got[""]), err)
	}
}

// An error of the visit ends the query and comes back as it is.
func TestVisitError(t *testing.T) {
	mine := fmt.Errorf("mine")
	_, err := lab(t, world(t), func(o *promquery.Options) { o.Chunk = time.Hour }).Raw(t.Context(), promquery.Query{Name: "m", Select: metric("events"), From: start, To: start.Add(50 * time.Hour)}, func(promquery.Series) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("err %v", err)
	}
}

// A query that takes the server too long is asked for in pieces, not again; the
// limit of requests in flight is the client's, whatever is asked at once.
func TestTooLongForTheServer(t *testing.T) {
	h := promlab.NewServer(world(t), promlab.Options{Now: func() time.Time { return start }})
	slow := &strict{next: promlab.Transport(h), span: 6 * time.Hour, says: "query timed out in expression evaluation", status: 503, kind: "timeout"}
	c := client(t, "http://lab", func(o *promquery.Options) { o.Transport = slow })
	a, err := c.Raw(t.Context(), promquery.Query{Name: "m", Select: metric("events", promquery.Match{Label: "kind", Values: []string{"failure"}}), From: start, To: start.Add(24*time.Hour - time.Millisecond)}, data{}.visit)
	if err != nil || a.Retries != 0 || slow.refusals != 3 || a.Requests != 7 {
		t.Errorf("%d refusals, %+v, %v", slow.refusals, a, err)
	}
}

func TestConcurrencyIsTheClients(t *testing.T) {
	var flying, most counter
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		most.max(flying.add(1))
		defer flying.add(-1)
		time.Sleep(2 * time.Millisecond)
		fmt.Fprint(w, vector(""))
	})
	c := client(t, url, func(o *promquery.Options) { o.Concurrency = 2 })
	done := make(chan error)
	for range 20 {
		go func() {
			_, err := c.Instant(t.Context(), up, data{}.visit)
			done <- err
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.get() != 2 {
		t.Errorf("%d requests in flight", most.get())
	}
}

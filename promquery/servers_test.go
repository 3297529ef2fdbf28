package promquery_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
)

// TestBadServersAreNoAnswer: whatever a server says that is no answer is an error
// of the environment with a way on, never an empty success, and nothing of it is
// visited.
func TestBadServersAreNoAnswer(t *testing.T) {
	series := `{"metric":{"a":"b"},"value":[1,"2"]}`
	for _, c := range []struct {
		name, body, kind string
		status           int
		max              int64
		says             string
		away             bool
	}{
		{name: "500", status: 500, body: "boom", says: "500 Internal Server Error: boom", away: true},
		{name: "502 page", status: 502, body: "<html>Bad\nGateway</html>", says: "502 Bad Gateway: <html>Bad Gateway</html>", away: true},
		{name: "503 says why", status: 503, body: `{"status":"error","errorType":"unavailable","error":"TSDB not ready"}`, says: "503 Service Unavailable: TSDB not ready", away: true},
		{name: "503 timeout", status: 503, body: `{"status":"error","errorType":"timeout","error":"query timed out"}`, says: "takes too long even in the smallest piece: query timed out", away: true},
		{name: "501", status: 501, body: "no", says: "does not answer like Prometheus: 501"},
		{name: "HTML", status: 200, kind: "text/html", body: "<html><body>log in</body></html>", says: "does not answer like Prometheus"},
		{name: "truncated", status: 200, body: vector(series)[:90], says: "the JSON ends too early"},
		{name: "empty body", status: 200, says: "the JSON ends too early"},
		{name: "no content", status: 204, says: "does not answer like Prometheus"},
		{name: "another success", status: 203, body: vector(series), says: "does not answer like Prometheus"},
		{name: "error with 200", status: 200, body: `{"status":"error","errorType":"execution","error":"no"}`, says: "refuses the query: no"},
		{name: "result and error", status: 200, body: `{"data":{"resultType":"vector","result":[` + series + `]},"status":"error","errorType":"internal","error":"half of it"}`, says: "half of it"},
		{name: "400", status: 400, body: `{"status":"error","errorType":"bad_data","error":"parse error"}`, says: "refuses the query: parse error"},
		{name: "400 page", status: 400, body: "<html>", says: "does not answer like Prometheus: 400"},
		{name: "404", status: 404, body: "404 page not found", says: "does not answer like Prometheus: 404"},
		{name: "oversize", status: 200, max: 100, body: vector(strings.Repeat(" ", 1000)), says: "more than 100 bytes"},
		{name: "429 for ever", status: 429, body: "slow down", says: "429 after 4 tries: slow down", away: true},
		{name: "unauthorized", status: 401, body: "who", says: "wants other credentials: 401 Unauthorized: who"},
		{name: "scalar", status: 200, body: `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`, says: "a scalar came back where a vector was asked for"},
		{name: "string", status: 200, body: `{"status":"success","data":{"result":[0,"x"],"resultType":"string"}}`, says: "in place of a series"},
		{name: "matrix", status: 200, body: matrix(""), says: "a matrix came back where a vector was asked for"},
		{name: "matrix, late", status: 200, body: `{"status":"success","data":{"result":[],"resultType":"matrix"}}`, says: "a matrix came back where a vector was asked for"},
		{name: "no result", status: 200, body: `{"status":"success","data":{"resultType":"vector"}}`, says: "holds no result"},
		{name: "null result", status: 200, body: `{"status":"success","data":{"resultType":"vector","result":null}}`, says: "holds no result"},
		{name: "null data", status: 200, body: `{"status":"success","data":null}`, says: "holds no result"},
		{name: "no data", status: 200, body: `{"status":"success"}`, says: "holds no result"},
		{name: "no status", status: 200, body: `{"data":{"resultType":"vector","result":[]}}`, says: "not an answer of Prometheus"},
		{name: "null series", status: 200, body: vector("null"), says: "in place of a series"},
		{name: "no labels", status: 200, body: vector(`{"value":[1,"2"]}`), says: "holds no result"},
		{name: "no value", status: 200, body: vector(`{"metric":{}}`), says: "holds no result"},
		{name: "two values", status: 200, body: vector(`{"metric":{},"value":[1,"2"],"value":[1,"3"]}`), says: `key "value" twice`},
		{name: "two labels", status: 200, body: vector(`{"metric":{"a":"1","a":"2"},"value":[1,"2"]}`), says: "a label twice"},
		{name: "two results", status: 200, body: `{"status":"success","data":{"resultType":"vector","result":[],"result":[]}}`, says: "twice"},
		{name: "histogram", status: 200, body: vector(`{"metric":{},"histogram":[1,{"count":"1","sum":"1"}]}`), says: "native histogram"},
		{name: "values in a vector", status: 200, body: vector(`{"metric":{},"values":[[1,"2"]]}`), says: `key "values" in a vector`},
		{name: "value not quoted", status: 200, body: vector(`{"metric":{},"value":[1,2]}`), says: "in place of"},
		{name: "value of words", status: 200, body: vector(`{"metric":{},"value":[1,"two"]}`), says: "no number"},
		{name: "value too large", status: 200, body: vector(`{"metric":{},"value":[1,"1e999"]}`), says: "no number"},
		{name: "value in hexadecimal", status: 200, body: vector(`{"metric":{},"value":[1,"0x10"]}`), says: "no number"},
		{name: "time between milliseconds", status: 200, body: vector(`{"metric":{},"value":[1.0001,"1"]}`), says: "milliseconds"},
		{name: "another time", status: 200, body: vector(`{"metric":{},"value":[2,"1"]}`), says: "other times"},
		{name: "label not UTF-8", status: 200, body: vector("{\"metric\":{\"a\":\"\xff\"},\"value\":[1,\"2\"]}"), says: "not UTF-8"},
		{name: "half a character", status: 200, body: vector(`{"metric":{"a":"\ud800"},"value":[1,"2"]}`), says: "escape"},
		{name: "newline in a label", status: 200, body: vector("{\"metric\":{\"a\":\"x\ny\"},\"value\":[1,\"2\"]}"), says: "control character"},
		{name: "more after the end", status: 200, body: vector(series) + "{}", says: "after the end"},
		{name: "nested without end", status: 200, body: `{"x":` + strings.Repeat("[", 10_000), says: "deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := server(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.kind != "" {
					w.Header().Set("Content-Type", c.kind)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			got := data{}
			_, err := client(t, url, func(o *promquery.Options) { o.MaxBytes = c.max }).Instant(t.Context(), up, got.visit)
			if err == nil || fault.CodeOf(err) != fault.Environment || len(got) > 0 {
				t.Fatalf("code %d, err %v, visited %v", fault.CodeOf(err), err, got)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "query up") {
				t.Errorf("says %q, want %q", err, c.says)
			}
			if len(fault.HintsOf(err)) == 0 {
				t.Errorf("no hint: %v", err)
			}
			if promquery.IsUnavailable(err) != c.away {
				t.Errorf("unavailable: %v", promquery.IsUnavailable(err))
			}
		})
	}
}

// Connections that fail are unavailability, with nothing visited of what came.
func TestBrokenConnections(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	half := matrix(`{"metric":{"a":"b"},"values":[[1,"2"]]}`)
	for name, url := range map[string]string{
		"refused":  closed.URL,
		"no name":  "http://no-such-host.invalid:1",
		"hung up":  server(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"cut body": server(t, func(w http.ResponseWriter, _ *http.Request) { cut(w, half[:len(half)-4]) }),
		"stalled": server(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, half[:len(half)-4])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}),
	} {
		t.Run(name, func(t *testing.T) {
			got := data{}
			q := promquery.Query{Name: "x", Select: metric("x"), From: time.UnixMilli(1), To: time.UnixMilli(5000)}
			_, err := client(t, url, func(o *promquery.Options) { o.Timeout = 50 * time.Millisecond }).Raw(t.Context(), q, got.visit)
			if !promquery.IsUnavailable(err) || fault.CodeOf(err) != fault.Environment || len(got) > 0 {
				t.Fatalf("err %v, visited %v", err, got)
			}
		})
	}
}

// cut sends a body and breaks the connection before its announced end.
func cut(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Length", fmt.Sprint(len(body)+100))
	_, _ = io.WriteString(w, body)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// A body that breaks off is asked for again, and nothing of it counts twice.
func TestBrokenBodyDoesNotDouble(t *testing.T) {
	body := matrix(`{"metric":{"a":"b"},"values":[[1,"1"],[2,"2"]]}`)
	asked := 0
	url := server(t, func(w http.ResponseWriter, _ *http.Request) {
		switch asked++; asked {
		case 1:
			cut(w, body[:len(body)-10])
		case 2:
			fmt.Fprint(w, body[:len(body)-10]) // complete for HTTP
		default:
			fmt.Fprint(w, body)
		}
	})
	got := data{}
	a, err := client(t, url).Raw(t.Context(), promquery.Query{Name: "x", Select: metric("x"), From: time.UnixMilli(1000), To: time.UnixMilli(2000)}, got.visit)
	if err != nil || a.Samples != 2 || len(got[`a="b"`]) != 2 || a.Requests != 3 || a.Retries != 2 || a.Planned != 1 || a.Series != 1 {
		t.Fatalf("err %v, answer %+v, got %v", err, a, got)
	}
}

func TestTriesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header http.Header
		wait   time.Duration
	}{
		"429":                 {status: 429, wait: 500 * time.Millisecond},
		"429 with seconds":    {status: 429, header: http.Header{"Retry-After": {"7"}}, wait: 7 * time.Second},
		"503 with a date":     {status: 503, header: http.Header{"Retry-After": {"Sun, 08 Mar 2026 00:00:09 GMT"}, "Date": {"Sun, 08 Mar 2026 00:00:00 GMT"}}, wait: 9 * time.Second},
		"a date that is past": {status: 503, header: http.Header{"Retry-After": {"Sun, 08 Mar 2026 00:00:00 GMT"}, "Date": {"Sun, 08 Mar 2026 00:00:09 GMT"}}},
		"a day":               {status: 503, header: http.Header{"Retry-After": {"86400"}}, wait: time.Minute},
		"negative seconds":    {status: 503, header: http.Header{"Retry-After": {"-5"}}, wait: 500 * time.Millisecond},
		"words":               {status: 502, header: http.Header{"Retry-After": {"soon"}}, wait: 500 * time.Millisecond},
		"504":                 {status: 504, wait: 500 * time.Millisecond},
		"500":                 {status: 500, wait: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			url := server(t, func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked == 1 {
					for k, v := range c.header {
						w.Header()[k] = v
					}
					w.WriteHeader(c.status)
					return
				}
				fmt.Fprint(w, vector(`{"metric":{"a":"b"},"value":[1,"NaN"]}`))
			})
			var waited []time.Duration
			got := data{}
			a, err := client(t, url, func(o *promquery.Options) {
				o.Sleep = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
			}).Instant(t.Context(), up, got.visit)
			if err != nil || asked != 2 || a.Retries != 1 {
				t.Fatalf("asked %d times, err %v", asked, err)
			}
			if len(waited) != 1 || waited[0] != c.wait {
				t.Errorf("waited %v, want %v", waited, c.wait)
			}
			if s := got[`a="b"`]; len(s) != 1 || !math.IsNaN(s[0].V) {
				t.Errorf("NaN is not kept: %+v", got)
			}
		})
	}
}

// Waits grow, and tries end.
func TestTriesAreBounded(t *testing.T) {
	asked := 0
	url := server(t, func(w http.ResponseWriter, _ *http.Request) { asked++; w.WriteHeader(503) })
	var waited []time.Duration
	_, err := client(t, url, func(o *promquery.Options) {
		o.Tries = 9
		o.Sleep = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
	}).Instant(t.Context(), up, data{}.visit)
	if err == nil || asked != 9 || len(waited) != 8 || waited[1] != time.Second || waited[7] != 30*time.Second {
		t.Errorf("asked %d times, waited %v, err %v", asked, waited, err)
	}
}

// MaxQueries bounds all that a client sends, retries and pieces included.
func TestQueriesAreBounded(t *testing.T) {
	var asked atomic.Int64
	url := server(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); fmt.Fprint(w, matrix("")) })
	c := client(t, url, func(o *promquery.Options) { o.MaxQueries, o.Concurrency = 5, 1 })
	q := promquery.Query{Name: "x", Select: metric("x"), From: start, To: start.Add(10 * 24 * time.Hour)}
	_, err := c.Raw(t.Context(), q, data{}.visit)
	if err == nil || !strings.Contains(err.Error(), "asked 5 times, the most that is allowed") || promquery.IsUnavailable(err) || asked.Load() != 5 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

// The caller's own end is neither an answer nor the server's fault.
func TestCancellation(t *testing.T) {
	url := server(t, func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // else the server does not notice that the client is gone
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := client(t, url).Instant(ctx, up, data{}.visit)
	if err == nil || promquery.IsUnavailable(err) || ctx.Err() == nil {
		t.Errorf("err %v", err)
	}
}

// The default sleep is a real timer that a cancellation cuts short.
func TestDefaultSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := promquery.New(promquery.Options{URL: "http://x", Transport: status(503)})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Instant(t.Context(), up, data{}.visit); !promquery.IsUnavailable(err) {
			t.Fatalf("err %v", err)
		}
		if d := time.Since(began); d != 3500*time.Millisecond {
			t.Errorf("waited %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		if _, err := c.Instant(ctx, up, data{}.visit); err == nil || promquery.IsUnavailable(err) {
			t.Errorf("err %v", err)
		}
	})
}

// status answers everything with a status.
type status int

func (s status) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(s), Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A million series are refused before they are in memory.
func TestAMillionSeries(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`)
		for i := range 1_000_000 {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			if _, err := fmt.Fprintf(w, `{"metric":{"__name__":"m","a":"%d"},"value":[1,"1"]}`, i); err != nil {
				return
			}
		}
		fmt.Fprint(w, `]}}`)
	})
	got := data{}
	_, err := client(t, url, func(o *promquery.Options) { o.MaxSeries = 10_000 }).Instant(t.Context(), up, got.visit)
	if err == nil || !strings.Contains(err.Error(), "more than 10000 series") || len(got) > 0 {
		t.Fatalf("err %v, visited %d", err, len(got))
	}
}

// Samples of one series and time that contradict each other are left out, all of
// them, with a warning; the same sample twice is one.
func TestContradictions(t *testing.T) {
	url := answers(t, `{"status":"success","warnings":["PromQL warning: x\u0007","PromQL warning: x\u0007"],"infos":["PromQL info: y"],"data":{"resultType":"matrix","result":[`+
		`{"metric":{"a":"b"},"values":[[1,"1"],[3,"3"],[3,"4"],[2,"2"],[2,"2"]]},{"metric":{"a":"c"},"values":[[1,"1"]]},{"metric":{"a":"b"},"values":[[3,"3"],[4,"4"]]}]}}`)
	got := data{}
	a, err := client(t, url).Raw(t.Context(), promquery.Query{Name: "x", Select: metric("x"), From: time.UnixMilli(1000), To: time.UnixMilli(5000)}, got.visit)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got[`a="b"`]) != "[{1000 1} {2000 2} {4000 4}]" || a.Samples != 4 || a.Series != 2 {
		t.Errorf("%+v %+v", got, a)
	}
	if fmt.Sprintf("%q", a.Warnings) != `["3 samples of the same time contradict each other and were left out" "PromQL warning: x�"]` || fmt.Sprintf("%q", a.Infos) != `["PromQL info: y"]` {
		t.Errorf("%q %q", a.Warnings, a.Infos)
	}
	if len(a.Warned) != 2 || !a.Warned[0].From.Equal(time.UnixMilli(1000)) || !a.Warned[0].To.Equal(time.UnixMilli(5000)) {
		t.Errorf("%+v", a.Warned)
	}
}

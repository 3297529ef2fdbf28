package promquery_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

var start = time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)

func noWait(context.Context, time.Duration) error { return nil }

// server answers every request with f, and ends with the test.
func server(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// client asks url, without waiting between tries; set may change its options.
func client(t testing.TB, url string, set ...func(*promquery.Options)) *promquery.Client {
	t.Helper()
	o := promquery.Options{URL: url, Transport: http.DefaultTransport, Sleep: noWait}
	for _, f := range set {
		f(&o)
	}
	c, err := promquery.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lab asks the practice server about a store.
func lab(t testing.TB, s *promlab.Store, set ...func(*promquery.Options)) *promquery.Client {
	t.Helper()
	h := promlab.NewServer(s, promlab.Options{Now: func() time.Time { return start }})
	return client(t, "http://lab", append([]func(*promquery.Options){func(o *promquery.Options) { o.Transport = promlab.Transport(h) }}, set...)...)
}

// data is everything that was visited: samples by the spelling of their labels.
type data map[string][]promquery.Sample

func (d data) visit(s promquery.Series) error {
	var names []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		names = append(names, fmt.Sprintf("%s=%q", k, s.Labels[k]))
	}
	key := strings.Join(names, ",")
	if n := len(d[key]); n > 0 && d[key][n-1].T >= s.Samples[0].T {
		return fmt.Errorf("%s goes back in time", key)
	}
	d[key] = append(d[key], s.Samples...)
	return nil
}

func metric(name string, more ...promquery.Match) []promquery.Match {
	return append([]promquery.Match{{Label: "__name__", Values: []string{name}}}, more...)
}

var up = promquery.Query{Name: "up", Select: metric("up"), To: time.UnixMilli(1000)}

func vector(elements string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + elements + `]}}`
}

func matrix(elements string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + elements + `]}}`
}

func answers(t testing.TB, body string) string {
	return server(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

// counter is an atomic number.
type counter struct{ atomic.Int64 }

func (c *counter) add(n int64) int64 { return c.Add(n) }
func (c *counter) get() int64        { return c.Load() }

func (c *counter) max(n int64) {
	for {
		old := c.Load()
		if n <= old || c.CompareAndSwap(old, n) {
			return
		}
	}
}

func gzipWriter(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

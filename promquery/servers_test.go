package promquery_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

var at = time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)

func noWait(context.Context, time.Duration) error { return nil }

func client(t *testing.T, url string, maxBytes int64) *promquery.Client {
	t.Helper()
	c, err := promquery.New(promquery.Options{URL: url, Transport: http.DefaultTransport, Sleep: noWait, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBadServersAreNoAnswer: whatever a server says that is no answer is an error
// of the environment with a way on, never an empty success.
func TestBadServersAreNoAnswer(t *testing.T) {
	for _, c := range []struct {
		name, body, kind string
		status           int
		max              int64
	}{
		{name: "500", status: 500, body: "boom"},
		{name: "HTML", status: 200, kind: "text/html", body: "<html><body>log in</body></html>"},
		{name: "truncated", status: 200, body: `{"status":"success","data":{"resultType":"vector","result":[`},
		{name: "empty body", status: 200},
		{name: "error with 200", status: 200, body: `{"status":"error","errorType":"execution","error":"no"}`},
		{name: "oversize", status: 200, max: 100, body: `{"status":"success","data":{"resultType":"vector","result":[` + strings.Repeat(" ", 1000) + `]}}`},
		{name: "429 for ever", status: 429, body: "slow down"},
		{name: "unauthorized", status: 401, body: "who"},
		{name: "scalar", status: 200, body: `{"status":"success","data":{"resultType":"string","result":[0,"x"]}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.kind != "" {
					w.Header().Set("Content-Type", c.kind)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer s.Close()
			mustFail(t, s.URL, c.max)
		})
	}
	t.Run("refused", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		url := s.URL
		s.Close()
		mustFail(t, url, 0)
	})
}

func mustFail(t *testing.T, url string, max int64) {
	t.Helper()
	_, err := client(t, url, max).Instant(t.Context(), "up", at)
	if err == nil || fault.CodeOf(err) != fault.Environment {
		t.Fatalf("code %d, err %v", fault.CodeOf(err), err)
	}
	if len(fault.HintsOf(err)) == 0 {
		t.Errorf("no hint: %v", err)
	}
}

func TestTriesAgainAfter429(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"NaN"]}]}}`)
	}))
	defer s.Close()
	a, err := client(t, s.URL, 0).Instant(t.Context(), "up", at)
	if err != nil || asked != 2 {
		t.Fatalf("asked %d times, err %v", asked, err)
	}
	if a.Samples != 1 || !math.IsNaN(a.Series[0].Samples[0].V) {
		t.Errorf("NaN is not kept: %+v", a.Series)
	}
}

// TestRawTakesEverySampleOnce: whatever the interval, Raw returns exactly the
// samples in it, also those at the edges of its chunks of a day.
func TestRawTakesEverySampleOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const day = 24 * 3600 * 1000
		offsets := rapid.SliceOfNDistinct(rapid.OneOf(rapid.Int64Range(0, 3*day),
			rapid.SampledFrom([]int64{0, 1, day - 1, day, day + 1, 2*day - 1, 2 * day, 2*day + 1, 3 * day})), 1, 30, rapid.ID[int64]).Draw(t, "samples")
		from := rapid.SampledFrom([]int64{0, 1, day, 1000}).Draw(t, "from")
		to := from + rapid.OneOf(rapid.Int64Range(0, 2*day), rapid.SampledFrom([]int64{day - 1, day, day + 1, 2 * day})).Draw(t, "length")
		sorted := map[int64]bool{}
		for _, o := range offsets {
			sorted[o] = true
		}
		store, want := promlab.NewStore(), 0
		for _, o := range sortedKeys(sorted) {
			if err := store.Append(map[string]string{"__name__": "m"}, at.Add(time.Duration(o)*time.Millisecond), float64(o)); err != nil {
				t.Fatal(err)
			}
			if o >= from && o <= to {
				want++
			}
		}
		now := func() time.Time { return at }
		c, err := promquery.New(promquery.Options{URL: "http://lab", Transport: promlab.Transport(promlab.NewServer(store, promlab.Options{Now: now}))})
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.Raw(context.Background(), "m", at.Add(time.Duration(from)*time.Millisecond), at.Add(time.Duration(to)*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if a.Samples != want {
			t.Fatalf("%d samples, want %d", a.Samples, want)
		}
		for _, s := range a.Series {
			for _, x := range s.Samples {
				if float64(x.T.Sub(at).Milliseconds()) != x.V {
					t.Fatalf("sample of %v is at %v", x.V, x.T)
				}
			}
		}
	})
}

func sortedKeys(m map[int64]bool) []int64 { return slices.Sorted(maps.Keys(m)) }

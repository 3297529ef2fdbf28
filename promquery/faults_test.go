package promquery_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

// TestThroughFaults: with 30 % of connections reset, cut, slow or in slices, an
// answer is the right one or an error, and the error is unavailability.
func TestThroughFaults(t *testing.T) {
	s := httptest.NewServer(promlab.NewServer(world(t), promlab.Options{Now: func() time.Time { return start }}))
	defer s.Close()
	q := promquery.Query{Name: "events", Select: metric("events"), From: start, To: start.Add(48 * time.Hour)}
	want := data{}
	whole, err := client(t, s.URL).Raw(t.Context(), q, want.visit)
	if err != nil {
		t.Fatal(err)
	}
	retries, good := 0, 0
	for name, toxic := range map[string]string{
		"reset":   `{"type":"reset_peer","toxicity":0.3,"attributes":{"timeout":0}}`,
		"cut":     `{"type":"limit_data","toxicity":0.3,"attributes":{"bytes":3000}}`,
		"slow":    `{"type":"latency","toxicity":0.3,"attributes":{"latency":5000}}`,
		"sliced":  `{"type":"slicer","toxicity":0.3,"attributes":{"average_size":700,"size_variation":300,"delay":10}}`,
		"nothing": `{"type":"timeout","toxicity":0.3,"attributes":{"timeout":0}}`,
	} {
		p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop()), name, "127.0.0.1:0", strings.TrimPrefix(s.URL, "http://"))
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			got := data{}
			a, err := client(t, "http://"+p.Listen, func(o *promquery.Options) {
				o.Transport = &http.Transport{DisableKeepAlives: true} // a connection a request
				o.Timeout = 200 * time.Millisecond
				o.Chunk = 6 * time.Hour
			}).Raw(t.Context(), q, got.visit)
			switch {
			case err == nil && (!reflect.DeepEqual(got, want) || a.Digest != whole.Digest || a.Samples != whole.Samples):
				t.Errorf("%s: %d samples, want %d", name, a.Samples, whole.Samples)
			case err != nil && !promquery.IsUnavailable(err):
				t.Errorf("%s: %v", name, err)
			case err == nil:
				good++
				retries += a.Retries
			}
		}
		p.Stop()
	}
	if good < 5 || retries < 5 {
		t.Errorf("%d good answers with %d retries: nothing was tested", good, retries)
	}
}

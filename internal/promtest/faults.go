package promtest

import (
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Toxics that hit a share of the connections.
func Toxics(share float64) map[string]string {
	out := map[string]string{}
	for kind, attributes := range map[string]string{
		"reset_peer": `"timeout":0`,
		"limit_data": `"bytes":3000`,
		"latency":    `"latency":300`,
		"slicer":     `"average_size":700,"size_variation":300,"delay":10`,
	} {
		out[kind] = fmt.Sprintf(`{"type":%q,"toxicity":%g,"attributes":{%s}}`, kind, share, attributes)
	}
	return out
}

// Behind puts a server behind a proxy that does it harm and returns the proxy's URL.
// The proxy is ended with the test.
func Behind(t testing.TB, url, toxic string) string {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop()),
		"faults", "127.0.0.1:0", strings.TrimPrefix(url, "http://"))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatal(err)
	}
	return "http://" + p.Listen
}

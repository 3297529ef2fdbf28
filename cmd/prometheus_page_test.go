package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/config"

	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/plan"
)

// TestPrometheusPage: every plan and every HTTP configuration that the page shows
// can be used as it stands, and the defaults that it names are the ones in use.
func TestPrometheusPage(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "prometheus.md"))
	if err != nil {
		t.Fatal(err)
	}
	plans, configs := 0, 0
	for i, block := range strings.Split(string(raw), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "apiVersion") {
			plans++
			p, problems, err := plan.Parse("cbops.yaml", []byte(block))
			if err != nil || len(problems) > 0 {
				t.Errorf("block %d: %v %+v", i, err, problems)
				continue
			}
			want := plan.Limits{Queries: promquery.DefaultMaxQueries, Concurrency: promquery.DefaultConcurrency, Series: promquery.DefaultMaxSeries,
				Tries: promquery.DefaultTries, Bytes: promquery.DefaultMaxBytes, Timeout: promquery.DefaultTimeout}
			if got := p.Prometheus.Limits; got != (plan.Limits{}) && got != want {
				t.Errorf("the page says %+v, the defaults are %+v", got, want)
			}
			continue
		}
		configs++
		if _, err := config.LoadHTTPConfig(block); err != nil {
			t.Errorf("block %d: %v", i, err)
		}
	}
	if plans < 3 || configs < 2 {
		t.Errorf("%d plans and %d configurations", plans, configs)
	}
	for _, metric := range append(promquery.CanonicalMetrics(), promquery.CanonicalLabels()...) {
		if !strings.Contains(string(raw), "`"+metric+"`") {
			t.Errorf("the page does not name %s", metric)
		}
	}
}

package cmd

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prometheus/common/config"
	"github.com/spf13/cobra"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/plan"
)

// prometheusFlags say whom to ask, and how.
type prometheusFlags struct {
	urls     []string
	config   string
	matchers []string
}

func (f *prometheusFlags) addTo(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.urls, "prometheus", nil, "`URL` of Prometheus; repeatable, the next is asked where one is not available")
	c.Flags().StringVar(&f.config, "prometheus-config", "", "`FILE` with credentials and TLS, in Prometheus' own format")
	c.Flags().StringArrayVar(&f.matchers, "matcher", nil, "`MATCHER` for every query, like 'cluster=\"prod\"'; repeatable")
}

// maxHTTPConfig bounds a file of HTTP settings, in bytes.
const maxHTTPConfig = 1 << 20

// prometheus returns the servers to ask: flags, environment and plan, in that
// order. URLs, file and matchers each come whole from the first of these that has
// any. In the environment several URLs are separated by spaces.
func (a *app) prometheus(f prometheusFlags, p *plan.Plan) (*promquery.Group, error) {
	opt := promquery.Options{Transport: a.Transport, Now: a.Now, Sleep: a.Sleep}
	var urls []string
	for _, u := range f.urls {
		urls = append(urls, strings.Fields(u)...)
	}
	file := a.Path(f.config)
	for _, s := range f.matchers {
		m, err := promquery.ParseMatcher(s)
		if err != nil {
			return nil, fmt.Errorf("--matcher: %w", err)
		}
		opt.Matchers = append(opt.Matchers, m)
	}
	if p != nil {
		set := p.Prometheus
		if len(urls) == 0 {
			urls = set.URLs
		}
		if file == "" && set.HTTPConfig != "" {
			file = set.HTTPConfig
			if !filepath.IsAbs(file) {
				file = filepath.Join(p.Dir, file)
			}
		}
		if len(opt.Matchers) == 0 {
			opt.Matchers = set.Matchers
		}
		opt.TenantHeader = set.TenantHeader
		l := set.Limits
		opt.MaxQueries, opt.Concurrency, opt.MaxSeries, opt.Tries, opt.MaxBytes, opt.Timeout = l.Queries, l.Concurrency, l.Series, l.Tries, l.Bytes, l.Timeout
	}
	if len(urls) == 0 {
		return nil, fault.Hint(fault.New(fault.Usage, "no Prometheus given"), "--prometheus URL, or prometheus.url in the plan")
	}
	if file != "" {
		if err := a.httpConfig(file, &opt); err != nil {
			return nil, err
		}
	}
	return promquery.NewGroup(opt, urls...)
}

// httpConfig applies a file in the format that Prometheus itself uses for HTTP
// clients. Files that it names are relative to it, and read again when they change.
func (a *app) httpConfig(path string, opt *promquery.Options) error {
	raw, err := a.readWhole(path, maxHTTPConfig)
	if err != nil {
		return err
	}
	cfg, err := config.LoadHTTPConfig(string(raw))
	if err != nil {
		// The parser quotes values in backquotes: they may be secrets.
		text := regexp.MustCompile("`[^`]*`").ReplaceAllString(err.Error(), "…")
		return fault.Hint(fault.New(fault.Usage, "%s: not an HTTP configuration of Prometheus: %s", path, strings.Join(strings.Fields(text), " ")), "see docs/prometheus.md")
	}
	cfg.SetDirectory(filepath.Dir(path))
	opt.NoRedirects = !cfg.FollowRedirects
	real, ok := a.Transport.(*http.Transport)
	if !ok {
		return nil // the practice world has no network, and wants no credentials
	}
	set := []config.HTTPClientOption{config.WithUserAgent("cbops")}
	if real.DialContext != nil {
		set = append(set, config.WithDialContextFunc(real.DialContext))
	}
	if opt.Transport, err = config.NewRoundTripperFromConfig(*cfg, "cbops", set...); err != nil {
		return fault.Hint(fault.New(fault.Usage, "%s: %w", path, err), "see docs/prometheus.md")
	}
	return nil
}

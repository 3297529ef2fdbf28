package cmd

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/breaker/live"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
)

// liveFlags say how a router is driven.
type liveFlags struct {
	url         string
	allowRemote bool
	maxRate     float64
	providers   []string
	method      string
	path, body  string
	headerFile  string
}

func (l *liveFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&l.url, "live", "", "drive the router at `URL` in place of the twin")
	f.BoolVar(&l.allowRemote, "allow-remote", false, "with --live: a router that is not on loopback")
	f.Float64Var(&l.maxRate, "max-rate", 1000, "with --live: `REQUESTS` a second at most")
	f.StringArrayVar(&l.providers, "provider", nil, "with --live: `PROVIDER` to use, one for each circuit; repeatable (default names that are made up)")
	f.StringVar(&l.method, "request-method", "POST", "with --live: `METHOD` of a request")
	f.StringVar(&l.path, "request-path", live.RequestPath, "with --live: `PATH` of a request")
	f.StringVar(&l.body, "request-body", "", "with --live: template `FILE` of a request's body: {tenant} {policy} {provider} {outcome} {ask} {latency_ms}")
	f.StringVar(&l.headerFile, "header-file", "", "with --live: `FILE` of headers, one \"Name: value\" a line, credentials too")
}

// target checks the URL: loopback only, unless others are allowed.
func (l *liveFlags) target() (*url.URL, error) {
	u, err := url.Parse(l.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New(fault.Usage, "--live %q is no address: want http://HOST:PORT", l.url)
	}
	if u.User != nil {
		return nil, fault.Hint(fault.New(fault.Usage, "--live %s carries credentials, which every process list shows", u.Redacted()), "--header-file FILE")
	}
	if !l.allowRemote && !loopback(u.Hostname()) {
		return nil, fault.Hint(fault.New(fault.Usage, "--live %s is not on loopback: a load test makes a router's circuits open", u.Redacted()),
			"--allow-remote if that router is there for tests")
	}
	if !l.allowRemote {
		u.Host = literally(u.Host)
	}
	return u, nil
}

const (
	defaultLimit = 2 * time.Minute
	maxLimit     = time.Hour
	topRate      = 10_000
	maxTemplate  = 64 << 10
)

// driveLive drives the router and fills in the document.
func (a *app) driveLive(ctx context.Context, o loadtestOptions, subject testSubject, scenarios []scenario.Scenario, doc *render.LoadTest) error {
	opt, err := a.liveOptions(o, subject)
	if err != nil {
		return err
	}
	doc.Live = &render.LiveTarget{URL: opt.URL.Redacted(), MaxRate: opt.MaxRate, Limit: opt.Limit.String()}
	results, stats, err := live.Run(ctx, scenarios, opt)
	doc.Scenarios = append(doc.Scenarios, results...)
	doc.Live.Requests, doc.Live.Failed = stats.Requests, stats.Failed
	var not *live.NotRouterError
	switch {
	case err == nil, ctx.Err() != nil:
	case errors.As(err, &not):
		return fault.New(fault.Environment, "%w", err)
	default:
		return fault.Hint(fault.New(fault.Environment, "%w", err), "is a router there? For practice: cbops lab serve")
	}
	if subject.config == nil && o.live.path == live.RequestPath {
		doc.Subject.Source = "tenant " + live.Tenant + " of the practice router"
	}
	return nil
}

func (a *app) liveOptions(o loadtestOptions, subject testSubject) (live.Options, error) {
	var none live.Options
	u, err := o.live.target()
	if err != nil {
		return none, err
	}
	if !(o.live.maxRate > 0 && o.live.maxRate <= topRate) {
		return none, fault.New(fault.Usage, "--max-rate %g is out of bounds, above 0 to %d a second", o.live.maxRate, topRate)
	}
	limit := o.duration
	if limit == 0 {
		limit = defaultLimit
	}
	if limit > maxLimit {
		return none, fault.New(fault.Usage, "--duration %s: a live run takes %s at most", limit, maxLimit)
	}
	if subject.config != nil && (subject.shown.Tenant == "" || subject.shown.Policy == "") {
		return none, fault.Hint(fault.New(fault.Usage, "--live with -f: which policy of the router has this config?"), "--tenant TENANT --policy POLICY")
	}
	opt := live.Options{
		URL: u, Now: a.Now, Sleep: a.Sleep, MaxRate: o.live.maxRate, Limit: limit, Seed: o.seed, Providers: o.live.providers,
		Client:  &http.Client{Transport: a.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Request: live.Request{Method: strings.ToUpper(o.live.method), Path: o.live.path, Header: http.Header{}},
		Tenant:  subject.shown.Tenant, Policy: subject.shown.Policy, Config: subject.config,
		Watch:    o.plot || a.format == string(render.SVG),
		Progress: func(s string) { a.progress("%s", s) },
	}
	if o.live.body != "" {
		raw, err := a.readRegular(o.live.body, maxTemplate)
		if err != nil {
			return none, err
		}
		if len(raw) > maxTemplate {
			return none, fault.New(fault.Usage, "%s: larger than %d KiB: not a template", o.live.body, maxTemplate>>10)
		}
		opt.Request.Body = string(raw)
	}
	if o.live.headerFile != "" {
		raw, err := a.readRegular(o.live.headerFile, maxTemplate)
		if err != nil {
			return none, err
		}
		if opt.Request.Header, err = headers(o.live.headerFile, string(raw)); err != nil {
			return none, err
		}
	}
	return opt, nil
}

// headers reads "Name: value" lines. What is in them appears in no message.
func headers(path, text string) (http.Header, error) {
	h := http.Header{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		k, v, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(k, " \t") || k == "" {
			return nil, fault.New(fault.Usage, "%s:%d:1: want a header like \"Name: value\"", path, i+1)
		}
		h.Add(k, strings.TrimSpace(v))
	}
	return h, nil
}

// liveOnly are flags that mean nothing without --live.
func (o loadtestOptions) liveOnly(changed func(string) bool) error {
	if o.live.url != "" {
		return nil
	}
	names := []string{"allow-remote", "max-rate", "provider", "request-method", "request-path", "request-body", "header-file"}
	if i := slices.IndexFunc(names, changed); i >= 0 {
		return fault.New(fault.Usage, "--%s is for --live URL", names[i])
	}
	return nil
}

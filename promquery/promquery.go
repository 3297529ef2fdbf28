// Package promquery asks a Prometheus server, or one that speaks its HTTP API:
// raw samples, ranges and instants, in bounded pieces, decoded as they arrive,
// with every warning carried up. What the server limits is asked for in smaller
// pieces; what it does not say is an error, never an empty answer. It judges
// nothing; what the answers mean is rollout/gather's. Flags, files and credentials
// are package cmd's.
package promquery

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/cbops/cbops/internal/fault"
)

// Defaults and bounds of Options.
const (
	// DefaultMaxBytes bounds one body. Decoded it takes about 60 % of that, and
	// DefaultConcurrency+1 of them are in memory at most.
	DefaultMaxBytes    = 128 << 20
	DefaultMaxSeries   = 500_000
	DefaultMaxQueries  = 10_000
	DefaultConcurrency = 4
	DefaultTimeout     = 2 * time.Minute
	DefaultTries       = 4
	// DefaultChunk is how much time one raw request covers, and DefaultPoints how
	// many steps one range request: about the same size at a scrape a minute.
	DefaultChunk  = 24 * time.Hour
	DefaultPoints = 500
	// maxPoints is Prometheus' own limit of steps in a range query.
	maxPoints = 11_000
)

// Options of a client. Zero numbers stand for the defaults above.
type Options struct {
	// URL of the server; a path before /api/v1 and query parameters are kept.
	URL string
	// Transport carries the requests. Credentials are its business.
	Transport http.RoundTripper
	// NoRedirects refuses every redirect. Otherwise one is followed on the same
	// scheme and host only.
	NoRedirects bool
	// TenantHeader goes with every request: for Mimir and Thanos.
	TenantHeader Header
	// Matchers are put on every selector.
	Matchers []Matcher
	// Now is the clock; nil leaves Answer.Elapsed and Skew unmeasured.
	Now func() time.Time
	// Sleep waits between tries; nil for a real timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Tries of one request, the first included.
	Tries int
	// MaxQueries bounds the requests that this client sends in all, retries
	// included.
	MaxQueries int
	// Concurrency bounds the requests in flight.
	Concurrency int
	// MaxBytes bounds one decoded body.
	MaxBytes int64
	// MaxSeries bounds the distinct series of one query.
	MaxSeries int
	// Timeout bounds one try; the server is told of it, in whole seconds.
	Timeout time.Duration
	// Chunk and Points size the pieces that Raw and Range ask for.
	Chunk  time.Duration
	Points int
}

// Header is an HTTP header; the zero value is none.
type Header struct{ Name, Value string }

// Sample is a value at a time in milliseconds since the Unix epoch, which is
// Prometheus' own resolution.
type Sample struct {
	T int64
	V float64
}

// Series is a labelled run of samples, ascending in time.
type Series struct {
	Labels  map[string]string
	Samples []Sample
}

// Match is a matcher: the label has one of Values, or with Not none of them.
// Values are literal, whatever they contain. Without values nothing matches; with
// Not and without values everything does.
type Match struct {
	Label  string
	Not    bool
	Values []string
	// pattern is a regular expression in place of Values.
	pattern string
}

// Query is one question.
type Query struct {
	// Name says what it is for, e.g. "transitions": in errors and in evidence.
	Name string
	// Select is the selector; metric names are a Match on "__name__". The client
	// adds its own extra matchers.
	Select []Match
	// Wrap is the expression around the selector, nil for the selector itself. An
	// expression that ignores its argument gets no extra matchers.
	Wrap func(selector string) string
	// From and To bound the answer, both included. Instant evaluates at To; there
	// From only says what stretch of time a warning is about.
	From, To time.Time
	// Step of Range.
	Step time.Duration
	// SplitBy is a label whose positive Values may be divided over several requests
	// where the server or a size limit demands it. Wrap must keep that label. With
	// "" only time is divided.
	SplitBy string
}

// Visit takes a run of samples of one series: per series in order of time, one
// run a piece. Labels and Samples are valid only during the call.
type Visit func(Series) error

// Answer is the measure of what came back; the samples themselves went to Visit.
type Answer struct {
	Name string
	// Expr is the expression with all its values, without a raw query's range.
	Expr     string
	From, To time.Time
	Step     time.Duration
	// Series counts distinct label sets, Samples what Visit was given.
	Series, Samples int
	// Requests counts what was sent, Retries the ones of them that repeated a
	// failed one; Planned is what would have been sent without any limit met.
	Requests, Planned, Retries int
	// Bytes of decoded bodies, without the server's own statistics.
	Bytes int64
	// Digest identifies the samples, whatever their order and pieces: the SHA-256,
	// in hexadecimal, over the sorted SHA-256 sums of all series, each over its labels
	// and samples. Labels are their number, then sorted by name each name and value
	// after its length, numbers as uvarints; samples as type digest has them.
	Digest string
	// Cost is the server's own count of samples it had to load; -1 if it does not say.
	Cost    int64
	Elapsed time.Duration
	// Server is the URL that answered, without credentials and query parameters.
	Server string
	// Warnings are sorted, each once. Warned says what part of time each is about.
	Warnings []string
	Warned   []Warning
	Infos    []string
}

// Warning is a server's warning about an interval, both ends included.
type Warning struct {
	From, To time.Time
	Text     string
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	opt    Options
	server string
	http   api.Client
	api    v1.API
	door   *door
	blocks sync.Pool
}

// New returns a client. It asks nothing yet; an error means that the options
// cannot be used.
func New(opt Options) (*Client, error) {
	u, err := url.Parse(opt.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "not the URL of a Prometheus server: want http://HOST:PORT or https://HOST")
	}
	if opt.Transport == nil {
		return nil, fault.New(fault.Usage, "no transport to ask Prometheus by")
	}
	if err := opt.TenantHeader.Check(); err != nil {
		return nil, err
	}
	opt.fill()
	c := &Client{opt: opt, server: bare(u), blocks: sync.Pool{New: newBlock}}
	c.door = &door{opt: opt, server: c.server, slots: make(chan struct{}, opt.Concurrency), sent: new(atomic.Int64), secrets: newSecrets(u, opt.TenantHeader)}
	c.http, err = api.NewClient(api.Config{Address: opt.URL, Client: &http.Client{Transport: c.door, CheckRedirect: c.door.redirect}})
	if err != nil {
		return nil, fault.New(fault.Usage, "not the URL of a Prometheus server")
	}
	c.api = v1.NewAPI(c.http)
	return c, nil
}

func (o *Options) fill() {
	positive(&o.Tries, DefaultTries)
	positive(&o.MaxQueries, DefaultMaxQueries)
	positive(&o.Concurrency, DefaultConcurrency)
	positive(&o.MaxBytes, DefaultMaxBytes)
	positive(&o.MaxSeries, DefaultMaxSeries)
	positive(&o.Timeout, DefaultTimeout)
	positive(&o.Chunk, DefaultChunk)
	positive(&o.Points, DefaultPoints)
	o.Points = min(o.Points, maxPoints)
	o.Chunk = max(o.Chunk.Truncate(time.Millisecond), minSpan)
	if o.Sleep == nil {
		o.Sleep = sleep
	}
}

func positive[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Server is the URL of the server, without credentials and query parameters.
func (c *Client) Server() string { return c.server }

// Matchers are those that stand on every selector, in PromQL's spelling.
func (c *Client) Matchers() []string {
	var out []string
	for _, m := range c.opt.Matchers {
		out = append(out, m.String())
	}
	return out
}

// bare is a URL fit to be shown.
func bare(u *url.URL) string {
	shown := *u
	shown.User, shown.RawQuery, shown.Fragment, shown.RawFragment = nil, "", "", ""
	return clean(shown.String(), maxText)
}

// Raw passes on the stored samples of the selector in [From, To], exactly, asked
// for as range vectors. A range selector is open on its left, so each piece begins
// where the one before it ended.
func (c *Client) Raw(ctx context.Context, q Query, visit Visit) (Answer, error) {
	if q.Wrap != nil {
		return Answer{}, fault.New(fault.Usage, "query %s: a raw query takes a selector, not an expression", q.Name)
	}
	return c.ask(ctx, q, raw, visit)
}

// Range passes on the expression's values at From, From+Step, … up to To.
func (c *Client) Range(ctx context.Context, q Query, visit Visit) (Answer, error) {
	if q.Step < time.Millisecond {
		return Answer{}, fault.New(fault.Usage, "query %s: a range query needs a step of a millisecond or more", q.Name)
	}
	return c.ask(ctx, q, ranged, visit)
}

// Instant passes on the expression's values at To, one sample a series.
func (c *Client) Instant(ctx context.Context, q Query, visit Visit) (Answer, error) {
	if q.From.IsZero() {
		q.From = q.To
	}
	return c.ask(ctx, q, instant, visit)
}

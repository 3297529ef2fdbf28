// Package promquery asks a Prometheus server: raw samples, ranges and instants,
// in bounded pieces, with every warning carried up. It judges nothing and knows no
// metric by name. What the answers mean is rollout/gather's.
package promquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/cbops/cbops/internal/fault"
)

const (
	defaultMaxBytes = 256 << 20
	defaultTimeout  = 2 * time.Minute
	// maxPoints is Prometheus' own limit of steps in a range query.
	maxPoints = 11_000
	// chunk is how much time one raw query covers.
	chunk = 24 * time.Hour
	tries = 3
)

// Options of a client.
type Options struct {
	// URL of the server; a path before /api/v1 and query parameters are kept.
	URL       string
	Transport http.RoundTripper
	// Sleep waits between tries; nil for a real timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// MaxBytes bounds one answer; 0 for 256 MiB.
	MaxBytes int64
	// Timeout bounds one query; 0 for two minutes.
	Timeout time.Duration
}

// Sample is a value at a time.
type Sample struct {
	T time.Time
	V float64
}

// Series is a labelled run of samples, ascending in time.
type Series struct {
	Labels  map[string]string
	Samples []Sample
}

// Answer is what came back. Series are sorted by their labels.
type Answer struct {
	Series   []Series
	Warnings []string
	Samples  int
	// Bytes is the size of the bodies that were read.
	Bytes int64
	// Server is the URL that answered, without credentials.
	Server string
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	api    v1.API
	opt    Options
	server string
	count  *counting
}

// New returns a client. It asks nothing yet; an error means that the URL cannot be one.
func New(opt Options) (*Client, error) {
	u, err := url.Parse(opt.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "not the URL of a Prometheus server: want http://HOST:PORT or https://HOST")
	}
	if opt.Transport == nil {
		return nil, fault.New(fault.Usage, "no transport to ask Prometheus by")
	}
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = defaultMaxBytes
	}
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	if opt.Sleep == nil {
		opt.Sleep = sleep
	}
	count := &counting{next: opt.Transport, limit: opt.MaxBytes, sleep: opt.Sleep}
	c, err := api.NewClient(api.Config{Address: opt.URL, RoundTripper: count})
	if err != nil {
		return nil, fault.Wrap(fault.Usage, fmt.Errorf("cannot use the URL of Prometheus: %w", err))
	}
	u.User, u.RawQuery = nil, ""
	return &Client{api: v1.NewAPI(c), opt: opt, server: u.String(), count: count}, nil
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

// Instant evaluates an expression that yields a vector at one instant.
func (c *Client) Instant(ctx context.Context, expr string, at time.Time) (Answer, error) {
	return c.collect(ctx, expr, []part{{at: at}})
}

// Raw returns the samples of a selector in [from, to], both ends included. It
// asks in chunks of a day. A range selector is open on its left, so each chunk
// begins where the one before it ended.
func (c *Client) Raw(ctx context.Context, selector string, from, to time.Time) (Answer, error) {
	if to.Before(from) {
		return Answer{}, fault.New(fault.Usage, "a query's interval ends before it begins")
	}
	// Prometheus keeps whole milliseconds.
	from, to = from.Truncate(time.Millisecond), to.Truncate(time.Millisecond)
	var parts []part
	for begin := from.Add(-time.Millisecond); begin.Before(to); begin = begin.Add(chunk) {
		end := begin.Add(chunk)
		if end.After(to) {
			end = to
		}
		parts = append(parts, part{at: end, expr: fmt.Sprintf("%s[%dms]", selector, end.Sub(begin).Milliseconds())})
	}
	return c.collect(ctx, selector, parts)
}

// Range evaluates an expression at from, from+step, … up to to, in pieces of at
// most 11,000 steps.
func (c *Client) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (Answer, error) {
	if step <= 0 || to.Before(from) {
		return Answer{}, fault.New(fault.Usage, "a range query needs a step above 0 and an end after its begin")
	}
	var parts []part
	for begin := from; !begin.After(to); begin = begin.Add(maxPoints * step) {
		end := begin.Add((maxPoints - 1) * step)
		if end.After(to) {
			end = to
		}
		parts = append(parts, part{r: &v1.Range{Start: begin, End: end, Step: step}})
	}
	return c.collect(ctx, expr, parts)
}

// part is one request.
type part struct {
	expr string
	at   time.Time
	r    *v1.Range
}

func (c *Client) collect(ctx context.Context, expr string, parts []part) (Answer, error) {
	m := newMerger()
	a := Answer{Server: c.server, Warnings: []string{}}
	for _, p := range parts {
		q := p.expr
		if q == "" {
			q = expr
		}
		bytes := new(int64)
		qctx, cancel := context.WithTimeout(context.WithValue(ctx, bodyKey{}, bytes), c.opt.Timeout)
		var v model.Value
		var warnings v1.Warnings
		var err error
		if p.r != nil {
			v, warnings, _, err = c.api.QueryRange(qctx, q, *p.r)
		} else {
			v, warnings, _, err = c.api.Query(qctx, q, p.at)
		}
		cancel()
		a.Bytes += *bytes
		if err != nil {
			if ctx.Err() != nil {
				return Answer{}, ctx.Err()
			}
			return Answer{}, c.classify(err)
		}
		a.Warnings = append(a.Warnings, warnings...)
		if err := m.add(v); err != nil {
			return Answer{}, fault.Hint(fault.New(fault.Environment, "%s does not answer like Prometheus: %w", c.server, err),
				"is "+c.server+" a Prometheus?")
		}
	}
	slices.Sort(a.Warnings)
	a.Warnings = slices.Compact(a.Warnings)
	var dropped int
	if a.Series, dropped = m.series(); dropped > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("%d samples of the same time contradict each other and were left out", dropped))
	}
	for _, s := range a.Series {
		a.Samples += len(s.Samples)
	}
	return a, nil
}

// classify is the one place that reads the server's words. Every outcome is an
// error of the environment: no answer is no evidence.
func (c *Client) classify(err error) error {
	var apiErr *v1.Error
	text := c.redact(err.Error())
	hint := "is " + c.server + " a Prometheus, and is it up?"
	switch {
	case errors.Is(err, errTooLarge):
		return fault.Hint(fault.New(fault.Environment, "%s: the answer is larger than %d bytes", c.server, c.opt.MaxBytes), "judge fewer tenants at once")
	case errors.As(err, &apiErr):
		detail := c.redact(firstLine(apiErr.Detail))
		switch apiErr.Type {
		case v1.ErrBadData, v1.ErrExec:
			return fault.Hint(fault.New(fault.Environment, "%s refuses a query: %s", c.server, c.redact(apiErr.Msg)), "a defect of cbops, or a server that is not Prometheus")
		case v1.ErrBadResponse:
			return fault.Hint(fault.New(fault.Environment, "%s does not answer like Prometheus: %s", c.server, c.redact(apiErr.Msg)), hint)
		}
		if detail != "" {
			text = c.redact(apiErr.Msg) + ": " + detail
		}
		return fault.Hint(fault.New(fault.Environment, "%s: %s", c.server, text), hint)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Hint(fault.New(fault.Environment, "%s: no answer within %s", c.server, c.opt.Timeout), hint)
	}
	return fault.Hint(fault.New(fault.Environment, "cannot ask %s: %s", c.server, text), hint)
}

// redact removes credentials that an error may quote from the URL.
func (c *Client) redact(s string) string {
	if u, err := url.Parse(c.opt.URL); err == nil {
		if u.User != nil {
			s = strings.ReplaceAll(s, u.User.String()+"@", "")
			s = strings.ReplaceAll(s, u.User.Username()+":***@", "") // as net/url redacts it
			if p, ok := u.User.Password(); ok && p != "" {
				s = strings.ReplaceAll(s, p, "***")
			}
		}
		if u.RawQuery != "" {
			s = strings.ReplaceAll(s, "?"+u.RawQuery, "")
		}
	}
	return s
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}

var errTooLarge = errors.New("answer too large")

type bodyKey struct{}

// counting bounds and counts bodies, and tries again what may pass: refused or
// broken connections, 429, 502, 503 and 504.
type counting struct {
	next  http.RoundTripper
	limit int64
	sleep func(context.Context, time.Duration) error
}

// RoundTrip implements http.RoundTripper.
func (t *counting) RoundTrip(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		if try > 1 && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req.Body = body
		}
		res, err := t.next.RoundTrip(req)
		wait, again := retry(res, err, try)
		if !again || try == tries || req.Context().Err() != nil || req.Body != nil && req.GetBody == nil {
			if err != nil {
				return nil, err
			}
			count, _ := req.Context().Value(bodyKey{}).(*int64)
			res.Body = &bounded{ReadCloser: res.Body, left: t.limit, count: count}
			return res, nil
		}
		if res != nil {
			_, _ = io.CopyN(io.Discard, res.Body, 1<<16) // so that the connection can be used again
			_ = res.Body.Close()
		}
		if err := t.sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

func retry(res *http.Response, err error, try int) (time.Duration, bool) {
	wait := time.Duration(try*try) * 250 * time.Millisecond
	if err != nil {
		return wait, true
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 {
			wait = time.Duration(min(s, 30)) * time.Second
		}
		return wait, true
	}
	return 0, false
}

type bounded struct {
	io.ReadCloser
	left  int64
	count *int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.count != nil {
		*b.count += int64(n)
	}
	return n, err
}

// Matcher is a label matcher for any of the values, whatever they contain.
func Matcher(name string, values ...string) string { return matcher(name, "=", "=~", values) }

// NotMatcher is the opposite of Matcher.
func NotMatcher(name string, values ...string) string { return matcher(name, "!=", "!~", values) }

func matcher(name, one, many string, values []string) string {
	if len(values) == 0 {
		return name + one + strconv.Quote("\x00") // no value: nothing matches it, not everything without the label
	}
	if len(values) == 1 {
		return name + one + strconv.Quote(values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return name + many + strconv.Quote(strings.Join(quoted, "|"))
}

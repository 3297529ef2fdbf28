package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cbops/cbops/internal/fault"
)

// AdminOptions say how to reach the admin API of one node.
type AdminOptions struct {
	// Name is how the operator knows the node, URL where its API is; paths below
	// /admin are added.
	Name, URL string
	Transport http.RoundTripper
	// Token is sent as a bearer, APIKey as x-api-key; they appear in no error.
	Token, APIKey string
	// Timeout bounds one request; 0 means 10 seconds.
	Timeout time.Duration
	// Parallel is how many requests go on at once; 0 means 16.
	Parallel int
	// Now is the clock, Sleep waits between tries.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
}

// AdminClient speaks the admin API of one node (admin.openapi.yaml). Every request
// may be made again: what failed on the way is tried anew until the context ends
// or a dozen tries are spent. It is safe for concurrent use.
type AdminClient struct {
	opt  AdminOptions
	base *url.URL
	http *http.Client

	mu    sync.Mutex
	asked bool
	node  APINode
	err   error

	// gone is why the node was found unreachable, at wentAt.
	goneMu sync.Mutex
	gone   error
	wentAt time.Time
}

const (
	adminTimeout  = 10 * time.Second
	adminParallel = 16
	adminTries    = 12
	// A node that has not answered yet gets less: nobody shall wait long to learn
	// that it is not there.
	firstTries   = 4
	firstTimeout = 4 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
	// A node that went away is tried again only so often: hundreds of requests must
	// not each wait for it.
	goneFor = 5 * time.Second
	// maxAnswer bounds one answer, in bytes.
	maxAnswer = 64 << 20
)

// NewAdminClient makes a client; it asks nothing yet.
func NewAdminClient(opt AdminOptions) (*AdminClient, error) {
	u, err := url.Parse(opt.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "node %s: not the URL of an admin API: want http://HOST:PORT or https://HOST", opt.Name)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.Hint(fault.New(fault.Usage, "node %s: the URL of an admin API is scheme, host and path alone", opt.Name),
			"a secret stands in a file: router.http.tokenFile or apiKeyFile in the plan")
	}
	if opt.Timeout <= 0 || opt.Timeout > adminTimeout {
		opt.Timeout = adminTimeout
	}
	if opt.Parallel <= 0 {
		opt.Parallel = adminParallel
	}
	c := &AdminClient{opt: opt, base: u, http: &http.Client{Transport: opt.Transport,
		// A redirect would carry the secret to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	return c, nil
}

// StatusError is a refusal of the node.
type StatusError struct {
	What   string
	Status int
	Detail string
}

// Error implements error.
func (s *StatusError) Error() string {
	msg := fmt.Sprintf("%s: the node says %d %s", s.What, s.Status, http.StatusText(s.Status))
	if s.Detail != "" {
		msg += ": " + s.Detail
	}
	return msg
}

// damagedError is an answer that came and is of no use: another may be.
type damagedError struct{ err error }

func (d *damagedError) Error() string { return d.err.Error() }

func (d *damagedError) Unwrap() error { return d.err }

// call is one request and what to do with its answer.
type call struct {
	what, method, path string
	query              url.Values
	header             http.Header
	body               []byte
	// read takes the answer of a 2xx; an error means that it is damaged, and the
	// request is made again.
	read func(h http.Header, body []byte) error
}

// do makes a request until it is answered. The error is an UnreachableError where
// no try was, and a StatusError where the node refused.
func (c *AdminClient) do(ctx context.Context, x call) error {
	tries, timeout := adminTries, c.opt.Timeout
	c.goneMu.Lock()
	gone := c.gone
	if gone != nil {
		if c.opt.Now().Sub(c.wentAt) < goneFor {
			c.goneMu.Unlock()
			return unreachable("%s: not tried, the node does not answer: %w", x.what, gone)
		}
		c.wentAt = c.opt.Now() // this one tries; the others go on waiting
		tries, timeout = 1, min(firstTimeout, timeout)
	}
	c.goneMu.Unlock()
	err := c.try(ctx, x, tries, timeout)
	var un *UnreachableError
	c.goneMu.Lock()
	defer c.goneMu.Unlock()
	if errors.As(err, &un) && ctx.Err() == nil {
		if c.gone == nil {
			c.gone = un.Err
		}
		c.wentAt = c.opt.Now()
	} else if err == nil {
		c.gone = nil
	}
	return err
}

func (c *AdminClient) try(ctx context.Context, x call, tries int, timeout time.Duration) error {
	pause := firstPause
	var last error
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			if last == nil || errors.Is(ctx.Err(), context.Canceled) {
				return ended(ctx)
			}
			return unreachable("%s: %w; last: %w", x.what, context.Cause(ctx), last)
		}
		again, err := c.once(ctx, x, timeout)
		if err == nil || !again {
			return err
		}
		last = err
		if n == tries {
			break
		}
		if serr := c.opt.Sleep(ctx, pause); serr != nil {
			continue // the loop says what ended it
		}
		pause = min(2*pause, longestPause)
	}
	var status *StatusError
	var damaged *damagedError
	if errors.As(last, &status) || errors.As(last, &damaged) {
		return fmt.Errorf("%w (%d tries)", last, tries) // the node is there, and answers so
	}
	return unreachable("%s: no answer in %d tries: %w", x.what, tries, last)
}

// once makes a request once. again says that another try may succeed.
func (c *AdminClient) once(ctx context.Context, x call, timeout time.Duration) (again bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + x.path
	u.RawQuery = x.query.Encode()
	req, err := http.NewRequestWithContext(ctx, x.method, u.String(), bytes.NewReader(x.body))
	if err != nil {
		return false, fmt.Errorf("%s: %w", x.what, err)
	}
	for k, v := range x.header {
		req.Header[k] = v
	}
	switch {
	case c.opt.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.opt.Token)
	case c.opt.APIKey != "":
		req.Header.Set("x-api-key", c.opt.APIKey)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return true, plainCause(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read to its end, or of no use
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return true, &damagedError{fmt.Errorf("%s: the answer is cut short: %w", x.what, plainCause(ctx, err))}
	}
	if len(body) > maxAnswer {
		return false, fmt.Errorf("%s: the answer is larger than %d MiB", x.what, maxAnswer>>20)
	}
	if resp.StatusCode/100 != 2 {
		status := &StatusError{What: x.what, Status: resp.StatusCode}
		var p APIProblem
		if json.Unmarshal(body, &p) == nil {
			status.Detail = p.Error[:min(len(p.Error), 300)]
		}
		return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented, status
	}
	if x.read == nil {
		return false, nil
	}
	if err := x.read(resp.Header, body); err != nil {
		return true, &damagedError{fmt.Errorf("%s: the answer cannot be used: %w", x.what, err)}
	}
	return false, nil
}

// plainCause takes URL and method off an error, and names a deadline.
func plainCause(ctx context.Context, err error) error {
	if ctx.Err() != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// into reads a JSON answer.
func into(v any) func(http.Header, []byte) error {
	return func(_ http.Header, body []byte) error { return json.Unmarshal(body, v) }
}

// Node asks who the node is and what it can do; once, unless the first answer was
// only interrupted.
func (c *AdminClient) Node(ctx context.Context) (APINode, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		return c.node, c.err
	}
	var n APINode
	err := c.try(ctx, call{what: "node", method: http.MethodGet, path: "/admin/node", read: into(&n)}, firstTries, min(firstTimeout, c.opt.Timeout))
	if err != nil && ctx.Err() != nil {
		return n, err
	}
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusNotFound:
			err = fault.Hint(fmt.Errorf("%w: it serves no admin API as cbops needs it", err), "docs/routers/http.md says what it has to serve")
		case http.StatusUnauthorized, http.StatusForbidden:
			err = fault.Hint(err, "the secret is read from router.http.tokenFile or apiKeyFile, or CBOPS_ADMIN_TOKEN, CBOPS_ADMIN_API_KEY")
		}
	}
	c.asked, c.node, c.err = true, n, err
	return n, err
}

// can asks for a capability.
func (c *AdminClient) can(ctx context.Context, what string) error {
	n, err := c.Node(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(n.Capabilities, what) {
		return fmt.Errorf("the node does not offer %q: %w", what, errors.ErrUnsupported)
	}
	return nil
}

// line is a request as one would type it; the secret is left to the shell.
func (c *AdminClient) line(method, path string, extra string) string {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	s := "curl -f"
	if method != http.MethodGet {
		s += " -X " + method
	}
	switch {
	case c.opt.Token != "":
		s += ` -H "Authorization: Bearer $CBOPS_ADMIN_TOKEN"`
	case c.opt.APIKey != "":
		s += ` -H "x-api-key: $CBOPS_ADMIN_API_KEY"`
	}
	return s + extra + " " + u.String()
}

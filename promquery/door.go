package promquery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	firstWait = 500 * time.Millisecond
	longWait  = 30 * time.Second
	// maxRetryAfter caps what a server may ask for.
	maxRetryAfter = time.Minute
	// maxErrorBody bounds what is read of an answer that is no success.
	maxErrorBody = 64 << 10
)

// door is the one way out: every request of a client passes here. Beneath
// client_golang's api.Client it counts and bounds requests, tries again what may
// pass, and reads each body whole before it lets go: a query's into a piece as it
// arrives, any other into memory. So a body that breaks off is one more failure to
// try again, and leaves nothing behind. Only the api.Client above sees responses,
// so the loop is here; a library's would bring its own timers and trust any
// Retry-After.
type door struct {
	opt     Options
	server  string
	slots   chan struct{}
	sent    *atomic.Int64
	getOnly atomic.Bool
	secrets *secrets
}

// exchange travels with a request's context: what is to become of the answer, and
// what became of the request.
type exchange struct {
	// piece makes room for a query's answer, anew for every try; nil for other
	// requests.
	piece func() *piece
	kind  kind

	got               *piece
	requests, retries int
	bytes             int64
	status            int
	header            http.Header
	// sent and received are around the last try, by the client's clock.
	sent, received time.Time
	posted         int // status of the last POST
}

type exchangeKey struct{}

func (d *door) now() time.Time {
	if d.opt.Now == nil {
		return time.Time{}
	}
	return d.opt.Now()
}

// The reasons for which a request has no answer.
var (
	errTooLarge = errors.New("answer too large")
	errBudget   = errors.New("too many requests")
	errTimeout  = errors.New("no answer in time")
)

// redirectError is a redirect that is not followed: the server's own host is the
// only one that may see credentials and questions.
type redirectError struct{ to string }

func (e *redirectError) Error() string { return "redirected to " + e.to }

func (d *door) redirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	same := req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host && req.Method == first.Method
	if d.opt.NoRedirects || !same || len(via) > 3 {
		return &redirectError{d.secrets.hide(bare(req.URL))}
	}
	return nil
}

// RoundTrip implements http.RoundTripper. Its error is one of the above, what a
// body was not, or the network's.
func (d *door) RoundTrip(req *http.Request) (*http.Response, error) {
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		x = &exchange{}
	}
	defer func() {
		if req.Body != nil {
			_ = req.Body.Close() // only read
		}
	}()
	for try := 1; ; try++ {
		out, err := d.prepare(req)
		if err != nil {
			return nil, err
		}
		if try > 1 {
			x.retries++
		}
		res, err := d.once(out, x)
		if ctx := req.Context(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if out.Method == http.MethodPost && res != nil {
			x.posted = res.StatusCode
		}
		if try >= d.opt.Tries || !passing(res, err) {
			if err == nil && res.StatusCode == http.StatusOK && out.Method == http.MethodGet && (x.posted == http.StatusForbidden || x.posted == http.StatusMethodNotAllowed || x.posted == http.StatusNotImplemented) {
				d.getOnly.Store(true) // whoever stands before the server takes no POST
			}
			return res, err
		}
		if err := d.opt.Sleep(req.Context(), d.wait(res, try)); err != nil {
			return nil, err
		}
	}
}

// prepare makes the request of one try: with a body of its own, the tenant header,
// and as a GET where the server is known to refuse a POST.
func (d *door) prepare(req *http.Request) (*http.Request, error) {
	out := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	if d.opt.TenantHeader.Name != "" {
		out.Header.Set(d.opt.TenantHeader.Name, d.opt.TenantHeader.Value)
	}
	if d.getOnly.Load() && out.Method == http.MethodPost && out.Body != nil {
		form, err := io.ReadAll(out.Body)
		if err != nil {
			return nil, err
		}
		out.Method, out.Body, out.GetBody, out.ContentLength = http.MethodGet, nil, nil, 0
		out.URL.RawQuery = string(form)
		out.Header.Del("Content-Type")
	}
	return out, nil
}

// once is one try: it sends, and reads the body.
func (d *door) once(req *http.Request, x *exchange) (*http.Response, error) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if d.sent.Add(1) > int64(d.opt.MaxQueries) {
		return nil, errBudget
	}
	x.requests++
	x.got, x.status, x.header = nil, 0, nil
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(req.Context(), d.secrets.trace()), d.opt.Timeout)
	defer cancel()
	x.sent = d.now()
	res, err := d.opt.Transport.RoundTrip(req.WithContext(ctx))
	x.received = d.now()
	if err != nil {
		if ctx.Err() != nil && req.Context().Err() == nil {
			err = errTimeout
		}
		return nil, err
	}
	x.status, x.header = res.StatusCode, res.Header
	body := &body{r: res.Body, left: d.opt.MaxBytes}
	if err = d.read(res, body, x); err != nil && ctx.Err() != nil && req.Context().Err() == nil {
		err = errTimeout
	}
	x.bytes += body.n
	if x.got != nil {
		x.bytes -= x.got.stats // it holds how long things took: other figures every time
	}
	_ = res.Body.Close() // read, or given up
	if err != nil {
		return nil, err
	}
	return res, nil
}

// success is what client_golang is told once a piece holds the answer.
const success = `{"status":"success","data":{"resultType":"vector","result":[]}}`

func (d *door) read(res *http.Response, body *body, x *exchange) error {
	var content []byte
	switch {
	case res.StatusCode == http.StatusOK && x.piece != nil:
		p := x.piece()
		if err := decode(body, x.kind, p); err != nil {
			p.samples.release()
			return err
		}
		x.got = p
		content = []byte(success)
	default:
		limit := int64(maxErrorBody)
		if res.StatusCode == http.StatusOK {
			limit = d.opt.MaxBytes
		}
		var err error
		if content, err = io.ReadAll(io.LimitReader(body, limit+1)); err != nil {
			if errors.Is(err, errTooLarge) {
				return err
			}
			return &readError{err}
		}
		if int64(len(content)) > limit {
			if res.StatusCode == http.StatusOK {
				return errTooLarge
			}
			content = content[:limit]
		}
	}
	_ = res.Body.Close() // replaced
	res.Body, res.ContentLength, res.Uncompressed = io.NopCloser(bytes.NewReader(content)), int64(len(content)), false
	return nil
}

// passing: the failure may pass by itself. Certificates, redirects and bodies that
// are no answers do not; neither does a query that takes too long, which the
// server says with 503.
func passing(res *http.Response, err error) bool {
	var broke *readError
	switch {
	case err == nil:
		return res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented && !timedOut(res)
	case errors.Is(err, errTooLarge):
		return false
	case errors.Is(err, errTimeout), errors.Is(err, errCut), errors.As(err, &broke):
		return true
	}
	return network(err)
}

// timedOut reads the body of a 503 and puts it back.
func timedOut(res *http.Response) bool {
	b, err := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(b))
	kind, _ := stated(b)
	return err == nil && kind == "timeout"
}

// wait is how long to wait after a try: what the server asks for, else twice as
// long each time.
func (d *door) wait(res *http.Response, try int) time.Duration {
	if res != nil {
		if w, ok := retryAfter(res.Header, d.now()); ok {
			return min(w, maxRetryAfter)
		}
	}
	return min(firstWait<<min(try-1, 10), longWait)
}

// retryAfter reads seconds or a date. A date is held against the server's own
// clock where it tells it.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(s, 0), 3600)) * time.Second, s >= 0
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if now.IsZero() {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}

// body counts and bounds what is read of a body.
type body struct {
	r       io.Reader
	n, left int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than is allowed tells "too large" from "just fits".
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	b.n += int64(n)
	if b.left -= int64(n); b.left < 0 {
		return n, errTooLarge
	}
	return n, err
}

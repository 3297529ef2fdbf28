package promquery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/cbops/cbops/internal/fault"
)

// unavailable marks an error after which another server may be asked: this one
// could not be reached, did not answer in time, or could not serve anybody.
type unavailable struct{ err error }

func (e *unavailable) Error() string { return e.err.Error() }
func (e *unavailable) Unwrap() error { return e.err }

// IsUnavailable reports whether an error is the server's unavailability: refused
// or broken connections, names that do not resolve, timeouts, 5xx, and 429 for
// ever. A refused query is not, nor is the caller's own cancellation.
func IsUnavailable(err error) bool {
	var u *unavailable
	return errors.As(err, &u)
}

// refused marks an error of the query itself: the server understood the request, and
// will not evaluate this expression.
type refused struct{ err error }

func (e *refused) Error() string { return e.err.Error() }
func (e *refused) Unwrap() error { return e.err }

// IsRefused reports whether the server refused the query itself: an expression that
// it cannot parse, evaluate, or bear even in the smallest piece.
func IsRefused(err error) bool {
	var r *refused
	return errors.As(err, &r)
}

// ErrNotAvailable says that the server has no such endpoint, or shows it to
// nobody: as Thanos and Mimir have no status pages.
var ErrNotAvailable = errors.New("the server does not offer this")

// network reports whether an error of the transport is the network's, and not that
// of a certificate, a file of credentials or a TLS alert: those stay.
func network(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &op):
		return op.Op != "remote error" // crypto/tls' word for an alert
	case errors.As(err, &dns), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return true
	}
	for _, e := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	// The HTTP client has errors of its own for this, without types.
	return strings.Contains(err.Error(), "server closed idle connection") || strings.Contains(err.Error(), "stream error")
}

// stated digs errorType and error out of a body that may be Prometheus' JSON.
func stated(body []byte) (kind, text string) {
	var e struct{ ErrorType, Error string }
	if json.Unmarshal(body, &e) != nil {
		return "", ""
	}
	return e.ErrorType, e.Error
}

// refusal is what a server said in place of an answer.
type refusal struct {
	status     int
	kind, text string // in Prometheus' terms, or client_golang's and the body
	own        bool   // kind and text are the server's own
}

func refusalOf(err error, x *exchange) (refusal, bool) {
	r := refusal{status: x.status}
	var a *apiError
	var v *v1.Error
	switch {
	case errors.As(err, &a):
		r.kind, r.text, r.own = a.Type, a.Msg, true
	case errors.As(err, &v):
		r.kind, r.text, r.own = string(v.Type), v.Msg, v.Detail == "" && v.Type != v1.ErrBadResponse
		if v.Detail != "" {
			r.text = v.Detail
			if kind, text := stated([]byte(v.Detail)); kind != "" || text != "" {
				r.kind, r.text, r.own = kind, text, true
			}
		}
	default:
		return r, false
	}
	return r, true
}

// limit says what an answer was too big for, and so how to ask in smaller pieces.
type limit int

const (
	noLimit limit = iota
	// timeFirst: less time, then fewer values.
	timeFirst
	// valuesFirst: fewer values, then less time.
	valuesFirst
	// spanTooLong: less time; fewer values do not help.
	spanTooLong
	// textTooLong: fewer values; less time does not help.
	textTooLong
)

// limitOf is the one place that knows how servers say "too much". Texts are those
// of Prometheus, Thanos, Mimir (and Cortex) and VictoriaMetrics, in lower case.
func limitOf(r refusal) limit {
	switch r.status {
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return textTooLong
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return noLimit
	}
	text := strings.ToLower(bounded(r.text))
	for _, known := range []struct {
		text string
		is   limit
	}{
		{"expanded matching", textTooLong}, // Thanos' store, when "exceeds" or "exceeded" follows: below
		{"too long query", textTooLong},    // VictoriaMetrics -search.maxQueryLen
		{"query too long", textTooLong},
		{"err-mimir-max-query-expression-size-bytes", textTooLong},
		{"expression too large", textTooLong}, // Go's regular expressions
		{"request body too large", textTooLong},
		{"too many samples", timeFirst},              // Prometheus, Thanos: would load, would read
		{"exceeded maximum resolution", spanTooLong}, // Prometheus: 11,000 points
		{"search.maxsamplesper", timeFirst},          // VictoriaMetrics, a query and a series
		{"search.maxpointspertimeseries", spanTooLong},
		{"search.maxmemoryperquery", timeFirst},
		{"not enough memory for processing", timeFirst},
		{"search.maxexportduration", spanTooLong},
		{"exceeded samples limit", timeFirst}, // Thanos
		{"exceeded chunks limit", timeFirst},
		{"exceeded bytes limit", timeFirst},
		{"the query time range exceeds the limit", spanTooLong}, // Mimir, Cortex
		{"err-mimir-max-query-length", spanTooLong},
		{"err-mimir-max-total-query-length", spanTooLong},
		{"err-mimir-max-chunks-per-query", timeFirst},
		{"err-mimir-max-chunks-bytes-per-query", timeFirst},
		{"err-mimir-max-estimated-", timeFirst},
		{"err-mimir-max-in-memory-samples-per-query", timeFirst},
		{"max number of chunks limit", timeFirst},
		{"exceeded series limit", valuesFirst},
		{"err-mimir-max-series-per-query", valuesFirst},
		{"max number of series limit", valuesFirst},
		{"the number of matching timeseries exceeds", valuesFirst}, // VictoriaMetrics
		{"the number of matching unique timeseries exceeds", valuesFirst},
	} {
		if strings.Contains(text, known.text) && (known.text != "expanded matching" || strings.Contains(text, "exceed")) {
			return known.is
		}
	}
	if r.kind == "timeout" {
		return timeFirst // the query itself took too long
	}
	return noLimit
}

// explain turns what went wrong with a request into an error for a person. Every
// outcome is an error of the environment: no answer is no evidence.
func (c *Client) explain(ctx context.Context, what string, x *exchange, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s := c.server
	up := "is " + s + " a Prometheus, and is it up?"
	fail := func(hint, format string, args ...any) error {
		return fault.Hint(fault.New(fault.Environment, "%s: %s", what, fmt.Sprintf(format, args...)), hint)
	}
	away := func(format string, args ...any) error { return &unavailable{fail(up, format, args...)} }

	var moved *redirectError
	var many *tooManySeries
	var broke *readError
	switch {
	case errors.Is(err, errBudget):
		return fail("raise prometheus.limits.queries in the plan, or judge fewer tenants at once", "%s was asked %d times, the most that is allowed", s, c.opt.MaxQueries)
	case errors.As(err, &moved):
		return fail("give that URL itself, if it is the right one", "%s sends elsewhere, to %s", s, moved.to)
	case errors.As(err, &many):
		return fail("raise prometheus.limits.series in the plan, or judge fewer tenants at once", "%s answers with %s", s, many)
	case errors.Is(err, errTooLarge):
		return fail("raise prometheus.limits.bytes in the plan, or judge fewer tenants at once", "%s: an answer of more than %d bytes, in the smallest piece that can be asked for", s, c.opt.MaxBytes)
	case errors.Is(err, errTimeout):
		return away("%s: no answer within %s", s, c.opt.Timeout)
	}
	if r, ok := refusalOf(err, x); ok {
		text := c.door.secrets.words(r.text)
		switch {
		case limitOf(r) == timeFirst && r.kind == "timeout":
			return away("%s: the query takes too long even in the smallest piece: %s", s, text)
		case limitOf(r) != noLimit:
			return &refused{fail("raise the limit on the server, or judge fewer tenants at once", "%s refuses the query even in the smallest piece: %s", s, text)}
		case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
			return fail("--prometheus-config FILE holds credentials, see docs/prometheus.md", "%s wants other credentials: %d %s: %s", s, r.status, http.StatusText(r.status), text)
		case r.status == http.StatusTooManyRequests:
			return away("%s has no time for us: 429 after %d tries: %s", s, c.opt.Tries, text)
		case r.status >= 500 && r.status != http.StatusNotImplemented:
			return away("%s: %d %s: %s", s, r.status, http.StatusText(r.status), text)
		case r.own && (r.status == http.StatusOK || r.status == http.StatusBadRequest || r.status == http.StatusUnprocessableEntity):
			return &refused{fail("a defect of cbops, or a server that is not Prometheus", "%s refuses the query: %s", s, text)}
		}
		return fail(up, "%s does not answer like Prometheus: %d %s: %s", s, r.status, http.StatusText(r.status), text)
	}
	text := c.door.secrets.words(err.Error())
	switch {
	case errors.As(err, &broke):
		return away("%s: %s", s, text)
	case errors.Is(err, errOutside):
		return fail("VictoriaMetrics moves times unless asked not to: add ?nocache=1 to the URL", "%s answers with %s", s, err)
	case x.status/100 == 2:
		return fail(up, "%s does not answer like Prometheus: %s", s, text)
	case network(err):
		return away("cannot ask %s: %s", s, text)
	}
	return fail("see docs/prometheus.md", "cannot ask %s: %s", s, text)
}

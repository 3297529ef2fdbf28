package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cbops/cbops/breaker/scenario"
)

// Request says how a request to the router looks. The zero value is the practice
// router's.
type Request struct {
	// Method and Path; "" are POST and RequestPath.
	Method, Path string
	// Body is a template in which {tenant} {policy} {provider} {outcome} {ask}
	// {latency_ms} are replaced by JSON-escaped values; "" is the practice router's.
	Body string
	// Header goes with every request, metrics included.
	Header http.Header
}

// practiceBody is what the practice router reads; see docs/lab.md.
const practiceBody = `{"tenant_id":"{tenant}","policy_id":"{policy}","provider_id":"{provider}","ask":{ask},"outcome":"{outcome}","latency_ms":{latency_ms}}`

func (r Request) decorate(req *http.Request) {
	for k, vs := range r.Header {
		for _, v := range vs {
			req.Header.Add(k, v)
		}
	}
}

func (r Request) build(ctx context.Context, d *driver, p part, ask bool, o scenario.Outcome, latency time.Duration) (*http.Request, error) {
	method, path, body := r.Method, r.Path, r.Body
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = RequestPath
	}
	if body == "" {
		body = practiceBody
	}
	body = strings.NewReplacer("{tenant}", escaped(p.tenant), "{policy}", escaped(p.policyID), "{provider}", escaped(p.provider),
		"{outcome}", escaped(string(o)), "{ask}", fmt.Sprint(ask), "{latency_ms}", fmt.Sprint(latency.Milliseconds())).Replace(body)
	req, err := http.NewRequestWithContext(ctx, method, d.URL.JoinPath(path).String(), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot make a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	r.decorate(req)
	return req, nil
}

// escaped is a text as it stands between the quotes of a JSON string.
func escaped(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // cannot happen: a string
		return ""
	}
	return string(bytes.Trim(b, `"`))
}

// send sends one request and waits for the answer, whatever it is: which requests
// were denied, and what was counted, is read from the metrics. It reports false
// where no answer came; an error means that this is no router's endpoint.
func (d *driver) send(ctx context.Context, p part, ask bool, o scenario.Outcome, latency time.Duration) (bool, error) {
	if err := d.pace.wait(ctx); err != nil {
		return false, err
	}
	d.requests.Add(1)
	ctx, cancel := context.WithTimeout(ctx, latency+answerWithin)
	defer cancel()
	req, err := d.Request.build(ctx, d, p, ask, o, latency)
	if err != nil {
		return false, err
	}
	resp, err := d.Client.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return false, context.Canceled
		}
		d.failed.Add(1)
		return false, nil
	}
	defer func() { _ = resp.Body.Close() }() // only read
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	switch c := resp.StatusCode; {
	case c == http.StatusUnauthorized || c == http.StatusForbidden:
		return false, fmt.Errorf("%s refuses requests: %s", d.URL.Redacted(), resp.Status)
	case c == http.StatusTooManyRequests:
		d.failed.Add(1)
		return false, nil
	case c >= 300 && c < 500:
		return false, d.notRouter("%s %s answered %s", req.Method, req.URL.Path, resp.Status)
	}
	return true, nil
}

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cbops/cbops/internal/fault"
)

// GrafanaRequest turns the address of a dashboard, as a browser shows it
// (…/d/UID/slug, …/d-solo/UID) or as the API has it (…/api/dashboards/uid/UID), into
// the request for its JSON. A path before that and orgId are kept, credentials in the
// address become basic authentication, everything else of the query is dropped.
func GrafanaRequest(ctx context.Context, address string) (*http.Request, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Usage, "not the address of a dashboard: want https://HOST/d/UID")
	}
	base, uid := "", ""
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	for i, part := range parts {
		switch rest := parts[i+1:]; {
		case (part == "d" || part == "d-solo") && len(rest) >= 1 && len(rest) <= 2:
			base, uid = strings.Join(parts[:i], "/"), rest[0]
		case part == "api" && len(rest) == 3 && rest[0] == "dashboards" && rest[1] == "uid":
			base, uid = strings.Join(parts[:i], "/"), rest[2]
		}
		if uid != "" {
			break
		}
	}
	if !validUID(uid) {
		return nil, fault.Hint(fault.New(fault.Usage, "not the address of a dashboard: its path is neither …/d/UID nor …/api/dashboards/uid/UID"),
			"open the dashboard in Grafana and copy the address, or save its JSON to a file")
	}
	api := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + strings.TrimPrefix(base+"/api/dashboards/uid/"+uid, "/")}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Usage, "not the address of a dashboard: want https://HOST/d/UID")
	}
	req.Header.Set("Accept", "application/json")
	if org := u.Query().Get("orgId"); org != "" && len(org) < 20 && strings.Trim(org, "0123456789") == "" {
		req.Header.Set("X-Grafana-Org-Id", org)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	return req, nil
}

// validUID is Grafana's rule: at most 40 of letters, digits, - and _.
func validUID(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return s != "" && len(s) <= 40 && strings.Trim(s, allowed) == ""
}

// FetchDashboard asks Grafana for the dashboard at an address, once, by the given
// transport: it follows no redirect, and reads a bounded answer. Every failure is one
// of the environment, but for an address that is none.
func FetchDashboard(ctx context.Context, rt http.RoundTripper, address string) ([]byte, error) {
	req, err := GrafanaRequest(ctx, address)
	if err != nil {
		return nil, err
	}
	where := req.URL.String() // without credentials: they are a header
	res, err := rt.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.Hint(fault.New(fault.Environment, "cannot ask %s: %s", where, oneLine(err.Error())), "is this Grafana, and is it up?")
	}
	defer func() { _ = res.Body.Close() }() // read to its end or given up
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code >= 300 && code < 400:
		return nil, fault.Hint(fault.New(fault.Environment, "%s answers %d: it asks for a login", where, code),
			"give the token of a service account, or save the dashboard's JSON to a file")
	case code == http.StatusNotFound:
		return nil, fault.Hint(fault.New(fault.Environment, "%s answers 404: no such dashboard, or not for this login", where), "copy the address from the browser")
	case code != http.StatusOK:
		return nil, fault.New(fault.Environment, "%s answers %d", where, code)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxDashboardBytes+1))
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.New(fault.Environment, "the answer of %s broke off: %s", where, oneLine(err.Error()))
	}
	if len(body) > MaxDashboardBytes {
		return nil, fault.New(fault.Environment, "the answer of %s is larger than %d bytes", where, MaxDashboardBytes)
	}
	if len(body) == 0 || body[0] != '{' && body[0] != ' ' && body[0] != '\n' {
		return nil, fault.Hint(fault.Wrap(fault.Environment, errors.New(where+" does not answer with JSON")), fmt.Sprintf("is %s://%s a Grafana?", req.URL.Scheme, req.URL.Host))
	}
	return body, nil
}

package doctor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cbops/cbops/internal/fault"
)

func TestGrafanaRequest(t *testing.T) {
	for address, want := range map[string]string{
		"https://g.example/d/abc-1_X/circuit-breaker":                     "https://g.example/api/dashboards/uid/abc-1_X",
		"https://g.example/d/abc":                                         "https://g.example/api/dashboards/uid/abc",
		"https://g.example/d-solo/abc/slug?panelId=2":                     "https://g.example/api/dashboards/uid/abc",
		"http://h:3000/grafana/d/abc/slug?orgId=7&var-tenant_id=t-acme":   "http://h:3000/grafana/api/dashboards/uid/abc org 7",
		"https://g.example/api/dashboards/uid/abc":                        "https://g.example/api/dashboards/uid/abc",
		"https://g.example/sub/path/api/dashboards/uid/abc/":              "https://g.example/sub/path/api/dashboards/uid/abc",
		"https://user:secret@g.example/d/abc?orgId=1;drop":                "https://g.example/api/dashboards/uid/abc login",
		"https://g.example/d/" + strings.Repeat("x", 41):                  "",
		"https://g.example/d/..":                                          "",
		"https://g.example/d/abc/slug/more":                               "",
		"https://g.example/dashboards":                                    "",
		"https://g.example/":                                              "",
		"file:///d/abc":                                                   "",
		"g.example/d/abc":                                                 "",
		"https://g.example/d/abc\r\nX-Evil: 1":                            "",
		"https://g.example/api/dashboards/uid/../../admin":                "",
		"https://g.example/public-dashboards/0123456789abcdef0123456789a": "",
	} {
		req, err := GrafanaRequest(t.Context(), address)
		if want == "" {
			if err == nil || fault.CodeOf(err) != fault.Usage {
				t.Errorf("%q: %v, %v", address, req, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", address, err)
			continue
		}
		got := req.URL.String()
		if org := req.Header.Get("X-Grafana-Org-Id"); org != "" {
			got += " org " + org
		}
		if user, password, ok := req.BasicAuth(); ok && user == "user" && password == "secret" {
			got += " login"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}

func TestFetchDashboard(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/dashboards/uid/good", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"dashboard": {"uid": "good", "title": "T", "panels": []}, "meta": {}}`)
	})
	mux.HandleFunc("/api/dashboards/uid/login", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
	mux.HandleFunc("/api/dashboards/uid/forbidden", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/api/dashboards/uid/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	mux.HandleFunc("/api/dashboards/uid/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"dash`)
	})
	mux.HandleFunc("/api/dashboards/uid/huge", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{")
		for range 5 << 10 {
			_, _ = io.WriteString(w, strings.Repeat(" ", 1024))
		}
	})
	mux.HandleFunc("/api/dashboards/uid/ill", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	server := httptest.NewServer(mux)
	defer server.Close()
	body, err := FetchDashboard(t.Context(), http.DefaultTransport, server.URL+"/d/good/t")
	if err != nil {
		t.Fatal(err)
	}
	if d := parsedDashboard(t, string(body)); d.UID != "good" {
		t.Errorf("%+v", d)
	}
	for uid, want := range map[string]string{
		"login":     "answers 302: it asks for a login",
		"forbidden": "answers 403: it asks for a login",
		"html":      "does not answer with JSON",
		"broken":    "broke off",
		"huge":      "is larger than 4194304 bytes",
		"ill":       "answers 502",
		"absent":    "answers 404: no such dashboard",
	} {
		_, err := FetchDashboard(t.Context(), http.DefaultTransport, server.URL+"/d/"+uid)
		if err == nil || !strings.Contains(err.Error(), want) || fault.CodeOf(err) != fault.Environment {
			t.Errorf("%s: %v\nwant %s", uid, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FetchDashboard(ctx, http.DefaultTransport, server.URL+"/d/good"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	server.Close()
	_, err = FetchDashboard(t.Context(), http.DefaultTransport, strings.Replace(server.URL, "http://", "http://user:s3cret@", 1)+"/d/good")
	if err == nil || strings.Contains(err.Error(), "s3cret") || len(fault.HintsOf(err)) == 0 {
		t.Errorf("a server that is gone: %v", err)
	}
}

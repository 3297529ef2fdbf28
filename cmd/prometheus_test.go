package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/rollout/plan"
)

func noSleep(context.Context, time.Duration) error { return nil }

// testApp is a process with a real network, in an empty directory.
func testApp(t *testing.T) *app {
	return &app{State: State{Dir: t.TempDir(), Transport: http.DefaultTransport, Now: time.Now, Sleep: noSleep}}
}

func (a *app) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(a.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asked runs one query on the first server of a group.
func asked(t *testing.T, g *promquery.Group) error {
	t.Helper()
	_, err := g.Clients()[0].Instant(t.Context(), promquery.Query{Name: "up", Select: []promquery.Match{{Label: "__name__", Values: []string{"up"}}}, To: time.UnixMilli(1000)}, func(promquery.Series) error { return nil })
	return err
}

const emptyVector = `{"status":"success","data":{"resultType":"vector","result":[]}}`

// TestHTTPConfig: TLS and each kind of credentials from a file in Prometheus' own
// format, against a real TLS server.
func TestHTTPConfig(t *testing.T) {
	a := testApp(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		granted := user == "op" && password == "pässword" || r.Header.Get("Authorization") == "Bearer tok-1" || r.Header.Get("X-Api-Key") == "key-1" || len(r.TLS.PeerCertificates) > 0
		if !granted || r.UserAgent() != "cbops" {
			http.Error(w, "no: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, emptyVector)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca.pem", string(ca))
	a.write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	a.write(t, "password", "pässword\n")
	a.write(t, "token", "tok-1\n")
	a.write(t, "wrong", "tok-2\n")
	trust := "tls_config: {ca_file: ca.pem}\n"
	for _, c := range []struct {
		name, text, says string
	}{
		{name: "basic", text: trust + "basic_auth: {username: op, password_file: password}\n"},
		{name: "bearer file", text: trust + "authorization: {credentials_file: token}\n"},
		{name: "bearer", text: trust + "authorization: {type: Bearer, credentials: tok-1}\n"},
		{name: "header", text: trust + "http_headers: {X-Api-Key: {secrets: [key-1]}}\n"},
		{name: "client certificate", text: "tls_config: {ca_file: ca.pem, cert_file: ca.pem, key_file: key.pem}\n"},
		{name: "no credentials", text: trust, says: "wants other credentials: 401"},
		{name: "wrong token", text: trust + "authorization: {credentials_file: wrong}\n", says: "wants other credentials: 401 Unauthorized: no: ***"},
		{name: "no file of credentials", text: trust + "authorization: {credentials_file: gone}\n", says: "no such file"},
		{name: "not trusted", text: "basic_auth: {username: op, password_file: password}\n", says: "certificate"},
		{name: "another name", text: "tls_config: {ca_file: ca.pem, server_name: elsewhere.example}\n", says: "certificate"},
	} {
		a.write(t, "http.yml", c.text)
		g, err := a.prometheus(prometheusFlags{urls: []string{s.URL}, config: "http.yml"}, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		err = asked(t, g)
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || promquery.IsUnavailable(err) || fault.CodeOf(err) != fault.Environment || strings.Contains(err.Error(), "tok-")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A server that wants a client certificate is not down, and says what it wants.
func TestClientCertificateWanted(t *testing.T) {
	a := testApp(t)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	a.write(t, "http.yml", "tls_config: {insecure_skip_verify: true}\n")
	g, err := a.prometheus(prometheusFlags{urls: []string{s.URL}, config: "http.yml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := asked(t, g); err == nil || promquery.IsUnavailable(err) || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("err %v", err)
	}
}

// A token that changes on disk is the new one at the next request.
func TestCredentialsAreReadAgain(t *testing.T) {
	a := testApp(t)
	want := "old"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+want {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, emptyVector)
	}))
	defer s.Close()
	a.write(t, "token", "old")
	a.write(t, "http.yml", "authorization: {credentials_file: token}\n")
	g, err := a.prometheus(prometheusFlags{urls: []string{s.URL}, config: "http.yml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want = range []string{"old", "new"} {
		a.write(t, "token", want)
		if err := asked(t, g); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Credentials do not follow a redirect to another host.
func TestCredentialsStayAtHome(t *testing.T) {
	a := testApp(t)
	seen := ""
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = fmt.Sprint("asked with ", r.Header) }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	a.write(t, "http.yml", "authorization: {credentials: tok-1}\nhttp_headers: {X-Api-Key: {secrets: [key-1]}}\n")
	g, err := a.prometheus(prometheusFlags{urls: []string{s.URL}, config: "http.yml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := asked(t, g); err == nil || !strings.Contains(err.Error(), "sends elsewhere") || seen != "" {
		t.Errorf("err %v; the other host was %s", err, seen)
	}
}

// follow_redirects: false holds on the same host too.
func TestNoRedirectsByConfig(t *testing.T) {
	a := testApp(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/x") {
			fmt.Fprint(w, emptyVector)
			return
		}
		http.Redirect(w, r, "/x"+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	for follow, ok := range map[string]bool{"true": true, "false": false} {
		a.write(t, "http.yml", "follow_redirects: "+follow+"\n")
		g, err := a.prometheus(prometheusFlags{urls: []string{s.URL}, config: "http.yml"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := asked(t, g); (err == nil) != ok {
			t.Errorf("follow_redirects %s: %v", follow, err)
		}
	}
}

// What is wrong with the file is a usage error that tells nothing of its values.
func TestWrongHTTPConfig(t *testing.T) {
	a := testApp(t)
	for _, text := range []string{"basic_auth: op:s3cr3t-word\n", "authorization:\n  credentials: s3cr3t-word\n  bearer: x\n", "authorization: [s3cr3t-word]\n", "follow_redirects: s3cr3t-word\n",
		"authorization: {credentials: a, credentials_file: b}\n", "basic_auth: {username: a}\nauthorization: {credentials: s3cr3t-word}\n", "s3cr3t-word", ": :", "tls_config: {ca_file: gone.pem}\n", strings.Repeat("#", maxHTTPConfig+1)} {
		a.write(t, "http.yml", text)
		_, err := a.prometheus(prometheusFlags{urls: []string{"http://h"}, config: "http.yml"}, nil)
		if fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "s3c") || !strings.Contains(err.Error(), "http.yml") {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	for _, path := range []string{"gone.yml", "."} {
		if _, err := a.prometheus(prometheusFlags{urls: []string{"http://h"}, config: path}, nil); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Flag, environment, plan: each setting comes whole from the first that has it.
func TestPrometheusPrecedence(t *testing.T) {
	a := testApp(t)
	a.write(t, "plan-http.yml", "{}\n")
	path := a.write(t, "cbops.yaml", `apiVersion: cbops/v1
kind: Rollout
prometheus:
  url: http://plan-1
  urls: [http://plan-2/prom]
  httpConfig: plan-http.yml
  matchers: ['cluster="prod"']
  tenantHeader: {name: X-Scope-OrgID, value: team-a}
  limits: {queries: 7, bytes: 3MiB, timeout: 5s}
`)
	p, err := plan.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	servers := func(f prometheusFlags, p *plan.Plan) string {
		g, err := a.prometheus(f, p)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range g.Clients() {
			out = append(out, c.Server())
		}
		return strings.Join(out, " ")
	}
	if got := servers(prometheusFlags{}, p); got != "http://plan-1 http://plan-2/prom" {
		t.Errorf("plan: %s", got)
	}
	if got := servers(prometheusFlags{urls: []string{"http://flag-1", "http://flag-2 http://flag-3"}}, p); got != "http://flag-1 http://flag-2 http://flag-3" {
		t.Errorf("flags: %s", got)
	}
	if _, err := a.prometheus(prometheusFlags{}, nil); fault.CodeOf(err) != fault.Usage || len(fault.HintsOf(err)) == 0 {
		t.Errorf("none: %v", err)
	}
	if _, err := a.prometheus(prometheusFlags{urls: []string{"http://h"}, matchers: []string{"a=b"}}, nil); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "--matcher") {
		t.Errorf("matcher: %v", err)
	}
	// What the plan says arrives with the server.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") != `up{cluster="prod"}` || r.Header.Get("X-Scope-OrgID") != "team-a" || r.FormValue("timeout") != "5s" {
			t.Errorf("asked %v %v", r.Form, r.Header)
		}
		fmt.Fprint(w, emptyVector)
	}))
	defer s.Close()
	g, err := a.prometheus(prometheusFlags{urls: []string{s.URL}}, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := asked(t, g); err != nil {
		t.Error(err)
	}
	for range 7 {
		err = asked(t, g)
	}
	if err == nil || !strings.Contains(err.Error(), "the most that is allowed") {
		t.Errorf("limits.queries: %v", err)
	}
}

// In the practice world the file is read and checked, and its credentials stay.
func TestHTTPConfigInThePracticeWorld(t *testing.T) {
	a := testApp(t)
	a.Transport = practiceWorld{}
	a.write(t, "http.yml", "authorization: {credentials_file: gone}\n")
	g, err := a.prometheus(prometheusFlags{urls: []string{"http://h"}, config: "http.yml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := asked(t, g); err != nil {
		t.Error(err)
	}
}

type practiceWorld struct{}

func (practiceWorld) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	fmt.Fprint(rec, emptyVector)
	res := rec.Result()
	res.Request = req
	return res, nil
}

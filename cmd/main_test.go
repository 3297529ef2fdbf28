package cmd_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cbops/cbops/cmd"
)

// mainIn runs the whole program in this process.
func mainIn(t *testing.T, dir string, tr http.RoundTripper, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cmd.Main(t.Context(), cmd.State{
		Now:   func() time.Time { return time.Date(2026, 3, 12, 0, 0, 0, 0, time.UTC) },
		Sleep: func(context.Context, time.Duration) error { return nil },
		Env:   func(string) (string, bool) { return "", false },
		Dir:   dir, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Transport: tr,
	}, args)
	return code, out.String(), errs.String()
}

func evaluateArgs(url string) []string {
	return []string{"evaluate", "--phase", "1", "--policies", "policies", "--tenant", "t-acme", "--since", "96h", "--prometheus", url}
}

func onePolicy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "policies", "t-acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	doc := `{"tenant_id":"t-acme","policy_id":"chat","circuit_breaker":{"enabled":true}}`
	if err := os.WriteFile(filepath.Join(dir, "policies", "t-acme", "chat.json"), []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEvaluateOfABadServerIsNoVerdict(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"500":            {500, "boom"},
		"HTML":           {200, "<html>log in</html>"},
		"truncated":      {200, `{"status":"success","data":{"resultType":"matrix","result":[`},
		"error with 200": {200, `{"status":"error","errorType":"execution","error":"no"}`},
		"429":            {429, "slow down"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(answer.status)
				fmt.Fprint(w, answer.body)
			}))
			defer s.Close()
			code, out, errs := mainIn(t, onePolicy(t), http.DefaultTransport, evaluateArgs(s.URL)...)
			if code != 4 || out != "" || !strings.Contains(errs, "hint: ") || strings.Contains(errs, "goroutine") {
				t.Errorf("exit %d\nstdout %s\nstderr %s", code, out, errs)
			}
		})
	}
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("broken") }

// A crash must never be mistaken for a verdict: Go's own exit code would be 2.
func TestPanicExits4(t *testing.T) {
	code, out, errs := mainIn(t, onePolicy(t), panicking{}, evaluateArgs("http://prometheus.test")...)
	if code != 4 || out != "" || !strings.Contains(errs, "internal fault: broken") {
		t.Errorf("exit %d\nstdout %s\nstderr %s", code, out, errs)
	}
}

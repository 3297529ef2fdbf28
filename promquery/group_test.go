package promquery_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
)

// One run's answers are one server's; the next one is asked only where one is not
// available.
func TestGroup(t *testing.T) {
	ok := answers(t, vector(`{"metric":{},"value":[1,"1"]}`))
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	gone := closed.URL
	ill := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	busy := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	refuses := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
	})
	page := answers(t, "<html>")
	for _, c := range []struct {
		name  string
		urls  []string
		asked int
		says  string
	}{
		{"first", []string{ok, gone}, 1, ""},
		{"refused connection", []string{gone, ok}, 2, ""},
		{"503, then 429", []string{ill, busy, ok}, 3, ""},
		{"refused query", []string{refuses, ok}, 1, "parse error"},
		{"not Prometheus", []string{page, ok}, 1, "does not answer like Prometheus"},
		{"refused by the second", []string{gone, refuses, ok}, 2, "parse error"},
		{"none", []string{gone, ill, busy}, 3, "no server answers"},
		{"only one", []string{gone}, 1, "cannot ask"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := promquery.NewGroup(promquery.Options{Transport: http.DefaultTransport, Sleep: noWait}, c.urls...)
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			var a promquery.Answer
			err = g.Do(t.Context(), func(ctx context.Context, c *promquery.Client) (err error) {
				asked = append(asked, c.Server())
				a, err = c.Instant(ctx, up, data{}.visit)
				return err
			})
			if len(asked) != c.asked || !slices.Equal(asked, c.urls[:c.asked]) {
				t.Errorf("asked %v", asked)
			}
			if c.says == "" {
				if err != nil || a.Server != c.urls[c.asked-1] {
					t.Errorf("%v, from %s", err, a.Server)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || fault.CodeOf(err) != fault.Environment {
				t.Errorf("err %v", err)
			}
			if c.name == "none" {
				for _, u := range c.urls {
					if !strings.Contains(err.Error(), u) {
						t.Errorf("%s is not named: %v", u, err)
					}
				}
			}
		})
	}
}

// The caller's own end moves nothing on.
func TestGroupCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g, err := promquery.NewGroup(promquery.Options{Transport: http.DefaultTransport, Sleep: noWait}, "http://127.0.0.1:1", "http://127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	err = g.Do(ctx, func(ctx context.Context, c *promquery.Client) error {
		asked++
		cancel()
		_, err := c.Instant(ctx, up, data{}.visit)
		return err
	})
	if asked != 1 || err == nil || promquery.IsUnavailable(err) {
		t.Errorf("asked %d, err %v", asked, err)
	}
	if _, err := promquery.NewGroup(promquery.Options{Transport: http.DefaultTransport}); fault.CodeOf(err) != fault.Usage {
		t.Errorf("no URL: %v", err)
	}
}

package router_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/router"
)

func client(t *testing.T, url string, change func(*router.AdminOptions)) *router.AdminClient {
	t.Helper()
	o := router.AdminOptions{Name: "node-1", URL: url, Transport: http.DefaultTransport, Now: time.Now,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	if change != nil {
		change(&o)
	}
	c, err := router.NewAdminClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

const all = `{"node":"node-1","healthy":true,"capabilities":["policies","reload","loaded","circuits","reset","switch","holds"]}`

// The secret goes to the node and nowhere else: not into an error, not along a
// redirect.
func TestTheSecretStaysSecret(t *testing.T) {
	var elsewhere atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	var got atomic.Value
	url := serve(t, func(w http.ResponseWriter, q *http.Request) {
		got.Store(q.Header.Get("Authorization") + q.Header.Get("x-api-key"))
		http.Redirect(w, q, other, http.StatusTemporaryRedirect)
	})
	for _, set := range []func(*router.AdminOptions){
		func(o *router.AdminOptions) { o.Token = "s3cr3t" },
		func(o *router.AdminOptions) { o.APIKey = "s3cr3t" },
	} {
		_, err := client(t, url, set).Node(t.Context())
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || elsewhere.Load() > 0 || !strings.Contains(got.Load().(string), "s3cr3t") {
			t.Errorf("%v; followed %d times; sent %q", err, elsewhere.Load(), got.Load())
		}
	}
	for _, line := range client(t, url, func(o *router.AdminOptions) { o.Token = "s3cr3t" }).NodeOf().Lines(chat) {
		if strings.Contains(line, "s3cr3t") {
			t.Errorf("shown: %s", line)
		}
	}
}

func TestUnusableURLs(t *testing.T) {
	for _, u := range []string{"", "node-1:9002", "ftp://x", "http://", "http://u:p@x", "http://x?token=1", "http://x#y", "http://%zz"} {
		_, err := router.NewAdminClient(router.AdminOptions{Name: "n", URL: u})
		if err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// A document that is not what its digest says was damaged on the way: it is asked
// for again, and never used.
func TestADamagedDocumentIsNeverUsed(t *testing.T) {
	var asked atomic.Int64
	good := "good"
	url := serve(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/admin/node" {
			fmt.Fprint(w, all)
			return
		}
		w.Header().Set("ETag", router.ETag(router.Digest([]byte(good))))
		if asked.Add(1) < 3 {
			fmt.Fprint(w, "bad!")
			return
		}
		fmt.Fprint(w, good)
	})
	client(t, url, nil).Store().Read(t.Context(), []router.Ref{chat}, func(_ router.Ref, s router.Stored, err error) {
		if err != nil || string(s.Bytes) != good || asked.Load() != 3 {
			t.Errorf("%q, %v, asked %d times", s.Bytes, err, asked.Load())
		}
	})
}

// A write whose answer is lost is found done, not done twice over something new.
func TestALostAnswerToAWrite(t *testing.T) {
	stored, lost := "old", false
	var puts int
	var mu sync.Mutex // a handler that was aborted and the next one
	url := serve(t, func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		etag := router.ETag(router.Digest([]byte(stored)))
		switch {
		case q.URL.Path == "/admin/node":
			fmt.Fprint(w, all)
		case q.Method == http.MethodPut && q.Header.Get("If-Match") != etag:
			w.WriteHeader(http.StatusPreconditionFailed)
		case q.Method == http.MethodPut:
			puts++
			b := make([]byte, 100)
			n, _ := q.Body.Read(b)
			stored = string(b[:n])
			if !lost {
				lost = true
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("ETag", router.ETag(router.Digest([]byte(stored))))
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("ETag", etag)
			fmt.Fprint(w, stored)
		}
	})
	client(t, url, nil).Store().Update(t.Context(), []router.Edit{{Ref: chat}}, func(_ router.Ref, now []byte) ([]byte, error) {
		if string(now) == "new" {
			return now, nil
		}
		return []byte("new"), nil
	}, func(_ router.Ref, err error) {
		if err != nil || stored != "new" || puts != 1 {
			t.Errorf("%v, stored %q, %d writes", err, stored, puts)
		}
	})
}

// Hostile answers end: endless pages, huge bodies, no answer at all.
func TestHostileAnswersEnd(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"pages in a circle": func(w http.ResponseWriter, q *http.Request) {
			fmt.Fprint(w, `{"policies":[],"next":"again"}`)
		},
		"endless body": func(w http.ResponseWriter, _ *http.Request) {
			chunk := []byte(strings.Repeat("x", 1<<20))
			for range 80 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"a name that is none": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"policies":[{"tenant":"../..","policy":"x","etag":""}]}`)
		},
		"silence": func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() },
	} {
		url := serve(t, func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/admin/node" {
				fmt.Fprint(w, all)
				return
			}
			h(w, q)
		})
		c := client(t, url, func(o *router.AdminOptions) { o.Timeout = 200 * time.Millisecond })
		if name == "endless body" {
			c = client(t, url, nil)
		}
		if l, err := c.Store().List(t.Context()); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func TestUnauthorizedIsSaidWithWhereTheSecretComesFrom(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := client(t, url, nil).Node(t.Context())
	var s *router.StatusError
	if !errors.As(err, &s) || s.Status != http.StatusUnauthorized {
		t.Errorf("%v", err)
	}
}

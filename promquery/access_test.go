package promquery_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/promquery"
	"github.com/cbops/cbops/promquery/promlab"
)

// adding is a transport that adds headers, as one made from a file does.
type adding struct{ headers http.Header }

func (a adding) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for k, v := range a.headers {
		req.Header[k] = v
	}
	return http.DefaultTransport.RoundTrip(req)
}

// TestSecretsAreNotRepeated: a server that repeats all that it was sent gives no
// credentials away, wherever they came from and whatever it answers with.
func TestSecretsAreNotRepeated(t *testing.T) {
	const urlPassword, token, key, cookie = "hunter2-päss/w", "tok-3f9a", "k-77aa-1", "sid=c00kie"
	echo := func(w http.ResponseWriter, r *http.Request, status int) {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s?%s\n", r.URL.Path, r.URL.RawQuery)
		_ = r.Header.Write(&b)
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(&b, "%s %s %s \x1b[31mred\x07 ", user, password, strings.Repeat("x", 5000))
		w.Header().Set("Content-Type", "application/json")
		switch text, _ := json.Marshal(b.String()); status {
		case 200:
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":[%s],"infos":[%s]}`, text, text)
		case 201: // with 200
			fmt.Fprintf(w, `{"status":"error","errorType":"execution","error":%s}`, text)
		case 202: // not JSON
			fmt.Fprint(w, b.String())
		case 400, 503:
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status":"error","errorType":"bad_data","error":%s}`, text)
		default:
			w.WriteHeader(status)
			fmt.Fprint(w, b.String())
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("Aladdin:open-sesame"))
	for _, status := range []int{200, 201, 202, 302, 400, 401, 403, 404, 429, 500, 503} {
		base := server(t, func(w http.ResponseWriter, r *http.Request) {
			if status == 302 {
				w.Header().Set("Location", "https://user:"+token+"@elsewhere.example/"+r.Header.Get("X-Api-Key")+"?t="+url.QueryEscape(r.Header.Get("Cookie")))
			}
			echo(w, r, status)
		})
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.RawQuery = url.UserPassword("op", urlPassword), "api_key="+key+"&dedup=true"
		for _, headers := range []http.Header{
			{"X-Api-Key": {token}, "Cookie": {cookie}},
			{"Authorization": {"Bearer " + token}},
			{"Authorization": {"Basic " + basic}},
		} {
			c := client(t, u.String(), func(o *promquery.Options) {
				o.Transport = adding{headers}
				o.TenantHeader = promquery.Header{Name: "X-Scope-OrgID", Value: "team-a"}
				o.Tries = 1
			})
			a, err := c.Raw(t.Context(), promquery.Query{Name: "q", Select: metric("m"), From: start, To: start}, data{}.visit)
			shown := fmt.Sprintf("%+v %v", a, err)
			for _, h := range fault.HintsOf(err) {
				shown += h
			}
			for _, secret := range []string{urlPassword, url.QueryEscape(urlPassword), url.PathEscape(urlPassword), token, key, cookie, "c00kie", basic, "open-sesame",
				base64.StdEncoding.EncodeToString([]byte("op:" + urlPassword))} {
				if strings.Contains(shown, secret) {
					t.Errorf("%d with %v: %q is shown: %s", status, headers, secret, shown)
				}
			}
			if strings.ContainsFunc(shown, func(r rune) bool { return unicode.IsControl(r) }) {
				t.Errorf("%d: control characters: %q", status, shown)
			}
			if (err == nil) != (status == 200) || len(shown) > 3000 {
				t.Errorf("%d: err %v, %d bytes", status, err, len(shown))
			}
			if status == 200 && (len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "***")) {
				t.Errorf("warnings %q", a.Warnings)
			}
		}
	}
}

// TestRedirects: on the same scheme and host a redirect is followed, with the
// query; elsewhere nothing is sent.
func TestRedirects(t *testing.T) {
	reached := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached++; fmt.Fprint(w, vector("")) }))
	defer other.Close()
	for _, c := range []struct {
		name   string
		status int
		to     string
		none   bool
		ok     bool
	}{
		{"same host, method kept", 307, "/moved/api/v1/query", false, true},
		{"same host, none wanted", 307, "/moved/api/v1/query", true, false},
		{"same host, as GET without the query", 302, "/moved/api/v1/query", false, false},
		{"another host", 307, other.URL + "/api/v1/query", false, false},
		{"another scheme", 308, "https://127.0.0.1:1/api/v1/query", false, false},
		{"for ever", 307, "/api/v1/query", false, false},
	} {
		moved := 0
		url := server(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/moved") {
				moved++
			}
			if strings.HasPrefix(r.URL.Path, "/moved") && r.FormValue("query") == "up" && r.Header.Get("X-Scope-OrgID") == "a" {
				fmt.Fprint(w, vector(""))
				return
			}
			http.Redirect(w, r, c.to, c.status)
		})
		_, err := client(t, url, func(o *promquery.Options) {
			o.NoRedirects = c.none
			o.TenantHeader = promquery.Header{Name: "X-Scope-OrgID", Value: "a"}
		}).Instant(t.Context(), up, data{}.visit)
		if (err == nil) != c.ok || reached > 0 || (moved > 0) != c.ok {
			t.Errorf("%s: err %v, moved to %d times, the other host was asked %d times", c.name, err, moved, reached)
		}
		if err != nil && (!strings.Contains(err.Error(), "sends elsewhere, to") || promquery.IsUnavailable(err)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A proxy that takes no POST is asked by GET, and from then on at once; a real 403
// is two requests once, and an error.
func TestNoPost(t *testing.T) {
	for _, refused := range []int{403, 405, 501} {
		var methods []string
		url := server(t, func(w http.ResponseWriter, r *http.Request) {
			methods = append(methods, r.Method)
			if r.Method == http.MethodPost {
				w.WriteHeader(refused)
				return
			}
			if r.FormValue("query") != "up" || r.FormValue("tenant") != "1" || r.FormValue("timeout") != "2m0s" {
				t.Errorf("asked %s", r.URL)
			}
			fmt.Fprint(w, vector(`{"metric":{},"value":[1,"1"]}`))
		})
		c := client(t, url+"?tenant=1")
		for i := range 2 {
			if a, err := c.Instant(t.Context(), up, data{}.visit); err != nil || a.Requests != 2-i || a.Retries != 0 {
				t.Errorf("%d: %+v %v", refused, a, err)
			}
		}
		if got := strings.Join(methods, " "); got != "POST GET GET" {
			t.Errorf("%d: %s", refused, got)
		}
	}
	asked := 0
	_, err := client(t, server(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		http.Error(w, "no access", http.StatusForbidden)
	})).Instant(t.Context(), up, data{}.visit)
	if asked != 2 || err == nil || !strings.Contains(err.Error(), "wants other credentials: 403 Forbidden: no access") || promquery.IsUnavailable(err) {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// What goes out: path and parameters of the URL, whole seconds of timeout, the
// tenant, stats, and the extra matchers on every selector, up included.
func TestRequests(t *testing.T) {
	var got []string
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, fmt.Sprintf("%s %s %s", r.URL.Path, r.Header.Get("X-Scope-OrgID"), r.FormValue("query")+strings.Join(r.Form["match[]"], ",")))
		if strings.HasSuffix(r.URL.Path, "/query") && (r.FormValue("timeout") != "2s" || r.FormValue("stats") != "all" || r.FormValue("time") != "1772928000.123") || r.FormValue("dedup") != "true" {
			t.Errorf("%v", r.Form)
		}
		if strings.HasSuffix(r.URL.Path, "/series") || strings.HasSuffix(r.URL.Path, "/values") {
			fmt.Fprint(w, `{"status":"success","data":[]}`)
			return
		}
		fmt.Fprint(w, vector(""))
	})
	c := client(t, url+"/prom/?dedup=true", func(o *promquery.Options) {
		o.TenantHeader = promquery.Header{Name: "X-Scope-OrgID", Value: "a|b"}
		o.Timeout = 1500 * time.Millisecond
		for _, s := range []string{`cluster="prod"`, "region=~`eu-.*`", ` zone != "\"a\"" `, `x!~"y"`} {
			m, err := promquery.ParseMatcher(s)
			if err != nil {
				t.Fatal(err)
			}
			o.Matchers = append(o.Matchers, m)
		}
	})
	extra := `cluster="prod",region=~"eu-.*",zone!="\"a\"",x!~"y"`
	at := start.Add(123*time.Millisecond + 456*time.Microsecond)
	for _, q := range []promquery.Query{
		{Select: metric("up")},
		{Select: []promquery.Match{{Label: "__name__", Values: []string{"b", "a", "a"}}, {Label: "t", Values: []string{"x.y", "a|b"}}, {Label: "u", Not: true, Values: []string{"q"}}, {Label: "v", Not: true}}},
		{Select: metric("m"), Wrap: func(s string) string { return "sum(" + s + ")" }},
		{Select: []promquery.Match{{Label: "__name__", Values: []string{"a.b"}}, {Label: "l.m", Values: []string{"\n\"\\\xff"}}}},
	} {
		q.To = at
		if _, err := c.Instant(t.Context(), q, data{}.visit); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.LabelSets(t.Context(), [][]promquery.Match{metric("up")}, at, at, 5); err != nil {
		t.Error(err)
	}
	if _, err := c.LabelValues(t.Context(), "job", [][]promquery.Match{metric("up")}, at, at, 5); err != nil {
		t.Error(err)
	}
	want := []string{
		"query a|b up{" + extra + "}",
		`query a|b {__name__=~"a|b",t=~"a\\|b|x\\.y",u!="q",` + extra + "}",
		"query a|b sum(m{" + extra + "})",
		`query a|b {__name__="a.b","l.m"="\n\"\\\xff",` + extra + "}",
		"series a|b up{" + extra + "}",
		"label/job/values a|b up{" + extra + "}",
	}
	for i := range want {
		if want[i] = "/prom/api/v1/" + want[i]; i >= len(got) || got[i] != want[i] {
			t.Errorf("asked %q, want %q", got[min(i, len(got)-1)], want[i])
		}
	}
}

// A matcher without values matches nothing, and there is nothing to ask.
func TestNoValues(t *testing.T) {
	c := client(t, server(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	a, err := c.Instant(t.Context(), promquery.Query{Name: "x", Select: metric("m", promquery.Match{Label: "t"}), To: start}, data{}.visit)
	if err != nil || a.Requests != 0 || a.Series != 0 || a.Expr != `m{t="\x00"}` {
		t.Errorf("%+v %v", a, err)
	}
}

// Values are literal, whatever they contain: each selects its own series alone.
func TestValuesAreLiteral(t *testing.T) {
	values := []string{"plain", "a.b", "a+b", "aab", "a|b", `q"uote`, `back\slash`, "new\nline", "ü", "{x}", "", ".*", "$(x)", "`", "'"}
	s := promlab.NewStore()
	for _, v := range values {
		l := map[string]string{"__name__": "m", "t": v, "u": "x"}
		if v == "" {
			delete(l, "t")
		}
		if err := s.Append(l, start, 1); err != nil {
			t.Fatal(err)
		}
	}
	c := lab(t, s)
	for i, v := range values {
		two := []string{v, values[(i+1)%len(values)]}
		for _, of := range [][]string{{v}, two} {
			for _, not := range []bool{false, true} {
				found := 0
				_, err := c.Instant(t.Context(), promquery.Query{Name: "m", Select: metric("m", promquery.Match{Label: "t", Not: not, Values: of}), To: start}, func(s promquery.Series) error {
					if found++; slices.Contains(of, s.Labels["t"]) == not {
						t.Errorf("%q not %v finds %q", of, not, s.Labels["t"])
					}
					return nil
				})
				if want := len(of); err != nil || !not && found != want || not && found != len(values)-want {
					t.Errorf("%q not %v: %d found, %v", of, not, found, err)
				}
			}
		}
	}
}

func TestParseMatcher(t *testing.T) {
	for s, want := range map[string]promquery.Matcher{
		`cluster="prod"`:      {Label: "cluster", Op: "=", Value: "prod"},
		` a != "b" `:          {Label: "a", Op: "!=", Value: "b"},
		`a=~"x|y\\.z"`:        {Label: "a", Op: "=~", Value: `x|y\.z`},
		"a!~`\\d+`":           {Label: "a", Op: "!~", Value: `\d+`},
		`a="\"}, b=\"\u00e9"`: {Label: "a", Op: "=", Value: `"}, b="é`},
		`a=""`:                {Label: "a", Op: "="},
	} {
		if m, err := promquery.ParseMatcher(s); err != nil || m != want {
			t.Errorf("%s: %+v %v", s, m, err)
		}
	}
	for _, s := range []string{"", "a", "a=b", `="b"`, `a="b`, `a="b" or c="d"`, `a="b"}`, `a=="b"`, `a=~"("`, `a!~"*"`, `a>"b"`, `a b="c"`, `1a="b"`, `a-b="c"`, `__name__="up"`, `a='b'`, "a=\"b\nc\"", `a="\q"`, `a="` + strings.Repeat("x", 5000) + `"`, "a!\"b\""} {
		if m, err := promquery.ParseMatcher(s); fault.CodeOf(err) != fault.Usage || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%q is taken for %+v, %v", s, m, err)
		}
	}
}

// What cannot be used is said at once, as a usage error without the URL in it.
func TestOptionsThatCannotBe(t *testing.T) {
	ok := promquery.Options{URL: "http://h", Transport: http.DefaultTransport}
	for name, change := range map[string]func(*promquery.Options){
		"no URL":            func(o *promquery.Options) { o.URL = "" },
		"another scheme":    func(o *promquery.Options) { o.URL = "ftp://secret@h" },
		"no host":           func(o *promquery.Options) { o.URL = "http:///secret" },
		"not a URL":         func(o *promquery.Options) { o.URL = "http://secret h:x" },
		"no transport":      func(o *promquery.Options) { o.Transport = nil },
		"header of another": func(o *promquery.Options) { o.TenantHeader = promquery.Header{Name: "Authorization", Value: "x"} },
		"no header name":    func(o *promquery.Options) { o.TenantHeader = promquery.Header{Value: "x"} },
		"no header value":   func(o *promquery.Options) { o.TenantHeader = promquery.Header{Name: "X"} },
		"header injection":  func(o *promquery.Options) { o.TenantHeader = promquery.Header{Name: "X", Value: "a\r\nB: c"} },
	} {
		o := ok
		change(&o)
		if _, err := promquery.New(o); fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := promquery.New(ok)
	if err != nil {
		t.Fatal(err)
	}
	visit := data{}.visit
	for name, ask := range map[string]func() error{
		"backwards": func() error {
			_, err := c.Raw(t.Context(), promquery.Query{From: start, To: start.Add(-1)}, visit)
			return err
		},
		"no step": func() error {
			_, err := c.Range(t.Context(), promquery.Query{From: start, To: start}, visit)
			return err
		},
		"raw expression": func() error {
			_, err := c.Raw(t.Context(), promquery.Query{From: start, To: start, Wrap: strings.ToUpper}, visit)
			return err
		},
	} {
		if err := ask(); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A body is bounded as it is after decompression.
func TestCompressedBodyIsBounded(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Error("the transport does not ask for gzip")
		}
		w.Header().Set("Content-Encoding", "gzip")
		gz := gzipWriter(w)
		_, _ = io.WriteString(gz, vector(strings.Repeat(" ", 10<<20)))
		_ = gz.Close()
	})
	_, err := client(t, url, func(o *promquery.Options) { o.MaxBytes = 1 << 20 }).Instant(t.Context(), up, data{}.visit)
	if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("err %v", err)
	}
}

// The bound is exact: a body of that many bytes is taken, one more is not.
func TestSizeLimitIsExact(t *testing.T) {
	text := vector("")
	for _, max := range []int{len(text), len(text) - 1} {
		_, err := client(t, answers(t, text), func(o *promquery.Options) { o.MaxBytes = int64(max) }).Instant(t.Context(), up, data{}.visit)
		if (err == nil) != (max == len(text)) {
			t.Errorf("%d bytes, at most %d: %v", len(text), max, err)
		}
	}
}

package promquery

import (
	"cmp"
	"encoding/base64"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// maxText bounds what is shown of a server's words, in bytes.
const maxText = 300

// clean makes a server's words fit to be shown: one line, no control or formatting
// characters, at most limit bytes.
func clean(s string, limit int) string {
	cut := len(s) > 8*limit
	if cut {
		s = s[:8*limit]
	}
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '\uFFFD'
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			cut = true
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	if cut {
		return b.String() + "…"
	}
	return b.String()
}

// hidden stands for a secret that a server repeated.
const hidden = "***"

// secrets are what must not be shown: the credentials of the URL, and every header
// that went out and is not known to be harmless. The transport below may add
// headers; a request's trace tells which.
type secrets struct {
	open string // the tenant header's name: its value is no secret
	mu   sync.Mutex
	all  map[string]bool
}

func newSecrets(u *url.URL, tenant Header) *secrets {
	s := &secrets{open: strings.ToLower(tenant.Name), all: map[string]bool{}}
	if u.User != nil {
		s.add(u.User.String())
		if p, ok := u.User.Password(); ok {
			s.add(p)
			s.add(url.QueryEscape(p))
			s.add(url.PathEscape(p))
			s.add(u.User.Username() + ":" + p)
		} else {
			s.add(u.User.Username()) // a token in a user's place
		}
	}
	for _, pair := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' }) {
		s.add(pair)
		_, v, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(v)
		for _, v := range []string{v, plain} {
			if err == nil && len(v) >= 4 && v != "true" && v != "false" {
				s.add(v)
			}
		}
	}
	return s
}

func (s *secrets) add(v string) {
	if v = strings.TrimSpace(v); v == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) < 1000 { // tokens may be renewed, but not that often
		s.all[v] = true
		s.all[base64.StdEncoding.EncodeToString([]byte(v))] = true
	}
}

// trace notes the headers that go out.
func (s *secrets) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{WroteHeaderField: func(name string, values []string) {
		switch name = strings.ToLower(name); name {
		case "host", "user-agent", "content-length", "content-type", "accept-encoding", "accept", "connection", "transfer-encoding", "te", "referer", s.open:
			return
		}
		if strings.HasPrefix(name, ":") { // HTTP/2's own; :path may hold the URL's query, known already
			return
		}
		for _, v := range values {
			if len(v) < 4 && name != "authorization" && name != "cookie" {
				continue // a flag; hiding it would leave no text readable
			}
			s.add(v)
			scheme, token, ok := strings.Cut(v, " ")
			if !ok {
				continue
			}
			s.add(token)
			if plain, err := base64.StdEncoding.DecodeString(token); err == nil && strings.EqualFold(scheme, "basic") {
				s.add(string(plain))
				_, password, _ := strings.Cut(string(plain), ":")
				s.add(password)
			}
		}
	}}
}

// hide replaces secrets.
func (s *secrets) hide(text string) string {
	s.mu.Lock()
	all := make([]string, 0, len(s.all))
	for v := range s.all {
		if strings.Contains(text, v) {
			all = append(all, v)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	for _, v := range all {
		text = strings.ReplaceAll(text, v, hidden)
	}
	return text
}

// words is a server's text, fit to be shown. Secrets go first: cleaning could
// change their spelling.
func (s *secrets) words(text string) string { return clean(s.hide(bounded(text)), maxText) }

func bounded(s string) string { return s[:min(len(s), 64<<10)] }

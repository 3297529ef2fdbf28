package promquery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/cbops/cbops/internal/fault"
)

// fact runs one request that is no query and explains its failure. Where the
// server lacks the endpoint, or shows it to nobody, the error is ErrNotAvailable.
func (c *Client) fact(ctx context.Context, what string, ask func(context.Context) error) (*exchange, error) {
	x := &exchange{}
	err := ask(context.WithValue(ctx, exchangeKey{}, x))
	if err == nil {
		return x, nil
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // it quotes the URL
	}
	if ctx.Err() == nil {
		switch x.status {
		case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusGone:
			hint := ""
			if x.status == http.StatusForbidden {
				hint = "other credentials may show it: --prometheus-config FILE, see docs/prometheus.md"
			}
			return x, fault.Hint(fault.New(fault.Environment, "%s: %s: %w (%d %s)", what, c.server, ErrNotAvailable, x.status, http.StatusText(x.status)), hint)
		}
	}
	return x, c.explain(ctx, what, x, err)
}

// get reads the data of an endpoint into a value.
func (c *Client) get(ctx context.Context, what, path string, into any) error {
	_, err := c.fact(ctx, what, func(ctx context.Context) error {
		path, query, _ := strings.Cut(path, "?")
		u := c.http.URL("/api/v1"+path, nil)
		if query != "" {
			u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+query, "&")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return err
		}
		res, body, err := c.http.Do(ctx, req)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return &v1.Error{Type: v1.ErrServer, Msg: res.Status, Detail: string(body)}
		}
		answer := struct {
			Status, ErrorType, Error string
			Data                     json.RawMessage
		}{}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		if answer.Status != "success" {
			return &apiError{answer.ErrorType, answer.Error}
		}
		if len(answer.Data) == 0 || string(answer.Data) == "null" {
			return errNoResult
		}
		return json.Unmarshal(answer.Data, into)
	})
	return err
}

// BuildInfo is what a server says of itself; any of it may be empty.
type BuildInfo struct{ Version, Revision, Application string }

// BuildInfo asks for the server's version.
func (c *Client) BuildInfo(ctx context.Context) (BuildInfo, error) {
	var b BuildInfo
	err := c.get(ctx, "version", "/status/buildinfo", &b)
	return BuildInfo{clean(b.Version, 60), clean(b.Revision, 60), clean(b.Application, 60)}, err
}

// Retention is how long a server keeps samples. Time is 0 where it does not delete
// by age, or says so in words that are not understood; Text is what it says.
type Retention struct {
	Time time.Duration
	Text string
}

// Retention asks for the retention; Thanos and Mimir do not tell.
func (c *Client) Retention(ctx context.Context) (Retention, error) {
	var info struct{ StorageRetention string }
	err := c.get(ctx, "retention", "/status/runtimeinfo", &info)
	text := info.StorageRetention
	if err == nil && text == "" || errors.Is(err, ErrNotAvailable) {
		flags := map[string]string{}
		if err = c.get(ctx, "retention", "/status/flags", &flags); err == nil {
			text = flags["storage.tsdb.retention.time"]
		}
		if err == nil && text == "" {
			err = fault.New(fault.Environment, "retention: %s: %w", c.server, ErrNotAvailable)
		}
	}
	r := Retention{Text: clean(text, 60)}
	// "15d", "15d or 10GiB", "10GiB": time comes first where there are both.
	first, _, _ := strings.Cut(text, " or ")
	r.Time = duration(first)
	return r, err
}

// RuleGroup is a group of the server's rules.
type RuleGroup struct {
	Name, File     string
	Interval       time.Duration
	Limit          int
	LastEvaluation time.Time
	Rules          []Rule
}

// Rule is an alerting or a recording rule. For, KeepFiringFor, State, Annotations
// and Active are an alerting rule's alone.
type Rule struct {
	Alerting            bool
	Name, Query         string
	Labels, Annotations map[string]string
	For, KeepFiringFor  time.Duration
	// State is inactive, pending or firing; Health ok, err or unknown.
	State, Health, LastError string
	LastEvaluation           time.Time
	// Active counts pending and firing alerts.
	Active int
}

// Rules asks for all rules.
func (c *Client) Rules(ctx context.Context) ([]RuleGroup, error) {
	var data struct {
		Groups []struct {
			Name, File     string
			Interval       float64
			Limit          int
			LastEvaluation time.Time
			Rules          []struct {
				Type, Name, Query        string
				Labels, Annotations      map[string]string
				Duration, KeepFiringFor  float64
				State, Health, LastError string
				LastEvaluation           time.Time
				Alerts                   []struct{ State string }
			}
		}
	}
	if err := c.get(ctx, "rules", "/rules", &data); err != nil {
		return nil, err
	}
	out := []RuleGroup{}
	for _, g := range data.Groups {
		group := RuleGroup{Name: g.Name, File: g.File, Interval: seconds(g.Interval), Limit: g.Limit, LastEvaluation: g.LastEvaluation, Rules: []Rule{}}
		for _, r := range g.Rules {
			if r.Type != "alerting" && r.Type != "recording" {
				return nil, fault.New(fault.Environment, "rules: %s has a rule of type %q", c.server, clean(r.Type, 40))
			}
			group.Rules = append(group.Rules, Rule{
				Alerting: r.Type == "alerting", Name: r.Name, Query: r.Query, Labels: r.Labels, Annotations: r.Annotations,
				For: seconds(r.Duration), KeepFiringFor: seconds(r.KeepFiringFor), State: r.State, Health: r.Health,
				LastError: c.door.secrets.words(r.LastError), LastEvaluation: r.LastEvaluation, Active: len(r.Alerts),
			})
		}
		out = append(out, group)
	}
	return out, nil
}

// duration reads one as Prometheus writes it; 0 if it is none.
func duration(s string) time.Duration {
	d, _ := model.ParseDuration(s)
	return time.Duration(d)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Target is one that a server scrapes.
type Target struct {
	Pool string
	// Labels are on every series of the target; Discovered are before relabelling.
	Labels, Discovered map[string]string
	// URL is without credentials and query parameters.
	URL               string
	Interval, Timeout time.Duration // 0 where the server does not say
	Health, LastError string
	LastScrape        time.Time
}

// Targets asks for the active targets.
func (c *Client) Targets(ctx context.Context) ([]Target, error) {
	var data struct {
		ActiveTargets []struct {
			ScrapePool, ScrapeURL, Health, LastError, ScrapeInterval, ScrapeTimeout string
			Labels, DiscoveredLabels                                                map[string]string
			LastScrape                                                              time.Time
		}
	}
	if err := c.get(ctx, "targets", "/targets?state=active", &data); err != nil {
		return nil, err
	}
	out := []Target{}
	for _, t := range data.ActiveTargets {
		target := Target{Pool: t.ScrapePool, Labels: t.Labels, Discovered: t.DiscoveredLabels, Health: t.Health, LastError: c.door.secrets.words(t.LastError), LastScrape: t.LastScrape}
		if u, err := url.Parse(t.ScrapeURL); err == nil {
			target.URL = bare(u)
		}
		target.Interval, target.Timeout = duration(t.ScrapeInterval), duration(t.ScrapeTimeout)
		out = append(out, target)
	}
	return out, nil
}

// LabelSets are series by their labels. Truncated: the server has more than were
// asked for.
type LabelSets struct {
	Sets      []map[string]string
	Truncated bool
	Warnings  []string
}

// LabelSets asks which series any of the selectors had between from and to, at
// most limit of them.
func (c *Client) LabelSets(ctx context.Context, selectors [][]Match, from, to time.Time, limit int) (LabelSets, error) {
	found := LabelSets{Sets: []map[string]string{}, Warnings: []string{}}
	var sets []model.LabelSet
	var warnings v1.Warnings
	_, err := c.fact(ctx, "series", func(ctx context.Context) (err error) {
		sets, warnings, _, err = c.api.Series(ctx, c.selectors(selectors), from, to, v1.WithLimit(uint64(limit)+1))
		if err == nil && sets == nil {
			err = errNoResult
		}
		return err
	})
	if err != nil {
		return found, err
	}
	if found.Truncated = len(sets) > limit; found.Truncated {
		sets = sets[:limit]
	}
	for _, s := range sets {
		m := make(map[string]string, len(s))
		for k, v := range s {
			m[string(k)] = string(v)
		}
		found.Sets = append(found.Sets, m)
	}
	found.Warnings, found.Truncated = c.truncation(warnings, found.Truncated)
	return found, nil
}

// LabelValues are values of a label, as LabelSets.
type LabelValues struct {
	Values    []string
	Truncated bool
	Warnings  []string
}

// LabelValues asks for the values that a label has on the selectors' series between
// from and to, at most limit of them.
func (c *Client) LabelValues(ctx context.Context, label string, selectors [][]Match, from, to time.Time, limit int) (LabelValues, error) {
	found := LabelValues{Values: []string{}, Warnings: []string{}}
	var values model.LabelValues
	var warnings v1.Warnings
	_, err := c.fact(ctx, "values of "+label, func(ctx context.Context) (err error) {
		values, warnings, _, err = c.api.LabelValues(ctx, label, c.selectors(selectors), from, to, v1.WithLimit(uint64(limit)+1))
		if err == nil && values == nil {
			err = errNoResult
		}
		return err
	})
	if err != nil {
		return found, err
	}
	if found.Truncated = len(values) > limit; found.Truncated {
		values = values[:limit]
	}
	for _, v := range values {
		found.Values = append(found.Values, string(v))
	}
	found.Warnings, found.Truncated = c.truncation(warnings, found.Truncated)
	return found, nil
}

// truncation takes the server's own warning that there is more out of its warnings.
func (c *Client) truncation(warnings []string, truncated bool) ([]string, bool) {
	kept := []string{}
	for _, w := range warnings {
		if strings.Contains(w, "truncated due to limit") {
			truncated = true
			continue
		}
		kept = append(kept, c.door.secrets.words(w))
	}
	return sortedUnique(kept), truncated
}

func (c *Client) selectors(ms [][]Match) (out []string) {
	for _, m := range ms {
		out = append(out, selector(m, c.opt.Matchers, "", nil))
	}
	return out
}

// Skew is how far the server's clock is ahead of the caller's. The truth lies
// within half of RoundTrip of Query; Date has whole seconds, so half a second more.
type Skew struct {
	// Query is by the time that the server evaluates at; Date by its HTTP header,
	// which a proxy may have written. HasDate says whether there was one.
	Query, Date time.Duration
	HasDate     bool
	RoundTrip   time.Duration
}

// Skew asks the server for its time. It needs Options.Now.
func (c *Client) Skew(ctx context.Context) (Skew, error) {
	if c.opt.Now == nil {
		return Skew{}, fault.New(fault.Usage, "clock skew: no clock to compare with")
	}
	var v model.Value
	x, err := c.fact(ctx, "clock skew", func(ctx context.Context) (err error) {
		v, _, _, err = c.api.Query(ctx, "time()", time.Time{})
		return err
	})
	if err != nil {
		return Skew{}, err
	}
	scalar, ok := v.(*model.Scalar)
	if !ok || !(scalar.Value > 0 && scalar.Value < 1e11) {
		return Skew{}, fault.New(fault.Environment, "clock skew: %s does not answer like Prometheus: time() is no time", c.server)
	}
	s := Skew{RoundTrip: x.received.Sub(x.sent)}
	middle := x.sent.Add(s.RoundTrip / 2)
	s.Query = at(int64(scalar.Value * 1000)).Sub(middle)
	if date, err := http.ParseTime(x.header.Get("Date")); err == nil {
		s.HasDate = true
		s.Date = date.Add(500 * time.Millisecond).Sub(middle)
	}
	return s, nil
}

// String is the skew as a person would say it.
func (s Skew) String() string {
	return fmt.Sprintf("%s ahead, within %s", s.Query.Round(time.Millisecond), (s.RoundTrip / 2).Round(time.Millisecond))
}

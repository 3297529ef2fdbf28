package plan

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/promquery"
)

// Prometheus says whom to ask, and how (docs/prometheus.md).
type Prometheus struct {
	// URLs in the order in which they are asked: url, then urls.
	URLs []string
	// HTTPConfig is a file in Prometheus' own format for HTTP clients, relative to
	// the plan: credentials stand there, never in the plan.
	HTTPConfig string
	// Matchers are put on every selector.
	Matchers     []promquery.Matcher
	TenantHeader promquery.Header
	Dialect      promquery.DialectConfig
	// Elastic: router nodes come and go with the load, so that one that is no longer a
	// target owes no scrapes.
	Elastic bool
	Limits  Limits
}

// Limits bound what is asked for and what is taken; 0 is the default.
type Limits struct {
	Queries, Concurrency, Series, Tries int
	Bytes                               int64
	Timeout                             time.Duration
}

func (r *reader) prometheus(n *yaml.Node, p *Prometheus) {
	var one, more []string
	address := func(to *[]string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			var s string
			if r.text(&s)(n); s == "" {
				return
			}
			u, err := url.Parse(s)
			switch {
			case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
				r.bad(n, "", "not the URL of a Prometheus server: want http://HOST:PORT or https://HOST")
			case u.User != nil:
				r.bad(n, "put them into a file that prometheus.httpConfig names, see docs/prometheus.md", "credentials in a plan")
			default:
				*to = append(*to, s)
			}
		}
	}
	r.fields(n, "prometheus", map[string]func(*yaml.Node){
		"url":        address(&one),
		"urls":       r.each(address(&more)),
		"httpConfig": r.text(&p.HTTPConfig),
		"matchers": r.each(func(n *yaml.Node) {
			var s string
			if r.text(&s)(n); s == "" {
				return
			}
			m, err := promquery.ParseMatcher(s)
			if err != nil {
				r.bad(n, `like 'cluster="prod"', in single quotes`, "%s", err)
				return
			}
			p.Matchers = append(p.Matchers, m)
		}),
		"tenantHeader": func(n *yaml.Node) {
			r.fields(n, "tenantHeader", map[string]func(*yaml.Node){"name": r.text(&p.TenantHeader.Name), "value": r.text(&p.TenantHeader.Value)})
			if err := p.TenantHeader.Check(); err != nil {
				r.bad(n, "", "%s", err)
			}
		},
		"dialect": func(n *yaml.Node) { r.dialect(n, &p.Dialect) },
		"elastic": func(n *yaml.Node) {
			if n.Decode(&p.Elastic) != nil {
				r.bad(n, "", "elastic: want true or false")
			}
		},
		"limits": func(n *yaml.Node) { r.limits(n, &p.Limits) },
	})
	p.URLs = append(one, more...)
}

// each reads every element of a list.
func (r *reader) each(read func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			r.bad(n, "", "want a list")
			return
		}
		for _, x := range n.Content {
			read(x)
		}
	}
}

func (r *reader) dialect(n *yaml.Node, d *promquery.DialectConfig) {
	names := func(what string, known []string, to *map[string]string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			*to = map[string]string{}
			fields := map[string]func(*yaml.Node){}
			for _, k := range known {
				fields[k] = func(n *yaml.Node) {
					var s string
					r.text(&s)(n)
					(*to)[k] = s
				}
			}
			r.fields(n, what, fields)
		}
	}
	metrics := promquery.CanonicalMetrics()
	for _, m := range promquery.CanonicalMetrics() {
		metrics = append(metrics, promquery.Prefix+m)
	}
	r.fields(n, "dialect", map[string]func(*yaml.Node){
		"metrics": names("dialect.metrics", metrics, &d.Metrics),
		"labels":  names("dialect.labels", promquery.CanonicalLabels(), &d.Labels),
	})
	for _, p := range d.Check() {
		r.bad(n, "", "dialect.%s", p)
	}
}

func (r *reader) limits(n *yaml.Node, l *Limits) {
	number := func(to *int) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if n.Decode(to) != nil || *to < 1 {
				r.bad(n, "", "want an integer above 0")
			}
		}
	}
	r.fields(n, "limits", map[string]func(*yaml.Node){
		"queries": number(&l.Queries), "concurrency": number(&l.Concurrency), "series": number(&l.Series), "tries": number(&l.Tries),
		"bytes": func(n *yaml.Node) {
			var ok bool
			if l.Bytes, ok = size(n.Value); n.Kind != yaml.ScalarNode || !ok {
				r.bad(n, "", "want a size like 128MiB")
			}
		},
		"timeout": func(n *yaml.Node) {
			d, err := time.ParseDuration(n.Value)
			if l.Timeout = d; err != nil || n.Kind != yaml.ScalarNode || d < time.Second {
				r.bad(n, "", "want a duration of a second or more, like 2m")
			}
		},
	})
}

// size reads bytes: a number, with KiB, MiB or GiB.
func size(s string) (int64, bool) {
	for i, unit := range []string{"KiB", "MiB", "GiB", ""} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32)
		if unit != "" {
			n <<= 10 * (i + 1)
		}
		return n, err == nil && n > 0
	}
	return 0, false
}

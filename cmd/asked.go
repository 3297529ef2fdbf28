package cmd

import (
	"net/url"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/cbops/cbops/rollout/criteria"
)

// asked is what a next command must repeat of the flags of evaluate. Times are made
// absolute: a duration back from now means another time tomorrow. An address that
// holds credentials is left out.
func (a *app) asked(o evaluateOptions, since, at time.Time) criteria.Flags {
	var target, judge []string
	add := func(to *[]string, flag string, values ...string) {
		for _, v := range values {
			if v != "" {
				*to = append(*to, "--"+flag, v)
			}
		}
	}
	add(&target, "plan", a.plan)
	add(&target, "policies", o.policies)
	for _, u := range o.urls {
		if p, err := url.Parse(u); err == nil && p.User == nil && p.RawQuery == "" {
			add(&judge, "prometheus", u)
		}
	}
	add(&judge, "prometheus-config", o.config)
	add(&judge, "matcher", o.matchers...)
	add(&judge, "tenant", o.tenants...)
	add(&judge, "policy", o.policyName)
	if o.since != "" {
		add(&judge, "since", since.UTC().Format(time.RFC3339))
	}
	if o.baseline != defaultBaseline {
		add(&judge, "baseline", o.baseline)
	}
	for _, x := range []struct {
		flag   string
		values []string
	}{
		{"attest", o.attest}, {"incidents", o.incidents}, {"waivers", o.waivers}, {"bakes", o.bakes}, {"query", o.queries},
		{"fail-fast", []string{o.failFast}}, {"frozen-baseline", []string{o.frozen}}, {"criteria", o.only},
	} {
		add(&judge, x.flag, x.values...)
	}
	f := criteria.Flags{Target: shellquote.Join(target...), Judge: shellquote.Join(judge...)}
	if o.at != "" {
		f.At = "--at " + at.UTC().Format(time.RFC3339)
	}
	return f
}

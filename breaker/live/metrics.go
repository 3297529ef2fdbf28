package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/cbops/cbops/breaker/scenario"
)

const (
	metricPrefix = "router_circuit_breaker_"
	maxBody      = 64 << 20 // of a metrics answer
	answerWithin = 10 * time.Second
)

// exposition is one answer of the metrics endpoint, by metric name.
type exposition map[string]*dto.MetricFamily

// scrape reads the metrics endpoint.
func (d *driver) scrape(ctx context.Context) (exposition, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	u := d.URL.JoinPath(MetricsPath)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w", u.Redacted(), err)
	}
	d.Request.decorate(req)
	resp, err := d.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot read the metrics of %s: %w", d.URL.Redacted(), bare(err))
	}
	defer func() { _ = resp.Body.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the metrics of %s: %w", d.URL.Redacted(), err)
	case resp.StatusCode != http.StatusOK:
		return nil, d.notRouter("GET %s answered %s", MetricsPath, resp.Status)
	case len(body) > maxBody:
		return nil, d.notRouter("GET %s answered more than %d MiB", MetricsPath, maxBody>>20)
	}
	e, err := parse(body)
	if err != nil {
		return nil, d.notRouter("GET %s answered no metrics: %s", MetricsPath, err)
	}
	if len(e) > 0 && !e.hasRouter() {
		return nil, d.notRouter("GET %s answered metrics, and none of them is a router's", MetricsPath)
	}
	return e, nil
}

func (d *driver) notRouter(format string, args ...any) error {
	return &NotRouterError{d.URL.Redacted(), fmt.Sprintf(format, args...)}
}

// bare is the cause without the method and address that net/http puts before it.
func bare(err error) error {
	if u := errors.Unwrap(err); u != nil {
		return u
	}
	return err
}

// parse reads the router's text. expfmt refuses it as it is: it repeats HELP and
// TYPE and lacks the final newline (ROUTER.md §5). Nothing is read from comments,
// and the types in them are wrong anyway, so they are dropped and the end mended
// before expfmt reads the samples.
func parse(body []byte) (exposition, error) {
	var samples bytes.Buffer
	for line := range bytes.Lines(body) {
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			samples.Write(line)
		}
	}
	samples.WriteByte('\n')
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(&samples)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "text format parsing error in "))
	}
	return families, nil
}

func (e exposition) hasRouter() bool {
	for name := range e {
		if strings.HasPrefix(name, "router_") {
			return true
		}
	}
	return false
}

// totals are a circuit's series: value by metric and extra label.
type totals struct {
	values map[string]float64
	series []string // metrics that are there, without the prefix
}

// of picks one circuit's series. A series that comes twice counts once, the last
// time.
func (e exposition) of(tenant, provider string) totals {
	t := totals{values: map[string]float64{}}
	for name, f := range e {
		short, ok := strings.CutPrefix(name, metricPrefix)
		if !ok {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["tenant_id"] != tenant || labels["provider_id"] != provider {
				continue
			}
			if !slices.Contains(t.series, short) {
				t.series = append(t.series, short)
			}
			key := short
			for _, l := range []string{"event_type", "from", "to", "state", "reason", "transition_type"} {
				if v, ok := labels[l]; ok {
					key += "," + v
				}
			}
			t.values[key] = m.GetUntyped().GetValue()
		}
	}
	return t
}

func (t totals) get(key string) float64 { return t.values[key] }

// failFasts are the requests that were denied so far.
func (t totals) failFasts() float64 { return t.get("events_total,fail_fast") }

// observe is what the metrics tell of the circuit: the state from the transitions,
// never from the state gauge, which is not taken back (ROUTER.md §5).
func (t totals) observe() scenario.Observation {
	co, oh := t.get("state_transitions_total,closed,open"), t.get("state_transitions_total,open,half_open")
	ho, hc := t.get("state_transitions_total,half_open,open"), t.get("state_transitions_total,half_open,closed")
	s, f, ff := t.get("events_total,success"), t.get("events_total,failure"), t.failFasts()
	number := func(x float64) scenario.Value { return scenario.Value{Number: x} }
	o := scenario.Observation{
		"opens": number(co), "reopens": number(ho), "half_opens": number(oh), "closes": number(hc),
		"successes": number(s), "failures": number(f), "fail_fasts": number(ff), "events": number(s + f + ff),
		"error_rate":      number(t.get("error_rate")),
		"window_requests": number(t.get("window_requests_total")), "window_failures": number(t.get("window_failures_total")),
		"series": {Words: t.series}, "reasons": {Words: t.reasons()},
	}
	closed, open, halfOpen := 1-co+hc, co+ho-oh, oh-ho-hc
	switch {
	case closed == 1 && open == 0 && halfOpen == 0:
		o["state"] = scenario.Value{Words: []string{"closed"}}
	case closed == 0 && open == 1 && halfOpen == 0:
		o["state"] = scenario.Value{Words: []string{"open"}}
	case closed == 0 && open == 0 && halfOpen == 1:
		o["state"] = scenario.Value{Words: []string{"half_open"}}
	default:
		o["state"] = scenario.Value{Words: []string{"none"}, Note: "the transitions cannot all be true"}
	}
	if path, ok := pathOf(co, oh, ho, hc); ok {
		o["states"] = scenario.Value{Words: path}
	}
	// With exactly one open and no close, the window counters hold that open's window.
	if co == 1 && hc == 0 {
		o["opened_at_failure"] = number(t.get("window_failures_total"))
	}
	if co == 0 {
		o["opened_at_failure"] = number(0)
	}
	return o
}

func (t totals) reasons() []string {
	var out []string
	for k := range t.values {
		if r, ok := strings.CutPrefix(k, "trigger_reason,"); ok {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

// pathOf is the order of the transitions, where their counts leave only one.
func pathOf(co, oh, ho, hc float64) ([]string, bool) {
	for _, n := range []float64{co, oh, ho, hc} {
		if n < 0 || n > 1000 || n != math.Trunc(n) {
			return nil, false
		}
	}
	if ho > 0 && co > 1 {
		return nil, false // in which of the episodes it reopened is not known
	}
	path := []string{}
	for co > 0 || oh > 0 || ho > 0 || hc > 0 {
		last := ""
		if len(path) > 0 {
			last = path[len(path)-1]
		}
		switch {
		case (last == "" || last == "closed") && co > 0:
			path, co = append(path, "open"), co-1
		case last == "open" && oh > 0:
			path, oh = append(path, "half_open"), oh-1
		case last == "half_open" && ho > 0:
			path, ho = append(path, "open"), ho-1
		case last == "half_open" && hc > 0:
			path, hc = append(path, "closed"), hc-1
		default:
			return nil, false // they do not chain
		}
	}
	return path, true
}

package scenario

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/breaker"
)

// Format writes a scenario as a file that Parse reads: something to start from.
func Format(s Scenario) ([]byte, error) {
	base := breaker.PolicyDefaults()
	if len(s.Circuits) > 0 {
		base = s.Circuits[0].Config
	}
	doc := block()
	put(doc, "apiVersion", "cbops/v1")
	put(doc, "kind", "Scenario")
	put(doc, "name", s.Name)
	put(doc, "title", s.Title)
	if s.Target > 0 {
		put(doc, "target", s.Target.String())
	}
	cfg := block()
	fields(cfg, base, nil)
	doc.Content = append(doc.Content, word1("breaker"), cfg)
	steps := &yaml.Node{Kind: yaml.SequenceNode}
	for i, c := range s.Circuits {
		if i > 0 || c.Name != "" || c.Unconfigured {
			steps.Content = append(steps.Content, step("circuit", circuitNode(c, base)))
		}
		now := c.Config
		for _, st := range c.Steps {
			steps.Content = append(steps.Content, stepNodes(st, &now)...)
		}
	}
	doc.Content = append(doc.Content, word1("steps"), steps)
	if len(s.Deviations) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, d := range s.Deviations {
			list.Content = append(list.Content, text1(d))
		}
		doc.Content = append(doc.Content, word1("deviations"), list)
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("cannot write the scenario as YAML: %w", err)
	}
	return buf.Bytes(), nil
}

func block() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }
func flow() *yaml.Node  { return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle} }

// word1 is a scalar as it is; text1 one that must stay a text.
func word1(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

func text1(s string) *yaml.Node {
	var n yaml.Node
	n.SetString(s)
	return &n
}

func put(m *yaml.Node, k, v string) { m.Content = append(m.Content, word1(k), text1(v)) }

// raw puts a value that is no text.
func raw(m *yaml.Node, k, v string) { m.Content = append(m.Content, word1(k), word1(v)) }

func step(verb string, v *yaml.Node) *yaml.Node {
	n := block()
	n.Content = []*yaml.Node{word1(verb), v}
	return n
}

func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// fields puts the fields of c that differ from base, all where there is none.
func fields(m *yaml.Node, c breaker.Config, base *breaker.Config) {
	b := breaker.Config{}
	if base != nil {
		b = *base
	}
	whole := func(name string, v, old int64) {
		if base == nil || v != old {
			raw(m, name, strconv.FormatInt(v, 10))
		}
	}
	whole("failure_threshold", c.FailureThreshold, b.FailureThreshold)
	whole("success_threshold", c.SuccessThreshold, b.SuccessThreshold)
	whole("timeout_ms", c.TimeoutMS, b.TimeoutMS)
	whole("half_open_max_calls", c.HalfOpenMaxCalls, b.HalfOpenMaxCalls)
	if base == nil || c.ErrorRateThreshold != b.ErrorRateThreshold {
		raw(m, "error_rate_threshold", plain(c.ErrorRateThreshold))
	}
	whole("error_rate_window_seconds", c.WindowSeconds, b.WindowSeconds)
	if base == nil && c.LatencyThresholdMS == 0 {
		return
	}
	whole("latency_threshold_ms", c.LatencyThresholdMS, b.LatencyThresholdMS)
}

func circuitNode(c Circuit, base breaker.Config) *yaml.Node {
	m := flow()
	if c.Name != "" {
		put(m, "name", c.Name)
	}
	if c.Unconfigured {
		raw(m, "configured", "false")
		return m
	}
	if c.Config != base {
		cfg := flow()
		fields(cfg, c.Config, &base)
		m.Content = append(m.Content, word1("breaker"), cfg)
	}
	return m
}

func stepNodes(st Step, now *breaker.Config) []*yaml.Node {
	switch st := st.(type) {
	case Send:
		return []*yaml.Node{step(string(st.Verb), sendNode(st))}
	case Wait:
		return []*yaml.Node{step("wait", text1(st.For.String()))}
	case Publish:
		return []*yaml.Node{step("publish_latency", text1(st.Latency.String()))}
	case Configure:
		m := flow()
		fields(m, st.Config, now)
		*now = st.Config
		return []*yaml.Node{step("configure", m)}
	case Traffic:
		m := flow()
		raw(m, "per_minute", plain(st.PerMinute))
		raw(m, "failures", plain(st.FailureShare))
		raw(m, "trough", plain(st.Trough))
		put(m, "for", st.For.String())
		if len(st.Weights) == 0 {
			raw(m, "spread", strconv.Itoa(max(st.Spread, 1)))
		} else {
			list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, w := range st.Weights {
				list.Content = append(list.Content, word1(plain(w)))
			}
			m.Content = append(m.Content, word1("weights"), list)
		}
		return []*yaml.Node{step("traffic", m)}
	case Expect:
		return expectNodes(st)
	}
	return nil
}

func sendNode(s Send) *yaml.Node {
	m := flow()
	raw(m, "count", strconv.Itoa(s.Count))
	switch {
	case s.Verb == Ask:
	case len(s.Outcomes) == 0:
		raw(m, "failures", plain(s.FailureShare))
	case len(s.Outcomes) == 1:
		put(m, "outcome", string(s.Outcomes[0]))
	default:
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, o := range s.Outcomes {
			list.Content = append(list.Content, text1(string(o)))
		}
		m.Content = append(m.Content, word1("outcomes"), list)
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"every", s.Every}, {"latency", s.Latency}} {
		if d.d > 0 {
			put(m, d.key, d.d.String())
		}
	}
	if s.Workers > 1 {
		raw(m, "workers", strconv.Itoa(s.Workers))
	}
	if s.Parallel {
		raw(m, "parallel", "true")
	}
	if s.Spread > 1 {
		raw(m, "spread", strconv.Itoa(s.Spread))
	}
	return m
}

func expectNodes(e Expect) []*yaml.Node {
	var out []*yaml.Node
	for _, x := range e.Expectations {
		m := flow()
		if x.Report {
			put(m, "measure", x.Measure)
			if x.Text != "" {
				put(m, "text", x.Text)
			}
			out = append(out, step("show", m))
			continue
		}
		m.Content = append(m.Content, word1(x.Measure), boundNode(x))
		if x.Text != "" {
			put(m, "text", x.Text)
		}
		if x.Guide != "" {
			put(m, "guide", x.Guide)
		}
		out = append(out, step("expect", m))
	}
	return out
}

func boundNode(e Expectation) *yaml.Node {
	m, _ := MeasureNamed(e.Measure)
	switch {
	case m.kind == word && len(e.Words) == 1:
		return text1(e.Words[0])
	case m.kind >= word:
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, w := range slices.Clone(e.Words) {
			list.Content = append(list.Content, text1(w))
		}
		return list
	case e.Min == e.Max:
		return word1(plain(e.Min))
	}
	b := flow()
	if !math.IsNaN(e.Min) {
		raw(b, "min", plain(e.Min))
	}
	if !math.IsNaN(e.Max) {
		raw(b, "max", plain(e.Max))
	}
	return b
}

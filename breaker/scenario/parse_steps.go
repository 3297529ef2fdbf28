package scenario

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/breaker"
)

func (r *reader) scenario(n *yaml.Node, s *Scenario) {
	var version, kind string
	var steps *yaml.Node
	ok := r.mapping(n, "scenario", map[string]func(k, v *yaml.Node){
		"apiVersion": func(_, v *yaml.Node) { version = r.text(v, "apiVersion") },
		"kind":       func(_, v *yaml.Node) { kind = r.text(v, "kind") },
		"name":       func(_, v *yaml.Node) { s.Name = r.name(v) },
		"title":      func(_, v *yaml.Node) { s.Title = r.text(v, "title") },
		"target":     func(_, v *yaml.Node) { s.Target = r.duration(v, "target") },
		"deviations": func(_, v *yaml.Node) { s.Deviations = r.texts(v, "deviations") },
		"breaker": func(_, v *yaml.Node) {
			r.base = breaker.PolicyDefaults()
			r.config(v, &r.base)
		},
		"steps": func(_, v *yaml.Node) { steps = v },
	})
	if !ok {
		return
	}
	if version != "cbops/v1" {
		r.bad(n, "", "apiVersion is %q, this cbops reads \"cbops/v1\"", version)
	}
	if kind != "Scenario" {
		r.bad(n, "", "kind is %q, want \"Scenario\"", kind)
	}
	if s.Name == "" {
		r.bad(n, "", "the scenario has no name")
	}
	if s.Title == "" {
		s.Title = s.Name
	}
	if steps == nil {
		r.bad(n, "", "the scenario has no steps")
		return
	}
	r.steps(steps, s)
	if r.judged == 0 && len(r.problems) == 0 {
		r.bad(steps, "add a step like: expect: {state: open}", "the scenario expects nothing, so it cannot fail")
	}
	if r.requests > MaxRequests {
		r.bad(steps, "", "the steps make %.0f requests, at most %d are allowed", r.requests, MaxRequests)
	}
}

func (r *reader) name(n *yaml.Node) string {
	if s := r.text(n, "name"); regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`).MatchString(s) {
		return s
	}
	r.bad(n, "", "name is %s, want up to 64 of a-z, 0-9 and -", what(n))
	return "unnamed"
}

func (r *reader) texts(n *yaml.Node, where string) []string {
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "", "%s is %s, want a list", where, what(n))
		return nil
	}
	var out []string
	for _, x := range n.Content {
		out = append(out, r.text(x, where))
	}
	return out
}

// config reads fields of circuit_breaker onto c. The twin takes any number, as the
// router does.
func (r *reader) config(n *yaml.Node, c *breaker.Config) {
	whole := func(p *int64) func(k, v *yaml.Node) {
		return func(k, v *yaml.Node) { *p = r.integer(v, k.Value, -1<<40, 1<<40) }
	}
	r.mapping(n, "breaker", map[string]func(k, v *yaml.Node){
		"failure_threshold": whole(&c.FailureThreshold), "success_threshold": whole(&c.SuccessThreshold),
		"timeout_ms": whole(&c.TimeoutMS), "half_open_max_calls": whole(&c.HalfOpenMaxCalls),
		"error_rate_window_seconds": whole(&c.WindowSeconds), "latency_threshold_ms": whole(&c.LatencyThresholdMS),
		"error_rate_threshold": func(k, v *yaml.Node) { c.ErrorRateThreshold = r.float(v, k.Value, -1e9, 1e9) },
	})
}

func (r *reader) steps(n *yaml.Node, s *Scenario) {
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "", "steps is %s, want a list", what(n))
		return
	}
	circuit := Circuit{Config: r.base}
	now := r.base
	took := time.Duration(0)
	places := []*yaml.Node{} // of the circuit's steps
	flush := func() {
		if len(circuit.Steps) > 0 {
			s.Circuits = append(s.Circuits, circuit)
		}
		for i, at := range places {
			r.measurable(at, circuit, i)
		}
		places = nil
	}
	for _, x := range n.Content {
		if r.items++; r.items > maxItems {
			r.bad(x, "", "more than %d steps and expectations", maxItems)
			return
		}
		before := len(circuit.Steps)
		r.step(x, map[string]func(k, v *yaml.Node){
			"circuit": func(_, v *yaml.Node) {
				flush()
				circuit = r.circuit(v)
				now, before, took = circuit.Config, 0, 0
			},
			"configure": func(_, v *yaml.Node) {
				r.config(v, &now)
				circuit.Steps = append(circuit.Steps, Configure{now})
			},
			"send":   r.requestsOf(Requests, &circuit),
			"record": r.requestsOf(Record, &circuit),
			"ask":    r.requestsOf(Ask, &circuit),
			"wait":   func(_, v *yaml.Node) { circuit.Steps = append(circuit.Steps, Wait{r.duration(v, "wait")}) },
			"publish_latency": func(_, v *yaml.Node) {
				circuit.Steps = append(circuit.Steps, Publish{r.duration(v, "publish_latency")})
			},
			"traffic": func(_, v *yaml.Node) { circuit.Steps = append(circuit.Steps, r.traffic(v)) },
			"show":    func(_, v *yaml.Node) { circuit.Steps = append(circuit.Steps, r.show(v)) },
			"expect":  func(_, v *yaml.Node) { circuit.Steps = append(circuit.Steps, r.expect(v)) },
		})
		for _, st := range circuit.Steps[before:] {
			if took += (Circuit{Steps: []Step{st}}).Duration(); took > MaxDuration {
				r.bad(x, "", "the circuit's steps take more than %d days", MaxDuration/(24*time.Hour))
				return
			}
			places = append(places, x)
		}
	}
	flush()
}

// step reads one step: a mapping with one key, the verb.
func (r *reader) step(n *yaml.Node, verbs map[string]func(k, v *yaml.Node)) {
	if r.mapping(n, "step", verbs) && len(n.Content) != 2 {
		r.bad(n, "begin each with a dash of its own", "a step does one thing, this one has %d keys", len(n.Content)/2)
	}
}

func (r *reader) circuit(n *yaml.Node) Circuit {
	c := Circuit{Config: r.base}
	r.mapping(n, "circuit", map[string]func(k, v *yaml.Node){
		"name":       func(_, v *yaml.Node) { c.Name = r.text(v, "name") },
		"breaker":    func(_, v *yaml.Node) { r.config(v, &c.Config) },
		"configured": func(_, v *yaml.Node) { c.Unconfigured = !r.boolean(v, "configured") },
	})
	return c
}

func (r *reader) requestsOf(verb Verb, c *Circuit) func(k, v *yaml.Node) {
	return func(k, n *yaml.Node) {
		s := Send{Verb: verb, FailureShare: math.NaN()}
		if verb == Ask {
			s.Outcomes = []Outcome{NoAnswer}
		}
		if n.Kind == yaml.ScalarNode && verb == Ask {
			s.Count = int(r.integer(n, "ask", 1, MaxRequests))
			r.requests += float64(s.Count)
			c.Steps = append(c.Steps, s)
			return
		}
		known := map[string]func(k, v *yaml.Node){
			"count":   func(_, v *yaml.Node) { s.Count = int(r.integer(v, "count", 1, MaxRequests)) },
			"every":   func(_, v *yaml.Node) { s.Every = r.duration(v, "every") },
			"workers": func(_, v *yaml.Node) { s.Workers = int(r.integer(v, "workers", 1, maxItems)) },
			"spread":  func(_, v *yaml.Node) { s.Spread = int(r.integer(v, "spread", 1, maxItems)) },
			"parallel": func(_, v *yaml.Node) {
				s.Parallel = r.boolean(v, "parallel")
			},
		}
		if verb != Ask {
			known["outcome"] = func(_, v *yaml.Node) { s.Outcomes = append(s.Outcomes, r.outcome(v)) }
			known["outcomes"] = func(_, v *yaml.Node) { s.Outcomes = append(s.Outcomes, r.outcomes(v)...) }
			known["failures"] = func(_, v *yaml.Node) { s.FailureShare = r.float(v, "failures", 0, 1) }
			known["latency"] = func(_, v *yaml.Node) { s.Latency = r.duration(v, "latency") }
		}
		problems := len(r.problems)
		if !r.mapping(n, string(verb), known) || len(r.problems) > problems {
			return
		}
		random := !math.IsNaN(s.FailureShare)
		switch {
		case s.Count == 0:
			r.bad(n, "", "%s has no count", verb)
		case random == (len(s.Outcomes) > 0):
			r.bad(n, "", "%s: want outcome, outcomes or failures, and only one of them", verb)
		case verb == Record && slices.Contains(s.Outcomes, NoAnswer):
			r.bad(n, "ask does that", "record: an outcome that never comes cannot be recorded")
		case s.Parallel && s.Workers < 2:
			r.bad(n, "", "%s: parallel needs workers, 2 at least", verb)
		case s.Parallel && slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return s.Delay(o) > 0 }):
			r.bad(n, "", "%s: parallel workers send at one instant, so an outcome cannot come later", verb)
		case s.Spread > max(s.Workers, 1):
			r.bad(n, "", "%s: spread deals workers out to circuits: there are more circuits than workers", verb)
		}
		if !random {
			s.FailureShare = 0
		}
		r.requests += float64(s.Count)
		c.Steps = append(c.Steps, s)
	}
}

func (r *reader) outcome(n *yaml.Node) Outcome {
	all := []Outcome{Success, Failure, Timeout, Slow, ServerError, NoAnswer}
	o := Outcome(n.Value)
	if n.Kind != yaml.ScalarNode || !slices.Contains(all, o) {
		r.bad(n, fmt.Sprintf("there are: %v", all), "outcome is %s", what(n))
	}
	return o
}

func (r *reader) outcomes(n *yaml.Node) []Outcome {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxItems {
		r.bad(n, "", "outcomes is %s, want a list of 1 to %d", what(n), maxItems)
		return nil
	}
	var out []Outcome
	for _, x := range n.Content {
		out = append(out, r.outcome(x))
	}
	return out
}

func (r *reader) traffic(n *yaml.Node) Traffic {
	t := Traffic{Trough: 1, Spread: 1}
	r.mapping(n, "traffic", map[string]func(k, v *yaml.Node){
		"per_minute": func(_, v *yaml.Node) { t.PerMinute = r.float(v, "per_minute", 0, MaxRequests) },
		"failures":   func(_, v *yaml.Node) { t.FailureShare = r.float(v, "failures", 0, 1) },
		"trough":     func(_, v *yaml.Node) { t.Trough = r.float(v, "trough", 0, 1) },
		"for":        func(_, v *yaml.Node) { t.For = r.duration(v, "for") },
		"spread":     func(_, v *yaml.Node) { t.Spread = int(r.integer(v, "spread", 1, maxItems)) },
		"weights":    func(_, v *yaml.Node) { t.Weights = r.weights(v) },
	})
	if len(t.Weights) > 0 {
		t.Spread = len(t.Weights)
	}
	if t.PerMinute == 0 || t.For == 0 {
		r.bad(n, "", "traffic needs per_minute and for, both above 0")
	}
	r.requests += max(t.PerMinute, 1) * t.For.Minutes() // a quiet minute is work too
	return t
}

// weights are a list of numbers above 0.
func (r *reader) weights(n *yaml.Node) []float64 {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxItems {
		r.bad(n, "", "weights is %s, want a list of 1 to %d numbers", what(n), maxItems)
		return nil
	}
	var out []float64
	for _, x := range n.Content {
		out = append(out, r.float(x, "weight", 1e-6, 1e6))
	}
	return out
}

// show reads a measure that is reported and not judged.
func (r *reader) show(n *yaml.Node) Expect {
	e := Reported("", "")
	e.Place = r.place(n)
	if n.Kind == yaml.ScalarNode {
		e.Measure = n.Value
	} else {
		r.mapping(n, "show", map[string]func(k, v *yaml.Node){
			"measure": func(_, v *yaml.Node) { e.Measure = v.Value },
			"text":    func(_, v *yaml.Node) { e.Text = r.text(v, "text") },
		})
	}
	if _, ok := MeasureNamed(e.Measure); !ok {
		r.bad(n, "", "show is %s, want a measure", what(n))
	}
	return Expect{[]Expectation{e}}
}

func (r *reader) expect(n *yaml.Node) Expect {
	var out []Expectation
	text, guide := "", ""
	known := map[string]func(k, v *yaml.Node){
		"text":  func(_, v *yaml.Node) { text = r.text(v, "text") },
		"guide": func(_, v *yaml.Node) { guide = r.text(v, "guide") },
	}
	for _, m := range Measures() {
		known[m.Name] = func(k, v *yaml.Node) {
			e := Expectation{Measure: m.Name, Min: math.NaN(), Max: math.NaN(), Place: r.place(k)}
			if r.bound(m, v, &e) {
				if flaw := e.Flaw(); flaw != "" {
					r.bad(k, "", "%s: %s", m.Name, flaw)
				}
			}
			out = append(out, e)
			r.items++
			r.judged++
		}
	}
	problems := len(r.problems)
	if r.mapping(n, "expect", known) && len(out) == 0 && len(r.problems) == problems {
		r.bad(n, "", "expect names no measure, so it cannot fail")
	}
	for i := range out {
		out[i].Guide = guide
		if out[i].Text = text; text != "" && len(out) > 1 {
			m, _ := MeasureNamed(out[i].Measure)
			out[i].Text = text + ": " + m.Text
		}
	}
	return Expect{out}
}

// bound reads what a measure must be.
func (r *reader) bound(m Measure, v *yaml.Node, e *Expectation) bool {
	problems := len(r.problems)
	switch {
	case m.kind >= word:
		if v.Kind == yaml.SequenceNode {
			for _, x := range v.Content {
				e.Words = append(e.Words, r.text(x, m.Name))
			}
		} else {
			e.Words = []string{r.text(v, m.Name)}
		}
	case v.Kind == yaml.MappingNode:
		r.mapping(v, m.Name, map[string]func(k, v *yaml.Node){
			"min": func(_, v *yaml.Node) { e.Min = r.float(v, "min", -1e15, 1e15) },
			"max": func(_, v *yaml.Node) { e.Max = r.float(v, "max", -1e15, 1e15) },
		})
	default:
		x := r.float(v, m.Name, -1e15, 1e15)
		e.Min, e.Max = x, x
	}
	return len(r.problems) == problems
}

// measurable refuses an expectation that the steps before it cannot answer.
func (r *reader) measurable(at *yaml.Node, c Circuit, step int) {
	e, ok := c.Steps[step].(Expect)
	if !ok {
		return
	}
	asked, several := false, false
	for i, s := range c.Steps {
		switch s := s.(type) {
		case Send:
			asked, several = asked || i < step && s.Verb != Record, several || s.Spread > 1
		case Traffic:
			asked, several = asked || i < step, several || s.Spread > 1
		}
	}
	before := Circuit{Steps: c.Steps[:step]}
	single := []string{"state", "held", "memory_bytes", "probes", "consecutive_failures"}
	for _, x := range e.Expectations {
		switch {
		case x.Measure == "asks" && !asked:
			r.bad(at, "", "asks: no step before it asks")
		case several && slices.Contains(single, x.Measure):
			r.bad(at, "", "%s: the requests are spread over several circuits, and each has its own", x.Measure)
		case x.Measure == "opens_per_day" && before.Duration() == 0:
			r.bad(at, "", "opens_per_day: no time has passed")
		}
	}
}

package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cbops/cbops/internal/fault"
)

// Verb is something that an operator's program does for cbops. Only reload is
// required; what is not given cannot be done, and is reported so.
type Verb string

// The verbs. Read and Write are the store: given both, the policies lie there and
// not in a directory. The rest is asked of each node.
const (
	VerbRead     Verb = "read"
	VerbWrite    Verb = "write"
	VerbReload   Verb = "reload"
	VerbLoaded   Verb = "loaded"
	VerbCircuits Verb = "circuits"
	VerbReset    Verb = "reset"
)

// Verbs lists them in the order in which a change needs them.
func Verbs() []Verb {
	return []Verb{VerbRead, VerbWrite, VerbReload, VerbLoaded, VerbCircuits, VerbReset}
}

// ParseVerb reads a verb.
func ParseVerb(s string) (Verb, error) {
	var names []string
	for _, v := range Verbs() {
		if string(v) == s {
			return v, nil
		}
		names = append(names, string(v))
	}
	return "", fault.New(fault.Usage, "unknown verb %q: one of %s", s, strings.Join(names, ", "))
}

// execVersion names the protocol in every request.
const execVersion = "cbops/v1"

// execRequest is what a program finds on its standard input: one JSON object. A
// program whose arguments name {tenant} or {policy} is run for each policy, with
// that one in policies; another gets all of them at once.
type execRequest struct {
	APIVersion string `json:"apiVersion"`
	Verb       Verb   `json:"verb"`
	Node       string `json:"node,omitempty"`
	// Policies are those that are meant. For read, a missing list means all.
	Policies []execPolicy `json:"policies,omitempty"`
	// Circuits are those to show or to reset. For circuits, a missing list means
	// all; a missing provider all of the tenant.
	Circuits []CircuitKey `json:"circuits,omitempty"`
	// Holds are small files to keep (write); null takes one away.
	Holds map[string]*string `json:"holds,omitempty"`
}

// execPolicy is a policy in a request or an answer.
type execPolicy struct {
	Tenant string `json:"tenant"`
	Policy string `json:"policy"`
	// SHA256 is the hexadecimal digest of the bytes that a node must find before it
	// reads them (reload, loaded).
	SHA256 string `json:"sha256,omitempty"`
	// Document are the policy's exact bytes, as text (read, write).
	Document *string `json:"document,omitempty"`
	// Version is the store's own word for the bytes; write gives back what read said.
	Version string `json:"version,omitempty"`
	// Error says why it failed for this policy; Conflict, that its version is no
	// longer the present one.
	Error    string `json:"error,omitempty"`
	Conflict bool   `json:"conflict,omitempty"`
	// Breaker is the circuit_breaker that the node runs (loaded); null is none.
	Breaker json.RawMessage `json:"circuit_breaker,omitempty"`
}

func (p execPolicy) ref() Ref { return Ref{p.Tenant, p.Policy} }

// execAnswer is what a program prints. Reload, write and reset may print nothing:
// then the exit code is for all.
type execAnswer struct {
	Policies []execPolicy      `json:"policies"`
	Circuits []Circuit         `json:"circuits"`
	Holds    map[string]string `json:"holds"`
}

// maxExecAnswer bounds the answer of a verb's program, in bytes: the documents of
// ten thousand policies.
const maxExecAnswer = 128 << 20

// exec runs the operator's programs, one per verb.
type exec struct {
	Programs
	verbs    map[Verb]Command
	parallel int
}

// call runs a verb's program once.
func (x exec) call(ctx context.Context, verb Verb, node string, r Ref, req execRequest) (execAnswer, error) {
	req.APIVersion, req.Verb, req.Node = execVersion, verb, node
	in, err := json.Marshal(req)
	if err != nil {
		return execAnswer{}, err
	}
	out, err := x.Run(ctx, string(verb), x.verbs[verb], r, node, append(in, '\n'))
	if err != nil {
		return execAnswer{}, err
	}
	out = bytes.TrimSpace(out)
	if len(out) == 0 {
		switch verb {
		case VerbReload, VerbWrite, VerbReset:
			return execAnswer{}, nil
		}
		return execAnswer{}, fmt.Errorf("%s: exit 0, but no answer on standard output", verb)
	}
	var a execAnswer
	dec := json.NewDecoder(bytes.NewReader(out))
	if err := dec.Decode(&a); err != nil || dec.More() {
		if verb == VerbReload || verb == VerbWrite || verb == VerbReset {
			return execAnswer{}, nil // words for people: the exit code counts
		}
		return execAnswer{}, fmt.Errorf("%s: exit 0, but the answer is not one JSON object: %s", verb, clip(out))
	}
	return a, nil
}

func clip(b []byte) string {
	if len(b) > 120 {
		return fmt.Sprintf("%q…", b[:120])
	}
	return fmt.Sprintf("%q", b)
}

func hexDigest(d string) string { return strings.TrimPrefix(d, "sha256:") }

// ExecNode is a node that is reached by the operator's programs.
type ExecNode struct {
	exec
	Node string
	// Listed says that reload reads the policies of its request and no others. The
	// safe assumption is that it reads all.
	Listed bool
	// HealthCmd exits 0 where the node serves; the zero Command is none.
	HealthCmd Command
}

// NewExecNode makes a node of the verbs' programs.
func NewExecNode(p Programs, verbs map[Verb]Command, node string, parallel int) *ExecNode {
	if parallel <= 0 {
		parallel = commandParallel
	}
	p.MaxOutput = maxExecAnswer
	return &ExecNode{exec: exec{p, verbs, parallel}, Node: node}
}

// Name is the node's name, "" if it has none.
func (n *ExecNode) Name() string { return n.Node }

// Can says which verbs there are.
func (n *ExecNode) Can(context.Context) (Capabilities, error) {
	return Capabilities{
		Reload: n.verbs[VerbReload].Given(), Whole: n.verbs[VerbReload].Given() && !n.Listed && !n.verbs[VerbReload].PerPolicy(),
		Loaded: n.verbs[VerbLoaded].Given(), Circuits: n.verbs[VerbCircuits].Given(), Reset: n.verbs[VerbReset].Given(),
	}, nil
}

// perPolicy calls a verb for all policies at once, or for each, as its arguments
// say, and hands every answer on.
func (n *ExecNode) perPolicy(ctx context.Context, verb Verb, all []Wanted, before func(Ref) error, yield func(Ref, execAnswer, error)) {
	if !n.verbs[verb].PerPolicy() {
		req := execRequest{}
		for _, w := range all {
			if before != nil {
				if err := before(w.Ref); err != nil {
					yield(w.Ref, execAnswer{}, err)
					continue
				}
			}
			req.Policies = append(req.Policies, execPolicy{Tenant: w.Ref.Tenant, Policy: w.Ref.Policy, SHA256: hexDigest(w.Digest)})
		}
		if len(req.Policies) == 0 {
			return
		}
		a, err := n.call(ctx, verb, n.Node, Ref{}, req)
		for _, p := range req.Policies {
			yield(p.ref(), a, err)
		}
		return
	}
	var o once[execAnswer]
	each(n.parallel, all, func(w Wanted) {
		a, err := o.do(ctx, w.Ref, func() (execAnswer, error) {
			if before != nil {
				if err := before(w.Ref); err != nil {
					return execAnswer{}, err
				}
			}
			return n.call(ctx, verb, n.Node, w.Ref, execRequest{Policies: []execPolicy{{Tenant: w.Ref.Tenant, Policy: w.Ref.Policy, SHA256: hexDigest(w.Digest)}}})
		})
		yield(w.Ref, a, err)
	})
}

// Reload runs the reload program.
func (n *ExecNode) Reload(ctx context.Context, all []Wanted, before func(Ref) error, yield func(Ref, error)) {
	n.perPolicy(ctx, VerbReload, all, before, func(r Ref, a execAnswer, err error) {
		for _, p := range a.Policies {
			if err == nil && p.ref() == r && p.Error != "" {
				err = fmt.Errorf("reload: %s", p.Error)
			}
		}
		yield(r, err)
	})
}

// Loaded runs the loaded program; it has to answer for every policy.
func (n *ExecNode) Loaded(ctx context.Context, all []Wanted, yield func(Ref, Loaded, error)) {
	n.perPolicy(ctx, VerbLoaded, all, nil, func(r Ref, a execAnswer, err error) {
		if err != nil {
			yield(r, Loaded{}, err)
			return
		}
		for _, p := range a.Policies {
			if p.ref() != r {
				continue
			}
			if p.Error != "" {
				yield(r, Loaded{}, fmt.Errorf("loaded: %s", p.Error))
				return
			}
			b := p.Breaker
			if b == nil {
				b = json.RawMessage("null")
			}
			yield(r, Loaded{Answer: append(append([]byte(`{"circuit_breaker":`), b...), '}'), Strict: true, Proof: "loaded, as shown by the node"}, nil)
			return
		}
		yield(r, Loaded{}, errors.New("loaded: the answer does not mention this policy"))
	})
}

// Circuits runs the circuits program.
func (n *ExecNode) Circuits(ctx context.Context, of []CircuitKey) ([]Circuit, error) {
	if !n.verbs[VerbCircuits].Given() {
		return nil, errors.New("there is no program that shows circuits")
	}
	a, err := n.call(ctx, VerbCircuits, n.Node, Ref{}, execRequest{Circuits: of})
	if err != nil {
		return nil, err
	}
	if a.Circuits == nil {
		return nil, errors.New("circuits: the answer has no list of circuits")
	}
	for _, c := range a.Circuits {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("circuits: %w", err)
		}
	}
	return a.Circuits, nil
}

// check refuses a state that is none: it must not count as closed.
func (c Circuit) check() error {
	switch c.State {
	case "closed", "open", "half_open":
		return nil
	}
	return fmt.Errorf("%q of %s/%s is no state of a circuit", c.State, c.Tenant, c.Provider)
}

// Reset runs the reset program.
func (n *ExecNode) Reset(ctx context.Context, circuits []CircuitKey) error {
	if !n.verbs[VerbReset].Given() {
		return errors.New("there is no program that resets circuits")
	}
	_, err := n.call(ctx, VerbReset, n.Node, Ref{}, execRequest{Circuits: circuits})
	return err
}

// Healthy runs the health command; without one, a loaded program that answers is
// the sign of life.
func (n *ExecNode) Healthy(ctx context.Context) error {
	if !n.HealthCmd.Given() {
		return errors.New("there is no health command")
	}
	_, err := n.Run(ctx, "health", n.HealthCmd, Ref{}, n.Node, nil)
	return err
}

// Lines are the exact commands that a change of a policy would run.
func (n *ExecNode) Lines(r Ref) []string {
	var lines []string
	for _, v := range []Verb{VerbReload, VerbLoaded, VerbCircuits} {
		if c := n.verbs[v]; c.Given() {
			lines = append(lines, c.Line(r, n.Node))
		}
	}
	return lines
}

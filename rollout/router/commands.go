package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// CommandNode is a node that a reload command makes read its policies, and a
// verify command shows. It may stand for several nodes that one command reaches:
// then it has no name.
type CommandNode struct {
	Programs
	Node string
	// ReloadCmd and VerifyCmd are what the operator configured; HealthCmd exits 0
	// where the node serves. The zero Command is none.
	ReloadCmd, VerifyCmd, HealthCmd Command
	// Parallel is how many runs go on at once; 0 means 4.
	Parallel int
}

const commandParallel = 4

func (n *CommandNode) parallel() int {
	if n.Parallel > 0 {
		return n.Parallel
	}
	return commandParallel
}

// Name is the node's name, "" if it has none.
func (n *CommandNode) Name() string { return n.Node }

// Can says which commands there are.
func (n *CommandNode) Can(context.Context) (Capabilities, error) {
	return Capabilities{Reload: n.ReloadCmd.Given(), Whole: n.ReloadCmd.Given() && !n.ReloadCmd.PerPolicy(), Loaded: n.VerifyCmd.Given()}, nil
}

// once runs what stands for several policies a single time, and gives its result
// to each. A run that found the node unreachable ends it for the rest: the next
// one would only wait for the same deadline.
type once[T any] struct {
	mu   sync.Mutex
	done map[Ref]*result[T]
	gone error
}

type result[T any] struct {
	sync.Once
	value T
	err   error
}

func (o *once[T]) do(ctx context.Context, key Ref, run func() (T, error)) (T, error) {
	o.mu.Lock()
	if o.done == nil {
		o.done = map[Ref]*result[T]{}
	}
	res, ok := o.done[key]
	if !ok {
		res = &result[T]{}
		o.done[key] = res
	}
	gone := o.gone
	o.mu.Unlock()
	res.Do(func() {
		switch {
		case gone != nil:
			res.err = unreachable("not tried, the node does not answer: %w", gone)
		case ctx.Err() != nil:
			res.err = ended(ctx)
		default:
			res.value, res.err = run()
			var un *UnreachableError
			if errors.As(res.err, &un) {
				o.mu.Lock()
				o.gone = un.Err
				o.mu.Unlock()
			}
		}
	})
	return res.value, res.err
}

// Reload runs the reload command: for each policy, or once where it names none.
// before is asked right before each run, and may forbid it.
func (n *CommandNode) Reload(ctx context.Context, all []Wanted, before func(Ref) error, yield func(Ref, error)) {
	var o once[struct{}]
	each(n.parallel(), all, func(w Wanted) {
		_, err := o.do(ctx, n.ReloadCmd.key(w.Ref), func() (struct{}, error) {
			if err := before(w.Ref); err != nil {
				return struct{}{}, err
			}
			_, err := n.Run(ctx, "reload", n.ReloadCmd, w.Ref, n.Node, nil)
			return struct{}{}, err
		})
		yield(w.Ref, err)
	})
}

// Loaded runs the verify command. Its exit code says yes or no; a circuit_breaker
// that it prints has to agree, too.
func (n *CommandNode) Loaded(ctx context.Context, all []Wanted, yield func(Ref, Loaded, error)) {
	var o once[[]byte]
	each(n.parallel(), all, func(w Wanted) {
		out, err := o.do(ctx, n.VerifyCmd.key(w.Ref), func() ([]byte, error) {
			return n.Run(ctx, "verify", n.VerifyCmd, w.Ref, n.Node, nil)
		})
		yield(w.Ref, Loaded{Answer: out, Proof: "verify command, exit 0"}, err)
	})
}

// Circuits answers that this node cannot show any.
func (n *CommandNode) Circuits(context.Context, []CircuitKey) ([]Circuit, error) {
	return nil, errors.New("there is no command that shows circuits")
}

// Reset answers that this node cannot reset any.
func (n *CommandNode) Reset(context.Context, []CircuitKey) error {
	return errors.New("there is no command that resets circuits")
}

// Healthy runs the health command.
func (n *CommandNode) Healthy(ctx context.Context) error {
	if !n.HealthCmd.Given() {
		return fmt.Errorf("there is no health command")
	}
	_, err := n.Run(ctx, "health", n.HealthCmd, Ref{}, n.Node, nil)
	return err
}

// Lines are the exact commands that a change of a policy would run.
func (n *CommandNode) Lines(r Ref) []string {
	var lines []string
	for _, c := range []Command{n.ReloadCmd, n.VerifyCmd} {
		if c.Given() {
			lines = append(lines, c.Line(r, n.Node))
		}
	}
	return lines
}

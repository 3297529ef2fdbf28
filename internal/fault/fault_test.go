package fault_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cbops/cbops/internal/fault"
)

// order is the precedence of the exit codes, from the one that wins.
var order = []fault.Code{fault.Partial, fault.Interrupted, fault.Environment, fault.Usage, fault.Failed, fault.Inconclusive, fault.OK}

func TestWorstOfEveryPair(t *testing.T) {
	for i, a := range order {
		for j, b := range order {
			if got, want := fault.Worst(a, b), order[min(i, j)]; got != want {
				t.Errorf("Worst(%d, %d) = %d, want %d", a, b, got, want)
			}
		}
	}
	if fault.Worst() != fault.OK {
		t.Error("nothing wrong is not OK")
	}
	if fault.Worst(fault.OK, 77) != fault.Environment {
		t.Error("an unknown code is not an error of the environment")
	}
	for _, e := range fault.Table() {
		if !slices.Contains(order, e.Code) || e.Meaning == "" {
			t.Errorf("code %d is not in the order or says nothing", e.Code)
		}
	}
}

func TestCodeNearestToTheCauseWins(t *testing.T) {
	cause := fault.New(fault.Usage, "cause")
	err := fault.Wrap(fault.Environment, fmt.Errorf("outer: %w", fault.Hint(cause, "first")), "second")
	if c := fault.CodeOf(err); c != fault.Usage {
		t.Errorf("code %d", c)
	}
	if h := fault.HintsOf(err); !slices.Equal(h, []string{"first", "second"}) {
		t.Errorf("hints %q", h)
	}
	if err.Error() != "outer: cause" || !errors.Is(err, cause) {
		t.Errorf("text or cause lost: %v", err)
	}
	if fault.CodeOf(errors.New("plain")) != fault.Environment || fault.CodeOf(nil) != fault.OK {
		t.Error("an error without a code is not an error of the environment, or nil is not OK")
	}
	if fault.Wrap(fault.Usage, nil) != nil || fault.Hint(nil, "x") != nil {
		t.Error("nil does not stay nil")
	}
}

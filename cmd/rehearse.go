package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/internal/proc"
	"github.com/cbops/cbops/promquery/promlab"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

func newRehearseCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rehearse",
		Short:   "Run a rollout on the practice world, faults included",
		GroupID: "prepare",
		Long: `rehearse copies the plan and its policies to a temporary directory, starts a
practice router and a practice Prometheus in virtual time, and runs the commands
of a rollout on them: the canaries t-acme (enough traffic, a real provider
outage) and t-bolt (little traffic, a breaker that opens on noise). Each command
is really run and its result checked. Nothing real is asked or changed.
Exit 1 when a step did not come out as it should.`,
		Example: "  cbops rehearse --plan testdata/example/cbops.yaml",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return a.rehearse(c.Context()) },
	}
}

func (a *app) rehearse(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "cbops-rehearse-")
	if err != nil {
		return fault.New(fault.Environment, "cannot make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	policies, err := a.copyPlan(dir)
	if err != nil {
		return err
	}
	r, err := newRehearsal(a, dir, policies)
	if err != nil {
		return err
	}
	defer func() { _ = r.policies.Close() }() // nothing is buffered
	if err := r.run(ctx); err != nil {
		return err
	}
	doc := render.NewRehearsal(r.steps, r.faults())
	code := fault.OK
	if !doc.OK {
		code = fault.Failed
	}
	return a.show(doc, code)
}

// rehearsal is one run of the practice world.
type rehearsal struct {
	app      *app
	dir      string
	policies *router.Dir
	world    *lab.World
	server   *promlabTransport
	start    time.Time
	steps    []render.RehearsalStep
}

// The cast of the rehearsal.
const (
	canary     = "t-acme"
	noisy      = "t-bolt"
	demoPolicy = "chat"
	demoSeed   = 7
	// baselineDays and bakeDays are virtual.
	baselineDays = 7
	bakeDays     = 4
)

// rehearsalWorld describes the practice world: two canaries and tenants whose
// breaker stays off, which see the same providers.
func rehearsalWorld(policies lab.Policies, store lab.Store) lab.Options {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	outage := start.AddDate(0, 0, baselineDays+2).Add(10 * time.Hour)
	both := []lab.Provider{{Name: "openai", Weight: 50}, {Name: "anthropic", Weight: 50}}
	o := lab.Options{
		Seed: demoSeed, Start: start, Policies: policies, Store: store,
		Tenants: []lab.Tenant{
			{ID: canary, Policy: demoPolicy, PerMinute: 90, ErrorRate: 0.004, Providers: both},
			{ID: noisy, Policy: demoPolicy, PerMinute: 3, ErrorRate: 0.01, Providers: both},
		},
		Faults: []lab.Fault{{Provider: "openai", From: outage, To: outage.Add(20 * time.Minute), Share: 1}},
	}
	for _, id := range []string{"t-cove", "t-dune", "t-echo", "t-flux", "t-gale", "t-haze"} {
		o.Tenants = append(o.Tenants, lab.Tenant{ID: id, Policy: demoPolicy, PerMinute: 15, ErrorRate: 0.004, Providers: both})
	}
	return o
}

func newRehearsal(a *app, dir, root string) (*rehearsal, error) {
	policies, err := router.OpenDir(root)
	if err != nil {
		return nil, err
	}
	store := promlab.NewStore()
	o := rehearsalWorld(policies, store)
	w, err := lab.NewWorld(o)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "cbops validate says what is wrong with a policy")
	}
	r := &rehearsal{app: a, dir: dir, policies: policies, world: w, start: o.Start}
	r.server = &promlabTransport{promlab.Transport(promlab.NewServer(store, promlab.Options{Now: w.Now}))}
	return r, nil
}

// state is the process as the rehearsed commands see it: the practice world's
// clock, network and programs, no environment, no terminal.
func (r *rehearsal) state(out *bytes.Buffer) State {
	return State{
		Now: r.world.Now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return r.world.Advance(r.world.Now().Add(d))
		},
		Env:   func(string) (string, bool) { return "", false },
		Dir:   r.dir,
		Stdin: strings.NewReader(""), Stdout: out, Stderr: out,
		Width:     80,
		Transport: r.server,
		Runner:    routerctl{r.world.Router(), &sync.Mutex{}},
		User:      "on-call",
	}
}

// command runs cbops and returns its exit code and everything that it printed.
func (r *rehearsal) command(ctx context.Context, args ...string) (int, string) {
	var out bytes.Buffer
	code := Main(ctx, r.state(&out), args)
	return code, strings.ReplaceAll(out.String(), r.dir+string(filepath.Separator), "")
}

// step runs a command as a step, and checks its exit code and, with check, what
// it did. check returns "" when all is well.
func (r *rehearsal) step(ctx context.Context, name, title string, wanted fault.Code, check func(out string) string, args ...string) {
	r.app.progress("rehearse: %s", name)
	code, out := r.command(ctx, args...)
	s := render.RehearsalStep{Name: name, Title: title, Command: "cbops " + shellquote.Join(args...), Exit: code, Wanted: int(wanted), Output: out}
	if code != int(wanted) {
		s.Problem = fmt.Sprintf("exit %d, should be %d", code, wanted)
	} else if check != nil {
		s.Problem = check(out)
	}
	s.OK = s.Problem == ""
	r.steps = append(r.steps, s)
}

// pass lets virtual time pass as a step.
func (r *rehearsal) pass(name, title string, to time.Time) error {
	r.app.progress("rehearse: %s", name)
	if err := r.world.Advance(to); err != nil {
		return fault.New(fault.Environment, "the practice world stopped: %w", err)
	}
	r.steps = append(r.steps, render.RehearsalStep{Name: name, Title: title, OK: true})
	return nil
}

// routerctl is the program that the example plan calls to reload and verify.
type routerctl struct {
	router *lab.Router
	// mu: several reloads may run at once, and the lab has one hand.
	mu *sync.Mutex
}

// Run implements proc.Runner.
func (c routerctl) Run(ctx context.Context, cmd proc.Command) (proc.Result, error) {
	if err := ctx.Err(); err != nil {
		return proc.Result{}, err
	}
	if len(cmd.Argv) != 4 || filepath.Base(cmd.Argv[0]) != "routerctl" {
		return proc.Result{}, fmt.Errorf("the practice router has no command %s", shellquote.Join(cmd.Argv...))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	tenant, policy := cmd.Argv[2], cmd.Argv[3]
	switch cmd.Argv[1] {
	case "reload":
		if err := c.router.Reload(tenant, policy); err != nil {
			return proc.Result{ExitCode: 1, Stderr: []byte(err.Error() + "\n")}, nil
		}
		return proc.Result{}, nil
	case "loaded":
		raw, ok := c.router.Loaded(tenant, policy)
		if !ok {
			return proc.Result{ExitCode: 1, Stderr: []byte("not loaded\n")}, nil
		}
		return proc.Result{Stdout: raw}, nil
	}
	return proc.Result{ExitCode: 2, Stderr: []byte("usage: routerctl reload|loaded TENANT POLICY\n")}, nil
}

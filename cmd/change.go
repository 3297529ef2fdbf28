package cmd

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/plan"
	"github.com/cbops/cbops/rollout/router"
)

// changeFlags are the flags of every command that changes policies.
type changeFlags struct {
	policies, reload, verify string
	health                   string
	exec, admin, nodes       []string
	noVerify, shell          bool
	yes, dryRun              bool
	timeout, deadline        time.Duration
}

// addTarget declares the flags that say which router is meant.
func (o *changeFlags) addTarget(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.policies, "policies", "", "policy root `DIR`: DIR/<tenant>/<policy>.json")
	f.StringArrayVar(&o.exec, "exec", nil, "`VERB=CMD`, repeatable: a program that speaks JSON; see docs/routers/exec.md")
	f.StringArrayVar(&o.admin, "admin", nil, "`NAME=URL` of a node's HTTP admin API, repeatable; see docs/routers/http.md")
	f.StringArrayVar(&o.nodes, "node", nil, "`NAME` of a node for {node}, repeatable")
	f.BoolVar(&o.shell, "shell", false, "run the commands by sh, not split by quoting")
	f.DurationVar(&o.timeout, "timeout", router.DefaultTimeout, "deadline of each run of a command and each request")
	f.DurationVar(&o.deadline, "deadline", change.DefaultDeadline, "deadline of all work on one node")
}

// add declares the flags of a change. Not every command reads all of them, but a
// runbook may give the same set to each.
func (o *changeFlags) add(c *cobra.Command) {
	o.addTarget(c)
	f := c.Flags()
	f.StringVar(&o.reload, "reload", "", "`CMD` that makes the router read policies; {tenant} {policy} {node} fill whole arguments")
	f.StringVar(&o.verify, "verify", "", "`CMD` that exits 0 only if the router runs the policy; a circuit_breaker it prints must agree")
	f.StringVar(&o.health, "health", "", "`CMD` that exits 0 where a node serves")
	f.BoolVar(&o.noVerify, "no-verify", false, "accept that nothing is proven loaded: exit 0 for what is written")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, change nothing")
}

// changeSession is a router that can be changed, and all that is needed for it.
type changeSession struct {
	engine      *change.Engine
	flagsGiven  changeFlags
	environment string
	managedBy   string
	plan        *plan.Plan
	router      plan.Router
	programs    router.Programs
	// http says that nodes are asked by their admin API.
	http    bool
	closers []func()
}

func (s *changeSession) close() {
	for _, c := range s.closers {
		c()
	}
}

// openChange finds the router and says on stderr what is about to be touched.
// Lenient is for rollback and resume, which read of a plan only environment and
// router, and let nothing else in it stop them.
func (a *app) openChange(c *cobra.Command, o *changeFlags, lenient bool) (*changeSession, error) {
	if a.readonly() && !o.dryRun {
		return nil, fault.Hint(fault.New(fault.Usage, "CBOPS_READONLY is set: nothing is changed"), "--dry-run shows what it would do")
	}
	s, err := a.changeTarget(c, o, lenient)
	if err != nil {
		return nil, err
	}
	a.say("%s", a.symbols(s.heading(c.Context())))
	return s, nil
}

// headingWait bounds the count of policies in the heading: nobody waits for it.
const headingWait = 400 * time.Millisecond

// heading says what is about to be touched: "PROD · 6 nodes · 412 policies". The
// first store that can count them quickly does.
func (s *changeSession) heading(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, headingWait)
	defer cancel()
	counts := make(chan int, len(s.engine.Sites))
	asked := 0
	for _, site := range s.engine.Sites {
		if _, slow := site.Store.(*router.ExecStore); slow {
			continue // counting would run a program of the operator's
		}
		asked++
		go func() {
			l, err := site.Store.List(ctx)
			if err != nil && len(l.Refs) == 0 {
				counts <- -1
				return
			}
			counts <- len(l.Refs)
		}()
	}
	policies := -1
	for range asked {
		select {
		case policies = <-counts:
		case <-ctx.Done():
		}
		if policies >= 0 {
			break
		}
	}
	env := s.environment
	if env == "" {
		env = "no environment named"
	}
	n := max(1, len(s.engine.Nodes()))
	line := env + " · " + strconv.Itoa(n) + " " + plural(n, "node", "nodes")
	if policies >= 0 {
		line += " · " + strconv.Itoa(policies) + " " + plural(policies, "policy", "policies")
	}
	return line
}

func (a *app) symbols(s string) string {
	if a.ascii || !utf8Locale(a.Env) {
		return strings.ReplaceAll(s, "·", "-")
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// liner is a store or node that can say which commands a change would run.
type liner interface{ Lines(router.Ref) []string }

// commands are the exact commands and requests that a change of these policies
// would make, each once.
func (s *changeSession) commands(refs []router.Ref) []string {
	lines, seen := []string{}, map[string]bool{}
	add := func(x any) {
		l, ok := x.(liner)
		if !ok {
			return
		}
		for _, r := range refs {
			for _, line := range l.Lines(r) {
				if !seen[line] {
					seen[line] = true
					lines = append(lines, line)
				}
			}
		}
	}
	for _, site := range s.engine.Sites {
		add(site.Store)
		for _, n := range site.Nodes {
			add(n)
		}
	}
	return lines
}

// reloads reports whether some node can be made to read policies.
func (s *changeSession) reloads(ctx context.Context) bool {
	for _, n := range s.engine.Nodes() {
		if can, err := n.Can(ctx); err != nil || can.Reload {
			return true
		}
	}
	return false
}

// byHand says what to do where no reload command was given.
func (s *changeSession) byHand(ctx context.Context) []string {
	if s.reloads(ctx) {
		return []string{}
	}
	return []string{"# reload by hand: restart the router, or on each node: router_policy_store:reload_fixtures()"}
}

// place is the part of flags that says where; flags is all that a repeated
// command needs.
func (s *changeSession) place() string {
	o, out := s.flagsGiven, ""
	if o.policies != "" {
		out = " --policies " + shellWord(o.policies)
	}
	for _, list := range []struct {
		name string
		v    []string
	}{{"--admin", o.admin}} {
		for _, v := range list.v {
			out += " " + list.name + " " + shellWord(v)
		}
	}
	return out
}

func (s *changeSession) flags() string {
	o, out := s.flagsGiven, s.place()
	for _, f := range []struct{ name, value string }{{"--reload", o.reload}, {"--verify", o.verify}, {"--health", o.health}} {
		if f.value != "" {
			out += " " + f.name + " " + shellWord(f.value)
		}
	}
	for _, v := range o.exec {
		out += " --exec " + shellWord(v)
	}
	for _, v := range o.nodes {
		out += " --node " + shellWord(v)
	}
	if o.shell {
		out += " --shell"
	}
	if o.yes {
		out += " --yes"
	}
	return out
}

// shellWord quotes a word for pasting into a shell.
func shellWord(s string) string { return shellquote.Join(render.Clean(s)) }

func (a *app) tempDir() string {
	if temp := a.Getenv("TMPDIR"); temp != "" {
		return temp
	}
	return os.TempDir()
}

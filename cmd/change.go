package cmd

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

// changeFlags are the flags of every command that changes policies.
type changeFlags struct {
	policies, reload, verify string
	noVerify, shell          bool
	yes, dryRun              bool
	timeout                  time.Duration
}

// add declares the flags. Not every command reads all of them, but a runbook may
// give the same set to each.
func (o *changeFlags) add(c *cobra.Command, _ bool) {
	f := c.Flags()
	f.StringVar(&o.policies, "policies", "", "policy root `DIR`: DIR/<tenant>/<policy>.json")
	f.StringVar(&o.reload, "reload", "", "`CMD` that makes the router read policies; {tenant} {policy} {node} fill whole arguments")
	f.StringVar(&o.verify, "verify", "", "`CMD` that exits 0 only if the router runs the policy; a circuit_breaker it prints must agree")
	f.BoolVar(&o.noVerify, "no-verify", false, "accept that nothing is proven loaded: exit 0 for what is written")
	f.BoolVar(&o.shell, "shell", false, "run the commands by sh, not split by quoting")
	f.DurationVar(&o.timeout, "timeout", change.DefaultTimeout, "deadline of each run of a command")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, change nothing")
}

// changeSession is an opened policy root with all that is needed to change it.
type changeSession struct {
	dir         *router.Dir
	engine      *change.Engine
	flagsGiven  changeFlags
	environment string
	// planned says that a plan was read.
	planned bool
}

func (s *changeSession) close() { _ = s.dir.Close() } // nothing is buffered

// openChange opens the policy root and says on stderr what is about to be
// touched. Lenient is for rollback and resume, which read of a plan only
// environment and router, and let nothing else in it stop them.
func (a *app) openChange(c *cobra.Command, o *changeFlags, lenient bool) (*changeSession, error) {
	if a.readonly() && !o.dryRun {
		return nil, fault.Hint(fault.New(fault.Usage, "CBOPS_READONLY is set: nothing is changed"), "--dry-run shows what it would do")
	}
	s := &changeSession{flagsGiven: *o}
	t, err := a.changeTarget(o, lenient)
	if err != nil {
		return nil, err
	}
	s.environment, s.planned = t.environment, t.planned
	if s.dir, err = router.OpenDir(t.root); err != nil {
		return nil, err
	}
	s.dir = s.dir.ShownAs(t.shown)
	reload, err := change.ParseCommand("--reload", t.reload, o.shell)
	if err != nil {
		return nil, err
	}
	verify, err := change.ParseCommand("--verify", t.verify, o.shell)
	if err != nil {
		return nil, err
	}
	if (reload.PerNode() || verify.PerNode()) && len(t.nodes) == 0 {
		return nil, fault.Hint(fault.New(fault.Usage, "a command names {node}, but no nodes are known"),
			"list them in the plan (router.nodes), or name the node in the command")
	}
	if !reload.PerNode() && !verify.PerNode() {
		t.nodes = nil // one run is for all of them: which node answered is not known
	}
	user := a.User
	if user == "" {
		user = "on-call"
	}
	temp := a.Getenv("TMPDIR")
	if temp == "" {
		temp = os.TempDir()
	}
	s.engine = &change.Engine{
		Target: s.dir, StateDir: t.state, TempDir: temp, Nodes: t.nodes, Now: a.Now, Sleep: a.Sleep, User: user,
		Commands: change.Commands{Runner: a.Runner, Reload: reload, Verify: verify, Dir: a.Dir, Env: a.Environ, Timeout: o.timeout},
		Warn:     func(m string) { a.say("cbops: warning: %s", m) },
	}
	refs, lerr := s.dir.List()
	line := strconv.Itoa(max(1, len(t.nodes))) + " " + plural(max(1, len(t.nodes)), "node", "nodes") + " · " +
		strconv.Itoa(len(refs)) + " " + plural(len(refs), "policy", "policies")
	env := s.environment
	if env == "" {
		env = "no environment named"
	}
	a.say("%s", a.symbols(env+" · "+line))
	if lerr != nil && (!lenient || len(refs) == 0) {
		return nil, lerr
	}
	return s, nil
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

// changeTargetInfo is where policies are and how a router reads them.
type changeTargetInfo struct {
	root, shown, state, reload, verify, environment string
	nodes                                           []string
	planned                                         bool
}

// changeTarget is where flags, environment and plan meet.
func (a *app) changeTarget(o *changeFlags, lenient bool) (changeTargetInfo, error) {
	t, err := a.target(o.policies, lenient)
	if err != nil {
		return changeTargetInfo{}, err
	}
	for _, w := range t.Warnings {
		a.say("cbops: warning: %s", w)
	}
	info := changeTargetInfo{
		root: t.Policies, shown: t.Shown, state: t.StateDir, reload: t.Reload, verify: t.Verify,
		environment: t.Environment, nodes: t.Nodes, planned: t.Plan != nil,
	}
	if o.reload != "" {
		info.reload = o.reload
	}
	if o.verify != "" {
		info.verify = o.verify
	}
	return info, nil
}

// commands are the exact commands that a change of these policies would run.
func (s *changeSession) commands(refs []router.Ref) []string {
	lines, seen := []string{}, map[string]bool{}
	nodes := s.engine.Nodes
	if len(nodes) == 0 {
		nodes = []string{""}
	}
	for _, k := range []change.Command{s.engine.Commands.Reload, s.engine.Commands.Verify} {
		if !k.Given() {
			continue
		}
		for _, n := range nodes {
			for _, r := range refs {
				if l := k.Line(r, n); !seen[l] {
					seen[l] = true
					lines = append(lines, l)
				}
			}
		}
	}
	return lines
}

// byHand says what to do where no reload command was given.
func (s *changeSession) byHand() []string {
	if s.engine.Commands.Reload.Given() {
		return []string{}
	}
	return []string{"# reload by hand: restart the router, or on each node: router_policy_store:reload_fixtures()"}
}

// place is the part of flags that says where; flags is all that a repeated
// command needs.
func (s *changeSession) place() string {
	if s.flagsGiven.policies == "" {
		return ""
	}
	return " --policies " + shellWord(s.flagsGiven.policies)
}

func (s *changeSession) flags() string {
	o, out := s.flagsGiven, s.place()
	for _, f := range []struct{ name, value string }{{"--reload", o.reload}, {"--verify", o.verify}} {
		if f.value != "" {
			out += " " + f.name + " " + shellWord(f.value)
		}
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

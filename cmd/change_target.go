package cmd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/plan"
	"github.com/cbops/cbops/rollout/router"
)

// changeTarget is where flags, environment and plan meet for a change: a flag
// beats the environment beats the plan.
func (a *app) changeTarget(c *cobra.Command, o *changeFlags, lenient bool) (_ *changeSession, err error) {
	s := &changeSession{flagsGiven: *o, router: plan.Router{MinHealthy: -1, Settle: -1}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := a.changePlan(s, o, lenient); err != nil {
		return nil, err
	}
	r := s.router
	timeout, deadline := o.timeout, o.deadline
	if !c.Flags().Changed("timeout") && r.Timeout > 0 {
		timeout = r.Timeout
	}
	if !c.Flags().Changed("deadline") && r.Deadline > 0 {
		deadline = r.Deadline
	}
	s.programs = router.Programs{Runner: a.Runner, Dir: a.Dir, Env: a.Environ, Timeout: timeout}
	user := cmp.Or(a.User, "on-call")
	s.engine = &change.Engine{
		TempDir: a.tempDir(), Deadline: deadline, Now: a.Now, Sleep: a.Sleep, User: user,
		Warn:       func(m string) { a.say("cbops: warning: %s", m) },
		LastResort: func(line string) { a.sayBlock(line) },
	}
	names, err := a.nodeNames(c.Context(), s, o)
	if err != nil {
		return nil, err
	}
	if err := a.sites(s, o, names); err != nil {
		return nil, err
	}
	return s, nil
}

// changePlan reads the plan, if there is one, into the session.
func (a *app) changePlan(s *changeSession, o *changeFlags, lenient bool) error {
	path := a.findPlan()
	if path == "" {
		return nil
	}
	if !lenient {
		p, err := plan.Load(path)
		if err != nil {
			return err
		}
		s.plan = p
	} else {
		p, warnings, err := plan.Rollback(path)
		if err != nil {
			if o.policies == "" && len(o.admin) == 0 && len(o.exec) == 0 {
				return fault.Hint(err, "an emergency needs no plan: cbops rollback … --policies DIR --reload CMD --yes")
			}
			warnings = append(warnings, err.Error())
		}
		for _, w := range warnings {
			a.say("cbops: warning: %s", w)
		}
		s.plan = p
	}
	if s.plan != nil {
		s.router, s.environment, s.managedBy = s.plan.Router, s.plan.Environment, s.plan.Router.ManagedBy
	}
	return nil
}

// nodeNames are the nodes of commands and programs: flags, the plan's list, or
// what the plan's command prints.
func (a *app) nodeNames(ctx context.Context, s *changeSession, o *changeFlags) ([]string, error) {
	if len(o.nodes) > 0 {
		return o.nodes, nil
	}
	if s.router.NodesCommand == "" {
		return s.router.Nodes, nil
	}
	c, err := router.ParseCommand("router.nodes.command", s.router.NodesCommand, o.shell)
	if err != nil {
		return nil, err
	}
	out, err := s.programs.Run(ctx, "the command that lists nodes", c, router.Ref{}, "", nil)
	if err != nil {
		return nil, fault.Hint(fault.Wrap(fault.Environment, err), "--node NAME, repeatable, names them without it")
	}
	names := strings.Fields(string(out))
	if len(names) == 0 {
		return nil, fault.Hint(fault.New(fault.Environment, "the command that lists nodes printed none"), "--node NAME, repeatable, names them without it")
	}
	return names, nil
}

// sites builds what is changed. Flags that name a kind of target beat a plan that
// names another.
func (a *app) sites(s *changeSession, o *changeFlags, names []string) error {
	root, shown := s.router.Policies, s.router.Policies
	if root != "" && !filepath.IsAbs(root) {
		root = filepath.Join(s.plan.Dir, root)
	}
	if o.policies != "" {
		root, shown = a.Path(o.policies), o.policies
	}
	verbs, err := a.verbs(s, o)
	if err != nil {
		return err
	}
	var store *router.DirStore
	if root != "" {
		dir, err := router.OpenDir(root)
		if err != nil {
			return err
		}
		s.closers = append(s.closers, func() { _ = dir.Close() }) // nothing is buffered
		store = &router.DirStore{Dir: dir.ShownAs(shown)}
	}
	switch {
	case s.plan != nil:
		s.engine.StateDir = filepath.Join(s.plan.Dir, ".cbops")
	case root != "":
		s.engine.StateDir = filepath.Join(filepath.Dir(filepath.Clean(root)), ".cbops")
	default:
		s.engine.StateDir = filepath.Join(a.Dir, ".cbops")
	}
	nodes, err := a.adminNodes(s, o)
	if err != nil {
		return err
	}
	if len(nodes) > 0 {
		return a.adminSites(s, o, nodes, store)
	}
	if verbs[router.VerbReload].Given() {
		return a.execSites(s, o, verbs, names, store)
	}
	if store == nil {
		return noPolicies()
	}
	return a.commandSites(s, o, names, *store)
}

func noPolicies() error {
	return fault.Hint(fault.New(fault.Usage, "no policy directory given"),
		"--policies DIR names the directory that holds <tenant>/<policy>.json",
		"or router.policies in "+plan.Name)
}

func (a *app) commandSites(s *changeSession, o *changeFlags, names []string, store router.DirStore) error {
	n := router.CommandNode{Programs: s.programs, Parallel: s.router.Parallel}
	var err error
	if n.ReloadCmd, err = router.ParseCommand("--reload", cmp.Or(o.reload, s.router.Reload), o.shell); err != nil {
		return err
	}
	if n.VerifyCmd, err = router.ParseCommand("--verify", cmp.Or(o.verify, s.router.Verify), o.shell); err != nil {
		return err
	}
	if n.HealthCmd, err = router.ParseCommand("--health", cmp.Or(o.health, s.router.Health), o.shell); err != nil {
		return err
	}
	perNode := n.ReloadCmd.PerNode() || n.VerifyCmd.PerNode() || n.HealthCmd.PerNode()
	if perNode && len(names) == 0 {
		return fault.Hint(fault.New(fault.Usage, "a command names {node}, but no nodes are known"),
			"--node NAME, repeatable, names them; or list them in the plan (router.nodes)")
	}
	if !perNode {
		names = []string{""} // one run is for all of them: which node answered is not known
	}
	site := change.Site{Store: store, Shelf: store.Shelf(change.HoldDirName)}
	for _, name := range names {
		x := n
		x.Node = name
		site.Nodes = append(site.Nodes, &x)
	}
	s.engine.Sites = []change.Site{site}
	return nil
}

// verbs are the programs of an exec target.
func (a *app) verbs(s *changeSession, o *changeFlags) (map[router.Verb]router.Command, error) {
	verbs := map[router.Verb]router.Command{}
	if o.reload == "" && len(o.admin) == 0 { // those flags name another kind of target
		for _, name := range slices.Sorted(maps.Keys(s.router.Exec.Verbs)) {
			c, err := router.CommandOf("router.exec."+name, s.router.Exec.Verbs[name])
			if err != nil {
				return nil, err
			}
			verbs[router.Verb(name)] = c
		}
	}
	for _, x := range o.exec {
		name, text, ok := strings.Cut(x, "=")
		v, err := router.ParseVerb(name)
		if err != nil || !ok {
			return nil, fault.Hint(fault.New(fault.Usage, "--exec %q: want VERB=CMD", x), "VERB is one of "+strings.Trim(fmt.Sprint(router.Verbs()), "[]"))
		}
		if verbs[v], err = router.ParseCommand("--exec "+name, text, o.shell); err != nil {
			return nil, err
		}
	}
	if len(verbs) > 0 && !verbs[router.VerbReload].Given() {
		return nil, fault.New(fault.Usage, "the verb reload is missing: --exec reload=CMD")
	}
	return verbs, nil
}

func (a *app) execSites(s *changeSession, o *changeFlags, verbs map[router.Verb]router.Command, names []string, store *router.DirStore) error {
	health, err := router.ParseCommand("--health", cmp.Or(o.health, s.router.Health), o.shell)
	if err != nil {
		return err
	}
	var site change.Site
	if verbs[router.VerbRead].Given() || verbs[router.VerbWrite].Given() {
		st, err := router.NewExecStore(s.programs, verbs, s.router.Parallel)
		if err != nil {
			return err
		}
		site.Store, site.Shelf = st, st.Shelf()
	} else if store != nil {
		site.Store, site.Shelf = *store, store.Shelf(change.HoldDirName)
	} else {
		return noPolicies()
	}
	for _, c := range verbs {
		if c.PerNode() && len(names) == 0 {
			return fault.Hint(fault.New(fault.Usage, "a program's arguments name {node}, but no nodes are known"),
				"--node NAME, repeatable, names them; or list them in the plan (router.nodes)")
		}
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		n := router.NewExecNode(s.programs, verbs, name, s.router.Parallel)
		n.Listed, n.HealthCmd = s.router.Exec.Listed, health
		site.Nodes = append(site.Nodes, n)
	}
	s.engine.Sites = []change.Site{site}
	return nil
}

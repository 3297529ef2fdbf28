package cmd

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/router"
)

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 64 << 10

// adminNodes are the nodes that are reached by their admin API: of the flags, else
// of the plan; none where a flag names another kind of target.
func (a *app) adminNodes(s *changeSession, o *changeFlags) (map[string]string, error) {
	nodes := map[string]string{}
	for _, x := range o.admin {
		name, url, ok := strings.Cut(x, "=")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, fault.Hint(fault.New(fault.Usage, "--admin %q: want NAME=URL", x), "e.g. --admin node-1=http://10.0.0.1:9002")
		}
		if _, twice := nodes[name]; twice {
			return nil, fault.New(fault.Usage, "--admin names the node %q twice", name)
		}
		nodes[name] = url
	}
	if len(nodes) > 0 || o.reload != "" || len(o.exec) > 0 {
		return nodes, nil
	}
	return s.router.HTTP.Nodes, nil
}

// adminSites builds an HTTP target. With a policy directory the policies are
// written there, and the nodes are asked to reload and to show; without one, every
// node keeps its own.
func (a *app) adminSites(s *changeSession, o *changeFlags, nodes map[string]string, store *router.DirStore) error {
	token, key, err := a.adminSecret(s)
	if err != nil {
		return err
	}
	var shared change.Site
	if store != nil {
		shared = change.Site{Store: *store, Shelf: store.Shelf(change.HoldDirName)}
	}
	transport := a.adminTransport()
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		c, err := router.NewAdminClient(router.AdminOptions{Name: name, URL: nodes[name], Transport: transport, Token: token, APIKey: key,
			Timeout: s.programs.Timeout, Parallel: s.router.Parallel, Now: a.Now, Sleep: a.Sleep})
		if err != nil {
			return err
		}
		if store != nil {
			shared.Nodes = append(shared.Nodes, c.NodeOf())
			continue
		}
		s.engine.Sites = append(s.engine.Sites, change.Site{Store: c.Store(), Shelf: c.Shelf(), Nodes: []change.Node{c.NodeOf()}})
	}
	if store != nil {
		s.engine.Sites = []change.Site{shared}
	}
	s.http = true
	return nil
}

// adminTransport keeps enough connections open for all requests at once: net/http's
// own default of two would dial anew for nearly every request.
func (a *app) adminTransport() http.RoundTripper {
	t, ok := a.Transport.(*http.Transport)
	if !ok {
		return a.Transport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost, t.MaxIdleConns = 64, 0
	return t
}

// adminSecret reads the token or key from a file or the environment, never from a
// flag: flags are seen by everybody on the machine.
func (a *app) adminSecret(s *changeSession) (token, key string, err error) {
	token, key = a.Getenv("CBOPS_ADMIN_TOKEN"), a.Getenv("CBOPS_ADMIN_API_KEY")
	if token != "" || key != "" {
		return token, key, nil
	}
	if f := s.router.HTTP.TokenFile; f != "" {
		token, err = readSecret(filepath.Join(s.plan.Dir, f), f)
	}
	if f := s.router.HTTP.APIKeyFile; f != "" && err == nil {
		key, err = readSecret(filepath.Join(s.plan.Dir, f), f)
	}
	return token, key, err
}

func readSecret(path, shown string) (string, error) {
	if filepath.IsAbs(shown) {
		path = shown
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return "", fault.New(fault.Usage, "cannot read the secret: %s is not a regular file", shown)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fault.New(fault.Usage, "cannot read the secret: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fault.New(fault.Environment, "cannot read the secret in %s: %w", shown, err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" || strings.ContainsFunc(secret, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return "", fault.New(fault.Usage, "%s holds no secret: want one line of printable ASCII", shown)
	}
	return secret, nil
}

package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/live"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/change"
	"github.com/cbops/cbops/rollout/lab"
	"github.com/cbops/cbops/rollout/router"
)

func newLabCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "lab",
		Short:   "The practice router",
		GroupID: "tools",
		Example: "  cbops lab serve",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newLabServeCmd(a))
	return c
}

// labServeOptions are the flags of lab serve.
type labServeOptions struct {
	listen, policies, faults string
	scenarios                []string
	seed                     uint64
	lasts                    time.Duration
	allowRemote              bool
}

func newLabServeCmd(a *app) *cobra.Command {
	var o labServeOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the practice router in real time, over HTTP",
		Long: `lab serve runs the practice router: the exact twin of the router's breaker for
each tenant and provider, a request endpoint (POST /v1/requests), the router's
metrics endpoint, and the admin API under /admin/. It serves the policies of
--policies, if given, and those that "cbops loadtest --live" needs, for tenant
"loadtest". Through the admin API policies in --policies are changed on disk. It
listens on loopback, and stops at a signal or after --for.`,
		Example: `  cbops lab serve
  cbops lab serve --listen 127.0.0.1:0 --policies policies --for 10m
  cbops lab serve --faults lab.yaml --seed 7`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.labServe(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:9001", "`ADDRESS` to listen on; port 0 is any that is free")
	f.StringVar(&o.policies, "policies", "", "policy root `DIR`: DIR/<tenant>/<policy>.json")
	f.StringVar(&o.faults, "faults", "", "`FILE` with traffic that comes by itself and providers that fail (docs/lab.md)")
	f.StringArrayVar(&o.scenarios, "scenario", nil, "scenario `FILE` whose configs loadtest --live needs too; repeatable")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random choice")
	f.DurationVar(&o.lasts, "for", 0, "stop after this time; 0 is until a signal")
	f.BoolVar(&o.allowRemote, "allow-remote", false, "listen elsewhere than on loopback: there is no authentication")
	return c
}

func (a *app) labServe(ctx context.Context, o labServeOptions) error {
	if err := loopbackAddress(o.listen, o.allowRemote); err != nil {
		return err
	}
	o.listen = literally(o.listen)
	if o.lasts < 0 {
		return fault.New(fault.Usage, "--for %s is below 0", o.lasts)
	}
	server, closeDir, err := a.labServer(ctx, o)
	if err != nil {
		return err
	}
	defer closeDir()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fault.Hint(fault.New(fault.Environment, "cannot listen on %s: %w", o.listen, err), "--listen 127.0.0.1:0 takes any free port")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hs := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(l) }()
	a.say("practice router on http://%s, metrics at %s", l.Addr(), lab.MetricsPath)
	a.say("load test it: cbops loadtest --live http://%s", l.Addr())
	err = a.until(ctx, o.lasts, failed)
	stop() // requests that wait for a slow provider end now
	_ = hs.Close()
	return err
}

// until waits for a signal, for the end of the time, or for the server to fail. A
// signal is how a server is stopped, and no failure.
func (a *app) until(ctx context.Context, lasts time.Duration, failed <-chan error) error {
	over := make(chan struct{})
	if lasts > 0 {
		go func() {
			if a.Sleep(ctx, lasts) == nil {
				close(over)
			}
		}()
	}
	select {
	case <-ctx.Done():
	case <-over:
	case err := <-failed:
		if !errors.Is(err, http.ErrServerClosed) {
			return fault.New(fault.Environment, "the practice router stopped: %w", err)
		}
	}
	return nil
}

// labServer makes the server and what closes its policy directory.
func (a *app) labServer(ctx context.Context, o labServeOptions) (*lab.Server, func(), error) {
	practice, err := a.practicePolicies(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	closeDir := func() {}
	var admin lab.AdminOptions
	if o.policies != "" {
		dir, err := router.OpenDir(a.Path(o.policies))
		if err != nil {
			return nil, nil, err
		}
		practice.also = dir.ShownAs(o.policies)
		store := router.DirStore{Dir: practice.also}
		admin.Holds = store.Shelf(change.HoldDirName)
		if !a.readonly() {
			admin.Store = practice.also
		}
		closeDir = func() { _ = dir.Close() } // only read
	}
	start := a.Now()
	var file lab.File
	if o.faults != "" {
		raw, err := a.readRegular(o.faults, lab.MaxFileBytes)
		if err == nil {
			file, err = lab.ParseFile(o.faults, raw, start)
		}
		if err != nil {
			closeDir()
			return nil, nil, err
		}
	}
	w, err := lab.NewWorld(lab.Options{Seed: o.seed, Start: start, Policies: practice, Tenants: file.Tenants, Faults: file.Faults})
	if err != nil {
		closeDir()
		return nil, nil, fault.Wrap(fault.Usage, err, "the router's policy store would crash on it; see: cbops validate")
	}
	server := lab.NewServer(w, o.seed, a.Now, a.Sleep)
	if err := server.HandleAdmin(admin); err != nil {
		closeDir()
		return nil, nil, err
	}
	return server, closeDir, nil
}

// practicePolicies are the policies that loadtest --live needs: one for each
// circuit of the gate and of the scenario files, with its config, enabled.
func (a *app) practicePolicies(ctx context.Context, o labServeOptions) (*practice, error) {
	p := &practice{own: map[router.Ref][]byte{}}
	all := scenario.Gate(scenario.Params{Live: true})
	paths, err := a.scenarioPaths(o.scenarios)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		s, err := a.readScenario(ctx, path, guideConfig(), o.seed)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	for _, s := range all {
		for i, c := range s.Circuits {
			raw, err := json.Marshal(map[string]any{"circuit_breaker": struct {
				Enabled bool `json:"enabled"`
				scenario.Config
			}{true, scenario.Config(c.Config)}})
			if err != nil {
				return nil, fmt.Errorf("cannot write a practice policy: %w", err)
			}
			p.own[router.Ref{Tenant: live.Tenant, Policy: live.PolicyFor(s.Name, i)}] = raw
		}
	}
	return p, nil
}

// guideConfig is the base of scenario files where no config of one's own is given:
// the guide's phase 1.
func guideConfig() breaker.Config {
	c := breaker.PolicyDefaults()
	c.TimeoutMS = 30_000
	return c
}

// practice are policies in memory, and a directory beside them, which wins.
type practice struct {
	own  map[router.Ref][]byte
	also *router.Dir
}

// List implements lab.Policies.
func (p *practice) List() ([]router.Ref, error) {
	var refs []router.Ref
	if p.also != nil {
		found, err := p.also.List()
		if err != nil {
			return nil, err
		}
		refs = found
	}
	for r := range p.own {
		refs = append(refs, r)
	}
	return refs, nil
}

// Read implements lab.Policies.
func (p *practice) Read(r router.Ref) ([]byte, error) {
	if p.also != nil {
		raw, err := p.also.Read(r)
		if raw, own := p.own[r]; own && err != nil {
			return raw, nil
		}
		return raw, err
	}
	return p.own[r], nil
}

// loopbackAddress refuses an address that others can reach.
func loopbackAddress(addr string, allowRemote bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fault.New(fault.Usage, "--listen %q: want HOST:PORT", addr)
	}
	if allowRemote || loopback(host) {
		return nil
	}
	return fault.Hint(fault.New(fault.Usage, "--listen %s is not loopback, and the practice router has no authentication", addr),
		"--listen 127.0.0.1:9001, or --allow-remote if others shall reach it")
}

// loopback reports whether a host is this machine for certain: a loopback address,
// or localhost, which must go through literally.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// literally takes localhost for 127.0.0.1, so that no resolver has a say in it.
func literally(hostPort string) string {
	if port, ok := strings.CutPrefix(hostPort, "localhost"); ok && (port == "" || port[0] == ':') {
		return "127.0.0.1" + port
	}
	return hostPort
}

package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cbops/cbops/rollout/change"
)

// Rollback is the answer of `cbops rollback`.
type Rollback struct {
	Meta
	Environment string                `json:"environment"`
	ID          string                `json:"id"`
	Scope       change.ScopeKind      `json:"scope"`
	Tenant      string                `json:"tenant"`
	Policy      string                `json:"policy"`
	Phase       int                   `json:"phase,omitempty"`
	DryRun      bool                  `json:"dryRun"`
	Hold        Hold                  `json:"hold"`
	Policies    []change.PolicyResult `json:"policies"`
	Summary     change.Summary        `json:"summary"`
	Changed     int                   `json:"changed"`
	Cleared     ClearedResult         `json:"cleared"`
	Stopped     string                `json:"stopped"`
	// Malformed are policies that a router would crash on; Quarantined where they
	// went; Unlisted what could not be listed.
	Malformed   []string               `json:"malformed"`
	Quarantined []string               `json:"quarantined"`
	Unlisted    []string               `json:"unlisted"`
	Flags       []change.FlagResult    `json:"flags"`
	Restarts    []change.RestartResult `json:"restarts"`
	Backups     []string               `json:"backups"`
	// Providers says in a line which providers are really failing; informational.
	Providers string   `json:"providers"`
	Nothing   bool     `json:"nothing"`
	Diff      string   `json:"diff,omitempty"`
	Commands  []string `json:"commands"`
	Next      []string `json:"next"`
	// DisabledAfter and SafeAfter are seconds until all was off on disk, and proven
	// loaded; 0 if that moment did not come.
	DisabledAfter float64 `json:"disabledAfter"`
	SafeAfter     float64 `json:"safeAfter"`
	// OK says that the exit code is 0.
	OK      bool `json:"-"`
	noShelf []string
	noHold  bool
}

// ClearedResult is what is known of circuits.
type ClearedResult struct {
	State change.ClearedState `json:"state"`
	// Asked is what the guide wants to see: "circuit state cleared".
	Asked    string               `json:"asked"`
	Circuits int                  `json:"circuits"`
	Open     []change.OpenCircuit `json:"open"`
	Reset    int                  `json:"reset"`
	Nodes    []change.NodeCleared `json:"nodes"`
}

// NewRollback makes a Rollback of which nothing is known yet.
func NewRollback(s change.Scope) Rollback {
	return Rollback{Meta: NewMeta("Rollback"), Scope: s.Kind, Tenant: s.Tenant, Policy: s.Policy, Phase: s.Phase,
		Policies: []change.PolicyResult{}, Malformed: []string{}, Quarantined: []string{}, Unlisted: []string{}, Backups: []string{},
		Flags: []change.FlagResult{}, Restarts: []change.RestartResult{}, Commands: []string{}, Next: []string{},
		Cleared: ClearedResult{State: change.ClearedUnknown, Asked: asked(s.Kind), Open: []change.OpenCircuit{}, Nodes: []change.NodeCleared{}}}
}

// asked is the guide's own wording of what to verify.
func asked(k change.ScopeKind) string {
	switch k {
	case change.PolicyScope:
		return "circuit state cleared"
	case change.GlobalScope:
		return "all circuits cleared"
	case change.PhaseScope:
		return "no open circuits for the phase's tenants"
	}
	return "no open circuits for tenant"
}

// Fill takes over what a rollback did.
func (r *Rollback) Fill(rb *change.Rollback, ok bool) {
	r.ID, r.Hold, r.Policies, r.Summary = rb.ID, NewHold(rb.Hold, rb.Held && len(rb.NoShelf) == 0), rb.Policies, change.Summarize(rb.Policies)
	r.Changed, r.Stopped, r.Nothing, r.OK = rb.Changed, rb.Stopped, rb.Nothing, ok
	r.Malformed, r.Quarantined, r.Unlisted = orEmpty(rb.Malformed), orEmpty(rb.Quarantined), orEmpty(rb.Unlisted)
	r.Backups, r.Flags, r.Restarts = orEmpty(rb.Backups), orEmpty(rb.Flags), orEmpty(rb.Restarts)
	r.DisabledAfter, r.SafeAfter, r.noShelf = rb.DisabledAfter.Seconds(), rb.SafeAfter.Seconds(), rb.NoShelf
	r.noHold = !rb.HeldHere && !r.Hold.Set
	r.Cleared.State, r.Cleared.Nodes = rb.Cleared(), orEmpty(rb.Nodes)
	for _, n := range rb.Nodes {
		r.Cleared.Circuits += n.Looked
		r.Cleared.Reset += n.Reset
		r.Cleared.Open = append(r.Cleared.Open, n.Open...)
	}
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Page implements Document.
func (r Rollback) Page() Page {
	scope := change.Scope{Kind: r.Scope, Tenant: r.Tenant, Policy: r.Policy, Phase: r.Phase}.String()
	p := Page{Name: "rollback", Verdict: Bad, Next: r.Next}
	if r.DryRun {
		return r.dryRun(p, scope)
	}
	p.Context, p.Aside = "hold: "+r.Hold.line(), r.Providers
	if r.noHold {
		p.Context = "no hold stands: it could be written nowhere"
	}
	switch {
	case len(r.noShelf) > 0:
		p.Notes = append(p.Notes, "The hold stands on this machine only: "+strings.Join(r.noShelf, ", ")+" keeps none beside the policies.")
	case !r.Hold.Set:
		p.Notes = append(p.Notes, "The hold could not be written beside the policies: another machine may enable them again.")
	}
	if r.Nothing {
		p.Answer = fmt.Sprintf("Nothing to roll back: no policy of %s has a circuit_breaker. The hold is set all the same.", scope)
		p.Verdict = Good
		if !r.OK {
			p.Verdict = Bad
		}
		return p
	}
	disabled, loaded := r.counts()
	r.answer(&p, scope, disabled)
	p.Rows = append([]Row{
		{Mark: all(disabled, r.Summary.Total), Name: "disabled", Text: fmt.Sprintf("%d/%d%s   on disk they say enabled: false", disabled, r.Summary.Total, after(r.DisabledAfter))},
		{Mark: all(loaded, r.Summary.Total), Name: "loaded", Text: fmt.Sprintf("%d/%d%s%s", loaded, r.Summary.Total, after(r.SafeAfter), r.perNode())},
		r.clearedRow()}, r.moreRows()...)
	if r.Stopped != "" {
		p.Sections = append(p.Sections, Section{Mark: Bad, Title: "A malformed policy forbids the reload",
			Lines: append([]string{r.Stopped}, r.Malformed...), Hints: []string{"repair it; or --quarantine moves it aside, and the router then has no such policy; or give a reload command with {tenant} and {policy}: it reads each policy alone"}})
	}
	if len(r.Unlisted) > 0 {
		p.Sections = append(p.Sections, Section{Mark: Bad, Title: "Not everything could be listed: there may be policies that are still on", Lines: r.Unlisted})
	}
	if s := problems(r.Policies, r.Stopped); len(s.Lines) > 0 {
		p.Sections = append(p.Sections, s)
	}
	for _, q := range r.Quarantined {
		p.Notes = append(p.Notes, "in quarantine: "+q)
	}
	for _, b := range r.Backups {
		p.Notes = append(p.Notes, "old policies kept in "+b)
	}
	return p
}

func after(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return fmt.Sprintf("   %.1f s", seconds)
}

func (r Rollback) counts() (disabled, loaded int) {
	for _, x := range r.Policies {
		if x.Disabled {
			disabled++
		}
		if x.Loaded {
			loaded++
		}
	}
	return disabled, loaded
}

func (r Rollback) answer(p *Page, scope string, disabled int) {
	n := r.Summary
	switch {
	case n.Safe == n.Total && r.OK:
		p.Answer, p.Verdict = fmt.Sprintf("Rolled back %s: %d of %d disabled and proven loaded.", scope, n.Safe, n.Total), Good
	case r.OK:
		p.Answer, p.Verdict = fmt.Sprintf("Rolled back %s on disk: %d of %d disabled; that they are loaded is accepted, not proven.", scope, disabled, n.Total), Stuck
	case n.Safe == n.Total && n.Total > 0 && len(r.Unlisted) == 0 && r.Stopped == "":
		p.Answer, p.Verdict = fmt.Sprintf("Disabled and proven loaded, %d of %d; but not all that was asked for is done.", n.Safe, n.Total), Stuck
	case n.Failed == 0 && n.Unreachable == 0 && r.Stopped == "" && len(r.Unlisted) == 0:
		p.Answer, p.Verdict = fmt.Sprintf("Not proven safe: %d of %d are disabled on disk, but the router may still run the old ones.", disabled, n.Total), Stuck
	default:
		p.Answer = fmt.Sprintf("Not everything is safe: %s.", unsafe(n))
		if nodes := r.unsafeNodes(); len(nodes) > 0 && len(r.Cleared.Nodes) > 1 {
			p.Answer = fmt.Sprintf("Not everything is safe: %d of %d nodes may still run the old policies.", len(nodes), len(r.Cleared.Nodes))
		}
	}
}

// unsafe counts what is not safe, in words.
func unsafe(n change.Summary) string {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{n.Failed, "failed"}, {n.Unreachable, "unreachable"}, {n.Written, "not proven loaded"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if len(parts) == 0 {
		return "see below"
	}
	parts[0] = strings.Replace(parts[0], " ", fmt.Sprintf(" of %d ", n.Total), 1)
	return strings.Join(parts, ", ")
}

// unsafeNodes are the nodes on which not every policy is safe, sorted.
func (r Rollback) unsafeNodes() []string {
	var bad []string
	for _, p := range r.Policies {
		if p.Result != change.Safe && !slices.Contains(bad, p.Node) {
			bad = append(bad, p.Node)
		}
	}
	slices.Sort(bad)
	return bad
}

// perNode names the nodes that are not safe, and how many are.
func (r Rollback) perNode() string {
	if len(r.Cleared.Nodes) < 2 {
		return ""
	}
	total, safe, gone := map[string]int{}, map[string]int{}, map[string]int{}
	var names []string
	for _, p := range r.Policies {
		if total[p.Node] == 0 {
			names = append(names, p.Node)
		}
		total[p.Node]++
		switch p.Result {
		case change.Safe:
			safe[p.Node]++
		case change.Unreachable:
			gone[p.Node]++
		}
	}
	slices.Sort(names)
	good := 0
	var parts []string
	for _, n := range names {
		switch {
		case safe[n] == total[n]:
			good++
		case gone[n] == total[n]:
			parts = append(parts, n+" unreachable")
		default:
			parts = append(parts, fmt.Sprintf("%s %d/%d", n, safe[n], total[n]))
		}
	}
	if len(parts) > 8 {
		parts = append(parts[:8], fmt.Sprintf("and %d more", len(parts)-8))
	}
	return "   " + strings.Join(append([]string{fmt.Sprintf("on %d of %d nodes", good, len(names))}, parts...), ", ")
}

// clearedRow answers the guide's question.
func (r Rollback) clearedRow() Row {
	c := r.Cleared
	row := Row{Name: "cleared"}
	closed := fmt.Sprintf("%d/%d circuits   ", c.Circuits-len(c.Open), c.Circuits)
	switch c.State {
	case change.Cleared:
		row.Mark, row.Text = Good, closed+c.Asked+": yes, by "+r.bases()
		if c.Reset > 0 {
			row.Text += fmt.Sprintf("; %d were reset", c.Reset)
		}
	case change.StillOpen:
		nodes := []string{}
		for _, o := range c.Open {
			if o.Node != "" && !slices.Contains(nodes, o.Node) {
				nodes = append(nodes, o.Node)
			}
		}
		on := ""
		if len(nodes) > 0 {
			on = " on " + strings.Join(nodes[:min(len(nodes), 6)], ", ")
		}
		row.Mark, row.Text = Stuck, closed+c.Asked+fmt.Sprintf(": no. %d still open in memory%s: needs a reset or a restart", len(c.Open), on)
		for _, n := range c.Nodes {
			if n.State == change.ClearedUnknown {
				row.Text += "; " + strings.TrimPrefix(n.Node+" ", " ") + "not measured: " + n.Reason
			}
		}
	default:
		row.Mark = Unknown
		var why []string
		for _, n := range c.Nodes {
			if n.State == change.ClearedUnknown && !slices.Contains(why, n.Reason) {
				why = append(why, n.Reason)
			}
		}
		row.Text = c.Asked + ": not measured: " + strings.Join(why, "; ") + ". A disabled breaker keeps its circuits in memory; a restart of the router clears them"
	}
	return row
}

func (r Rollback) bases() string {
	var by []string
	for _, n := range r.Cleared.Nodes {
		if s := string(n.Basis); s != "" && !slices.Contains(by, s) {
			by = append(by, s)
		}
	}
	return strings.Join(by, ", ")
}

// moreRows are global switches and restarts.
func (r Rollback) moreRows() []Row {
	var rows []Row
	for _, f := range r.Flags {
		row := Row{Mark: Good, Name: "global switch", Text: strings.TrimPrefix(f.Node+" ", " ") + "off, read back: no breaker of this node acts"}
		if !f.Off {
			row.Mark, row.Text = Stuck, strings.TrimPrefix(f.Node+" ", " ")+f.Reason
		}
		rows = append(rows, row)
	}
	for _, x := range r.Restarts {
		row := Row{Mark: Good, Name: "restart", Text: x.Node + " restarted and healthy"}
		if x.Reason != "" {
			row.Mark, row.Text = Bad, x.Node+" "+x.Reason
		}
		rows = append(rows, row)
	}
	return rows
}

func (r Rollback) dryRun(p Page, scope string) Page {
	p.Verdict = None
	p.Answer = fmt.Sprintf("Would roll back %s: %d of %d %s to write. Nothing is changed.", scope, r.Changed, r.Summary.Total, noun(r.Summary.Total, "policy", "policies"))
	p.Verbatim = r.Diff
	if len(r.Commands) > 0 {
		p.Verbatim += "\nwould run\n  " + strings.Join(r.Commands, "\n  ") + "\n"
	}
	if s := problems(r.Policies, ""); len(s.Lines) > 0 {
		p.Verbatim += "\ncannot be disabled\n  " + strings.Join(s.Lines, "\n  ") + "\n"
	}
	return p
}

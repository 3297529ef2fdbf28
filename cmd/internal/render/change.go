package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/cbops/cbops/rollout/change"
)

// Hold is a hold in machine-readable results.
type Hold struct {
	ID     string           `json:"id"`
	Scope  change.ScopeKind `json:"scope"`
	Tenant string           `json:"tenant"`
	Policy string           `json:"policy"`
	Reason string           `json:"reason"`
	By     string           `json:"by"`
	At     string           `json:"at"`
	// Set says that the hold stands beside the policies.
	Set        bool   `json:"set"`
	Unreadable string `json:"unreadable,omitempty"`
}

// NewHold makes a Hold.
func NewHold(h change.Hold, set bool) Hold {
	at := ""
	if !h.At.IsZero() {
		at = h.At.UTC().Format(time.RFC3339)
	}
	return Hold{ID: h.ID, Scope: h.Kind, Tenant: h.Tenant, Policy: h.Policy, Reason: h.Reason, By: h.By, At: at, Set: set, Unreadable: h.Unreadable}
}

func (h Hold) scope() string {
	return change.Scope{Kind: h.Scope, Tenant: h.Tenant, Policy: h.Policy}.String()
}

func (h Hold) line() string {
	if h.Unreadable != "" {
		return "a hold that cannot be read, so it holds everything: " + h.Unreadable
	}
	s := h.scope() + ", by " + h.By + ", " + h.At
	if h.Reason != "" {
		s += ": " + h.Reason
	}
	return s
}

// Rollback is the answer of `cbops rollback`.
type Rollback struct {
	Meta
	Environment string                `json:"environment"`
	ID          string                `json:"id"`
	Scope       change.ScopeKind      `json:"scope"`
	Tenant      string                `json:"tenant"`
	Policy      string                `json:"policy"`
	DryRun      bool                  `json:"dryRun"`
	Hold        Hold                  `json:"hold"`
	Policies    []change.PolicyResult `json:"policies"`
	Summary     change.Summary        `json:"summary"`
	Changed     int                   `json:"changed"`
	Cleared     string                `json:"cleared"`
	Stopped     string                `json:"stopped"`
	Backup      string                `json:"backup"`
	Nothing     bool                  `json:"nothing"`
	Diff        string                `json:"diff,omitempty"`
	Commands    []string              `json:"commands"`
	Next        []string              `json:"next"`
	// Took is for people; a result that differs by the time it took could not be compared.
	Took time.Duration `json:"-"`
	// OK says that the exit code is 0.
	OK bool `json:"-"`
}

// maxListed bounds the policies that text lists one by one; JSON has them all.
const maxListed = 20

// Page implements Document.
func (r Rollback) Page() Page {
	scope := change.Scope{Kind: r.Scope, Tenant: r.Tenant, Policy: r.Policy}.String()
	p := Page{Name: "rollback", Verdict: Bad, Next: r.Next}
	if r.DryRun {
		p.Verdict = None
		p.Answer = fmt.Sprintf("Would roll back %s: %d of %d %s to write. Nothing is changed.", scope, r.Changed, r.Summary.Total, noun(r.Summary.Total, "policy", "policies"))
		p.Verbatim = r.Diff
		if len(r.Commands) > 0 {
			p.Verbatim += "\nwould run\n  " + strings.Join(r.Commands, "\n  ") + "\n"
		}
		p.Sections = []Section{problems(r.Policies)}
		if len(p.Sections[0].Lines) > 0 {
			p.Verbatim += "\ncannot be disabled\n  " + strings.Join(p.Sections[0].Lines, "\n  ") + "\n"
		}
		return p
	}
	p.Context = "hold: " + r.Hold.line()
	if !r.Hold.Set {
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
	n := r.Summary
	disabled, loaded := 0, 0
	for _, x := range r.Policies {
		if x.Disabled {
			disabled++
		}
		if x.Loaded {
			loaded++
		}
	}
	switch {
	case n.Safe == n.Total && r.OK:
		p.Answer, p.Verdict = fmt.Sprintf("Rolled back %s: %d of %d disabled and proven loaded.", scope, n.Safe, n.Total), Good
	case r.OK:
		p.Answer, p.Verdict = fmt.Sprintf("Rolled back %s on disk: %d of %d disabled; that they are loaded is accepted, not proven.", scope, disabled, n.Total), Stuck
	case n.Failed == 0 && n.Unreachable == 0 && r.Stopped == "":
		p.Answer, p.Verdict = fmt.Sprintf("Not proven safe: %d of %d are disabled on disk, but the router may still run the old ones.", disabled, n.Total), Stuck
	default:
		p.Answer = fmt.Sprintf("Not everything is safe: %d of %d failed, %d not proven loaded.", n.Failed, n.Total, n.Written+n.Unreachable)
	}
	p.Rows = []Row{
		{Mark: all(disabled, n.Total), Name: "disabled", Text: fmt.Sprintf("%d/%d   %.1f s   on disk they say enabled: false", disabled, n.Total, r.Took.Seconds())},
		{Mark: all(loaded, n.Total), Name: "loaded", Text: fmt.Sprintf("%d/%d", loaded, n.Total)},
		{Mark: None, Name: "cleared", Text: r.Cleared},
	}
	if r.Stopped != "" {
		p.Sections = append(p.Sections, Section{Mark: Bad, Title: r.Stopped})
	}
	if s := problems(r.Policies); len(s.Lines) > 0 {
		p.Sections = append(p.Sections, s)
	}
	if r.Backup != "" {
		p.Notes = append(p.Notes, "old policies kept in "+r.Backup)
	}
	return p
}

// problems lists what is not safe, failures first, each reason once.
func problems(results []change.PolicyResult) Section {
	var lines []string
	for _, want := range []change.Outcome{change.Failed, change.Unreachable, change.Written} {
		for _, r := range results {
			if r.Result == want && r.Reason != "" {
				name := r.Ref().String()
				if r.Node != "" {
					name += " on " + r.Node
				}
				lines = append(lines, fmt.Sprintf("%s %s: %s", name, r.Result, r.Reason))
			}
		}
	}
	if more := len(lines) - maxListed; more > 0 {
		lines = append(lines[:maxListed], fmt.Sprintf("and %d more: -o json lists them all", more))
	}
	return Section{Lines: lines}
}

func all(n, of int) Mark {
	if n == of {
		return Good
	}
	return Bad
}

func noun(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Apply is the answer of `cbops apply`.
type Apply struct {
	Meta
	Environment string                `json:"environment"`
	ID          string                `json:"id"`
	Tenant      string                `json:"tenant"`
	Policy      string                `json:"policy"`
	Path        string                `json:"path"`
	DryRun      bool                  `json:"dryRun"`
	Changed     bool                  `json:"changed"`
	Diff        string                `json:"diff"`
	Warnings    []string              `json:"warnings"`
	Policies    []change.PolicyResult `json:"policies"`
	Summary     change.Summary        `json:"summary"`
	Backup      string                `json:"backup"`
	Commands    []string              `json:"commands"`
	Next        []string              `json:"next"`
	OK          bool                  `json:"-"`
}

// Page implements Document.
func (a Apply) Page() Page {
	name := a.Tenant + "/" + a.Policy
	p := Page{Name: "apply", Next: a.Next}
	head := ""
	if !a.Changed {
		head = "No changes. "
	}
	if a.DryRun {
		p.Answer = head + "Would apply to " + name + ". Nothing is changed."
		p.Verbatim = a.Diff
		if len(a.Commands) > 0 {
			p.Verbatim += "\nwould run\n  " + strings.Join(a.Commands, "\n  ") + "\n"
		}
		return p
	}
	n := a.Summary
	switch {
	case n.Failed > 0 || n.Unreachable > 0:
		p.Answer, p.Verdict = head+"Not applied everywhere: "+name+" is not proven loaded.", Bad
	case n.Safe == n.Total:
		p.Answer, p.Verdict = head+name+" is on disk and proven loaded.", Good
		if a.Changed {
			p.Answer = "Applied: " + p.Answer
		}
	case a.OK:
		p.Answer, p.Verdict = head+name+" is on disk; that it is loaded is accepted, not proven.", Stuck
	default:
		p.Answer, p.Verdict = head+"Written, not proven loaded: "+name+".", Stuck
	}
	for _, r := range a.Policies {
		row := Row{Mark: Good, Name: string(r.Result), Text: r.Ref().String()}
		if r.Node != "" {
			row.Text += " on " + r.Node
		}
		if r.Reason != "" {
			row.Text += ": " + r.Reason
		}
		switch r.Result {
		case change.Written:
			row.Mark = Stuck
		case change.Failed, change.Unreachable:
			row.Mark = Bad
		}
		p.Rows = append(p.Rows, row)
	}
	if a.Backup != "" {
		p.Notes = append(p.Notes, "old policy kept in "+a.Backup)
	}
	return p
}

// Resume is the answer of `cbops resume`.
type Resume struct {
	Meta
	Environment string           `json:"environment"`
	Scope       change.ScopeKind `json:"scope"`
	Tenant      string           `json:"tenant"`
	Policy      string           `json:"policy"`
	Reason      string           `json:"reason"`
	DryRun      bool             `json:"dryRun"`
	Lifted      []Hold           `json:"lifted"`
	Remaining   []Hold           `json:"remaining"`
	Next        []string         `json:"next"`
}

// Page implements Document.
func (r Resume) Page() Page {
	scope := change.Scope{Kind: r.Scope, Tenant: r.Tenant, Policy: r.Policy}.String()
	p := Page{Name: "resume", Verdict: Good, Next: r.Next}
	switch {
	case len(r.Lifted) == 0:
		p.Answer = "No hold on " + scope + ": nothing to lift."
	case r.DryRun:
		p.Answer = "Would lift the hold on " + scope + ". Nothing is changed."
	default:
		p.Answer = "Lifted the hold on " + scope + ". Nothing is enabled by that."
	}
	for _, h := range r.Lifted {
		p.Rows = append(p.Rows, Row{Mark: Good, Name: "lifted", Text: h.line()})
	}
	for _, h := range r.Remaining {
		p.Rows = append(p.Rows, Row{Mark: Stuck, Name: "still holds", Text: h.line()})
	}
	return p
}

// Holds is the answer of `cbops rollback --list`.
type Holds struct {
	Meta
	Environment string   `json:"environment"`
	Holds       []Hold   `json:"holds"`
	Rollbacks   []string `json:"rollbacks"`
}

// Page implements Document.
func (h Holds) Page() Page {
	p := Page{Name: "rollback", Answer: fmt.Sprintf("%d %s in force, %d %s recorded here.",
		len(h.Holds), noun(len(h.Holds), "hold", "holds"), len(h.Rollbacks), noun(len(h.Rollbacks), "rollback", "rollbacks"))}
	for _, x := range h.Holds {
		p.Rows = append(p.Rows, Row{Mark: Stuck, Name: x.ID, Text: x.line()})
	}
	for _, id := range h.Rollbacks {
		p.Rows = append(p.Rows, Row{Name: id, Text: "recorded"})
	}
	return p
}

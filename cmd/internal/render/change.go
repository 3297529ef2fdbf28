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
	Phase  int              `json:"phase,omitempty"`
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
	return Hold{ID: h.ID, Scope: h.Kind, Tenant: h.Tenant, Policy: h.Policy, Phase: h.Phase, Reason: h.Reason, By: h.By, At: at, Set: set, Unreadable: h.Unreadable}
}

func (h Hold) scope() string {
	return change.Scope{Kind: h.Scope, Tenant: h.Tenant, Policy: h.Policy, Phase: h.Phase}.String()
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

// maxListed bounds the policies that text lists one by one; JSON has them all.
const maxListed = 20

// problems lists what is not safe, failures first, each reason once; said is a
// reason that stands elsewhere already.
func problems(results []change.PolicyResult, said string) Section {
	type group struct {
		result change.Outcome
		reason string
	}
	names := map[group][]string{}
	var order []group
	for _, want := range []change.Outcome{change.Failed, change.Unreachable, change.Written} {
		for _, r := range results {
			if r.Result != want || r.Reason == "" || r.Reason == said {
				continue
			}
			g := group{r.Result, r.Reason}
			if names[g] == nil {
				order = append(order, g)
			}
			name := r.Ref().String()
			if r.Node != "" {
				name += " on " + r.Node
			}
			names[g] = append(names[g], name)
		}
	}
	var lines []string
	for _, g := range order {
		who := names[g]
		if more := len(who) - 3; more > 0 {
			who = append(who[:3:3], fmt.Sprintf("and %d more", more))
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", strings.Join(who, ", "), g.result, g.reason))
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
	VerifyOnly  bool                  `json:"verifyOnly"`
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
	if a.VerifyOnly && a.Changed {
		p.Answer, p.Verdict, p.Verbatim = "Not deployed: "+name+" is not as the file makes it. Nothing is changed.", Bad, a.Diff
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
	Phase       int              `json:"phase,omitempty"`
	Reason      string           `json:"reason"`
	DryRun      bool             `json:"dryRun"`
	Lifted      []Hold           `json:"lifted"`
	Remaining   []Hold           `json:"remaining"`
	// Flags are global switches that were found off, and what became of them.
	Flags []change.FlagResult `json:"flags"`
	Next  []string            `json:"next"`
}

// Page implements Document.
func (r Resume) Page() Page {
	scope := change.Scope{Kind: r.Scope, Tenant: r.Tenant, Policy: r.Policy, Phase: r.Phase}.String()
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
	for _, f := range r.Flags {
		row := Row{Mark: Good, Name: "global switch", Text: strings.TrimSpace(f.Node + " set back; no policy is enabled by that")}
		if f.Off {
			row.Mark, row.Text = Stuck, strings.TrimSpace(f.Node+" "+f.Reason)
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// Holds is the answer of `cbops rollback --list`.
type Holds struct {
	Meta
	Environment string     `json:"environment"`
	Holds       []Hold     `json:"holds"`
	Rollbacks   []Recorded `json:"rollbacks"`
}

// Recorded is a rollback that was run with this state directory.
type Recorded struct {
	ID      string           `json:"id"`
	Scope   change.ScopeKind `json:"scope"`
	Tenant  string           `json:"tenant"`
	Policy  string           `json:"policy"`
	Phase   int              `json:"phase,omitempty"`
	At      string           `json:"at"`
	By      string           `json:"by"`
	Reason  string           `json:"reason"`
	Ended   bool             `json:"ended"`
	Summary change.Summary   `json:"summary"`
	Resumed bool             `json:"resumed"`
	Undone  bool             `json:"undone"`
	Backup  bool             `json:"backup"`
}

// NewRecorded makes a Recorded.
func NewRecorded(r change.Recorded) Recorded {
	at := ""
	if !r.At.IsZero() {
		at = r.At.UTC().Format(time.RFC3339)
	}
	return Recorded{ID: r.ID, Scope: r.Kind, Tenant: r.Tenant, Policy: r.Policy, Phase: r.Phase, At: at, By: r.By, Reason: r.Reason,
		Ended: r.Ended, Summary: r.Summary, Resumed: r.Resumed, Undone: r.Undone, Backup: r.Backup}
}

func (r Recorded) line() string {
	if r.At == "" {
		return "recorded, but nothing of it can be read"
	}
	s := change.Scope{Kind: r.Scope, Tenant: r.Tenant, Policy: r.Policy, Phase: r.Phase}.String() + ", by " + r.By + ", " + r.At
	switch {
	case !r.Ended:
		s += ": did not end; run it again"
	default:
		s += fmt.Sprintf(": %d of %d safe", r.Summary.Safe, r.Summary.Total)
	}
	if r.Resumed {
		s += ", hold lifted"
	}
	if r.Undone {
		s += ", undone"
	}
	if r.Reason != "" {
		s += "; " + r.Reason
	}
	return s
}

// Page implements Document.
func (h Holds) Page() Page {
	p := Page{Name: "rollback", Answer: fmt.Sprintf("%d %s in force, %d %s recorded here.",
		len(h.Holds), noun(len(h.Holds), "hold", "holds"), len(h.Rollbacks), noun(len(h.Rollbacks), "rollback", "rollbacks"))}
	for _, x := range h.Holds {
		p.Rows = append(p.Rows, Row{Mark: Stuck, Name: "hold", Text: x.line() + "; id " + x.ID})
	}
	for _, x := range h.Rollbacks {
		p.Rows = append(p.Rows, Row{Name: "rollback", Text: x.line() + "; id " + x.ID})
	}
	return p
}

// Undo is the answer of `cbops rollback undo`.
type Undo struct {
	Meta
	Environment string                `json:"environment"`
	ID          string                `json:"id"`
	DryRun      bool                  `json:"dryRun"`
	Enables     int                   `json:"enables"`
	Already     int                   `json:"already"`
	Conflicts   []string              `json:"conflicts"`
	Policies    []change.PolicyResult `json:"policies"`
	Summary     change.Summary        `json:"summary"`
	Backup      string                `json:"backup"`
	Diff        string                `json:"diff"`
	Commands    []string              `json:"commands"`
	Next        []string              `json:"next"`
	OK          bool                  `json:"-"`
}

// NewUndo makes an Undo of which nothing is known yet.
func NewUndo(id string) Undo {
	return Undo{Meta: NewMeta("Undo"), ID: id, Conflicts: []string{}, Policies: []change.PolicyResult{}, Commands: []string{}, Next: []string{}}
}

// Page implements Document.
func (u Undo) Page() Page {
	p := Page{Name: "undo", Next: u.Next}
	for _, c := range u.Conflicts {
		p.Notes = append(p.Notes, c+" was changed since the rollback")
	}
	if u.DryRun {
		p.Answer = fmt.Sprintf("Would undo %s: %d enabled again, %d as before already. Nothing is changed.", u.ID, u.Enables, u.Already)
		p.Verbatim = u.Diff
		if len(u.Commands) > 0 {
			p.Verbatim += "\nwould run\n  " + strings.Join(u.Commands, "\n  ") + "\n"
		}
		return p
	}
	n := u.Summary
	switch {
	case n.Total == 0:
		p.Answer, p.Verdict = fmt.Sprintf("Nothing to undo: %d policies have their old bytes already.", u.Already), Good
	case n.Safe == n.Total:
		p.Answer, p.Verdict = fmt.Sprintf("Undone %s: %d of %d restored and proven loaded.", u.ID, n.Safe, n.Total), Good
	case u.OK:
		p.Answer, p.Verdict = fmt.Sprintf("Undone %s on disk: %d restored; that they are loaded is accepted, not proven.", u.ID, n.Total), Stuck
	default:
		p.Answer, p.Verdict = "Not undone everywhere: "+unsafe(n)+".", Bad
	}
	if s := problems(u.Policies, ""); len(s.Lines) > 0 {
		p.Sections = []Section{s}
	}
	if u.Backup != "" {
		p.Notes = append(p.Notes, "the policies before this undo are kept in "+u.Backup)
	}
	return p
}

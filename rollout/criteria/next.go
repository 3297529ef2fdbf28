package criteria

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"
)

// next is what the reader would do now, most likely first: complete commands of this
// program, with the flags that the question was put with.
func next(e Evaluation, r Request) []string {
	cmds := []string{}
	failing := func(f *Finding) bool { return f.Verdict == Fail && f.Waived == nil }
	for i := range e.Criteria {
		f := &e.Criteria[i]
		for _, t := range f.Tenants {
			if failing(f) && t.Verdict == Fail && t.Tenant != "" && t.Waived == nil {
				cmds = appendNew(cmds, words("cbops rollback tenant "+shellquote.Join(t.Tenant), r.Flags.Target))
			}
		}
	}
	phase := fmt.Sprintf("--phase %d", e.Phase)
	for i := range e.Criteria {
		f := &e.Criteria[i]
		if failing(f) || f.Verdict == Unmeasurable && f.Counts() && !f.Broken && f.Basis != Attested {
			cmds = appendNew(cmds, words("cbops ticket draft --from "+f.ID, phase, r.Flags.Target, r.Flags.Judge, r.Flags.At))
		}
	}
	for i := range e.Criteria {
		if f := &e.Criteria[i]; failing(f) && f.ID == (Opens{}).ID() {
			cmds = appendNew(cmds, tune(f, r)...)
		}
	}
	if e.Verdict == Pass || len(cmds) > 0 {
		return cmds
	}
	again := words("cbops evaluate", phase, r.Flags.Target, r.Flags.Judge)
	if e.ETA != nil {
		return append(cmds, again+"   # again after "+e.ETA.UTC().Format("2 Jan 15:04")+" UTC")
	}
	for i := range e.Criteria {
		f := &e.Criteria[i]
		if f.Counts() && f.Verdict == Inconclusive && f.State == Stuck {
			cmds = appendNew(cmds, words("cbops ticket draft --from "+f.ID, phase, r.Flags.Target, r.Flags.Judge, r.Flags.At))
		}
	}
	if len(cmds) == 0 {
		cmds = append(cmds, again)
	}
	return cmds
}

// tune is what shows what another config would do to a tenant that opened for nothing:
// its own on the twin, to be changed by apply.
func tune(f *Finding, r Request) []string {
	for _, t := range f.Tenants {
		if t.Verdict != Fail || t.Waived != nil {
			continue
		}
		i := slices.IndexFunc(r.Policies, func(p Policy) bool { return p.Tenant == t.Tenant && p.Enabled })
		if i >= 0 {
			return []string{words("cbops loadtest --tenant "+shellquote.Join(t.Tenant)+" --policy "+shellquote.Join(r.Policies[i].Policy), r.Flags.Target) + "   # what its config does, on low traffic too"}
		}
	}
	return nil
}

// words joins what is not empty.
func words(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " ")
}

func appendNew(s []string, v ...string) []string { return union(s, v) }

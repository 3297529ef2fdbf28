package criteria

// entry is a line of the catalogue: a criterion of DESIGN.md §5, the first phase
// that asks for it, and the sentence of the guide that it stands for.
type entry struct {
	judge Criterion
	from  int
	// whole: about the phase, not about each tenant.
	whole bool
	// advisory: before phase 3 it can fail a phase, not hold it.
	advisory bool
	guide    string
	// queries of the evaluation that it rests on, by name.
	queries []string
}

// catalogue lists every criterion, in the order in which they are reported.
func catalogue() []entry {
	breaker := []string{"transitions", "transitions, changes", "outcomes", "outcomes, near"}
	with := func(more ...string) []string { return append(append([]string{}, breaker...), more...) }
	return []entry{
		{judge: Opens{}, from: 1, guide: "No unexpected circuit opens (only during actual provider failures)", queries: with("others, near", "providerHealthy")},
		{judge: Closes{}, from: 1, guide: "Circuit closes successfully after provider recovery", queries: with("others, near", "providerHealthy")},
		{judge: ErrorRate{}, from: 1, guide: "No increase in overall error rate for tenant", queries: []string{"outcomes", "others", "tenantErrorRate"}},
		{judge: Latency{}, from: 1, guide: "No performance degradation (latency < 5% increase)", queries: []string{"latency"}},
		{judge: Accurate{}, from: 1, guide: "Metrics and logs are accurate and useful", queries: breaker},
		{judge: Attestable{id: "logs-useful", what: "that the logs were read and told what happened"}, from: 1, whole: true, guide: "Metrics and logs are accurate and useful"},
		{judge: Effective{}, from: 1, advisory: true, guide: "No unexpected circuit opens; the breaker acts on those that happen", queries: breaker},
		{judge: WideOpen{}, from: 2, guide: "No tenant-wide issues (all providers open simultaneously)", queries: with("others, near", "providerHealthy")},
		{judge: Consistent{}, from: 2, advisory: true, guide: "Circuit breaker behavior consistent across tenants", queries: with("others")},
		{judge: FalsePositives{}, from: 2, guide: "No false positives (circuits opening unnecessarily)", queries: with("others, near")},
		{judge: Wasted{}, from: 3, guide: "Circuit breaker reduces wasted resources (fewer calls to unhealthy providers)", queries: with("others, near")},
		{judge: Reports{}, from: 3, whole: true, guide: "No increase in customer-reported issues"},
		{judge: Stable{}, from: 3, whole: true, guide: "Positive impact on system stability metrics", queries: []string{"stability"}},
		{judge: ByDefault{}, from: 4, whole: true, guide: "Circuit breaker is default behavior (can be disabled per policy if needed)"},
		{judge: Attestable{id: "docs-updated", what: "that documentation and runbooks are updated"}, from: 4, whole: true, guide: "Documentation and runbooks updated"},
		{judge: Attestable{id: "team-trained", what: "that the team is trained on operating the breaker"}, from: 4, whole: true, guide: "Team trained on CB operations"},
	}
}

// IDs returns the criteria of a phase, in order of report.
func IDs(phase int) []string {
	var ids []string
	for _, e := range catalogue() {
		if e.from <= phase {
			ids = append(ids, e.judge.ID())
		}
	}
	return ids
}

// AllIDs returns the criteria of all phases, in order of report.
func AllIDs() []string { return IDs(4) }

// MinDays is the guide's minimum length of a phase in days, N of DESIGN.md §5:
// "met for 3+ / 7+ / 14+ days"; phase 4 is monitored for at least 7.
func MinDays(phase int) int {
	return map[int]int{1: 3, 2: 7, 3: 14, 4: 7}[phase]
}

package plan

import (
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/rollout/criteria"
)

// Phase is one phase of the rollout.
type Phase struct {
	Tenants  []string
	Policies []string
	// MinDays is how long it lasts at least; the guide's minimum where it is not set.
	MinDays int
}

func (r *reader) phases(n *yaml.Node, p *Plan) {
	if n.Kind != yaml.MappingNode {
		r.bad(n, "", "phases: want a mapping from 1, 2, 3, 4")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if len(k.Value) != 1 || k.Value < "1" || k.Value > "4" {
			r.bad(k, "", "phases: %q: the guide has phases 1 to 4", k.Value)
			continue
		}
		number := int(k.Value[0] - '0')
		ph := Phase{MinDays: criteria.MinDays(number)}
		r.fields(n.Content[i+1], "phase "+k.Value, map[string]func(*yaml.Node){
			"tenants": r.list(&ph.Tenants), "policies": r.list(&ph.Policies),
			"minDays": func(n *yaml.Node) {
				d, err := strconv.Atoi(n.Value)
				if err != nil || n.Kind != yaml.ScalarNode || d < criteria.MinDays(number) || d > 90 {
					r.bad(n, "", "minDays: want days from %d, the guide's minimum of phase %d, to 90", criteria.MinDays(number), number)
					return
				}
				ph.MinDays = d
			},
		})
		p.Phases[number] = ph
	}
}

package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cbops/cbops/rollout/criteria"
)

// firstAsked is how bundles kept what was asked before they held statements: three
// parameters and the criteria asked for.
type firstAsked struct {
	Params *struct{ Phase, MinDays, MinOutcomesPerDay int } `json:"params"`
	Only   []string                                         `json:"only"`
}

// readAsked reads what was asked of a bundle's evidence. A setting that an older cbops
// did not keep is the guide's, and without statements nothing is attested. What no plan
// may ask, and what only a later version knows, is refused: judged without days or
// margins, anything passes.
func readAsked(raw []byte) (criteria.Request, error) {
	var first firstAsked
	if json.Unmarshal(raw, &first) == nil && first.Params != nil {
		p := first.Params
		if p.Phase < 1 || p.Phase > 4 {
			return criteria.Request{}, fmt.Errorf("phase %d: the guide has phases 1 to 4", p.Phase)
		}
		r := criteria.NewRequest(p.Phase)
		r.MinDays, r.MinOutcomesPerDay, r.Only = p.MinDays, p.MinOutcomesPerDay, first.Only
		return r, asks(r)
	}
	var head struct{ Phase int }
	if err := json.Unmarshal(raw, &head); err != nil {
		return criteria.Request{}, err
	}
	if head.Phase < 1 || head.Phase > 4 {
		return criteria.Request{}, fmt.Errorf("phase %d: the guide has phases 1 to 4", head.Phase)
	}
	r := criteria.NewRequest(head.Phase) // what an older cbops did not keep it could not be asked otherwise
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			err = fmt.Errorf("%w: a later version asked it", err)
		}
		return r, err
	}
	return r, asks(r)
}

// asks reports what keeps a request from asking for evidence.
func asks(r criteria.Request) error {
	switch m := r.Margins; {
	case r.Phase < 1 || r.Phase > 4:
		return fmt.Errorf("phase %d: the guide has phases 1 to 4", r.Phase)
	case r.MinDays < criteria.MinDays(r.Phase):
		return fmt.Errorf("minDays %d: phase %d takes %d at least", r.MinDays, r.Phase, criteria.MinDays(r.Phase))
	case r.MinOutcomesPerDay < 1:
		return fmt.Errorf("minOutcomesPerDay %d: want 1 or more", r.MinOutcomesPerDay)
	case m.Latency < 0 || m.Consistency < 1 || m.Containment < 0 || m.ErrorRate.Floor < 0 || m.ErrorRate.Relative < 0 || m.ErrorRate.Cap < 0 || m.ErrorRate.Half < 0:
		return errors.New("a margin that no plan may set")
	}
	if bad := r.Check(); len(bad) > 0 {
		return errors.New(bad[0])
	}
	return nil
}

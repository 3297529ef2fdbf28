package promquery

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// merger puts the pieces of an answer together: series by their labels, samples
// by time, each once.
type merger struct {
	by map[string]*Series
}

func newMerger() *merger { return &merger{by: map[string]*Series{}} }

var errHistogram = errors.New("a native histogram came back where plain samples were asked for")

// errNoResult is valid JSON in the form of an answer, with nothing in it.
var errNoResult = errors.New("the answer holds no result: not Prometheus, or a broken proxy before it")

func (m *merger) add(v model.Value) error {
	switch v := v.(type) {
	case nil:
		return errNoResult
	case model.Vector:
		for _, s := range v {
			if s == nil {
				return errNoResult
			}
			if s.Histogram != nil {
				return errHistogram
			}
			m.put(s.Metric, []model.SamplePair{{Timestamp: s.Timestamp, Value: s.Value}})
		}
	case model.Matrix:
		for _, s := range v {
			if s == nil {
				return errNoResult
			}
			if len(s.Histograms) > 0 {
				return errHistogram
			}
			m.put(s.Metric, s.Values)
		}
	default:
		return fmt.Errorf("unexpected answer of type %v", v.Type())
	}
	return nil
}

func (m *merger) put(metric model.Metric, values []model.SamplePair) {
	key := identity(metric)
	s := m.by[key]
	if s == nil {
		s = &Series{Labels: make(map[string]string, len(metric))}
		for k, v := range metric {
			s.Labels[string(k)] = string(v)
		}
		m.by[key] = s
	}
	for _, v := range values {
		s.Samples = append(s.Samples, Sample{v.Timestamp.Time().UTC(), float64(v.Value)})
	}
}

// identity is the same for the same labels, and sorts.
func identity(metric model.Metric) string {
	var pairs []string
	for k, v := range metric {
		pairs = append(pairs, strconv.Quote(string(k))+strconv.Quote(string(v)))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// series returns what was put together, and how many samples contradicted one of
// the same time: then neither is known to be right, and both are left out.
func (m *merger) series() (out []Series, dropped int) {
	keys := make([]string, 0, len(m.by))
	for k := range m.by {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out = make([]Series, 0, len(keys))
	for _, k := range keys {
		s := m.by[k]
		slices.SortStableFunc(s.Samples, func(a, b Sample) int { return a.T.Compare(b.T) })
		kept := s.Samples[:0]
		for i := 0; i < len(s.Samples); {
			j, same := i+1, true
			for ; j < len(s.Samples) && sameMS(s.Samples[i].T, s.Samples[j].T); j++ {
				same = same && math.Float64bits(s.Samples[i].V) == math.Float64bits(s.Samples[j].V)
			}
			if same {
				kept = append(kept, s.Samples[i])
			} else {
				dropped += j - i
			}
			i = j
		}
		s.Samples = kept
		out = append(out, *s)
	}
	return out, dropped
}

func sameMS(a, b time.Time) bool { return a.UnixMilli() == b.UnixMilli() }

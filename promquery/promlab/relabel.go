package promlab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Relabel returns a store with the same samples under other labels: what a
// deployment that renames its metrics would have stored. f gets the labels of a
// series and returns its new ones, or nil to drop it. Series that come to the same
// labels are added up, instant by instant, as a counter that lost a label is.
// Samples are shared with the old store, not copied; both may be appended to.
func (s *Store) Relabel(f func(lset map[string]string) map[string]string) (*Store, error) {
	groups := map[string][]*memSeries{}
	names := map[string]map[string]string{}
	var keys []string
	for _, ms := range s.all() {
		lset := f(ms.lset.Map())
		if lset == nil {
			continue
		}
		k := keyOf(lset)
		if groups[k] == nil {
			keys = append(keys, k)
			names[k] = lset
		}
		groups[k] = append(groups[k], ms)
	}
	slices.SortFunc(keys, strings.Compare)
	out := NewStore()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range keys {
		ms, err := merged(groups[k])
		if err != nil {
			return nil, fmt.Errorf("cannot rename %s: %w", groups[k][0].lset, err)
		}
		ms.lset = labels.FromMap(names[k])
		out.byKey[k] = ms
		out.sorted = append(out.sorted, ms)
	}
	out.dirty = true
	return out, nil
}

// merged is one series that can be appended to without touching the given ones.
func merged(all []*memSeries) (*memSeries, error) {
	if len(all) == 1 {
		ms := *all[0]
		ms.chunks = slices.Clone(ms.chunks)
		last := &ms.chunks[len(ms.chunks)-1]
		c := chunkenc.NewXORChunk()
		c.Reset(slices.Clone(last.c.Bytes()))
		app, err := c.Appender()
		last.c, ms.app = c, app
		return &ms, err
	}
	sum := map[int64]float64{}
	var times []int64
	for _, ms := range all {
		it := ms.between(-1<<62, 1<<62).Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			if _, ok := sum[t]; !ok {
				times = append(times, t)
			}
			sum[t] += v
		}
	}
	slices.Sort(times)
	out := &memSeries{}
	for _, t := range times {
		if err := out.append(t, sum[t]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

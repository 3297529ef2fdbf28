package evidence_test

import (
	"testing"
	"time"

	"github.com/cbops/cbops/rollout/evidence"
)

// scraped is a node that was scraped once a minute from one hour to another.
func scraped(name string, start time.Time, from, to int) evidence.Node {
	n := evidence.Node{Name: name}
	for t := start.Add(time.Duration(from) * time.Hour); !t.After(start.Add(time.Duration(to) * time.Hour)); t = t.Add(time.Minute) {
		n.Scrapes = append(n.Scrapes, t.UnixMilli())
	}
	n.First, n.Last = n.Scrapes[0], n.Scrapes[len(n.Scrapes)-1]
	return n
}

// Which hours of a ten-hour bake are measured, as nodes come and go.
func TestCoverageOfNodesThatComeAndGo(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	older := scraped("router/b", start, 14, 20)
	older.Older = true
	failing := scraped("router/b", start, 0, 14)
	failing.Last = start.Add(20 * time.Hour).UnixMilli() // still a target, and down
	for _, c := range []struct {
		name    string
		nodes   []evidence.Node
		elastic bool
		want    int
	}{
		{"one node all along", []evidence.Node{scraped("router/a", start, 0, 20)}, false, 10},
		{"no node", nil, false, 0},
		{"a second one joins", []evidence.Node{scraped("router/a", start, 0, 20), scraped("router/b", start, 14, 20)}, false, 10},
		{"one that joins had been running, unseen", []evidence.Node{scraped("router/a", start, 0, 20), older}, false, 6},
		{"one of two vanishes", []evidence.Node{scraped("router/a", start, 0, 20), scraped("router/b", start, 0, 14)}, false, 4},
		{"one of two vanishes where nodes come and go", []evidence.Node{scraped("router/a", start, 0, 20), scraped("router/b", start, 0, 14)}, true, 10},
		{"one is replaced by another of its job", []evidence.Node{scraped("router/a", start, 0, 20), scraped("router/b", start, 0, 14), scraped("router/c", start, 14, 20)}, false, 10},
		{"one of another job replaces nothing", []evidence.Node{scraped("router/a", start, 0, 20), scraped("router/b", start, 0, 14), scraped("other/c", start, 14, 20)}, false, 4},
		{"one left before the bake", []evidence.Node{scraped("router/a", start, 0, 20), scraped("router/b", start, 0, 8)}, false, 10},
		{"all vanish", []evidence.Node{scraped("router/a", start, 0, 14)}, true, 4}, // 59 of 60 scrapes are enough
		{"one of two is down", []evidence.Node{scraped("router/a", start, 0, 20), failing}, false, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := &evidence.Evidence{At: start.Add(20 * time.Hour), Interval: time.Minute, Nodes: c.nodes, Elastic: c.elastic}
			m := ev.Coverage(start.Add(10 * time.Hour))
			if m.Hours != c.want {
				t.Errorf("%d hours, want %d; gaps %+v", m.Hours, c.want, m.Gaps)
			}
			if m.Hours < 10 && len(m.Gaps) == 0 {
				t.Error("hours are missing, and nothing says why")
			}
		})
	}
}

func TestCoverageLeavesOutGaps(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ev := &evidence.Evidence{At: start.Add(10 * time.Hour), Interval: time.Minute, Nodes: []evidence.Node{scraped("router/a", start, 0, 10)},
		Gaps: []evidence.Gap{{Interval: evidence.Interval{From: start.Add(150 * time.Minute), To: start.Add(200 * time.Minute)}, Reason: "the server warned"}}}
	m := ev.Coverage(start)
	if m.Hours != 8 || len(m.Gaps) != 1 || m.Gaps[0].Reason != "the server warned" || m.Gaps[0].Length() != 2*time.Hour {
		t.Errorf("%d hours, gaps %+v", m.Hours, m.Gaps)
	}
	if ev.Interval = 0; ev.Coverage(start).Hours != 0 {
		t.Error("measured without knowing how often is scraped")
	}
}

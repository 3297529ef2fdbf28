// Command fleet writes a synthetic fleet's history as Prometheus blocks: the router's
// counters of many tenants at a scrape a minute, with three outages for everybody and
// opens on noise for a few. It is for benchmarks: what a router really does is the
// practice router's business, not this one's.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

func main() {
	dir := flag.String("dir", "", "directory for the blocks")
	tenants := flag.Int("tenants", 1000, "how many tenants, three providers each")
	days := flag.Int("days", 14, "how many days")
	start := flag.Int64("start", 1_772_323_200, "beginning, in seconds since the Unix epoch")
	flag.Parse()
	if err := write(*dir, *tenants, *days, *start*1000); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

const (
	minute = int64(60_000)
	block  = 48 * 60 // minutes
)

// circuit is one tenant on one provider; its counters go on from block to block.
type circuit struct {
	tenant, provider string
	rng              *rand.Rand
	perMinute        float64
	noisy            bool
	counters         [9]float64
	refs             [9]storage.SeriesRef
	seen             [9]bool
}

// The counters of a circuit, in the order of the array.
func name(i int) (metric string, extra []string) {
	const p = "router_circuit_breaker_"
	switch i {
	case 0, 1, 2:
		return p + "events_total", []string{"event_type", [...]string{"success", "failure", "fail_fast"}[i]}
	case 7:
		return p + "window_requests_total", nil
	case 8:
		return p + "window_failures_total", nil
	}
	from := [...]string{"closed", "open", "half_open", "half_open"}[i-3]
	to := [...]string{"open", "half_open", "open", "closed"}[i-3]
	return p + "state_transitions_total", []string{"from", from, "to", to}
}

func write(dir string, tenants, days int, start int64) error {
	var cs []*circuit
	for t := range tenants {
		rate := math.Exp(rand.New(rand.NewPCG(1, uint64(t))).NormFloat64()*1.2 + 2.5)
		for p, provider := range []string{"openai", "anthropic", "cohere"} {
			cs = append(cs, &circuit{tenant: fmt.Sprintf("t-%05d", t), provider: provider, rng: rand.New(rand.NewPCG(uint64(t), uint64(p))),
				perMinute: rate / 3, noisy: t%20 == 7})
		}
	}
	for from := 0; from < days*24*60; from += block {
		n := min(block, days*24*60-from)
		if err := writeBlock(dir, cs, start, from, n); err != nil {
			return err
		}
	}
	return nil
}

func writeBlock(dir string, cs []*circuit, start int64, from, n int) error {
	// The writer wants room for twice the block, or it calls samples out of bounds.
	w, err := tsdb.NewBlockWriter(slog.New(slog.NewTextHandler(io.Discard, nil)), dir, 2*int64(n)*minute)
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // Flush has written, or failed
	ctx := context.Background()
	app := w.Appender(ctx)
	up := labels.FromStrings("__name__", "up", "job", "router", "instance", "node-1:9001")
	for i := range n {
		if _, err := app.Append(0, up, start+int64(from+i)*minute, 1); err != nil {
			return err
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	for _, c := range cs {
		app := w.Appender(ctx)
		c.refs = [9]storage.SeriesRef{}
		for i := range n {
			c.live(from + i)
			for k, v := range c.counters {
				if v == 0 && !c.seen[k] {
					continue
				}
				c.seen[k] = true
				ref, err := app.Append(c.refs[k], c.labels(k), start+int64(from+i)*minute, v)
				if err != nil {
					return err
				}
				c.refs[k] = ref
			}
		}
		if err := app.Commit(); err != nil {
			return err
		}
	}
	_, err = w.Flush(ctx)
	return err
}

func (c *circuit) labels(k int) labels.Labels {
	if c.refs[k] != 0 {
		return labels.EmptyLabels()
	}
	metric, extra := name(k)
	return labels.FromStrings(append(extra, "__name__", metric, "job", "router", "instance", "node-1:9001", "tenant_id", c.tenant, "provider_id", c.provider)...)
}

// live counts one minute.
func (c *circuit) live(m int) {
	n := math.Max(0, math.Round(c.perMinute+math.Sqrt(c.perMinute)*c.rng.NormFloat64()))
	day, ofDay := m/1440, m%1440
	outage := c.provider == "openai" && (day == 3 || day == 8 || day == 11) && ofDay >= 600 && ofDay < 620
	x := &c.counters
	switch {
	case outage && ofDay == 600:
		x[1] += math.Max(n, 1)
		x[3]++
		x[7], x[8] = x[7]+10, x[8]+6
	case outage: // two probes a minute fail, the rest is denied
		x[1], x[2] = x[1]+2, x[2]+math.Max(n-2, 0)
		x[4], x[5] = x[4]+2, x[5]+2
	case c.provider == "openai" && (day == 3 || day == 8 || day == 11) && ofDay == 620:
		x[0], x[4], x[6] = x[0]+math.Max(n, 2), x[4]+1, x[6]+1
		x[7] += 12
	case c.noisy && c.rng.IntN(240) == 0: // one failure in an empty window, closed within the minute
		x[0], x[1] = x[0]+n+2, x[1]+1
		x[3], x[4], x[6] = x[3]+1, x[4]+1, x[6]+1
		x[7], x[8] = x[7]+3, x[8]+1
	default:
		failed := 0.0
		for range int(n) {
			if c.rng.IntN(250) == 0 {
				failed++
			}
		}
		x[0], x[1] = x[0]+n-failed, x[1]+failed
	}
}

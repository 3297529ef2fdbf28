package lab

import (
	"slices"

	"github.com/cbops/cbops/breaker"
)

// circuit is one breaker of one node as the lab drives it.
//
// Nearly all of a week is successes on closed circuits. They change nothing but
// the window, and of the window only the last seconds before a failure matter.
// So a quiet circuit counts its successes at once and keeps their times, and the
// breaker catches up when something happens that can tell the difference: a
// failure, a new config, or a scrape that has to show an error rate above 0.
// TestQuietStretches compares this with request by request.
type circuit struct {
	key  breaker.Key
	node *node
	// quiet: the breaker exists, is closed, and has the config below.
	quiet      bool
	configured bool
	config     breaker.Config
	// pending are successes that the breaker has not been told, oldest first.
	pending     []int64
	lastFailure int64
	hasFailure  bool
	successes   *cell
	errorRate   *cell
}

// configure hands over the policy's config, as the router does on every decision.
func (c *circuit) configure(cfg breaker.Config, now int64) {
	if c.quiet && c.configured && c.config == cfg {
		return
	}
	c.catchUp()
	c.node.registry.Configure(c.key, cfg, now)
	c.configured, c.config = true, cfg
	c.look()
}

// allow asks the gate.
func (c *circuit) allow(now int64) bool {
	if c.quiet {
		return true // a closed circuit admits everything and emits nothing
	}
	ok := c.node.registry.Allow(c.key, now)
	c.look()
	return ok
}

func (c *circuit) success(now int64) {
	if c.quiet && !c.node.exact {
		if c.successes == nil {
			c.successes = c.node.metrics.cell(c.key, namePrefix+"events_total", []breaker.Label{{Name: "event_type", Value: "success"}})
		}
		c.successes.value++
		c.pending = append(c.pending, now)
		return
	}
	c.node.registry.Success(c.key, now)
	c.look()
}

func (c *circuit) failure(now int64) {
	c.catchUp()
	c.lastFailure, c.hasFailure = now, true
	c.node.registry.Failure(c.key, now)
	c.look()
}

// catchUp tells the breaker the successes that it has not seen. Those that have
// left the window at the newest one are left out: they were counted already and
// can change nothing any more.
func (c *circuit) catchUp() {
	if len(c.pending) == 0 {
		return
	}
	c.forget()
	c.node.metrics.mute = true
	for _, t := range c.pending {
		c.node.registry.Success(c.key, t)
	}
	c.node.metrics.mute = false
	c.pending = c.pending[:0]
	c.look()
}

// forget drops pending successes older than the window at the newest one. The
// window's edge is inclusive (ROUTER.md §4).
func (c *circuit) forget() {
	edge := c.pending[len(c.pending)-1] - c.config.WindowSeconds*1000
	i, _ := slices.BinarySearch(c.pending, edge)
	c.pending = append(c.pending[:0], c.pending[i:]...)
}

// settle makes the node's metrics right for a scrape.
func (c *circuit) settle() {
	if len(c.pending) == 0 {
		return
	}
	newest := c.pending[len(c.pending)-1]
	if c.hasFailure && c.lastFailure >= newest-c.config.WindowSeconds*1000 {
		c.catchUp()
		return
	}
	c.forget()
	if c.errorRate == nil {
		c.errorRate = c.node.metrics.cell(c.key, namePrefix+"error_rate", nil)
	}
	c.errorRate.value = 0
}

// look refreshes what the lab knows of the breaker's state.
func (c *circuit) look() {
	s, ok := c.node.registry.Status(c.key)
	c.quiet = ok && string(s.State) == "closed"
	if ok {
		c.config = s.Config
	}
}

package promquery

import (
	"context"
	"fmt"
	"strings"

	"github.com/cbops/cbops/internal/fault"
)

// Group is several servers that hold the same data, in the order in which they are
// asked.
type Group struct{ clients []*Client }

// NewGroup returns clients for the URLs that share all other options.
func NewGroup(opt Options, urls ...string) (*Group, error) {
	g := &Group{}
	for _, u := range urls {
		opt.URL = u
		c, err := New(opt)
		if err != nil {
			return nil, err
		}
		g.clients = append(g.clients, c)
	}
	if len(g.clients) == 0 {
		return nil, fault.New(fault.Usage, "no Prometheus given")
	}
	return g, nil
}

// Clients are the clients, in order.
func (g *Group) Clients() []*Client { return g.clients }

// Do runs run on the first server that is available, from the beginning for each
// one that it tries: what an earlier try has kept is the caller's to forget. So all
// that one successful run has seen is one server's. The next server's turn comes
// only where IsUnavailable says so of run's error.
func (g *Group) Do(ctx context.Context, run func(context.Context, *Client) error) error {
	var down []string
	for i, c := range g.clients {
		err := run(ctx, c)
		if err == nil || ctx.Err() != nil || !IsUnavailable(err) || len(g.clients) == 1 {
			if err != nil && len(down) > 0 && ctx.Err() == nil {
				err = fault.Hint(err, "before that: "+strings.Join(down, "; "))
			}
			return err
		}
		down = append(down, err.Error())
		if i == len(g.clients)-1 {
			return fault.Hint(&unavailable{fault.New(fault.Environment, "no server answers: %s", strings.Join(down, "; "))},
				fmt.Sprintf("are these the right URLs? %d were tried", len(down)))
		}
	}
	return ctx.Err()
}

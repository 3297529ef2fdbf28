package promquery

import (
	"context"
	"time"
)

// Count evaluates an expression that somebody else wrote at an instant, as it stands
// (extra matchers are not put into it), and says how many series come back and what
// the server warned of.
func (c *Client) Count(ctx context.Context, expr string, at time.Time) (series int, warnings []string, err error) {
	a, err := c.Instant(ctx, Query{Name: "as it stands", From: at, To: at, Wrap: func(string) string { return expr }}, func(Series) error { return nil })
	return a.Series, a.Warnings, err
}

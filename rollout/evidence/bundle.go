package evidence

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"
)

// BundleFormat is the format that WriteBundle writes and ReadBundle reads; see
// docs/bundle.md. It changes when a reader of the older one would err.
const BundleFormat = 1

// Bundle is evidence with what it was judged for and how: all that is needed to
// judge it again without a server. It is reduced, not a copy of what was read:
// timelines in place of samples, with the digest of every answer.
type Bundle struct {
	// Version is the version of cbops that judged it.
	Version     string
	Environment string
	Rollout     string
	// Asked is what was asked of the criteria, and Judged their answer; both are
	// kept as they are and mean nothing here.
	Asked, Judged json.RawMessage
	Evidence      *Evidence
}

// bundleHead is the first line of a bundle.
type bundleHead struct {
	APIVersion  string          `json:"apiVersion"`
	Kind        string          `json:"kind"`
	Format      int             `json:"format"`
	Version     string          `json:"cbops"`
	Environment string          `json:"environment"`
	Rollout     string          `json:"rollout"`
	Asked       json.RawMessage `json:"asked"`
	At          time.Time       `json:"at"`
	Interval    time.Duration   `json:"interval"`
	Elastic     bool            `json:"elastic"`
	Dialect     Dialect         `json:"dialect"`
	Skew        Skew            `json:"skew"`
	Present     []string        `json:"present"`
	Others      int             `json:"otherTenants"`
	Doubles     []Double        `json:"doubles"`
	Windows     []Interval      `json:"windows"`
	Queries     []Query         `json:"queries"`
	Gaps        []Gap           `json:"gaps"`
}

// bundleLine is every other line: one of its fields is set.
type bundleLine struct {
	Node    *bundleNode     `json:"node,omitempty"`
	Tenant  *bundleTenant   `json:"tenant,omitempty"`
	Circuit *bundleCircuit  `json:"circuit,omitempty"` // of the tenant before it
	Other   *bundleCircuit  `json:"other,omitempty"`
	Measure *Measure        `json:"measure,omitempty"` // without its series
	Series  *bundleSeries   `json:"series,omitempty"`  // of the measure before it
	Judged  json.RawMessage `json:"judged,omitempty"`
	End     *bundleEnd      `json:"end,omitempty"`
}

type bundleNode struct {
	Name     string `json:"name"`
	Scrapes  times  `json:"scrapes"`
	First    int64  `json:"first"`
	Last     int64  `json:"last"`
	Older    bool   `json:"older,omitempty"`
	Restarts times  `json:"restarts"`
}

type bundleTenant struct {
	ID       string    `json:"id"`
	Since    time.Time `json:"since"`
	Baseline Interval  `json:"baseline"`
	Config   Config    `json:"config"`
}

type bundleCircuit struct {
	Node     string        `json:"node"`
	Tenant   string        `json:"tenant"`
	Provider string        `json:"provider"`
	Step     time.Duration `json:"step"`
	Resets   times         `json:"resets,omitempty"`
	// Outcomes and transitions by column.
	Times    times  `json:"t"`
	Epochs   column `json:"e"`
	Success  column `json:"s"`
	Failure  column `json:"f"`
	FailFast column `json:"ff"`

	TransitionTimes times  `json:"xt"`
	TransitionEpoch column `json:"xe"`
	CO              column `json:"co"`
	OH              column `json:"oh"`
	HO              column `json:"ho"`
	HC              column `json:"hc"`
	WindowRequests  column `json:"wr"`
	WindowFailures  column `json:"wf"`
}

// bundleSeries is one series of a measure, by column.
type bundleSeries struct {
	MeasureSeries
	T times  `json:"t"`
	V column `json:"v"`
}

// bundleEnd is the last line: without it the file is cut off, and its digest is
// that of all bytes before it.
type bundleEnd struct {
	Lines  int    `json:"lines"`
	SHA256 string `json:"sha256"`
}

// bundleWriter writes lines and keeps their digest.
type bundleWriter struct {
	buf   *bufio.Writer
	hash  hash.Hash
	lines int
	err   error
}

func (w *bundleWriter) line(v any) {
	if w.err != nil {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // what is kept as it was must stay as it was
	if err := enc.Encode(v); err != nil {
		w.err = fmt.Errorf("cannot encode line %d of the bundle: %w", w.lines+1, err)
		return
	}
	w.hash.Write(b.Bytes())
	_, w.err = w.buf.Write(b.Bytes())
	w.lines++
}

// WriteBundle writes a bundle and returns its digest. The same bundle makes the
// same bytes.
func WriteBundle(out io.Writer, b *Bundle) (digest string, err error) {
	zip := gzip.NewWriter(out)
	ev := b.Evidence
	w := &bundleWriter{buf: bufio.NewWriterSize(zip, 1<<16), hash: sha256.New()}
	w.line(bundleHead{APIVersion: "cbops/v1", Kind: "Bundle", Format: BundleFormat, Version: b.Version,
		Environment: b.Environment, Rollout: b.Rollout, Asked: b.Asked, At: ev.At, Interval: ev.Interval, Elastic: ev.Elastic,
		Dialect: ev.Dialect, Skew: ev.Skew, Present: ev.Present, Others: ev.OtherTenants, Doubles: ev.Doubles, Windows: ev.Windows,
		Queries: ev.Queries, Gaps: ev.Gaps})
	for i := range ev.Nodes {
		n := &ev.Nodes[i]
		w.line(bundleLine{Node: &bundleNode{n.Name, n.Scrapes, n.First, n.Last, n.Older, n.Restarts}})
	}
	for i := range ev.Tenants {
		t := &ev.Tenants[i]
		w.line(bundleLine{Tenant: &bundleTenant{t.ID, t.Since, t.Baseline, t.Config}})
		for j := range t.Circuits {
			w.line(bundleLine{Circuit: packCircuit(&t.Circuits[j])})
		}
	}
	for i := range ev.Others {
		w.line(bundleLine{Other: packCircuit(&ev.Others[i])})
	}
	for i := range ev.Measures {
		m := ev.Measures[i]
		series := m.Series
		m.Series = nil
		w.line(bundleLine{Measure: &m})
		for j := range series {
			w.line(bundleLine{Series: &bundleSeries{series[j], series[j].Times, series[j].Values}})
		}
	}
	if len(b.Judged) > 0 {
		w.line(bundleLine{Judged: b.Judged})
	}
	digest = hex.EncodeToString(w.hash.Sum(nil))
	w.line(bundleLine{End: &bundleEnd{w.lines, digest}})
	if w.err == nil {
		w.err = w.buf.Flush()
	}
	if err := zip.Close(); w.err == nil {
		w.err = err
	}
	return digest, w.err
}

func packCircuit(c *Circuit) *bundleCircuit {
	p := &bundleCircuit{Node: c.Node, Tenant: c.Tenant, Provider: c.Provider, Step: c.Step, Resets: c.Resets}
	n := len(c.Outcomes)
	p.Times = make(times, n)
	for i := range c.Outcomes {
		p.Times[i] = c.Outcomes[i].T
	}
	of := func(f func(o *Outcome) float64) column {
		col := make(column, n)
		for i := range c.Outcomes {
			col[i] = f(&c.Outcomes[i])
		}
		return col
	}
	p.Epochs = of(func(o *Outcome) float64 { return float64(o.Epoch) })
	p.Success = of(func(o *Outcome) float64 { return o.Success })
	p.Failure = of(func(o *Outcome) float64 { return o.Failure })
	p.FailFast = of(func(o *Outcome) float64 { return o.FailFast })
	n = len(c.Transitions)
	p.TransitionTimes = make(times, n)
	for i := range c.Transitions {
		p.TransitionTimes[i] = c.Transitions[i].T
	}
	xf := func(f func(x *Transition) float64) column {
		col := make(column, n)
		for i := range c.Transitions {
			col[i] = f(&c.Transitions[i])
		}
		return col
	}
	p.TransitionEpoch = xf(func(x *Transition) float64 { return float64(x.Epoch) })
	p.CO = xf(func(x *Transition) float64 { return x.CO })
	p.OH = xf(func(x *Transition) float64 { return x.OH })
	p.HO = xf(func(x *Transition) float64 { return x.HO })
	p.HC = xf(func(x *Transition) float64 { return x.HC })
	p.WindowRequests = xf(func(x *Transition) float64 { return x.WindowRequests })
	p.WindowFailures = xf(func(x *Transition) float64 { return x.WindowFailures })
	return p
}

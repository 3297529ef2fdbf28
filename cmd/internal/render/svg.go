package render

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
)

// Drawing is a document that has a picture: -o svg is for these.
type Drawing interface {
	SVG() ([]byte, error)
}

// The picture is plain SVG elements, written by encoding/xml, which escapes every
// text: three lanes over time do not need a chart library and its fonts.

type svgElement struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []svgElement
}

func svg(name string, attrs ...string) svgElement {
	e := svgElement{XMLName: xml.Name{Local: name}}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: attrs[i]}, Value: attrs[i+1]})
	}
	return e
}

func (e svgElement) with(children ...svgElement) svgElement {
	e.Children = append(e.Children, children...)
	return e
}

func px(x float64) string { return fmt.Sprintf("%.1f", x) }

const (
	svgWidth  = 800.0
	svgLeft   = 90.0
	svgPlot   = 690.0 // width of the lanes
	svgRate   = 90.0  // height of the error rate
	svgLane   = 14.0
	svgPanel  = 215.0
	svgHeader = 62.0
)

// SVG implements Drawing.
func (l LoadTest) SVG() ([]byte, error) {
	var panels []svgElement
	y := svgHeader
	for _, s := range l.Scenarios {
		for _, c := range s.Circuits {
			if c.Timeline == nil || c.Timeline.LengthMS == 0 {
				continue
			}
			panels = append(panels, svgCircuit(s.Name, c, y))
			y += svgPanel
		}
	}
	answer, _ := l.answer()
	root := svg("svg", "xmlns", "http://www.w3.org/2000/svg", "width", px(svgWidth), "height", px(y+20),
		"viewBox", fmt.Sprintf("0 0 %s %s", px(svgWidth), px(y+20)), "font-family", "sans-serif", "font-size", "11", "role", "img")
	root = root.with(svgText("title", Clean(answer)),
		svg("rect", "width", "100%", "height", "100%", "fill", "#ffffff"),
		svgLabel(10, 20, "start", Clean(answer)), svgLabel(10, 36, "start", Clean(l.context())))
	root = root.with(panels...)
	if len(panels) == 0 {
		root = root.with(svgLabel(10, y, "start", "nothing to draw: everything happened at one instant"))
	}
	out, err := xml.MarshalIndent(root, "", " ")
	if err != nil {
		return nil, fmt.Errorf("cannot encode the picture as SVG: %w", err)
	}
	return append([]byte(xml.Header), append(out, '\n')...), nil
}

func svgText(name, text string, attrs ...string) svgElement {
	e := svg(name, attrs...)
	e.Text = text
	return e
}

func svgLabel(x, y float64, anchor, text string) svgElement {
	return svgText("text", text, "x", px(x), "y", px(y), "text-anchor", anchor)
}

// svgCircuit draws one circuit: the error rate as a line, the requests and the
// state as lanes.
func svgCircuit(name string, c scenario.CircuitResult, top float64) svgElement {
	title := name
	if c.Name != "" {
		title += ", " + c.Name
	}
	t := c.Timeline
	g := svg("g").with(svgText("text", Clean(title), "x", "10", "y", px(top), "font-weight", "bold"))
	rate := top + 12
	for _, pct := range []float64{0, 50, 100} {
		y := rate + svgRate*(1-pct/100)
		g = g.with(svg("line", "x1", px(svgLeft), "x2", px(svgLeft+svgPlot), "y1", px(y), "y2", px(y), "stroke", "#dddddd"),
			svgLabel(svgLeft-6, y+4, "end", fmt.Sprintf("%.0f %%", pct)))
	}
	bin := svgPlot / float64(len(t.Bins))
	var points strings.Builder
	for i, b := range t.Bins {
		fmt.Fprintf(&points, "%s,%s ", px(svgLeft+(float64(i)+0.5)*bin), px(rate+svgRate*(1-b.ErrorRate)))
	}
	g = g.with(svg("polyline", "points", strings.TrimSpace(points.String()), "fill", "none", "stroke", "#333333", "stroke-width", "1.5"))
	y := rate + svgRate + 10
	for _, lane := range []struct {
		name, colour string
		of           func(scenario.Bin) bool
	}{
		{"success", "#2b7bba", func(b scenario.Bin) bool { return b.Successes > 0 }},
		{"failure", "#d95f02", func(b scenario.Bin) bool { return b.Failures > 0 }},
		{"denied", "#7a7a7a", func(b scenario.Bin) bool { return b.Denied > 0 }},
		{"open", "#b2182b", func(b scenario.Bin) bool { return b.State == breaker.Open || b.Opens > 0 }},
		{"half-open", "#e6ab02", func(b scenario.Bin) bool { return b.State == breaker.HalfOpen }},
	} {
		g = g.with(svgLabel(svgLeft-6, y+svgLane-4, "end", lane.name)).with(svgLane1(t.Bins, lane.of, lane.colour, y, bin)...)
		y += svgLane
	}
	return g.with(svgLabel(svgLeft, y+12, "start", "0s"),
		svgLabel(svgLeft+svgPlot, y+12, "end", (time.Duration(t.LengthMS)*time.Millisecond).String()))
}

// svgLane1 draws the runs of bins of which something holds.
func svgLane1(bins []scenario.Bin, of func(scenario.Bin) bool, colour string, y, width float64) []svgElement {
	var out []svgElement
	for i := 0; i < len(bins); i++ {
		if !of(bins[i]) {
			continue
		}
		from := i
		for i+1 < len(bins) && of(bins[i+1]) {
			i++
		}
		out = append(out, svg("rect", "x", px(svgLeft+float64(from)*width), "y", px(y+1), "width", px(float64(i+1-from)*width),
			"height", px(svgLane-2), "fill", colour))
	}
	return out
}

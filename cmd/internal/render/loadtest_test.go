package render

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cbops/cbops/breaker/scenario"
)

func gateRun(t *testing.T) LoadTest {
	t.Helper()
	l := LoadTest{Meta: NewMeta("LoadTest"), Verdict: scenario.Pass, Seed: 1, Subject: Subject{Config: "guide"}, DurationMS: 12, Plot: true}
	now := time.Unix(0, 0)
	for _, s := range scenario.Gate(scenario.Params{Length: time.Minute}) {
		l.Scenarios = append(l.Scenarios, s.Run(t.Context(), scenario.Options{Seed: 1, Now: func() time.Time {
			now = now.Add(3 * time.Millisecond)
			return now
		}}))
	}
	l.Planned = len(l.Scenarios)
	return l
}

// Text, pictures included, is at most 80 columns wide, and with --ascii it has no
// other character.
func TestLoadTestTextFits(t *testing.T) {
	l := gateRun(t)
	for _, ascii := range []bool{false, true} {
		for line := range strings.SplitSeq(text(l.Page(), Options{Format: Text, ASCII: ascii}), "\n") {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
			if i := strings.IndexFunc(line, func(r rune) bool { return r > 126 || r < 32 }); ascii && i >= 0 {
				t.Errorf("not ASCII: %s", line)
			}
		}
	}
	if out := text(l.Page(), Options{}); strings.Contains(out, "\x1b") || !strings.Contains(out, "error-spike, empty window\n     100 % ┼───") {
		t.Errorf("no picture, or colour in it:\n%s", out)
	}
}

// The picture shows what happened: open from the first failure on, denied once.
func TestPlotIsOfTheRun(t *testing.T) {
	l := gateRun(t)
	got := plotCircuit("x", l.Scenarios[0].Circuits[0])
	lines := strings.Split(got, "\n")
	last := lines[len(lines)-3:]
	if last[1] != "     state  "+strings.Repeat("#", 64) || !strings.HasSuffix(last[0], "D") || strings.Count(last[0], "D")-1 != 0 || strings.Count(lines[len(lines)-4], "F") != 10 {
		t.Errorf("%s", got)
	}
}

// The SVG is well-formed, and text from outside cannot leave its place in it.
func TestSVGIsWellFormed(t *testing.T) {
	l := gateRun(t)
	l.Scenarios[0].Circuits[0].Name = `<script>alert("x")</script>&` + "\x1b[31m"
	raw, err := l.SVG()
	if err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(strings.NewReader(string(raw)))
	elements := map[string]int{}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := tok.(xml.StartElement); ok {
			elements[s.Name.Local]++
		}
	}
	if elements["script"] != 0 || elements["polyline"] < 15 || elements["rect"] < 30 || strings.Contains(string(raw), "\x1b") {
		t.Errorf("%v", elements)
	}
	empty := LoadTest{}
	if raw, err := empty.SVG(); err != nil || !strings.Contains(string(raw), "nothing to draw") {
		t.Errorf("%v %s", err, raw)
	}
}

// The report has all that the guide's record has (ROUTER.md §6).
func TestReportIsComplete(t *testing.T) {
	l := gateRun(t)
	l.Warnings = []string{"evil | ` <b>\nline"}
	r := l.Report()
	for _, want := range []string{
		"# Circuit breaker load test report", "| seed | 1 |", "| config | the guide's parameters |",
		"- [x] empty window: opened at failure: 1, expected 1; the guide says 5",
		"| window 120 s | 120 s | 52 | 25 | 25 | 0 | 0.500 | 49 |", // error rate a window, requests, what is held
		"| concurrent-load | pass | 14 of 14 | 600 | open |",
		"| error-spike | 3.0 ms | under 1s | yes |", "| low-traffic |",
		`{"failure_threshold":5,"success_threshold":2,"timeout_ms":30000,`,
		"## Known deviations from the guide", "**low-traffic**: the guide picks",
		"- warning: evil | \\` &lt;b&gt; line\n",
	} {
		if !strings.Contains(r, want) {
			t.Errorf("no %q in the report", want)
		}
	}
	if strings.Contains(r, "<b>") {
		t.Error("text from outside is not escaped")
	}
	slow := false
	l.Scenarios[0].TargetMet, l.Scenarios[0].DurationMS = &slow, 1500
	if r := l.Report(); !strings.Contains(r, "| error-spike | 1500 ms | under 1s | **no** |") {
		t.Error("a target that was missed is not said")
	}
	l.Scenarios[0].Checks[0].Verdict = scenario.Fail
	if r := l.Report(); !strings.Contains(r, "- [ ] empty window: ends open: open, expected open (fail)") {
		t.Error("a check that failed is not in the list")
	}
}

// The first line answers, whatever the verdict.
func TestLoadTestAnswers(t *testing.T) {
	for verdict, want := range map[string]string{
		scenario.Pass: "The breaker behaves: 1 of 1 scenario passed.", scenario.Fail: "Do not proceed: 1 of 1 scenario failed.",
		scenario.Inconclusive: "Not decided: 1 of 1 scenario inconclusive.", scenario.Reports: "Nothing was judged: 1 scenario only reported.",
		scenario.Interrupted: "Interrupted: 0 of 3 scenarios were judged until then.",
	} {
		l := LoadTest{Verdict: verdict, Planned: 3, Scenarios: []scenario.Result{{Name: "x", Verdict: verdict}}}
		if got := l.Page().Answer; got != want {
			t.Errorf("%s: %q, want %q", verdict, got, want)
		}
		if strings.Contains(fmt.Sprint(l.context()), " in ") {
			t.Errorf("a duration that was not measured: %s", l.context())
		}
	}
}

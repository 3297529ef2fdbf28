package doctor

import (
	"strings"
	"testing"
	"time"
)

func TestFill(t *testing.T) {
	p := practice(t, PracticeOptions{Scrape: 30 * time.Second})
	d := &Dashboard{Variables: []Variable{
		{Name: "tenant_id", Type: "query", Many: true}, {Name: "provider_id", Type: "query", Many: true, Value: "openai"}, {Name: "one", Type: "query"},
		{Name: "window", Type: "interval", Value: "10m"}, {Name: "auto", Type: "interval", Value: "$__auto_interval_auto"}, {Name: "limit", Type: "textbox", Value: "0.5"},
		{Name: "metric", Type: "custom", Value: "x_total"}, {Name: "by", Type: "custom", Value: "tenant_id"},
	}}
	at := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct{ expr, want, problem string }{
		{`x{tenant_id=~"$tenant_id"}`, `x{tenant_id=~".*"}`, ""},
		{`x{tenant_id=~"${tenant_id:regex}",provider_id=~"${provider_id:pipe}"}`, `x{provider_id=~".*",tenant_id=~".*"}`, ""},
		{`x{tenant_id=~"[[tenant_id]]"} / x{tenant_id=~'[[tenant_id:pipe]]'}`, `x{tenant_id=~".*"} / x{tenant_id=~".*"}`, ""},
		{`x{tenant_id=~"($tenant_id)-.*"}`, `x{tenant_id=~"(.*)-.*"}`, ""},
		{`x{tenant_id!~"$tenant_id",a="b"}`, `x{a="b"}`, ""},
		{`x{tenant_id="$tenant_id"}`, `x{tenant_id=~".*"}`, "is equal to that; use =~"},
		{`x{tenant_id = "$tenant_id"}`, `x{tenant_id=~".*"}`, "is equal to that; use =~"},
		{`x{tenant_id="$one"}`, `x{tenant_id=~".*"}`, ""},
		{`x{tenant_id="prod.$one"}`, `x{tenant_id=~"prod\\..*"}`, ""},
		{`rate(x[$__rate_interval])`, `rate(x[2m1ms])`, ""},
		{`rate(x[${__rate_interval}])`, `rate(x[2m1ms])`, ""},
		{`rate(x[$__interval])`, `rate(x[29s999ms])`, ""},
		{`increase(x[$__range])`, `increase(x[1h1ms])`, ""},
		{`increase(x[${__range_s}s])`, `increase(x[1h])`, ""},
		{`x / $__interval_ms + $__range_ms`, `x / 30000 + 3600000`, ""},
		{`x > $__from / 1000 < ${__to:date:seconds}`, `x > 1799996400000 / 1000 < 1800000000`, ""},
		{`rate(x[$window])`, `rate(x[10m])`, ""},
		{`rate(x[$auto])`, `rate(x[5m])`, ""},
		{`max_over_time(x[1h:$window]) - x offset $window`, `max_over_time(x[1h:10m]) - x offset 10m`, ""},
		{`${metric} > $limit`, `x_total > 0.5`, ""},
		{`sum by ($by) (x)`, `sum by (tenant_id) (x)`, ""},
		{`label_replace(x, "a", "$1", "b", "(.*)")`, `label_replace(x, "a", "$1", "b", "(.*)")`, ""},
		{`x{a="\"$tenant_id"} # "$one`, `x{a=~"\".*"}`, ""},
		{`x{tenant_id=~"$unheard"}`, `x{tenant_id=~".*"}`, "does not define the variable $unheard"},
		{`rate(x[$unheard])`, `rate(x[5m])`, "does not define the variable $unheard"},
		{`x > $unheard`, "", "does not define the variable $unheard"},
		{`x{`, "", "parse error: unexpected end of input inside braces, after filling in variables: x{"},
		{`x{a="$tenant_id`, "", "unterminated quoted string"},
		{strings.Repeat(" ", 33<<10) + "x", "", "a query of 33793 bytes; at most 32768 are read"},
		{`x{a=~"` + strings.Repeat("$one|", 201) + `"}`, "", "more than 200 variables"},
	} {
		q, err := p.fill(d, tt.expr, at)
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) || len(err.Error()) > 1000 {
				t.Errorf("%.80s: %v\nwant %s", tt.expr, err, tt.problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%.80s: %v", tt.expr, err)
			continue
		}
		if got := q.x.String(); got != tt.want {
			t.Errorf("%s became %s\nwant %s", tt.expr, got, tt.want)
		}
		if (tt.problem != "") != (len(q.problems) > 0) || len(q.problems) > 0 && !strings.Contains(q.problems[0].Text, tt.problem) {
			t.Errorf("%s: problems %v, want %q", tt.expr, q.problems, tt.problem)
		}
	}
}

// What was filled in can be put back, whatever the query looks like by then.
func TestRestore(t *testing.T) {
	p := practice(t, PracticeOptions{})
	var names []string
	d := &Dashboard{}
	for i := range 12 {
		name := "v" + string(rune('a'+i))
		names = append(names, `l`+name+`=~"$`+name+`"`)
		d.Variables = append(d.Variables, Variable{Name: name})
	}
	expr := `rate(x{` + strings.Join(names, ",") + `}[$__rate_interval]) + y offset $__range`
	q, err := p.fill(d, expr, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	x, err := p.engine.Check(q.text)
	if err != nil {
		t.Fatal(err)
	}
	if got := q.restore.Replace(x.String()); got != expr {
		t.Errorf("%s\nwant %s", got, expr)
	}
}

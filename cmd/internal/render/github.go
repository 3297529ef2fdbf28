package render

import (
	"fmt"
	"strings"
)

// github shows a page as workflow commands: an annotation for every row that
// does not pass, one for what else a reader must know, and the answer last.
func github(p Page) string {
	var b strings.Builder
	var notices []string
	for _, r := range p.Rows {
		level := ""
		switch r.Mark {
		case Bad:
			level = "error"
		case Stuck, Unknown, Wait:
			level = "warning"
		default:
			if r.Notice {
				notices = append(notices, strings.TrimSpace(r.Name+": "+r.Text))
			}
			continue
		}
		props := []string{}
		if file, rest, ok := strings.Cut(r.Place, ":"); ok && file != "" {
			props = append(props, "file="+property(file))
			if line, col, ok := strings.Cut(rest, ":"); ok {
				props = append(props, "line="+property(line), "col="+property(col))
			} else {
				props = append(props, "line="+property(rest))
			}
		}
		props = append(props, "title="+property("cbops "+p.Name))
		msg := strings.TrimSpace(r.Name + ": " + r.Text)
		msgs := append([]string{strings.Trim(msg, ": ")}, r.Detail[:min(len(r.Detail), maxDetail)]...)
		if more := len(r.Detail) - maxDetail; more > 0 {
			msgs = append(msgs, fmt.Sprintf("and %d more lines", more))
		}
		fmt.Fprintf(&b, "::%s %s::%s\n", level, strings.Join(props, ","), lines(msgs))
	}
	// One annotation for all of them: only ten of a kind are shown.
	if notices = append(notices, p.Stated...); len(notices) > 0 {
		fmt.Fprintf(&b, "::notice title=%s::%s\n", property("cbops "+p.Name), lines(notices))
	}
	level := map[Mark]string{Bad: "error", Stuck: "warning", Unknown: "warning", Wait: "warning"}[p.Verdict]
	if level == "" {
		level = "notice"
	}
	fmt.Fprintf(&b, "::%s title=%s::%s\n", level, property("cbops "+p.Name), data(p.Answer))
	return b.String()
}

// maxDetail bounds the lines of an annotation: the forge shows 4 KiB of one.
const maxDetail = 12

// lines is one message of several lines.
func lines(ss []string) string {
	out := make([]string, len(ss))
	for i, s := range ss {
		out[i] = data(s)
	}
	return strings.Join(out, "%0A")
}

// data and property escape as the workflow-command syntax wants it; a line break
// in a label must not begin a command of its own.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(Clean(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}

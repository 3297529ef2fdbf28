package render

import (
	"fmt"
	"strings"
)

// github shows a page as workflow commands: an annotation for every row that
// does not pass, and the answer last.
func github(p Page) string {
	var b strings.Builder
	for _, r := range p.Rows {
		level := ""
		switch r.Mark {
		case Bad:
			level = "error"
		case Stuck, Unknown, Wait:
			level = "warning"
		default:
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
		fmt.Fprintf(&b, "::%s %s::%s\n", level, strings.Join(props, ","), data(strings.Trim(msg, ": ")))
	}
	level := map[Mark]string{Bad: "error", Stuck: "warning", Unknown: "warning", Wait: "warning"}[p.Verdict]
	if level == "" {
		level = "notice"
	}
	fmt.Fprintf(&b, "::%s title=%s::%s\n", level, property("cbops "+p.Name), data(p.Answer))
	return b.String()
}

// data and property escape as the workflow-command syntax wants it; a line break
// in a label must not begin a command of its own.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(Clean(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}

package plan

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
	"gopkg.in/yaml.v3"

	"github.com/cbops/cbops/internal/fault"
)

// Router says where policies are and how the router's nodes are reached. One kind
// of target is used: HTTP where it has nodes, else Exec where it has a reload,
// else the policy directory with Reload and Verify.
type Router struct {
	// Policies is the policy root, relative to the plan.
	Policies string
	// Reload, Verify, Health and Restart are command lines; {tenant}, {policy} and
	// {node} fill whole arguments.
	Reload, Verify, Health, Restart string
	// MinHealthy is how many nodes must serve while one restarts; -1 is not said.
	MinHealthy int
	// Nodes are the nodes' names; NodesCommand prints them, one a line.
	Nodes        []string
	NodesCommand string
	// ManagedBy names who deploys the files: "git".
	ManagedBy string
	Exec      Exec
	HTTP      HTTP
	// Timeout bounds one run of a program or one request, Deadline the work on one
	// node; 0 is not said.
	Timeout, Deadline time.Duration
	// Settle is when a rollback looks again; -1 is not said.
	Settle time.Duration
	// Parallel is how many runs or requests go on at once on a node; 0 is not said.
	Parallel int
}

// Exec is a target of programs that speak JSON.
type Exec struct {
	// Verbs are the argument vectors, by verb.
	Verbs map[string][]string
	// Listed says that reload reads only the policies that it is given.
	Listed bool
}

// HTTP is a target of the router's admin API.
type HTTP struct {
	// Nodes are the base URLs, by the nodes' names.
	Nodes map[string]string
	// TokenFile and APIKeyFile hold the secret, relative to the plan.
	TokenFile, APIKeyFile string
}

func newRouter() Router { return Router{MinHealthy: -1, Settle: -1} }

func (r *reader) router(n *yaml.Node, to *Router) {
	*to = newRouter()
	r.fields(n, "router", map[string]func(*yaml.Node){
		"policies": r.text(&to.Policies), "reload": r.text(&to.Reload), "verify": r.text(&to.Verify),
		"health": r.text(&to.Health), "restart": r.text(&to.Restart), "managedBy": r.text(&to.ManagedBy),
		"minHealthy": r.number(&to.MinHealthy), "parallel": r.number(&to.Parallel),
		"timeout": r.duration(&to.Timeout), "deadline": r.duration(&to.Deadline), "settle": r.duration(&to.Settle),
		"nodes": func(n *yaml.Node) { r.nodes(n, to) },
		"exec":  func(n *yaml.Node) { r.exec(n, &to.Exec) },
		"http":  func(n *yaml.Node) { r.http(n, &to.HTTP) },
	})
	if len(to.HTTP.Nodes) > 0 && len(to.Exec.Verbs) > 0 {
		r.bad(n, "keep one of them", "router: both http and exec say how to reach the nodes")
	}
}

func (r *reader) nodes(n *yaml.Node, to *Router) {
	if n.Kind != yaml.MappingNode {
		r.list(&to.Nodes)(n)
		for _, name := range to.Nodes {
			if name == "" {
				r.bad(n, "", "nodes: a node has no name")
			}
		}
		return
	}
	r.fields(n, "nodes", map[string]func(*yaml.Node){"command": r.text(&to.NodesCommand)})
}

func (r *reader) exec(n *yaml.Node, to *Exec) {
	to.Verbs = map[string][]string{}
	known := map[string]func(*yaml.Node){
		"reloads": func(n *yaml.Node) {
			if n.Value != "listed" && n.Value != "all" {
				r.bad(n, "", "reloads: want \"listed\" or \"all\"")
			}
			to.Listed = n.Value == "listed"
		},
	}
	for _, v := range []string{"read", "write", "reload", "loaded", "circuits", "reset"} {
		known[v] = func(n *yaml.Node) {
			var argv []string
			if n.Kind == yaml.ScalarNode {
				var line string
				r.text(&line)(n)
				words, err := shellquote.Split(line)
				if err != nil {
					r.bad(n, "", "%s: %v", v, err)
				}
				argv = words
			} else {
				r.list(&argv)(n)
			}
			if len(argv) == 0 {
				r.bad(n, "", "%s: want an argument vector", v)
				return
			}
			to.Verbs[v] = argv
		}
	}
	r.fields(n, "exec", known)
	if len(to.Verbs["reload"]) == 0 {
		r.bad(n, "the other verbs are optional", "exec: the verb reload is missing")
	}
	if (len(to.Verbs["read"]) == 0) != (len(to.Verbs["write"]) == 0) {
		r.bad(n, "without both, policies lie in router.policies", "exec: the verbs read and write belong together")
	}
}

func (r *reader) http(n *yaml.Node, to *HTTP) {
	r.fields(n, "http", map[string]func(*yaml.Node){
		"tokenFile": r.text(&to.TokenFile), "apiKeyFile": r.text(&to.APIKeyFile),
		"nodes": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode {
				r.bad(n, "", "http.nodes: want a mapping from node to URL")
				return
			}
			to.Nodes = map[string]string{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				var url string
				r.text(&url)(n.Content[i+1])
				if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
					r.bad(n.Content[i+1], "", "http.nodes: %q is no http or https URL", url)
				}
				to.Nodes[n.Content[i].Value] = url
			}
		},
	})
	if to.TokenFile != "" && to.APIKeyFile != "" {
		r.bad(n, "", "http: both tokenFile and apiKeyFile are given")
	}
}

func (r *reader) number(to *int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < 0 {
			r.bad(n, "", "want a number, 0 or more")
			return
		}
		*to = v
	}
}

func (r *reader) duration(to *time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || d < 0 {
			r.bad(n, "", "want a duration such as 30s or 2m")
			return
		}
		*to = d
	}
}

// Rollback reads a plan for a rollback: environment and router count, whatever
// else is wrong comes back as warnings, a newer version included. Where the file
// is no YAML as a whole, the two sections are read on their own. It fails only if
// the file cannot be read, or holds neither.
func Rollback(path string) (*Plan, []string, error) {
	raw, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	p, problems, err := Parse(path, raw)
	if err != nil {
		return salvage(path, raw, err)
	}
	var warnings []string
	for _, x := range problems {
		warnings = append(warnings, fmt.Sprintf("%s:%d:%d: %s", path, x.Line, x.Column, x.Message))
	}
	return p, warnings, nil
}

// salvage reads the top-level sections of a plan one by one, each on its own, so
// that an error in one does not hide the others.
func salvage(path string, raw []byte, broken error) (*Plan, []string, error) {
	warnings := []string{fmt.Sprintf("%v: only the sections that can be read are used", broken)}
	sections := split(raw)
	p := &Plan{Path: path, Dir: dirOf(path), Router: newRouter(), Tenants: map[string]Tenant{}, Phases: map[int]Phase{}}
	found := false
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		s := sections[name]
		r := &reader{}
		read := map[string]func(*yaml.Node){
			"environment": r.text(&p.Environment), "router": func(n *yaml.Node) { r.router(n, &p.Router) },
			"phases": func(n *yaml.Node) { r.phases(n, p) },
		}[name]
		if read == nil {
			continue
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(s.text, &doc); err != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
			warnings = append(warnings, fmt.Sprintf("%s:%d: the section %s cannot be read", path, s.line, name))
			continue
		}
		read(doc.Content[0].Content[1])
		found = found || name == "router"
		for _, x := range r.problems {
			warnings = append(warnings, fmt.Sprintf("%s:%d:%d: %s", path, x.Line+s.line-1, x.Column, x.Message))
		}
	}
	if !found {
		return nil, nil, fault.Wrap(fault.Usage, broken)
	}
	return p, warnings, nil
}

type section struct {
	line int
	text []byte
}

// split cuts a plan at its top-level keys. Of two sections with one name the
// first counts.
func split(raw []byte) map[string]section {
	key := regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*):(\s|$)`)
	sections := map[string]section{}
	name := ""
	for i, line := range bytes.SplitAfter(bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF")), []byte("\n")) {
		if m := key.FindSubmatch(bytes.TrimRight(line, "\r\n")); m != nil {
			name = string(m[1])
			if _, twice := sections[name]; twice {
				name = ""
				continue
			}
			sections[name] = section{line: i + 1}
		}
		if s, ok := sections[name]; ok {
			s.text = append(s.text, line...)
			sections[name] = s
		}
	}
	return sections
}

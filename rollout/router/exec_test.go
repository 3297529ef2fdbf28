package router_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/proc"
	"github.com/cbops/cbops/rollout/router"
)

// programs makes verbs of shell scripts that run in dir.
func programs(t *testing.T, dir string, scripts map[router.Verb]string) (router.Programs, map[router.Verb]router.Command) {
	t.Helper()
	verbs := map[router.Verb]router.Command{}
	for v, s := range scripts {
		c, err := router.ParseCommand(string(v), s, true)
		if err != nil {
			t.Fatal(err)
		}
		verbs[v] = c
	}
	return router.Programs{Runner: proc.OS{Now: time.Now}, Dir: dir, Env: os.Environ(), Timeout: 10 * time.Second}, verbs
}

func node(t *testing.T, scripts map[router.Verb]string) *router.ExecNode {
	t.Helper()
	p, verbs := programs(t, t.TempDir(), scripts)
	return router.NewExecNode(p, verbs, "node-1", 0)
}

func wanted() []router.Wanted {
	return []router.Wanted{{Ref: chat, Digest: router.Digest([]byte("x"))}, {Ref: router.Ref{Tenant: "t-acme", Policy: "embed"}}}
}

func TestExecReloadGetsTheDigestsAndAnswersPerPolicy(t *testing.T) {
	n := node(t, map[router.Verb]string{router.VerbReload: `cat > request; echo '{"policies":[{"tenant":"t-acme","policy":"embed","error":"no such policy"}]}'`})
	got := map[string]error{}
	n.Reload(t.Context(), wanted(), func(router.Ref) error { return nil }, func(r router.Ref, err error) { got[r.Policy] = err })
	if got["chat"] != nil || got["embed"] == nil || !strings.Contains(got["embed"].Error(), "no such policy") {
		t.Errorf("%v", got)
	}
	b, err := os.ReadFile(filepath.Join(n.Dir, "request"))
	if err != nil || !strings.Contains(string(b), `"verb":"reload","node":"node-1"`) || !strings.Contains(string(b), strings.TrimPrefix(router.Digest([]byte("x")), "sha256:")) {
		t.Errorf("%s, %v", b, err)
	}
}

// What forbids a reload is asked before it, for each policy.
func TestExecReloadIsForbiddenPerPolicy(t *testing.T) {
	n := node(t, map[router.Verb]string{router.VerbReload: `cat > request`})
	got := map[string]error{}
	n.Reload(t.Context(), wanted(), func(r router.Ref) error {
		if r == chat {
			return errors.New("held")
		}
		return nil
	}, func(r router.Ref, err error) { got[r.Policy] = err })
	b, _ := os.ReadFile(filepath.Join(n.Dir, "request"))
	if got["chat"] == nil || got["embed"] != nil || strings.Contains(string(b), "chat") {
		t.Errorf("%v, %s", got, b)
	}
}

// An answer that does not prove it is no proof, whatever the exit code.
func TestExecLoadedHasToShowIt(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"silence", `cat > /dev/null`, "no answer on standard output"},
		{"words", `echo all fine`, "not one JSON object"},
		{"two objects", `echo '{}{}'`, "not one JSON object"},
		{"another policy", `echo '{"policies":[{"tenant":"t-acme","policy":"other","circuit_breaker":{"enabled":false}}]}'`, "does not mention this policy"},
		{"an error", `echo '{"policies":[{"tenant":"t-acme","policy":"chat","error":"not_found"}]}'`, "not_found"},
		{"exit 3", `echo boom >&2; exit 3`, "loaded failed (exit 3): boom"},
		{"truncated", `printf '{"policies":[{"tenant":"t-acme"'`, "not one JSON object"},
	} {
		n := node(t, map[router.Verb]string{router.VerbLoaded: c.script})
		n.Loaded(t.Context(), wanted()[:1], func(_ router.Ref, l router.Loaded, err error) {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %+v, %v", c.name, l, err)
			}
		})
	}
	n := node(t, map[router.Verb]string{router.VerbLoaded: `echo '{"policies":[{"tenant":"t-acme","policy":"chat","circuit_breaker":null}]}'`})
	n.Loaded(t.Context(), wanted()[:1], func(_ router.Ref, l router.Loaded, err error) {
		if err != nil || !l.Strict || string(l.Answer) != `{"circuit_breaker":null}` {
			t.Errorf("%s, %v", l.Answer, err)
		}
	})
}

// A state that is none must not count as closed; neither must a missing list.
func TestExecCircuitsAreChecked(t *testing.T) {
	for _, bad := range []string{`{"circuits":[{"tenant":"t","provider":"p","state":"fine"}]}`, `{"circuits":[{"tenant":"t","provider":"p"}]}`, `{}`, `{"circuits":null}`} {
		n := node(t, map[router.Verb]string{router.VerbCircuits: "echo '" + bad + "'"})
		if cs, err := n.Circuits(t.Context(), nil); err == nil {
			t.Errorf("%s is taken for %v", bad, cs)
		}
	}
	n := node(t, map[router.Verb]string{router.VerbCircuits: `echo '{"circuits":[]}'`})
	if cs, err := n.Circuits(t.Context(), nil); err != nil || len(cs) != 0 {
		t.Errorf("%v, %v", cs, err)
	}
}

func TestExecCapabilitiesAreWhatIsGiven(t *testing.T) {
	can, err := node(t, map[router.Verb]string{router.VerbReload: "true"}).Can(t.Context())
	if err != nil || !can.Reload || !can.Whole || can.Loaded || can.Circuits || can.Reset || can.Flag {
		t.Errorf("%+v, %v", can, err)
	}
	n := node(t, map[router.Verb]string{router.VerbReload: "true {tenant} {policy}", router.VerbLoaded: "true"})
	if can, _ = n.Can(t.Context()); can.Whole || !can.Loaded {
		t.Errorf("%+v", can)
	}
}

// kvStore is a store of two shell scripts over a directory of files: what a
// key-value store is to cbops.
func kvStore(t *testing.T, write string) (*router.ExecStore, string) {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "t-acme", "chat"), "old")
	put(t, filepath.Join(dir, "t-acme", "embed"), "old")
	read := `cat > last; for f in t-*/*; do printf '%s\t%s\n' "$f" "$(cat "$f")"; done | jq -Rn --slurpfile q last '
		{policies: [inputs | split("\t") as [$f, $d] | ($f | split("/")) as [$t, $p] | {tenant: $t, policy: $p, document: $d, version: ($d | @base64)}
		  | select(. as $x | $q[0].policies == null or any($q[0].policies[]; .policy == $x.policy))]}'`
	p, verbs := programs(t, dir, map[router.Verb]string{router.VerbRead: read, router.VerbWrite: write})
	s, err := router.NewExecStore(p, verbs, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

const kvWrite = `jq -r '.policies[] | "\(.tenant)/\(.policy)\t\(.document)\t\(.version)"' | while IFS="$(printf '\t')" read -r f d v; do
	[ "$(printf %s "$(cat "$f")" | base64 -w0)" = "$v" ] || { printf '{"policies":[{"tenant":"%s","policy":"%s","conflict":true}]}' "${f%/*}" "${f#*/}"; exit 0; }
	printf %s "$d" > "$f"; done`

func TestExecStoreWritesAndReadsBack(t *testing.T) {
	if _, err := os.Stat("/usr/bin/jq"); err != nil {
		t.Skip("TestExecStoreWritesAndReadsBack skipped: jq is not installed here")
	}
	edit := func(_ router.Ref, now []byte) ([]byte, error) { return []byte(strings.ToUpper(string(now))), nil }
	edits := []router.Edit{{Ref: chat}, {Ref: router.Ref{Tenant: "t-acme", Policy: "gone"}}}
	for _, c := range []struct {
		name, write, want string
		disk              string
	}{
		{"as it should", kvWrite, "", "OLD"},
		{"a lie", `cat > /dev/null`, "read back it is not what was written", "old"},
		{"a refusal", `echo '{"policies":[{"tenant":"t-acme","policy":"chat","error":"read-only"}]}'`, "read-only", "old"},
		{"always somebody faster", `echo '{"policies":[{"tenant":"t-acme","policy":"chat","conflict":true}]}'`, "changes faster", "old"},
		{"a failure", `exit 9`, "write failed (exit 9)", "old"},
	} {
		s, dir := kvStore(t, c.write)
		l, err := s.List(t.Context())
		if err != nil || len(l.Refs) != 2 || !slices.Equal(l.Tenants, []string{"t-acme"}) {
			t.Fatalf("%+v, %v", l, err)
		}
		var mu sync.Mutex
		got := map[string]error{}
		s.Update(t.Context(), edits, edit, func(r router.Ref, err error) {
			mu.Lock()
			defer mu.Unlock()
			got[r.Policy] = err
		})
		if err := got["chat"]; (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !errors.Is(got["gone"], fs.ErrNotExist) {
			t.Errorf("%s: gone is %v", c.name, got["gone"])
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "t-acme", "chat")); string(b) != c.disk {
			t.Errorf("%s: disk has %q", c.name, b)
		}
	}
}

// A conflict is read and edited anew.
func TestExecStoreTriesAgainAfterAConflict(t *testing.T) {
	if _, err := os.Stat("/usr/bin/jq"); err != nil {
		t.Skip("TestExecStoreTriesAgainAfterAConflict skipped: jq is not installed here")
	}
	s, dir := kvStore(t, kvWrite)
	stale := router.Stored{Bytes: []byte("stale"), Version: "c3RhbGU="}
	seen := []string{}
	s.Update(t.Context(), []router.Edit{{Ref: chat, Known: &stale}}, func(_ router.Ref, now []byte) ([]byte, error) {
		seen = append(seen, string(now))
		return []byte("new"), nil
	}, func(_ router.Ref, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if b, _ := os.ReadFile(filepath.Join(dir, "t-acme", "chat")); string(b) != "new" || !slices.Equal(seen, []string{"stale", "old"}) {
		t.Errorf("disk has %q, edited %v", b, seen)
	}
	// Such a store keeps no holds, and says so.
	if err := s.Shelf().Put(context.Background(), "x.json", nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Put = %v", err)
	}
}

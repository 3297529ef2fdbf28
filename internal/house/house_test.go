// Package house holds the test of the house itself: imports go downward only,
// pure packages do no I/O, every package says what lives in it.
package house

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cbops/cbops/"

// floor is the height of a package in ARCHITECTURE.md; a package may import only
// lower floors, and its own where it says so there. 0 is unknown.
func floor(pkg string) int {
	for i, names := range [][]string{
		{"internal/fault", "internal/proc", "internal/stat", "breaker"},
		{"breaker/scenario", "promquery"},
		{"promquery/promlab", "rollout/policy", "rollout/evidence", "rollout/statement", "breaker/live"},
		{"rollout/criteria", "rollout/router"},
		{"rollout/gather", "rollout/change", "rollout/lab", "rollout/plan", "tickets"},
		{"internal/promtest", "internal/history", "rollout/doctor"},
		{"cmd/internal/render"},
		{"cmd"},
		{"cmd/cbops"},
	} {
		if slices.Contains(names, pkg) {
			return i + 1
		}
	}
	return 0
}

func pure(pkg string) bool {
	return slices.Contains([]string{"breaker", "breaker/scenario", "rollout/policy", "rollout/evidence", "rollout/statement", "rollout/criteria", "internal/stat", "tickets"}, pkg)
}

// broken returns what is wrong with a package that imports the given paths.
func broken(pkg string, imports []string) []string {
	var out []string
	if floor(pkg) == 0 {
		return []string{pkg + ": has no floor: name it here and in ARCHITECTURE.md"}
	}
	for _, imp := range imports {
		below, ours := strings.CutPrefix(imp, module)
		switch {
		case ours && floor(below) >= floor(pkg):
			out = append(out, fmt.Sprintf("%s imports %s, which is not below it", pkg, below))
		case !ours && pkg == "breaker" && strings.Contains(imp, "."):
			out = append(out, fmt.Sprintf("breaker imports %s: it uses the standard library only", imp))
		case pure(pkg) && slices.Contains([]string{"os", "net", "net/http", "os/exec", "io/fs"}, imp):
			out = append(out, fmt.Sprintf("%s imports %s: it does no I/O", pkg, imp))
		}
	}
	return out
}

func TestFloors(t *testing.T) {
	root := filepath.Join("..", "..")
	imports, doc := map[string][]string{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", ".bin", "testdata", "docs", "testprom", "tools", "bench", "house":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		doc[pkg] = doc[pkg] || f.Doc != nil
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports[pkg] = append(imports[pkg], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) < 10 {
		t.Fatalf("only %d packages found: nothing was checked", len(imports))
	}
	for pkg, imps := range imports {
		for _, b := range broken(pkg, imps) {
			t.Error(b)
		}
		if !doc[pkg] {
			t.Errorf("%s: no package comment", pkg)
		}
	}
}

// The check itself can fail.
func TestFloorsCanFail(t *testing.T) {
	for _, tt := range []struct {
		pkg, imp string
	}{
		{"rollout/evidence", module + "cmd"},
		{"rollout/evidence", module + "rollout/criteria"},
		{"breaker", "github.com/spf13/cobra"},
		{"rollout/criteria", "os"},
		{"rollout/unheard", "fmt"},
	} {
		if len(broken(tt.pkg, []string{tt.imp})) == 0 {
			t.Errorf("%s may import %s", tt.pkg, tt.imp)
		}
	}
}

package cmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A rehearsal that did not come out as it should says which step, and exits 1:
// here the fragment enables nothing.
func TestRehearsalCanFail(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole rehearsal: skipped by -short")
	}
	dir := t.TempDir()
	if err := copyTree(filepath.Join("..", "testdata", "example"), dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "phase1.json"), []byte(`{"circuit_breaker":{"enabled":false}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := Main(t.Context(), State{
		Now: time.Now, Sleep: func(context.Context, time.Duration) error { return nil },
		Env: func(string) (string, bool) { return "", false }, Dir: dir,
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
	}, []string{"rehearse"})
	if code != 1 || !strings.Contains(out.String(), "apply t-acme") || strings.HasPrefix(out.String(), "The rehearsal went as it should") {
		t.Fatalf("exit %d\n%.1500s\n%s", code, out.String(), errs.String())
	}
}

package change_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/cbops/cbops/rollout/change"
)

// A rollback holds no policies in memory: 50 MB of them leave a heap of a few.
func TestARollbackHoldsNoPolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("much memory: skipped by -short")
	}
	big := strings.Replace(on, `"weight":100`, `"weight":100,"note":"`+strings.Repeat("n", 500_000)+`"`, 1)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("t-acme/p%03d.json", i)] = big
	}
	b := newBench(t, files)
	b.commands("true", "true")
	clear(files)
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.Progress = func(e change.Event) {
		// All is read, and nothing written yet.
		if e.Stage == change.StageWritten && e.Done == 0 {
			runtime.GC()
			runtime.ReadMemStats(&during)
		}
	}
	if rb := b.rollback(acme); rb.Changed != 100 || len(rb.Backups) != 1 {
		t.Fatalf("changed %d", rb.Changed)
	}
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 10<<20 {
		t.Errorf("the heap holds %d MB more when all is read", grown>>20)
	}
}

package promtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Blocks writes samples straight into a block, for histories that as text would take
// gigabytes. It feeds the program of internal/testprom/backfill.
type Blocks struct {
	t     testing.TB
	dir   string
	cmd   *exec.Cmd
	pipe  io.WriteCloser
	buf   *bufio.Writer
	errs  bytes.Buffer
	count uint64
	b     [2*binary.MaxVarintLen64 + 9]byte
}

// NewBlocks starts the writer.
func NewBlocks(t testing.TB) *Blocks {
	t.Helper()
	b := &Blocks{t: t, dir: filepath.Join(t.TempDir(), "data")}
	b.cmd = exec.Command(Binary(t, "backfill"), "-dir", b.dir)
	b.cmd.Stderr = &b.errs
	var err error
	if b.pipe, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.buf = bufio.NewWriterSize(b.pipe, 1<<20)
	return b
}

// Series begins a series; what it returns takes its samples, in order of time.
func (b *Blocks) Series(labels map[string]string) func(at time.Time, v float64) error {
	id := b.count
	b.count++
	names := make([]string, 0, len(labels))
	for n := range labels {
		names = append(names, n)
	}
	slices.Sort(names)
	rec := binary.AppendUvarint([]byte{0}, uint64(len(names)))
	for _, n := range names {
		for _, s := range []string{n, labels[n]} {
			rec = append(binary.AppendUvarint(rec, uint64(len(s))), s...)
		}
	}
	_, err := b.buf.Write(rec)
	return func(at time.Time, v float64) error {
		if err != nil {
			return err
		}
		p := binary.AppendUvarint(append(b.b[:0], 1), id)
		p = binary.AppendUvarint(p, uint64(at.UnixMilli()))
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(v))
		_, err := b.buf.Write(p)
		return err
	}
}

// Serve ends the writing and starts Prometheus on the block; it returns its URL.
func (b *Blocks) Serve() string {
	b.t.Helper()
	flushed := b.buf.Flush()
	if err := b.pipe.Close(); err != nil {
		b.t.Fatal(err)
	}
	if err := b.cmd.Wait(); err != nil {
		b.t.Fatalf("backfill: %v\n%s", err, b.errs.String())
	}
	if flushed != nil {
		b.t.Fatal(flushed)
	}
	return run(b.t, b.t.TempDir(), b.dir, "scrape_configs: []\n", nil)
}

// Command backfill writes samples from standard input into one Prometheus block. It
// is for tests with long histories: as text they would take gigabytes. A record is a
// series (0, the number of labels, then names and values, each after its length) or a
// sample (1, the series' number, its time in milliseconds, the IEEE 754 bits, 8 bytes
// little-endian); other numbers are uvarints.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

func main() {
	dir := flag.String("dir", "", "directory for the block")
	span := flag.Duration("span", 60*24*time.Hour, "the longest time that is written")
	flag.Parse()
	if err := run(os.Stdin, *dir, *span); err != nil {
		fmt.Fprintln(os.Stderr, "backfill:", err)
		os.Exit(1)
	}
}

const (
	seriesRecord = 0
	sampleRecord = 1
	batch        = 1_000_000 // samples in one commit
)

func run(in io.Reader, dir string, span time.Duration) error {
	// Twice the span: a block writer takes nothing older than half of its range.
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, 2*span.Milliseconds())
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(in, 1<<20)
	app := w.Appender(context.Background())
	var sets []labels.Labels
	var refs []storage.SeriesRef
	n := 0
	for {
		kind, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if kind == seriesRecord {
			l, err := readLabels(r)
			if err != nil {
				return err
			}
			sets, refs = append(sets, l), append(refs, 0)
			continue
		}
		if kind != sampleRecord {
			return fmt.Errorf("record %d of kind %d", n, kind)
		}
		id, t, v, err := readSample(r)
		if err != nil {
			return err
		}
		if id >= uint64(len(sets)) {
			return fmt.Errorf("a sample of series %d of %d", id, len(sets))
		}
		if refs[id], err = app.Append(refs[id], sets[id], t, v); err != nil {
			return fmt.Errorf("%s at %d: %w", sets[id], t, err)
		}
		if n++; n%batch == 0 {
			if err := app.Commit(); err != nil {
				return err
			}
			app = w.Appender(context.Background())
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	if _, err := w.Flush(context.Background()); err != nil {
		return err
	}
	return w.Close()
}

func readLabels(r *bufio.Reader) (labels.Labels, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n > 64 {
		return labels.EmptyLabels(), fmt.Errorf("%d labels: %w", n, err)
	}
	var pairs []string
	for range 2 * n {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > 1<<16 {
			return labels.EmptyLabels(), fmt.Errorf("a label of %d bytes: %w", size, err)
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return labels.EmptyLabels(), err
		}
		pairs = append(pairs, string(b))
	}
	return labels.FromStrings(pairs...), nil
}

func readSample(r *bufio.Reader) (id uint64, t int64, v float64, err error) {
	if id, err = binary.ReadUvarint(r); err != nil {
		return
	}
	u, err := binary.ReadUvarint(r)
	if err != nil {
		return
	}
	var b [8]byte
	_, err = io.ReadFull(r, b[:])
	return id, int64(u), math.Float64frombits(binary.LittleEndian.Uint64(b[:])), err
}

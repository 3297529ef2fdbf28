package change

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Recorded is a rollback as its record tells it.
type Recorded struct {
	ID string
	Scope
	At     time.Time
	By     string
	Reason string
	// Ended says that the rollback came to its end; Summary is what it proved.
	Ended   bool
	Summary Summary
	// Resumed and Undone are later events of the same record.
	Resumed, Undone bool
	// Backup says that old policies were kept and can be restored.
	Backup bool
}

// Records reads the records of rollbacks that were run with this state directory,
// oldest first. A record of which nothing can be read is listed by its id alone.
func (e *Engine) Records() ([]Recorded, error) {
	dir := filepath.Join(e.StateDir, "rollbacks")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Recorded
	for _, en := range entries {
		id, ok := strings.CutSuffix(en.Name(), ".jsonl")
		if ok && en.Type().IsRegular() {
			r := readRecord(filepath.Join(dir, en.Name()))
			r.ID = id
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Recorded) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

func readRecord(path string) Recorded {
	var r Recorded
	f, err := os.Open(path)
	if err != nil {
		return r
	}
	defer f.Close() //nolint:errcheck // nothing was written
	sc := bufio.NewScanner(f)
	sc.Buffer(make([]byte, 64<<10), 1<<20)
	for sc.Scan() {
		var ev event
		if json.Unmarshal(sc.Bytes(), &ev) != nil {
			continue // a torn line: the run was killed
		}
		switch ev.Event {
		case "began":
			r.Scope, r.At, r.By, r.Reason = ev.Scope, ev.At, ev.By, ev.Reason
		case "ended":
			r.Ended, r.Backup = true, ev.Backup != ""
			if ev.Summary != nil {
				r.Summary = *ev.Summary
			}
		case "resumed":
			r.Resumed = true
		case "undone":
			r.Undone = true
		}
	}
	return r
}

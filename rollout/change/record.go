package change

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// event is a line of a record: <state>/rollbacks/<id>.jsonl.
type event struct {
	Event string    `json:"event"` // began, result, ended, resumed, undone
	At    time.Time `json:"at"`
	By    string    `json:"by,omitempty"`
	Scope
	Reason  string        `json:"reason,omitempty"`
	Backup  string        `json:"backup,omitempty"`
	Result  *PolicyResult `json:"result,omitempty"`
	Summary *Summary      `json:"summary,omitempty"`
}

// newID names a change: sortable by time, and unlike any other of that instant
// by who does what where.
func (e *Engine) newID(what string) string {
	at := e.Now().UTC()
	host, _ := os.Hostname() // only one more thing that tells two machines apart
	sum := sha256.Sum256([]byte(strings.Join([]string{at.Format(time.RFC3339Nano), what, e.User, host, fmt.Sprint(os.Getpid())}, "\x00")))
	return at.Format("20060102T150405Z") + "-" + hex.EncodeToString(sum[:4])
}

// record appends events to a change's record. It delays nothing: where no record
// can be kept, that is a warning.
func (e *Engine) record(id string, events ...event) { e.recordAll(id, slices.Values(events)) }

func (e *Engine) recordAll(id string, events iter.Seq[event]) {
	var errs []error
	for i, place := range []string{filepath.Join(e.StateDir, recordDir, id+".jsonl"), filepath.Join(e.TempDir, "cbops-"+recordDir+"-"+id+".jsonl")} {
		if i == 0 && e.StateDir == "" || i == 1 && e.TempDir == "" {
			continue
		}
		err := appendEvents(place, events)
		if err == nil {
			if len(errs) > 0 {
				e.warn(fmt.Sprintf("%v: the record is kept in %s instead", errs[0], place))
			}
			return
		}
		errs = append(errs, err)
	}
	e.warn(fmt.Sprintf("no record of this change is kept: %v", errors.Join(errs...)))
}

const recordDir = "rollbacks"

// appendEvents writes events one by one, so that a long record takes no memory, and
// syncs once.
func appendEvents(place string, events iter.Seq[event]) error {
	f, err := openAppend(place)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	enc := json.NewEncoder(w)
	for ev := range events {
		if err := enc.Encode(ev); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Flush(), f.Sync(), f.Close())
}

// openAppend opens a file of the state directory for appending; the directory is
// made when needed.
func openAppend(place string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return nil, err
	}
	if st, err := os.Lstat(place); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", place) // a pipe would block
	}
	// Policies may hold what is not everybody's to read.
	return os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

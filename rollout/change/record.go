package change

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
func (e *Engine) record(id string, events []event) {
	var buf bytes.Buffer
	for _, ev := range events {
		b, err := json.Marshal(ev)
		if err != nil {
			e.warn(fmt.Sprintf("cannot encode the record of the change: %v", err))
			return
		}
		buf.Write(append(b, '\n'))
	}
	if _, err := e.keep("rollbacks", id+".jsonl", buf.Bytes()); err != nil {
		e.warn(fmt.Sprintf("no record of this change is kept: %v", err))
	}
}

// keep appends to a file of the state directory, or, where that cannot be
// written, of the temporary one, and syncs it once.
func (e *Engine) keep(dir, name string, b []byte) (string, error) {
	var errs []error
	for i, base := range []string{e.StateDir, e.TempDir} {
		if base == "" {
			continue
		}
		place := filepath.Join(base, dir, name)
		if i == 1 {
			place = filepath.Join(base, "cbops-"+dir+"-"+name)
		}
		err := appendSynced(place, b)
		if err == nil {
			if i == 1 && len(errs) > 0 {
				e.warn(fmt.Sprintf("%v: kept in %s instead", errs[0], place))
			}
			return place, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func appendSynced(place string, b []byte) error {
	f, err := openAppend(place)
	if err != nil {
		return err
	}
	_, werr := f.Write(b)
	return errors.Join(werr, f.Sync(), f.Close())
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

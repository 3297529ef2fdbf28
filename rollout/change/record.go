package change

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// event is a line of a record: <state>/rollbacks/<id>.jsonl.
type event struct {
	Event string    `json:"event"` // began, written, result, ended, resumed
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

// packLine is a line of a backup: <state>/backups/<id>.pack.
type packLine struct {
	Tenant string `json:"tenant"`
	Policy string `json:"policy"`
	Bytes  []byte `json:"bytes"` // base64
}

// backup keeps the old bytes of everything that is about to be written: one file,
// one sync. It returns where, or "" after a warning: it stops nothing.
func (e *Engine) backup(id string, items []*item) string {
	var buf bytes.Buffer
	for _, it := range items {
		if it.failed != "" || bytes.Equal(it.old, it.new) {
			continue
		}
		b, err := json.Marshal(packLine{it.ref.Tenant, it.ref.Policy, it.old})
		if err != nil {
			e.warn(fmt.Sprintf("no backup of %s: %v", it.ref, err))
			continue
		}
		buf.Write(append(b, '\n'))
	}
	if buf.Len() == 0 {
		return ""
	}
	place, err := e.keep("backups", id+".pack", buf.Bytes())
	if err != nil {
		e.warn(fmt.Sprintf("no backup of the old policies is kept: %v", err))
		return ""
	}
	return place
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
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	// Policies may hold what is not everybody's to read.
	f, err := os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if st, serr := f.Stat(); serr != nil || !st.Mode().IsRegular() {
		return errors.Join(serr, f.Close(), fmt.Errorf("%s: %w", place, fs.ErrInvalid))
	}
	_, werr := f.Write(b)
	return errors.Join(werr, f.Sync(), f.Close())
}

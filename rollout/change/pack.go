package change

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/router"
)

// packLine is a line of a backup, <state>/backups/<id>.pack: a policy's bytes
// before a change. A later line for the same policy of the same store counts: it
// was changed by somebody between two reads.
type packLine struct {
	Store  string `json:"store"`
	Tenant string `json:"tenant"`
	Policy string `json:"policy"`
	// Bytes are the old ones, base64 in JSON.
	Bytes []byte `json:"bytes"`
	// Became is the digest of the new ones: what undo expects to find.
	Became string `json:"became"`
}

func (l packLine) ref() router.Ref { return router.Ref{Tenant: l.Tenant, Policy: l.Policy} }

// pack writes one backup file. It is written in pieces, so that it takes no
// memory, and synced once before the first policy is changed. Where it cannot be
// written, all of it goes on in the temporary directory, and then to the last
// resort: it stops nothing.
type pack struct {
	e    *Engine
	name string
	mu   sync.Mutex
	f    *os.File
	// place is where f lies; tried is how many bases failed.
	place string
	tried int
	// pending are lines that are not in f yet.
	pending []byte
	dirty   bool
}

const (
	packDir = "backups"
	// packPiece is how much is written at once, in bytes.
	packPiece = 64 << 10
)

func (e *Engine) newPack(name string) *pack { return &pack{e: e, name: name} }

// add keeps a policy's old bytes.
func (p *pack) add(l packLine) {
	b, err := json.Marshal(l)
	if err != nil {
		p.e.warn(fmt.Sprintf("no backup of %s: %v", l.ref(), err))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(append(p.pending, b...), '\n')
	p.dirty = true
	if len(p.pending) >= packPiece {
		p.flush()
	}
}

// flush writes what is pending to the first place that takes it.
func (p *pack) flush() {
	for len(p.pending) > 0 {
		if p.f == nil && !p.open() {
			if p.e.LastResort != nil {
				for line := range bytes.Lines(p.pending) {
					p.e.LastResort(string(bytes.TrimSuffix(line, []byte("\n"))))
				}
			}
			p.pending = nil
			return
		}
		if n, err := p.f.Write(p.pending); err != nil {
			p.abandon(err, n)
			continue
		}
		p.pending = p.pending[:0]
	}
}

// open opens the file in the next base; false when none is left.
func (p *pack) open() bool {
	bases := []string{}
	if p.e.StateDir != "" {
		bases = append(bases, filepath.Join(p.e.StateDir, packDir, p.name))
	}
	if p.e.TempDir != "" {
		bases = append(bases, filepath.Join(p.e.TempDir, "cbops-"+packDir+"-"+p.name))
	}
	for p.tried < len(bases) {
		place := bases[p.tried]
		f, err := openAppend(place)
		if err == nil {
			if p.tried > 0 {
				p.e.warn("the backup is kept in " + place + " instead")
			}
			p.f, p.place = f, place
			return true
		}
		p.tried++
		p.e.warn(fmt.Sprintf("the backup cannot be kept in %s: %v", place, err))
		if p.tried == len(bases) {
			p.e.warn("no directory takes the backup: its lines follow here, keep them to undo this change")
		}
	}
	return false
}

// abandon gives a file up that cannot be written any more. What it holds is
// pending again: half a backup there and half elsewhere would be found by nobody.
// written is how much of what is pending it has.
func (p *pack) abandon(err error, written int) {
	p.e.warn(fmt.Sprintf("the backup cannot be kept in %s: %v", p.place, err))
	_ = p.f.Close() // its error is the one above, or less
	had, rerr := os.ReadFile(p.place)
	if rerr != nil {
		p.e.warn(fmt.Sprintf("what was kept there is lost: %v", rerr))
		written = 0
	}
	p.pending = p.pending[bytes.LastIndexByte(p.pending[:written], '\n')+1:]
	whole := bytes.LastIndexByte(had, '\n') + 1
	p.pending = append(had[:whole:whole], p.pending...)
	_ = os.Remove(p.place) // a rest is no harm: it says the same
	p.f, p.place = nil, ""
	p.tried++
}

// sync makes what was added durable and returns where it lies.
func (p *pack) sync() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.dirty {
		p.flush()
		if p.f == nil {
			break // the last resort has it
		}
		if err := p.f.Sync(); err != nil {
			p.abandon(err, 0)
			continue
		}
		p.dirty = false
	}
	p.dirty = false
	return p.place
}

func (p *pack) close() string {
	place := p.sync()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.f != nil {
		_ = p.f.Close() // it is synced
		p.f = nil
	}
	return place
}

// readPacks reads every backup of a change. The places are those that the change
// writes to.
func (e *Engine) readPacks(id string) ([]packLine, error) {
	var lines []packLine
	found := false
	for _, dir := range []struct{ base, prefix string }{
		{filepath.Join(e.StateDir, packDir), ""}, {e.TempDir, "cbops-" + packDir + "-"}} {
		entries, err := os.ReadDir(dir.base)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Environment, "cannot look for the backup: %w", err)
		}
		for _, en := range entries {
			name, ok := strings.CutPrefix(en.Name(), dir.prefix)
			if !ok || !isPack(name, id) {
				continue
			}
			found = true
			got, err := readPack(filepath.Join(dir.base, en.Name()))
			if err != nil {
				return nil, err
			}
			lines = append(lines, got...)
		}
	}
	if !found {
		return nil, fault.Hint(fault.New(fault.Usage, "no backup of %s in %s or %s", id, filepath.Join(e.StateDir, packDir), e.TempDir),
			"a backup lies where the rollback ran: run this there, or name its plan or policy root",
			"cbops rollback --list shows what was recorded here")
	}
	return lines, nil
}

// isPack reports whether a file is a backup of a change: <id>.pack, or, where there
// are several stores, <id>.<store>.pack.
func isPack(name, id string) bool {
	return name == id+".pack" || strings.HasPrefix(name, id+".") && strings.HasSuffix(name, ".pack")
}

func readPack(path string) ([]packLine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Environment, "cannot read the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || !ours(st) {
		return nil, fault.New(fault.Environment, "%s is not a file of yours: it is not taken for a backup", path)
	}
	var lines []packLine
	for r, n := bufio.NewReaderSize(f, 64<<10), 1; ; n++ {
		b, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			// Without its end, the change was killed while it wrote this line: nothing
			// of it was changed yet.
			return lines, nil
		}
		var l packLine
		if err == nil {
			err = json.Unmarshal(b, &l)
		}
		if err == nil && !l.ref().Valid() {
			err = fmt.Errorf("%q is no policy", l.ref())
		}
		if err != nil {
			return nil, fault.New(fault.Environment, "%s:%d: the backup is damaged: %w", path, n, err)
		}
		lines = append(lines, l)
	}
}

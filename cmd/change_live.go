package cmd

import (
	"io"
	"sync"

	"github.com/cbops/cbops/cmd/internal/render"
)

// live opens the picture of a change that runs. Until it is closed, other lines
// for stderr go through it, so that they do not tear it.
func (a *app) live() *livePicture {
	opt, err := a.renderOptions()
	if err != nil {
		opt = render.Options{} // the result will say it
	}
	p := &livePicture{app: a, stderr: a.Stderr}
	if a.StderrTTY && a.Getenv("TERM") != "dumb" {
		p.Live = render.NewLive(a.Stderr, opt, true)
	} else {
		// Events and warnings come from several goroutines.
		p.Live = render.NewLive(&lockedWriter{w: a.Stderr}, opt, false)
	}
	a.Stderr = p.Writer()
	return p
}

type livePicture struct {
	render.Live
	app    *app
	stderr io.Writer
}

// Close leaves the last picture standing and gives stderr back.
func (p *livePicture) Close() {
	p.Live.Close()
	p.app.Stderr = p.stderr
}

// lockedWriter takes one write at a time.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

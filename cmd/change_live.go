package cmd

import (
	"io"

	"github.com/cbops/cbops/cmd/internal/render"
)

// live opens the picture of a change that runs. Until it is closed, other lines
// for stderr go through it, so that they do not tear it.
func (a *app) live() *livePicture {
	opt, err := a.renderOptions()
	if err != nil {
		opt = render.Options{} // the result will say it
	}
	p := &livePicture{Live: render.NewLive(a.Stderr, opt, a.StderrTTY && a.Getenv("TERM") != "dumb"), app: a, stderr: a.Stderr}
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

package scenario

import "github.com/cbops/cbops/breaker"

// Decision is what happened to one request.
type Decision int

// The decisions.
const (
	Succeeded Decision = iota
	Failed
	Denied
	Unanswered
)

// maxBins bounds a timeline; a longer run has wider bins.
const maxBins = 240

// Timeline is what happened over time, in bins of equal width: for pictures.
type Timeline struct {
	// BinMS is the width of a bin, LengthMS the whole length.
	BinMS    int64 `json:"binMs"`
	LengthMS int64 `json:"lengthMs"`
	Bins     []Bin `json:"bins"`
	// Moves are the transitions, the first maxMoves of them.
	Moves []Move `json:"moves"`
}

// Bin is what happened in one bin.
type Bin struct {
	Successes  int `json:"successes"`
	Failures   int `json:"failures"`
	Denied     int `json:"denied"`
	Unanswered int `json:"unanswered"`
	// AtOnce are requests from goroutines, whose fate depends on their order.
	AtOnce int `json:"atOnce,omitempty"`
	// Opens and Closes are transitions to open and to closed.
	Opens  int `json:"opens"`
	Closes int `json:"closes"`
	// State and ErrorRate are those at the bin's end.
	State     breaker.State `json:"state"`
	ErrorRate float64       `json:"errorRate"`
	rated     bool          // the rate was stored in this bin
}

// Move is a transition.
type Move struct {
	AtMS int64         `json:"atMs"`
	To   breaker.State `json:"to"`
}

const maxMoves = 1000

// bin returns the bin of a time, and widens all bins while there are too many.
func (t *Timeline) bin(at int64) *Bin {
	if t.BinMS == 0 {
		t.BinMS = 1
	}
	for at/t.BinMS >= maxBins {
		t.widen()
	}
	for int64(len(t.Bins)) <= at/t.BinMS {
		t.Bins = append(t.Bins, Bin{})
	}
	return &t.Bins[at/t.BinMS]
}

func (t *Timeline) widen() {
	t.BinMS *= 2
	half := t.Bins[:0]
	for i := 0; i < len(t.Bins); i += 2 {
		b := t.Bins[i]
		if i+1 < len(t.Bins) {
			c := t.Bins[i+1]
			b.Successes, b.Failures = b.Successes+c.Successes, b.Failures+c.Failures
			b.Denied, b.Unanswered, b.AtOnce = b.Denied+c.Denied, b.Unanswered+c.Unanswered, b.AtOnce+c.AtOnce
			b.Opens, b.Closes = b.Opens+c.Opens, b.Closes+c.Closes
			if c.State != "" {
				b.State = c.State
			}
			if c.rated {
				b.ErrorRate, b.rated = c.ErrorRate, true
			}
		}
		half = append(half, b)
	}
	t.Bins = half
}

// Add notes a request, at so many milliseconds from the start.
func (t *Timeline) Add(at int64, d Decision) {
	b := t.bin(at)
	switch d {
	case Succeeded:
		b.Successes++
	case Failed:
		b.Failures++
	case Denied:
		b.Denied++
	case Unanswered:
		b.Unanswered++
	}
}

// Move notes a transition.
func (t *Timeline) Move(at int64, to breaker.State) {
	b := t.bin(at)
	b.State = to
	switch to {
	case breaker.Open:
		b.Opens++
	case breaker.Closed:
		b.Closes++
	}
	if len(t.Moves) < maxMoves {
		t.Moves = append(t.Moves, Move{at, to})
	}
}

// Rate notes the stored error rate.
func (t *Timeline) Rate(at int64, r float64) {
	b := t.bin(at)
	b.ErrorRate, b.rated = r, true
}

// End fixes the length, and carries state and rate on over bins in which nothing
// happened.
func (t *Timeline) End(at int64) {
	t.bin(at)
	t.LengthMS = at
	state, rate := breaker.Closed, 0.0
	for i := range t.Bins {
		b := &t.Bins[i]
		if b.State != "" {
			state = b.State
		}
		if b.rated {
			rate = b.ErrorRate
		}
		b.State, b.ErrorRate = state, rate
	}
}

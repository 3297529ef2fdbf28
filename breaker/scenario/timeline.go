package scenario

import "github.com/cbops/cbops/breaker"

// decision is what happened to one request.
type decision int

const (
	success decision = iota
	failure
	denied
	unanswered
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
	// State is the state at the bin's end, "" where it did not change in it.
	State breaker.State `json:"state,omitempty"`
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
		}
		half = append(half, b)
	}
	t.Bins = half
}

func (t *Timeline) add(at int64, d decision) {
	b := t.bin(at)
	switch d {
	case success:
		b.Successes++
	case failure:
		b.Failures++
	case denied:
		b.Denied++
	case unanswered:
		b.Unanswered++
	}
}

func (t *Timeline) move(at int64, to breaker.State) {
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

// end fixes the length.
func (t *Timeline) end(at int64) {
	t.bin(at)
	t.LengthMS = at
}

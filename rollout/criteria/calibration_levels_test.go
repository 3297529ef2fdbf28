package criteria_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cbops/cbops/internal/history"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// drift is a latency by the hour that goes with the day, and wanders: an autoregressive
// process of the first order on its logarithm.
type drift struct {
	// rho is the correlation of neighbouring hours, noise the standard deviation.
	rho, noise float64
}

// cells implements drawn.
func (d drift) cells() []string {
	return []string{fmt.Sprint(d.rho), fmt.Sprintf("%g %%", 100*d.noise)}
}

// draw implements drawn.
func (d drift) draw(rng *rand.Rand, s scene, up bool) (*evidence.Evidence, criteria.Request) {
	r := criteria.NewRequest(1)
	r.Only = []string{latency}
	x := evidence.MeasureSeries{Labels: "{}"}
	v := rng.NormFloat64()
	for t := s.start.Add(time.Hour); !t.After(s.at); t = t.Add(time.Hour) {
		v = d.rho*v + math.Sqrt(1-d.rho*d.rho)*rng.NormFloat64()
		level := 0.3 * math.Exp(0.3*math.Sin(dayAngle(t))+d.noise*v)
		if up && t.After(s.since) {
			level *= 1 + r.Margins.Latency
		}
		x.Times, x.Values = append(x.Times, t.UnixMilli()), append(x.Values, level)
	}
	return &evidence.Evidence{At: s.at, Interval: time.Minute, Dialect: evidence.Dialect{Kind: evidence.Emitted}, Nodes: []evidence.Node{s.node},
		Tenants: []evidence.Tenant{{ID: "t-a00", Since: s.since, Baseline: evidence.Interval{From: s.start, To: s.since}, Config: evidence.Config{Enabled: true}}},
		Measures: []evidence.Measure{{Name: evidence.Latency, Expr: "latency", Step: time.Hour,
			Series: []evidence.MeasureSeries{x}}}}, r
}

// The same for levels: latency, and stability, which is judged in the same way.
func TestCalibrationOfLevels(t *testing.T) {
	runs := 100 * soak()
	rhos, noises := []float64{0, 0.5, 0.8, 0.9, 0.95}, []float64{0.01, 0.02, 0.05}
	if runs == 0 {
		runs, rhos, noises = 25, []float64{0, 0.8, 0.95}, []float64{0.03}
		if history.Raced {
			runs = 4
		}
	}
	var rows []row
	for _, rho := range rhos {
		for _, noise := range noises {
			rows = append(rows, row{drawn: drift{rho, noise}, passes: rho <= 0.5 && noise <= 0.03})
		}
	}
	calibrate(t, []string{"rho", "noise"}, rows, runs, 2)
}

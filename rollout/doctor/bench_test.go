package doctor

import (
	"testing"
	"time"
)

// BenchmarkDoctor is what an operator waits for: the histories, and every documented
// alert with its replacement tried on them.
func BenchmarkDoctor(b *testing.B) {
	for name, opt := range map[string]PracticeOptions{
		"every=1m":  {Dialect: emitted()},
		"every=15s": {Dialect: emitted(), Scrape: 15 * time.Second, Evaluation: 15 * time.Second},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				p := practice(b, opt)
				if _, err := p.Alerts(b.Context(), AlertInput{Known: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

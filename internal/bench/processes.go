package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	runs      = 21
	startGoal = 2.2                    // `cbops version` against the bare program, at most
	gateGoal  = 200 * time.Millisecond // plain `cbops loadtest` as a process
)

// program is a command line to time.
type program struct {
	name string
	argv []string
}

func compareProcesses(w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "cbops-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.RemoveAll(dir); err == nil {
			err = e
		}
	}()
	cbops, err := build(dir, "cbops", "../..", "./cmd/cbops")
	if err != nil {
		return err
	}
	bare, err := build(dir, "bare", ".", "./bare")
	if err != nil {
		return err
	}
	programs := []program{
		{"bare cobra program", []string{bare, "version"}},
		{"cbops version", []string{cbops, "version"}},
		{"cbops loadtest", []string{cbops, "loadtest"}},
	}
	took, cpu, err := timeAll(dir, programs)
	if err != nil {
		return err
	}

	fmt.Fprintf(w, "\nWhole processes: cobra %s, wall time of %d runs each, in turns\n\n", cobraVersion(bare), runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  process\tmedian ms\tfastest\tslowest\tagainst bare\tbinary MiB")
	base := median(took[0])
	for i, p := range programs {
		info, err := os.Stat(p.argv[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "  %s\t%.2f\t%.2f\t%.2f\t%.2fx\t%.1f\n", p.name, ms(median(took[i])),
			ms(took[i][0]), ms(took[i][runs-1]), float64(median(took[i]))/float64(base), float64(info.Size())/(1<<20))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	ratio := float64(median(took[1])) / float64(base)
	said := "goal met"
	if ratio > startGoal {
		said = "goal not met"
	}
	fmt.Fprintf(w, "\n  cbops version: %.2fx of the bare program, at most %.1fx wanted: %s\n", ratio, startGoal, said)
	fmt.Fprintf(w, "  (fastest run against fastest: %.2fx; the two differ where the machine is busy)\n",
		float64(took[1][0])/float64(took[0][0]))
	said = "goal met"
	if median(took[2]) > gateGoal {
		said = "goal not met"
	}
	fmt.Fprintf(w, "  cbops loadtest, the whole gate: %.0f ms, at most %.0f ms wanted: %s (fastest %.0f, processor time %.0f)\n",
		ms(median(took[2])), ms(gateGoal), said, ms(took[2][0]), ms(median(cpu[2])))
	return nil
}

// build builds a package as a release is built and returns the binary's path.
func build(out, name, dir, pkg string) (string, error) {
	path := filepath.Join(out, name)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, msg)
	}
	return path, nil
}

// cobraVersion is the version in the bare program, which alone here links cobra.
func cobraVersion(bare string) string {
	info, err := buildinfo.ReadFile(bare)
	if err != nil {
		return "?"
	}
	return moduleVersion(info, "github.com/spf13/cobra")
}

// timeAll runs the programs in turns, after one run each that does not count,
// and returns each one's times by the wall clock and of the processor, sorted.
func timeAll(dir string, programs []program) (took, cpu [][]time.Duration, err error) {
	took, cpu = make([][]time.Duration, len(programs)), make([][]time.Duration, len(programs))
	for turn := range runs + 1 {
		for i, p := range programs {
			wall, used, err := once(dir, p)
			if err != nil {
				return nil, nil, err
			}
			if turn > 0 {
				took[i], cpu[i] = append(took[i], wall), append(cpu[i], used)
			}
		}
	}
	for i := range programs {
		slices.Sort(took[i])
		slices.Sort(cpu[i])
	}
	return took, cpu, nil
}

// once runs a program with its output in a file: reading a pipe would add the
// same to both sides and so flatter the ratio.
func once(dir string, p program) (d, cpu time.Duration, err error) {
	path := filepath.Join(dir, "output")
	out, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	c := exec.Command(p.argv[0], p.argv[1:]...)
	c.Dir = dir
	c.Stdout, c.Stderr = out, out
	start := time.Now()
	err = c.Run()
	d = time.Since(start)
	if err != nil {
		said, _ := os.ReadFile(path) // as much of it as there is
		return 0, 0, fmt.Errorf("%s: %w\n%s", p.name, err, strings.TrimSpace(string(said)))
	}
	return d, c.ProcessState.UserTime() + c.ProcessState.SystemTime(), nil
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

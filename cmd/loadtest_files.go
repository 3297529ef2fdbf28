package cmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cbops/cbops/breaker"
	"github.com/cbops/cbops/breaker/scenario"
	"github.com/cbops/cbops/internal/fault"
)

// maxFiles bounds the scenario files of one run.
const maxFiles = 200

// scenarios are those to run: the gate and the files, or what --scenario picks of
// them. Files are proven able to fail before anything runs.
func (a *app) scenarios(ctx context.Context, o loadtestOptions, subject testSubject) ([]scenario.Scenario, error) {
	if o.duration < 0 || o.duration > scenario.MaxDuration {
		return nil, fault.New(fault.Usage, "--duration %s is out of bounds, 0 to %s", o.duration, scenario.MaxDuration)
	}
	length := o.duration
	if o.live.url != "" {
		length = 0
	}
	rate, err := o.traffic.params(subject, length)
	if err != nil {
		return nil, err
	}
	all := scenario.Gate(scenario.Params{Config: subject.config, Length: length, Rate: rate, Live: o.live.url != ""})
	only := slices.Clone(o.only)
	files := slices.Clone(o.files)
	for i, n := range only {
		if isFile(n) {
			files, only[i] = append(files, n), ""
		}
	}
	base := guideConfig()
	if subject.config != nil {
		base = *subject.config
	}
	paths, err := a.scenarioPaths(files)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		s, err := a.readScenario(ctx, p, base, o.seed)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(x scenario.Scenario) bool { return x.Name == s.Name }); i >= 0 {
			where := "the gate"
			if all[i].Path != "" {
				where = all[i].Path
			}
			return nil, fault.Hint(fault.New(fault.Usage, "%s:1:1: the name %q is taken by %s", p, s.Name, where), "give the scenario another name")
		}
		all = append(all, s)
		if slices.ContainsFunc(o.only, func(n string) bool { return isFile(n) && within(p, n) }) {
			only = append(only, s.Name)
		}
	}
	return pick(all, slices.DeleteFunc(only, func(n string) bool { return n == "" }))
}

func pick(all []scenario.Scenario, only []string) ([]scenario.Scenario, error) {
	for _, n := range only {
		if !slices.ContainsFunc(all, func(s scenario.Scenario) bool { return s.Name == n }) {
			return nil, noScenario(n, all)
		}
	}
	if len(only) > 0 {
		all = slices.DeleteFunc(slices.Clone(all), func(s scenario.Scenario) bool { return !slices.Contains(only, s.Name) })
	}
	return all, nil
}

// isFile tells a file from the name of a scenario, which has no dot and no slash.
func isFile(s string) bool { return strings.ContainsAny(s, `./\`) }

func within(file, named string) bool {
	return file == named || strings.HasPrefix(file, strings.TrimSuffix(named, "/")+string(filepath.Separator))
}

// scenarioPaths expands directories, one level deep, to the YAML files in them.
func (a *app) scenarioPaths(named []string) ([]string, error) {
	var out []string
	for _, n := range named {
		st, err := os.Stat(a.Path(n))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault.Hint(fault.New(fault.Usage, "%s: no such file or directory", n), "cbops loadtest --list names the scenarios of the gate")
		case err != nil:
			return nil, fault.New(fault.Usage, "cannot read %s: %w", n, cause(err))
		case !st.IsDir():
			out = append(out, n)
			continue
		}
		entries, err := os.ReadDir(a.Path(n))
		if err != nil {
			return nil, fault.New(fault.Environment, "cannot list %s: %w", n, cause(err))
		}
		found := 0
		for _, e := range entries { // sorted
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
				out = append(out, filepath.Join(n, e.Name()))
				found++
			}
		}
		if found == 0 {
			return nil, fault.New(fault.Usage, "%s: no scenario in it (*.yaml): nothing would be tested", n)
		}
	}
	if len(out) > maxFiles {
		return nil, fault.New(fault.Usage, "%d scenario files, at most %d are read", len(out), maxFiles)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// readScenario reads a file and refuses it where an expectation cannot fail.
func (a *app) readScenario(ctx context.Context, path string, base breaker.Config, seed uint64) (scenario.Scenario, error) {
	raw, err := a.readRegular(path, scenario.MaxBytes)
	if err != nil {
		return scenario.Scenario{}, err
	}
	s, err := scenario.Parse(path, raw, base)
	if err != nil {
		return s, err
	}
	a.progress("%s: on breakers that are broken on purpose", path)
	idle, err := s.CannotFail(ctx, seed)
	if err != nil {
		return s, err
	}
	if len(idle) > 0 {
		e := s.Expectations()[idle[0]]
		return s, fault.Hint(fault.New(fault.Usage, "%s: %s: this expectation cannot fail: it holds on all %d breakers that are broken on purpose",
			e.Place, e.Measure, len(scenario.Sabotages())), "expect something that the steps before it decide, or take it out")
	}
	return s, nil
}

// reportFile is a report on its way to its place. The file appears whole or not at
// all; only a device is written as it comes.
type reportFile struct {
	shown, path, temp string
	f                 *os.File
}

// openReport opens the report before the run, so that a place that cannot be
// written is not found out after it.
func (a *app) openReport(name string) (*reportFile, error) {
	if name == "" {
		return &reportFile{}, nil
	}
	fail := func(err error) error {
		return fault.Hint(fault.New(fault.Environment, "cannot write the report %s: %w", name, cause(err)), "name another file, in a directory that can be written")
	}
	path := a.Path(name)
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p // a link stays a link
	}
	r := &reportFile{shown: name, path: path}
	st, err := os.Stat(path)
	switch {
	case err == nil && st.IsDir():
		return nil, fault.New(fault.Usage, "cannot write the report: %s is a directory", name)
	case err == nil && st.Mode()&fs.ModeDevice != 0:
		if r.f, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			return nil, fail(err)
		}
		return r, nil
	case err == nil && !st.Mode().IsRegular():
		return nil, fault.New(fault.Usage, "cannot write the report: %s is not a regular file", name)
	}
	var nonce [6]byte
	_, _ = rand.Read(nonce[:]) // never fails
	r.temp = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+hex.EncodeToString(nonce[:]))
	if r.f, err = os.OpenFile(r.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
		return nil, fail(err)
	}
	return r, nil
}

// write writes the report and puts it in its place.
func (r *reportFile) write(text string) error {
	if r.f == nil {
		return nil
	}
	_, err := r.f.WriteString(text)
	if err == nil && r.temp != "" {
		err = r.f.Sync()
	}
	if e := r.f.Close(); err == nil {
		err = e
	}
	r.f = nil
	if err == nil && r.temp != "" {
		err = os.Rename(r.temp, r.path)
	}
	if err != nil {
		return fault.Hint(fault.New(fault.Environment, "cannot write the report %s: %w", r.shown, cause(err)), "the result above is complete; there is no report of it")
	}
	r.temp = ""
	return nil
}

// discard removes what was not put in its place.
func (r *reportFile) discard() {
	if r.f != nil {
		_ = r.f.Close() // it is thrown away
	}
	if r.temp != "" {
		_ = os.Remove(r.temp)
	}
}

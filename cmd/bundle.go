package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cbops/cbops/cmd/internal/render"
	"github.com/cbops/cbops/internal/fault"
	"github.com/cbops/cbops/rollout/criteria"
	"github.com/cbops/cbops/rollout/evidence"
)

// bundleFlags say where evidence is read from or kept.
type bundleFlags struct{ file, save string }

func (b *bundleFlags) addTo(c *cobra.Command) {
	c.Flags().StringVar(&b.file, "bundle", "", "judge the evidence in `FILE` again, without a server")
	c.Flags().StringVar(&b.save, "save", "", "keep the evidence in `FILE`; with a plan it is kept in .cbops/bundles anyway")
}

// withBundle are the flags that make sense with --bundle: what was asked is in it.
func withBundle() []string { return []string{"bundle", "explain", "output", "ascii", "plan", "help"} }

// evaluateBundle judges what a bundle holds, as it was asked then. Where another
// version of cbops judged it, the differences are shown.
func (a *app) evaluateBundle(c *cobra.Command, file string, o evaluateOptions) error {
	var extra []string
	for _, f := range changedFlags(c) {
		if !slices.Contains(withBundle(), f) {
			extra = append(extra, "--"+f)
		}
	}
	if len(extra) > 0 {
		return fault.Hint(fault.New(fault.Usage, "--bundle with %s: a bundle is judged as it was asked then", strings.Join(extra, ", ")),
			"leave them out, or ask the server again without --bundle")
	}
	b, err := a.readBundle(file)
	if err != nil {
		return err
	}
	q, err := readAsked(b.Asked)
	if err != nil {
		return fault.Hint(fault.New(fault.Usage, "%s: what was asked cannot be read: %w", file, err), "ask the server again without --bundle")
	}
	e := judge(b.Evidence, q, b.Environment, b.Rollout)
	doc := render.Evaluation{Evaluation: e.Evaluation}
	if doc.Rejudged, err = rejudged(b, e.Evaluation); err != nil {
		return fault.New(fault.Usage, "%s: %w", file, err)
	}
	return a.showEvaluation(doc, o)
}

func changedFlags(c *cobra.Command) (names []string) {
	for _, n := range flagNames(c) {
		if c.Flags().Lookup(n).Changed {
			names = append(names, n)
		}
	}
	return names
}

// readBundle reads a bundle; one whose name has a digest must have that digest.
func (a *app) readBundle(file string) (*evidence.Bundle, error) {
	f, err := os.Open(a.Path(file))
	if st, serr := os.Stat(a.Path(file)); serr == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file") // a pipe would block for ever
	}
	if err != nil {
		return nil, fault.Hint(fault.New(fault.Usage, "cannot read the bundle %s: %w", file, cause(err)), "bundles are kept in .cbops/bundles beside the plan")
	}
	defer func() { _ = f.Close() }() // only read
	b, digest, err := evidence.ReadBundle(f)
	if err != nil {
		return nil, fault.Hint(fault.New(fault.Usage, "%s: %w", file, err), "nothing in it counts as evidence; ask the server again")
	}
	if named, ok := digestOfName(file); ok && !strings.HasPrefix(digest, named) {
		return nil, fault.Hint(fault.New(fault.Usage, "%s: %w: its name says %s…, it is %s…", file, evidence.ErrBundleTampered, named, digest[:len(named)]),
			"somebody wrote another bundle over it; ask the server again")
	}
	return b, nil
}

const (
	bundleSuffix = ".bundle"
	nameDigits   = 12
)

// digestOfName is the digest that a file's name ends with.
func digestOfName(file string) (string, bool) {
	base, ok := strings.CutSuffix(filepath.Base(file), bundleSuffix)
	i := strings.LastIndexByte(base, '-')
	if !ok || i < 0 || len(base)-i-1 != nameDigits || strings.Trim(base[i+1:], "0123456789abcdef") != "" {
		return "", false
	}
	return base[i+1:], true
}

// rejudged compares the answer in a bundle with today's; nil if they are the same and
// so is the version.
func rejudged(b *evidence.Bundle, now criteria.Evaluation) (*render.Rejudged, error) {
	var then criteria.Evaluation
	if err := json.Unmarshal(b.Judged, &then); err != nil {
		return nil, fmt.Errorf("the answer in it cannot be read: %w", err)
	}
	d := render.Differences(then, now)
	raw, err := render.Bytes(render.Evaluation{Evaluation: now}, render.Options{Format: render.JSON})
	if err != nil {
		return nil, err
	}
	same := sameJSON(raw, b.Judged)
	if same && b.Version == Version() {
		return nil, nil
	}
	if !same && len(d) == 0 {
		d = []string{"the verdicts are the same, the words differ"}
	}
	return &render.Rejudged{By: b.Version, This: Version(), Differences: d}, nil
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// saveBundle keeps the evidence of an evaluation: in file, and with a plan beside it.
// An error is no reason to withhold the verdict; it is reported after it.
func (a *app) saveBundle(e judgement, file string) error {
	beside := e.stateDir != "" && !a.readonly()
	if file == "" && !beside {
		return nil
	}
	raw, digest, err := packBundle(e)
	if err == nil && file != "" {
		err = writeWhole(a.Path(file), raw)
	}
	if err == nil && beside {
		name := fmt.Sprintf("%s-phase%d-%s%s", e.At.UTC().Format("2006-01-02T150405Z"), e.Phase, digest[:nameDigits], bundleSuffix)
		dir := filepath.Join(e.stateDir, "bundles")
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = writeWhole(filepath.Join(dir, name), raw)
		}
		a.progress("evidence kept in %s", filepath.Join(".cbops", "bundles", name))
	}
	if err != nil {
		return fault.Hint(fault.New(fault.Environment, "the evidence of this verdict is not kept: %w", err), "--save FILE puts it elsewhere")
	}
	return nil
}

func packBundle(e judgement) (raw []byte, digest string, err error) {
	asked, err := json.Marshal(e.Asked)
	if err != nil {
		return nil, "", err
	}
	judged, err := render.Bytes(render.Evaluation{Evaluation: e.Evaluation}, render.Options{Format: render.JSON})
	if err != nil {
		return nil, "", err
	}
	var compact, buf bytes.Buffer
	if err := json.Compact(&compact, judged); err != nil {
		return nil, "", err
	}
	digest, err = evidence.WriteBundle(&buf, &evidence.Bundle{Version: Version(), Environment: e.Environment, Rollout: e.Rollout,
		Asked: asked, Judged: compact.Bytes(), Evidence: e.Evidence})
	return buf.Bytes(), digest, err
}

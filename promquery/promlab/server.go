package promlab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// sampleValue is the engine's idea of a sample.
type sampleValue = chunks.Sample

// maxSteps is Prometheus' limit of points per series in a range query.
const maxSteps = 11_000

// Options of a server.
type Options struct {
	// Now is the time of a query that names none.
	Now func() time.Time
}

type server struct {
	store  *Store
	opt    Options
	engine *promql.Engine
	parser parser.Parser
}

// NewServer answers the query part of the Prometheus HTTP API from a store.
func NewServer(store *Store, opt Options) http.Handler {
	p := parser.NewParser(parser.Options{})
	s := &server{store: store, opt: opt, parser: p, engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
	})}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", s.query)
	mux.HandleFunc("/api/v1/query_range", s.queryRange)
	mux.HandleFunc("/api/v1/series", s.series)
	mux.HandleFunc("/api/v1/labels", s.labelNames)
	mux.HandleFunc("/api/v1/label/{name}/values", s.labelValues)
	mux.HandleFunc("/api/v1/status/buildinfo", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"version": "promlab"}, nil)
	})
	mux.HandleFunc("/-/ready", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Ready.\n") // a reader that went away is its own trouble
	})
	return mux
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is its own trouble
}

func answer(w http.ResponseWriter, data any, warnings []string) {
	body := map[string]any{"status": "success", "data": data}
	if len(warnings) > 0 {
		body["warnings"] = warnings
	}
	reply(w, http.StatusOK, body)
}

func refuse(w http.ResponseWriter, code int, kind string, err error) {
	reply(w, code, map[string]any{"status": "error", "errorType": kind, "error": err.Error()})
}

func badData(w http.ResponseWriter, err error) { refuse(w, http.StatusBadRequest, "bad_data", err) }

// at reads a time parameter, or returns the default.
func at(v string, otherwise time.Time) (time.Time, error) {
	if v == "" {
		return otherwise, nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(f) && math.Abs(f) < 1e12 {
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return t, errors.New("cannot parse " + strconv.Quote(v) + " to a valid timestamp")
	}
	return t, nil
}

func duration(v string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(f) && math.Abs(f) < 1e9 {
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(v)
	if err != nil {
		return 0, errors.New("cannot parse " + strconv.Quote(v) + " to a valid duration")
	}
	return time.Duration(d), nil
}

func (s *server) query(w http.ResponseWriter, r *http.Request) {
	ts, err := at(r.FormValue("time"), s.opt.Now())
	if err != nil {
		badData(w, err)
		return
	}
	q, err := s.engine.NewInstantQuery(r.Context(), s.store, nil, r.FormValue("query"), ts)
	s.run(w, r.Context(), q, err, r.FormValue("query"))
}

func (s *server) queryRange(w http.ResponseWriter, r *http.Request) {
	start, err := at(r.FormValue("start"), time.Time{})
	end, err2 := at(r.FormValue("end"), time.Time{})
	step, err3 := duration(r.FormValue("step"))
	if err := errors.Join(err, err2, err3); err != nil {
		badData(w, err)
		return
	}
	switch {
	case end.Before(start):
		badData(w, errors.New("end timestamp must not be before start time"))
		return
	case step <= 0:
		badData(w, errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
		return
	case end.Sub(start)/step > maxSteps:
		badData(w, errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"))
		return
	}
	q, err := s.engine.NewRangeQuery(r.Context(), s.store, nil, r.FormValue("query"), start, end, step)
	s.run(w, r.Context(), q, err, r.FormValue("query"))
}

func (s *server) run(w http.ResponseWriter, ctx context.Context, q promql.Query, err error, text string) {
	if err != nil {
		badData(w, err)
		return
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		refuse(w, http.StatusUnprocessableEntity, "execution", res.Err)
		return
	}
	warnings, _ := res.Warnings.AsStrings(text, 10, 10)
	var result any = res.Value
	switch v := res.Value.(type) { // an empty list, as Prometheus writes it, not null
	case promql.Matrix:
		result = append(promql.Matrix{}, v...)
	case promql.Vector:
		result = append(promql.Vector{}, v...)
	}
	answer(w, map[string]any{"resultType": res.Value.Type(), "result": result}, warnings)
}

func (s *server) matchers(r *http.Request) ([][]*labels.Matcher, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	var out [][]*labels.Matcher
	for _, m := range r.Form["match[]"] {
		ms, err := s.parser.ParseMetricSelector(m)
		if err != nil {
			return nil, err
		}
		out = append(out, ms)
	}
	return out, nil
}

func (s *server) series(w http.ResponseWriter, r *http.Request) {
	sets, err := s.matchers(r)
	if err == nil && len(sets) == 0 {
		err = errors.New("no match[] parameter provided")
	}
	if err != nil {
		badData(w, err)
		return
	}
	out := []map[string]string{}
	for _, x := range s.store.all() {
		for _, ms := range sets {
			if matches(x.lset, ms) {
				out = append(out, x.lset.Map())
				break
			}
		}
	}
	answer(w, out, nil)
}

func (s *server) labelNames(w http.ResponseWriter, r *http.Request) {
	q, _ := s.store.Querier(math.MinInt64, math.MaxInt64)
	names, _, err := q.LabelNames(r.Context(), nil)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", err)
		return
	}
	answer(w, append([]string{}, names...), nil)
}

func (s *server) labelValues(w http.ResponseWriter, r *http.Request) {
	q, _ := s.store.Querier(math.MinInt64, math.MaxInt64)
	values, _, err := q.LabelValues(r.Context(), r.PathValue("name"), nil)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", err)
		return
	}
	answer(w, append([]string{}, values...), nil)
}

// Transport carries requests to a handler without a network. It honours the
// request's context.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	rec := &recorder{header: http.Header{}, code: http.StatusOK}
	r := req.Clone(req.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	t.h.ServeHTTP(rec, r)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(rec.code), StatusCode: rec.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rec.header, Body: io.NopCloser(&rec.body), ContentLength: int64(rec.body.Len()), Request: req,
	}, nil
}

// recorder keeps what a handler answers.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

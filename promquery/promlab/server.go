package promlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/stats"
)

// sampleValue is the engine's idea of a sample.
type sampleValue = chunks.Sample

// maxSteps is Prometheus' limit of points per series in a range query.
const maxSteps = 11_000

// Options of a server.
type Options struct {
	// Now is the time of a query that names none.
	Now func() time.Time
	// MaxSamples is the most that a query may load, 50 million for 0: what
	// Prometheus' --query.max-samples is.
	MaxSamples int
	// Retention is what the status pages say, "15d" for "". Nothing is ever deleted.
	Retention string
	// Rules are what /api/v1/rules answers; nil for none.
	Rules func() []GroupStatus
}

type server struct {
	store  *Store
	opt    Options
	engine *promql.Engine
	parser parser.Parser
	began  time.Time
}

// NewServer answers the query part of the Prometheus HTTP API, its rules and some
// of its status pages from a store. What it has no endpoint for is 404.
func NewServer(store *Store, opt Options) http.Handler {
	if opt.MaxSamples <= 0 {
		opt.MaxSamples = 50_000_000
	}
	if opt.Retention == "" {
		opt.Retention = "15d"
	}
	p := parser.NewParser(parser.Options{})
	s := &server{store: store, opt: opt, parser: p, began: opt.Now(), engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: opt.MaxSamples, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
	})}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", s.query)
	mux.HandleFunc("/api/v1/query_range", s.queryRange)
	mux.HandleFunc("/api/v1/series", s.series)
	mux.HandleFunc("/api/v1/labels", s.labelNames)
	mux.HandleFunc("/api/v1/label/{name}/values", s.labelValues)
	mux.HandleFunc("GET /api/v1/rules", s.rules)
	mux.HandleFunc("GET /api/v1/metadata", s.metadata)
	mux.HandleFunc("GET /api/v1/status/buildinfo", s.buildinfo)
	mux.HandleFunc("GET /api/v1/status/runtimeinfo", s.runtimeinfo)
	mux.HandleFunc("GET /api/v1/status/flags", s.flags)
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

func answer(w http.ResponseWriter, data any, warnings, infos []string) {
	body := map[string]any{"status": "success", "data": data}
	if len(warnings) > 0 {
		body["warnings"] = warnings
	}
	if len(infos) > 0 {
		body["infos"] = infos
	}
	reply(w, http.StatusOK, body)
}

func refuse(w http.ResponseWriter, code int, kind string, err error) {
	reply(w, code, map[string]any{"status": "error", "errorType": kind, "error": err.Error()})
}

func badData(w http.ResponseWriter, err error) { refuse(w, http.StatusBadRequest, "bad_data", err) }

func badParameter(w http.ResponseWriter, name string, err error) {
	badData(w, fmt.Errorf("invalid parameter %q: %w", name, err))
}

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

// limit reads the limit parameter; 0 is none.
func limit(r *http.Request) (int, error) {
	v := r.FormValue("limit")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err == nil && n < 0 {
		err = errors.New("limit must be non-negative")
	}
	return n, err
}

const truncated = "results truncated due to limit"

func (s *server) query(w http.ResponseWriter, r *http.Request) {
	ts, err := at(r.FormValue("time"), s.opt.Now())
	if err != nil {
		badParameter(w, "time", fmt.Errorf("invalid time value for 'time': %w", err))
		return
	}
	q, err := s.engine.NewInstantQuery(r.Context(), s.store, nil, r.FormValue("query"), ts)
	s.run(w, r, q, err)
}

func (s *server) queryRange(w http.ResponseWriter, r *http.Request) {
	var times [2]time.Time
	for i, name := range []string{"start", "end"} {
		v := r.FormValue(name)
		if v == "" {
			badParameter(w, name, errors.New(`cannot parse "" to a valid timestamp`))
			return
		}
		var err error
		if times[i], err = at(v, time.Time{}); err != nil {
			badParameter(w, name, err)
			return
		}
	}
	start, end := times[0], times[1]
	if end.Before(start) {
		badParameter(w, "end", errors.New("end timestamp must not be before start time"))
		return
	}
	step, err := duration(r.FormValue("step"))
	if err == nil && step <= 0 {
		err = errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer")
	}
	if err != nil {
		badParameter(w, "step", err)
		return
	}
	if end.Sub(start)/step > maxSteps {
		badData(w, errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"))
		return
	}
	q, err := s.engine.NewRangeQuery(r.Context(), s.store, nil, r.FormValue("query"), start, end, step)
	s.run(w, r, q, err)
}

func (s *server) run(w http.ResponseWriter, r *http.Request, q promql.Query, err error) {
	if err != nil {
		badParameter(w, "query", err)
		return
	}
	defer q.Close()
	most, err := limit(r)
	if err != nil {
		badParameter(w, "limit", err)
		return
	}
	res := q.Exec(r.Context())
	if res.Err != nil {
		var timeout promql.ErrQueryTimeout
		if errors.As(res.Err, &timeout) {
			refuse(w, http.StatusServiceUnavailable, "timeout", res.Err)
			return
		}
		refuse(w, http.StatusUnprocessableEntity, "execution", res.Err)
		return
	}
	warnings, infos := res.Warnings.AsStrings(r.FormValue("query"), 10, 10)
	var result any = res.Value
	cut := false
	switch v := res.Value.(type) { // an empty list, as Prometheus writes it, not null
	case promql.Matrix:
		v, cut = first(v, most)
		result = append(promql.Matrix{}, v...)
	case promql.Vector:
		v, cut = first(v, most)
		result = append(promql.Vector{}, v...)
	}
	if cut {
		warnings = append(warnings, truncated)
	}
	data := map[string]any{"resultType": res.Value.Type(), "result": result}
	if r.FormValue("stats") != "" {
		data["stats"] = stats.NewQueryStats(q.Stats())
	}
	answer(w, data, warnings, infos)
}

// first returns the first n elements, all for 0, and whether any were left out.
func first[S ~[]E, E any](s S, n int) (S, bool) {
	if n > 0 && len(s) > n {
		return s[:n], true
	}
	return s, false
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

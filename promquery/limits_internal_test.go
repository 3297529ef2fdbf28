package promquery

import "testing"

// TestLimits: how servers say "too much", and how the question is divided then.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		status     int
		kind, text string
		want       limit
	}{
		{422, "execution", "query processing would load too many samples into memory in query execution", timeFirst},
		{422, "cost_limit", "query would read too many samples in query execution", timeFirst},
		{400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)", spanTooLong},
		{503, "timeout", "query timed out in expression evaluation", timeFirst},
		{503, "unavailable", "TSDB not ready", noLimit},
		{422, "execution", "expanding series: rpc error: exceeded series limit: limit 100 violated (got 101)", valuesFirst},
		{422, "execution", "exceeded chunks limit: rpc error: code = Code(422) desc = limit 2 violated (got 3)", timeFirst},
		{500, "internal", "preload chunks: exceeded bytes limit while fetching chunks: limit 1 violated (got 2)", timeFirst},
		{422, "execution", "expanded matching posting: fetch and expand postings: exceeded bytes limit while fetching postings", textTooLong},
		{422, "execution", "expanded matching posting: context canceled", noLimit},
		{422, "execution", "the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query)", timeFirst},
		{422, "execution", "the query exceeded the maximum number of series (limit: 3 series) (err-mimir-max-series-per-query)", valuesFirst},
		{422, "execution", "(err-mimir-max-estimated-memory-consumption-per-query)", timeFirst},
		{422, "bad_data", "the query time range exceeds the limit (query length: 1h0m0s, limit: 1m0s) (err-mimir-max-query-length)", spanTooLong},
		{400, "bad_data", "the query expression is too long (err-mimir-max-query-expression-size-bytes)", textTooLong},
		{422, "execution", "the query hit the max number of chunks limit while fetching chunks from ingesters", timeFirst},
		{422, "422", "cannot select more than -search.maxSamplesPerQuery=1000 samples; possible solutions: to increase", timeFirst},
		{422, "422", "the number of matching timeseries exceeds 300000; either narrow down the search", valuesFirst},
		{422, "422", "the number of matching unique timeseries exceeds 300000", valuesFirst},
		{422, "422", "too long query; got 20000 bytes; mustn't exceed `-search.maxQueryLen=16384` bytes", textTooLong},
		{422, "422", "too many points for the given step=1, start=1 and end=2: 3; cannot exceed -search.maxPointsPerTimeseries=1", spanTooLong},
		{413, "", "<html>", textTooLong},
		{414, "", "", textTooLong},
		{431, "", "", textTooLong},
		{400, "bad_data", "parse error: unexpected end of input", noLimit},
		{401, "", "too many samples", noLimit},
		{429, "", "too many samples", noLimit},
		{422, "execution", "many-to-many matching not allowed", noLimit},
	} {
		if got := limitOf(refusal{status: c.status, kind: c.kind, text: c.text}); got != c.want {
			t.Errorf("%d %s %q: %d, want %d", c.status, c.kind, c.text, got, c.want)
		}
	}
}

// A server's words are shown in one line, without what a terminal obeys.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " a \t b\r\n\nc ": "a b c", "\x1b[31mred": "\uFFFD[31mred", "a\u202eb": "a\uFFFDb", "\xff": "\uFFFD", "ü": "ü",
		"123456789012": "1234567890…", "12345678ü": "12345678ü", "123456789ü": "123456789…",
	} {
		if got := clean(in, 10); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

package promquery_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/cbops/cbops/promquery"
)

// body is a matrix as Prometheus writes it: counters of circuits, a day at a
// scrape a minute.
func body(series, samples int) string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for i := range series {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metric":{"__name__":"router_circuit_breaker_events_total","event_type":"success","instance":"router-0:9001","job":"router","provider_id":"openai","tenant_id":"t-%04d"},"values":[`, i)
		for j := range samples {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`[` + strconv.FormatInt(start.Unix()+int64(j)*60, 10) + `.` + strconv.Itoa(100+i%900) + `,"` + strconv.Itoa(1000*i+37*j) + `"]`)
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}}`)
	return b.String()
}

// BenchmarkAnswer compares reading one answer of 300 series by 1,440 samples with
// reading the same bytes and dropping them.
func BenchmarkAnswer(b *testing.B) {
	text := body(300, 1440)
	url := server(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	post := func(b *testing.B) io.ReadCloser {
		res, err := http.Post(url+"/api/v1/query", "application/x-www-form-urlencoded", strings.NewReader("query=x"))
		if err != nil {
			b.Fatal(err)
		}
		return res.Body
	}
	b.Run("raw", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			r := post(b)
			if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(text)) {
				b.Fatal(n, err)
			}
			_ = r.Close()
		}
	})
	b.Run("promquery", func(b *testing.B) {
		c := client(b, url)
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			a, err := c.Raw(b.Context(), promquery.Query{Name: "x", Select: metric("x"), From: start, To: start.Add(24*time.Hour - time.Millisecond)}, func(promquery.Series) error { return nil })
			if err != nil || a.Samples != 300*1440 {
				b.Fatal(a.Samples, err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			r := post(b)
			var v struct {
				Data struct {
					Result []struct {
						Metric map[string]string
						Values [][2]any
					}
				}
			}
			if err := json.NewDecoder(r).Decode(&v); err != nil || len(v.Data.Result) != 300 {
				b.Fatal(err)
			}
			_ = r.Close()
		}
	})
	b.Run("client_golang", func(b *testing.B) {
		c, err := api.NewClient(api.Config{Address: url})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, err := v1.NewAPI(c).Query(b.Context(), "x", start); err != nil {
				b.Fatal(err)
			}
		}
	})
}

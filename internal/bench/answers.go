package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/cbops/cbops/promquery"
)

// What is read: raw samples of a fleet, a day a request.
const (
	answerSeries = 3000
	answerDays   = 7
	perDay       = 1440
	answerRuns   = 5   // of raw and promquery; the others are much slower and run once
	cpuGoal      = 3.0 // CPU of cbops' client against dropping the same bodies, at most
)

// readers are the ways to read the same answers, each run in a process of its own,
// so that CPU and memory are its own.
func readers() []string { return []string{"raw", "promquery", "encoding/json", "client_golang"} }

// fleetEnd is the end of a day that is asked for.
func fleetEnd(day int) time.Time { return time.Unix(1_772_928_000+int64(day+1)*86_400, 0) }

// child runs this program as a server or as one reader; it reports whether it was
// asked to.
func child(args []string) (bool, error) {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return true, serveAnswers()
	case len(args) == 3 && args[0] == "read":
		n, err := readAnswers(args[1], args[2])
		if err == nil && n != answerSeries*answerDays*perDay && n >= 0 {
			err = fmt.Errorf("%d samples were read", n)
		}
		return true, err
	case len(args) == 3 && args[0] == "read-fleet":
		return true, readFleetHere(os.Stdout, args[1], args[2])
	}
	return false, nil
}

// serveAnswers answers queries on a free loopback port until its input ends. The
// body is written as Prometheus writes it, with the samples of the day before the
// time that is asked for.
func serveAnswers() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		end, err := strconv.ParseFloat(r.FormValue("time"), 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b := bufio.NewWriterSize(w, 1<<20)
		writeDay(b, int64(end)-86_400)
		_ = b.Flush() // a reader that went away is its own trouble
	})}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println("http://" + l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func writeDay(b *bufio.Writer, from int64) {
	_, _ = b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	var buf []byte
	for i := range answerSeries {
		if i > 0 {
			_ = b.WriteByte(',')
		}
		fmt.Fprintf(b, `{"metric":{"__name__":"router_circuit_breaker_events_total","event_type":"success","instance":"router-0:9001","job":"router","provider_id":"openai","tenant_id":"t-%04d"},"values":[`, i)
		for j := int64(1); j <= perDay; j++ {
			buf = buf[:0]
			if j > 1 {
				buf = append(buf, ',')
			}
			buf = append(buf, '[')
			buf = strconv.AppendInt(buf, from+j*60-1, 10)
			buf = append(buf, '.')
			buf = strconv.AppendInt(buf, int64(100+i%900), 10)
			buf = append(buf, `,"`...)
			buf = strconv.AppendInt(buf, 1000*int64(i)+37*j, 10)
			buf = append(buf, `"]`...)
			_, _ = b.Write(buf)
		}
		_, _ = b.WriteString(`]}`)
	}
	_, _ = b.WriteString(`]}}`)
}

// readAnswers reads all days and returns the number of samples; -1 where the way
// of reading does not see any.
func readAnswers(how, base string) (int, error) {
	ctx := context.Background()
	transport := &http.Transport{DisableCompression: true}
	post := func(day int) (*http.Response, error) {
		form := url.Values{"query": {"x[86400000ms]"}, "time": {strconv.FormatInt(fleetEnd(day).Unix(), 10)}}
		res, err := (&http.Client{Transport: transport}).Post(base+"/api/v1/query", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
		if err == nil && res.StatusCode != http.StatusOK {
			err = errors.New(res.Status)
		}
		return res, err
	}
	switch how {
	case "raw":
		for day := range answerDays {
			res, err := post(day)
			if err != nil {
				return 0, err
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				return 0, err
			}
			_ = res.Body.Close()
		}
		return -1, nil
	case "promquery":
		c, err := promquery.New(promquery.Options{URL: base, Transport: transport})
		if err != nil {
			return 0, err
		}
		a, err := c.Raw(ctx, promquery.Query{Name: "x", Select: []promquery.Match{{Label: "__name__", Values: []string{"x"}}},
			From: fleetEnd(-1).Add(time.Millisecond), To: fleetEnd(answerDays - 1)}, func(promquery.Series) error { return nil })
		if err == nil && a.Requests != answerDays {
			err = fmt.Errorf("%d requests", a.Requests)
		}
		return a.Samples, err
	case "encoding/json":
		n := 0
		for day := range answerDays {
			res, err := post(day)
			if err != nil {
				return 0, err
			}
			var v struct {
				Data struct {
					Result []struct {
						Metric map[string]string
						Values [][2]any
					}
				}
			}
			if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
				return 0, err
			}
			_ = res.Body.Close()
			for _, s := range v.Data.Result {
				n += len(s.Values)
			}
		}
		return n, nil
	case "client_golang":
		c, err := api.NewClient(api.Config{Address: base, RoundTripper: transport})
		if err != nil {
			return 0, err
		}
		n := 0
		for day := range answerDays {
			v, _, _, err := v1.NewAPI(c).Query(ctx, "x[86400000ms]", fleetEnd(day))
			if err != nil {
				return 0, err
			}
			m, ok := v.(model.Matrix)
			if !ok {
				return 0, fmt.Errorf("a %T", v)
			}
			for _, s := range m {
				n += len(s.Values)
			}
		}
		return n, nil
	}
	return 0, fmt.Errorf("no reader %q", how)
}

// usage is what one process took.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes; 0 where the system does not say
}

// compareAnswers prints what reading answers costs.
func compareAnswers(w io.Writer) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, "serve")
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		_ = stdin.Close() // ends it
		if e := server.Wait(); err == nil {
			err = e
		}
	}()
	base, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return err
	}
	best := map[string]usage{}
	for run := range answerRuns { // in turns: a slow moment of the machine falls on both
		for i, how := range readers() {
			if i >= 2 && run > 0 {
				continue
			}
			c := exec.Command(self, "read", how, strings.TrimSpace(base))
			c.Stderr = os.Stderr
			if err := c.Run(); err != nil {
				return fmt.Errorf("reading with %s: %w", how, err)
			}
			u := usage{c.ProcessState.UserTime() + c.ProcessState.SystemTime(), peakMemory(c.ProcessState)}
			if b, ok := best[how]; !ok || u.cpu < b.cpu {
				best[how] = u
			}
		}
	}
	fmt.Fprintf(w, "\nAnswers of Prometheus: %d series by %d days at a scrape a minute, %d million samples,\n  from another process by loopback; CPU of a whole process, the least of\n  %d runs in turns (encoding/json and client_golang: 1 run)\n\n",
		answerSeries, answerDays, answerSeries*answerDays*perDay/1_000_000, answerRuns)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  reader\tCPU s\tagainst raw\tpeak MiB")
	for _, how := range readers() {
		u := best[how]
		peak := "not measured"
		if u.peak > 0 {
			peak = fmt.Sprintf("%.0f", float64(u.peak)/(1<<20))
		}
		fmt.Fprintf(t, "  %s\t%.2f\t%.2fx\t%s\n", how, u.cpu.Seconds(), u.cpu.Seconds()/best["raw"].cpu.Seconds(), peak)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	ratio := best["promquery"].cpu.Seconds() / best["raw"].cpu.Seconds()
	said := "goal met"
	if ratio > cpuGoal {
		said = "goal not met"
	}
	fmt.Fprintf(w, "\n  promquery: %.2fx of reading and dropping the same bodies, at most %.1fx wanted: %s\n", ratio, cpuGoal, said)
	fmt.Fprint(w, "  It decodes every sample, orders and checks it, and takes a SHA-256 over all; raw does none of that.\n")
	return nil
}

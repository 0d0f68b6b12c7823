package pinsvcapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// streaming adds GET /stream, which sends "begin", then what f does.
func streaming(f streamFunc) func(*setup) {
	handle := func(*API, *request, *http.Request) (response, error) {
		return response{status: http.StatusOK, contentType: "text/plain", stream: func(ctx context.Context, w *streamWriter) error {
			if _, err := io.WriteString(w, "begin\n"); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			return f(ctx, w)
		}}, nil
	}
	return func(set *setup) {
		set.opts.endpoints = []endpoint{{"stream", http.MethodGet, "/stream", policy{scope: scopeNone, streams: true}, handle}}
	}
}

// untilDrained streams until the context ends, and then says why.
func untilDrained(ctx context.Context, w *streamWriter) error {
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errDraining) {
		return ctx.Err()
	}
	_, err := io.WriteString(w, "end\n")
	return err
}

// openStream returns the body of GET /stream after its first line.
func (s *service) openStream() (*bufio.Reader, io.Closer) {
	s.t.Helper()
	resp, err := s.client.Get(s.url + "/stream")
	if err != nil {
		s.t.Fatal(err)
	}
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "begin\n" || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %q, %v", resp.Status, line, err)
	}
	return body, resp.Body
}

// A daemon shuts the API down when it gets SIGTERM; so does this test.
func TestSendStream_100OpenStreamsEndWithTheDrain(t *testing.T) {
	terminated, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	s := start(t, streaming(untilDrained), func(set *setup) { set.cfg.ShutdownTimeout = time.Minute })
	const n = 100
	ends := make(chan string, n)
	for range n {
		body, closer := s.openStream()
		go func() {
			defer closer.Close()
			rest, err := io.ReadAll(body)
			ends <- fmt.Sprintf("%q %v", rest, err)
		}()
	}
	if got := counts(t, s.metrics)["streams_open stream"]; got != n {
		t.Errorf("%v streams are open, want %d", got, n)
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-terminated.Done()
	begin := time.Now()
	s.shutdown(context.Background())
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Shutdown took %v", took)
	}
	for range n {
		if got, want := <-ends, fmt.Sprintf("%q %v", "end\n", nil); got != want {
			t.Fatalf("a stream ended with %s, want %s", got, want)
		}
	}
	got := counts(t, s.metrics)
	for name, want := range map[string]float64{
		"streams_open stream": 0, "stream_duration_seconds stream": n, "requests_in_flight": 0, "requests_total 200 GET stream": n,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestSendStream_OverHTTP2AndLibp2p(t *testing.T) {
	h := newHost(t)
	plain := start(t, streaming(untilDrained), func(set *setup) { set.opts.Host = h })
	over(t, plain)
	secure, files := startTLS(t, streaming(untilDrained))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: files.pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	secure.client.Transport = transport
	for name, s := range map[string]*service{"libp2p": plain, "HTTP/2": secure} {
		const n = 5
		ends := make(chan string, n)
		for range n {
			body, closer := s.openStream()
			go func() {
				defer closer.Close()
				rest, err := io.ReadAll(body)
				ends <- fmt.Sprintf("%q %v", rest, err)
			}()
		}
		s.shutdown(context.Background())
		for range n {
			if got, want := <-ends, fmt.Sprintf("%q %v", "end\n", nil); got != want {
				t.Errorf("%s: a stream ended with %s, want %s", name, got, want)
			}
		}
	}
}

// Hours of a stream in the histogram of latencies would be an alert for
// nothing.
func TestMetrics_LengthOfAStreamIsNoLatency(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, streaming(untilDrained), func(set *setup) { set.cfg.HTTPLogFile = path })
	body, closer := s.openStream()
	defer closer.Close()
	const lasted = 300 * time.Millisecond
	<-time.After(lasted) // The length of the stream is what is measured.
	s.shutdown(context.Background())
	if _, err := io.ReadAll(body); err != nil {
		t.Error(err)
	}
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.Metric {
			sums[family.GetName()] += m.GetHistogram().GetSampleSum()
		}
	}
	if got := sums["pinsvcapi_request_duration_seconds"]; got >= lasted.Seconds() {
		t.Errorf("the latency is %v s", got)
	}
	if got := sums["pinsvcapi_stream_duration_seconds"]; got < lasted.Seconds() {
		t.Errorf("the stream lasted %v s", got)
	}
	if got, raw := events(t, path); len(got) != 1 || !got[0].Streamed || got[0].DurationMS < float64(lasted.Milliseconds()) || got[0].Bytes != 10 || got[0].Error != "" {
		t.Errorf("events:\n%s", raw)
	}
}

func TestSendStream_FailureAbortsTheConnection(t *testing.T) {
	tests := map[string]streamFunc{
		"error": func(context.Context, *streamWriter) error { return errors.New("the disk is gone") },
		"panic": func(context.Context, *streamWriter) error { panic("the disk is gone") },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			s := start(t, streaming(f), func(set *setup) { set.cfg.HTTPLogFile = path })
			body, closer := s.openStream()
			defer closer.Close()
			if rest, err := io.ReadAll(body); err == nil {
				t.Errorf("the stream seems complete: %q", rest)
			}
			s.shutdown(context.Background())
			if got, raw := events(t, path); len(got) != 1 || !strings.Contains(got[0].Error, "the disk is gone") {
				t.Errorf("events:\n%s", raw)
			}
		})
	}
}

func TestSendStream_ClientThatLeavesEndsIt(t *testing.T) {
	ended := make(chan error, 1)
	s := start(t, streaming(func(ctx context.Context, _ *streamWriter) error {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return ctx.Err()
	}))
	_, closer := s.openStream()
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; errors.Is(err, errDraining) || err == nil {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestHandle_StreamThatThePolicyDoesNotAllowIs500(t *testing.T) {
	s := start(t, streaming(untilDrained), func(set *setup) { set.opts.endpoints[0].policy.streams = false })
	resp, err := s.client.Get(s.url + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("%s", resp.Status)
	}
}

// Each write has a time limit of its own, and write_timeout does not end a
// stream.
func TestStreamWriter_ClientThatDoesNotReadEndsIt(t *testing.T) {
	var once sync.Once
	failed := make(chan error, 1)
	s := start(t, streaming(func(ctx context.Context, w *streamWriter) error {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				once.Do(func() { failed <- err })
				return err
			}
		}
	}), func(set *setup) {
		set.opts.writeGrace = 50 * time.Millisecond
		set.cfg.WriteTimeout = time.Hour
	})
	_, _ = dialRaw(t, s, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
	err := <-failed
	if nerr, ok := errors.AsType[net.Error](err); !ok || !nerr.Timeout() {
		t.Errorf("the write failed with %v", err)
	}
}

// The time limit of a write ends neither the next one nor the stream.
func TestStreamWriter_OutlivesItsTimeLimits(t *testing.T) {
	const limit = 100 * time.Millisecond
	s := start(t, streaming(func(ctx context.Context, w *streamWriter) error {
		for range 6 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(limit):
			}
			if _, err := io.WriteString(w, "x"); err != nil {
				return err
			}
		}
		return nil
	}), func(set *setup) { set.cfg.WriteTimeout, set.opts.writeGrace = limit, 4*limit })
	body, closer := s.openStream()
	defer closer.Close()
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "xxxxxx" {
		t.Errorf("%q, %v", rest, err)
	}
}

package pinsvcapi

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// refuses waits until the address takes no more connections.
func refuses(t *testing.T, addr string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Errorf("%s still takes connections", addr)
}

func TestShutdown_LetsRequestsFinish(t *testing.T) {
	s := start(t)
	g := newGate(s)
	status := s.inBackground()
	<-g.entered
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(context.Background())
	}()
	refuses(t, s.api.HTTPAddresses()[0])
	select {
	case <-done:
		t.Error("Shutdown did not wait")
	default:
	}
	if s.backend.Closed() != 0 {
		t.Error("the backend was closed under a request")
	}
	close(g.open)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request got %d", got)
	}
	<-done
	if s.backend.Closed() != 1 {
		t.Errorf("the backend was closed %d times", s.backend.Closed())
	}
}

func TestShutdown_CutsOffRequestsThatDoNotFinish(t *testing.T) {
	tests := []struct {
		name  string
		limit time.Duration
		ctx   func() (context.Context, context.CancelFunc)
	}{
		{"at shutdown_timeout", 50 * time.Millisecond, func() (context.Context, context.CancelFunc) {
			return context.WithCancel(context.Background())
		}},
		{"at once with shutdown_timeout 0s", 0, func() (context.Context, context.CancelFunc) {
			return context.WithCancel(context.Background())
		}},
		{"when its context ends", time.Hour, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 50*time.Millisecond)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, func(set *setup) { set.cfg.ShutdownTimeout = tt.limit })
			g := newGate(s)
			status := s.inBackground()
			<-g.entered
			ctx, cancel := tt.ctx()
			defer cancel()
			s.shutdown(ctx)
			if got := <-status; got == http.StatusOK {
				t.Error("the request succeeded")
			}
			if s.backend.Closed() != 1 {
				t.Errorf("the backend was closed %d times", s.backend.Closed())
			}
		})
	}
}

// Upstream returns while handlers are still in RPC.
func TestShutdown_BackendIsNotClosedUnderARequestThatWasCutOff(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.ShutdownTimeout = 0 })
	entered := make(chan struct{})
	closedUnder := make(chan int, 1)
	s.backend.before = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		// Whoever does not wait for this handler has time to show it.
		<-time.After(20 * time.Millisecond)
		closedUnder <- s.backend.Closed()
		return ctx.Err()
	}
	status := s.inBackground()
	<-entered
	s.shutdown(context.Background())
	<-status
	if n := <-closedUnder; n != 0 {
		t.Error("the backend was closed under a request")
	}
}

func TestWaitCounter_WaitIsBounded(t *testing.T) {
	var c waitCounter
	c.add(2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if left := c.wait(ended); left != 2 {
		t.Errorf("%d are left, want 2", left)
	}
	done := make(chan int)
	go func() { done <- c.wait(t.Context()) }()
	c.add(-1)
	c.add(-1)
	if left := <-done; left != 0 {
		t.Errorf("%d are left, want 0", left)
	}
}

func TestShutdown_MayBeCalledAnyNumberOfTimes(t *testing.T) {
	s := start(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { s.shutdown(context.Background()) })
	}
	wg.Wait()
	s.shutdown(context.Background())
	if s.backend.Closed() != 1 {
		t.Errorf("the backend was closed %d times", s.backend.Closed())
	}
}

func TestShutdown_WithoutAClient(t *testing.T) {
	s := startUnready(t)
	s.shutdown(context.Background())
	s.api.SetClient(nil)
	if s.api.backend.Load() != nil {
		t.Error("a backend was made after the shutdown, and nobody closes it")
	}
}

// They are not the fault of the client.
func TestShutdown_RequestsThatAreCutOffAreNotLoggedAsClientGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile, set.cfg.ShutdownTimeout = path, 0 })
	g := newGate(s)
	status := s.inBackground()
	<-g.entered
	s.shutdown(context.Background())
	<-status
	got, raw := events(t, path)
	if len(got) != 1 || got[0].Status != http.StatusServiceUnavailable || got[0].Reason != "SERVICE_UNAVAILABLE" ||
		!strings.Contains(got[0].Error, "shutting down") {
		t.Errorf("events:\n%s", raw)
	}
}

// Nor is a body that the shutdown did not let the client send.
func TestShutdown_RequestsThatAreCutOffInTheirBodyAreNotBadRequests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile, set.cfg.ShutdownTimeout = path, 0 })
	conn, _ := dialRaw(t, s, "POST /pins HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"+
		"Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\n"+
		"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n")
	// The server asks for the body when the handler begins to read it.
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	s.shutdown(context.Background())
	got, raw := events(t, path)
	if len(got) != 1 || got[0].Status != http.StatusServiceUnavailable || got[0].Reason != "SERVICE_UNAVAILABLE" ||
		!strings.Contains(got[0].Error, "shutting down") {
		t.Errorf("events:\n%s", raw)
	}
}

package pinsvcapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// unavailableButHealth wants every route but /health to say 503.
func (s *service) unavailableButHealth(details string) {
	s.t.Helper()
	for _, e := range endpoints() {
		path := strings.ReplaceAll(e.path, "{requestid}", someCID(1).String())
		text := ""
		if strings.HasPrefix(path, "/pins") && e.method == http.MethodPost {
			text = body(1, "")
		}
		rep := s.do(e.method, path, text)
		if e.path == "/health" {
			rep.is(http.StatusOK)
			continue
		}
		rep.fails(503, "SERVICE_UNAVAILABLE", details)
		if rep.header.Get("Retry-After") == "" {
			s.t.Errorf("%s %s has no Retry-After", e.method, path)
		}
	}
}

// Upstream answers an empty list, and takes pins with IPFS down.
func TestBeforeThePeerIsReadyEveryRouteButHealthIs503(t *testing.T) {
	s := startUnready(t)
	s.unavailableButHealth("the peer is starting")
	s.backend.SetReady(pinsvc.Errorf(pinsvc.KindUnavailable, "no quorum yet"))
	s.api.SetClient(nil)
	s.unavailableButHealth("no quorum yet")
	s.backend.SetReady(errors.New("secret"))
	s.unavailableButHealth("the peer is not ready")
	s.backend.SetReady(nil)
	s.do(http.MethodPost, "/pins", body(1, "")).is(http.StatusAccepted)
	s.do(http.MethodGet, "/ready", "", anonymous).is(http.StatusOK)
}

func TestReadySaysWhatIsAway(t *testing.T) {
	s := start(t)
	s.backend.SetHealth(pinsvc.Errorf(pinsvc.KindUnavailable, "the IPFS node is away"))
	s.do(http.MethodGet, "/ready", "", anonymous).fails(503, "SERVICE_UNAVAILABLE", "the IPFS node is away")
	s.do(http.MethodGet, "/health", "", anonymous).is(http.StatusOK)
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
	s.backend.SetHealth(errors.New("secret address"))
	rep := s.do(http.MethodGet, "/ready", "", anonymous)
	rep.fails(503, "SERVICE_UNAVAILABLE", "away")
	if strings.Contains(string(rep.body), "secret") {
		t.Errorf("the cause is told: %s", rep.body)
	}
}

// gate makes every request of the backend wait until it is opened.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate(s *service) gate {
	g := gate{entered: make(chan struct{}, 100), open: make(chan struct{})}
	s.backend.before = func(ctx context.Context) error {
		g.entered <- struct{}{}
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return pinsvc.Wrap(pinsvc.KindUnavailable, ctx.Err(), "given up")
		}
	}
	return g
}

// inBackground sends a GET /pins and tells its status, zero for none.
func (s *service) inBackground() <-chan int {
	statuses := make(chan int, 1)
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/pins", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(testUser, testPassword)
	go func() {
		resp, err := s.client.Do(r)
		if err != nil {
			statuses <- 0
			return
		}
		resp.Body.Close()
		statuses <- resp.StatusCode
	}()
	return statuses
}

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

func TestShutdownLetsRunningRequestsFinish(t *testing.T) {
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
		t.Error("the backend was closed under a running request")
	}
	close(g.open)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the running request got %d", got)
	}
	<-done
	if s.backend.Closed() != 1 {
		t.Errorf("the backend was closed %d times", s.backend.Closed())
	}
}

func TestShutdownCutsOffWhatDoesNotFinish(t *testing.T) {
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
				t.Error("the request was answered")
			}
			if s.backend.Closed() != 1 {
				t.Errorf("the backend was closed %d times", s.backend.Closed())
			}
		})
	}
}

// Upstream returns while handlers are still in RPC.
func TestTheBackendIsNotClosedUnderARequestThatWasCutOff(t *testing.T) {
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
		t.Error("the backend was closed under a running request")
	}
}

func TestShutdownDoesNotWaitForConnectionsThatSayNothing(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.ShutdownTimeout = time.Hour })
	_, answer := dialRaw(t, s, "")
	// Served after the silent one was accepted, so that one is known.
	s.do(http.MethodGet, "/health", "").is(http.StatusOK)
	s.client.CloseIdleConnections()
	begin := time.Now()
	s.shutdown(context.Background())
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("Shutdown took %v", took)
	}
	closed(t, answer)
}

func TestWaitingForRequestsIsBounded(t *testing.T) {
	var c running
	c.add(2)
	if left := c.wait(time.Millisecond); left != 2 {
		t.Errorf("%d are left, want 2", left)
	}
	done := make(chan int)
	go func() { done <- c.wait(time.Hour) }()
	c.add(-1)
	c.add(-1)
	if left := <-done; left != 0 {
		t.Errorf("%d are left, want 0", left)
	}
}

func TestShutdownMayBeCalledAnyNumberOfTimes(t *testing.T) {
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

func TestShutdownWithoutAClient(t *testing.T) {
	s := startUnready(t)
	s.shutdown(context.Background())
	s.api.SetClient(nil)
	if s.api.backend.Load() != nil {
		t.Error("a backend was made after the shutdown, and nobody closes it")
	}
}

func TestASecondClientIsNotUsed(t *testing.T) {
	made := 0
	s := startUnready(t, func(set *setup) {
		set.opts.NewBackend = func(*rpc.Client) Backend {
			made++
			return set.backend
		}
	})
	s.api.SetClient(nil)
	s.api.SetClient(nil)
	if made != 1 {
		t.Errorf("%d backends", made)
	}
}

// The daemon's context ends with the first signal, before the drain.
func TestTheEndOfTheContextEndsNoRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := startUnready(t)
	s.shutdown(context.Background())
	api, err := NewAPI(ctx, testConfig(t), Options{NewBackend: newBackendFunc(s.backend)})
	if err != nil {
		t.Fatal(err)
	}
	s.api, s.url = api, "http://"+api.HTTPAddresses()[0]
	api.SetClient(nil)
	g := newGate(s)
	status := s.inBackground()
	<-g.entered
	cancel()
	close(g.open)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the running request got %d", got)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	s := start(t)
	s.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			st := s.do(http.MethodPost, "/pins", body(i, `,"name":"many"`)).pinStatus(http.StatusAccepted)
			s.do(http.MethodGet, "/pins/"+st.RequestID, "").is(http.StatusOK)
			s.do(http.MethodGet, "/pins?name=many&limit=5", "").is(http.StatusOK)
			s.do(http.MethodPost, "/pins/"+st.RequestID, body(1000+i, "")).is(http.StatusAccepted)
			s.do(http.MethodDelete, "/pins/"+someCID(1000+i).String(), "").is(http.StatusAccepted)
		})
	}
	wg.Wait()
	if names := s.names(everyStatus); len(names) != 0 {
		t.Errorf("%d pins are left", len(names))
	}
}

// An embedder that says nothing of the backend gets the one over RPC.
func TestTheDefaultBackendAsksTheCluster(t *testing.T) {
	s := startUnready(t, func(set *setup) { set.opts.NewBackend = nil })
	h := newHost(t)
	server := rpc.NewServer(h, "/test")
	s.api.SetClient(rpc.NewClientWithServer(h, "/test", server))
	// No service answers, so the peer is never ready.
	s.unavailableButHealth("")
	s.shutdown(context.Background())
}

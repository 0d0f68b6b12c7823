package pinsvcapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"
)

func TestSetClient_SecondClientIsNotUsed(t *testing.T) {
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
func TestNewAPI_EndOfTheContextEndsNoRequest(t *testing.T) {
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
		t.Errorf("the request got %d", got)
	}
}

func TestAPI_ManyRequestsAtOnce(t *testing.T) {
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
func TestNewAPI_DefaultBackendCallsTheCluster(t *testing.T) {
	s := startUnready(t, func(set *setup) { set.opts.NewBackend = nil })
	h := newHost(t)
	server := rpc.NewServer(h, "/test")
	s.api.SetClient(rpc.NewClientWithServer(h, "/test", server))
	// No RPC service responds, so the peer is never ready.
	s.unavailableButHealth("")
	s.shutdown(context.Background())
}

func TestNewServer_SlowHeadersAreCutOff(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.ReadHeaderTimeout = 50 * time.Millisecond })
	_, reader := dialRaw(t, s, "GET /pins HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	closed(t, reader)
}

func TestNewServer_LargeHeadersAreRefused(t *testing.T) {
	s := start(t)
	_, reader := dialRaw(t, s, "GET /pins HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 20_000))
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// The doc comment of max_header_bytes says what passes: net/http adds 4,096 bytes
// to it.
func TestNewServer_LimitsHeaders(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxHeaderBytes = 4096 })
	for size, want := range map[int]int{7_500: http.StatusOK, 9_000: http.StatusRequestHeaderFieldsTooLarge} {
		head, end := "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Large: ", "\r\n\r\n"
		_, reader := dialRaw(t, s, head+strings.Repeat("a", size-len(head)-len(end))+end)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		if resp.StatusCode != want {
			t.Errorf("%d bytes get %s, want %d", size, resp.Status, want)
		}
		resp.Body.Close()
	}
}

// net/http itself responds to what never becomes a request, in plain text:
// docs/api.md says so.
func TestNewServer_MalformedRequestsGetPlainText(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxHeaderBytes = 4096 })
	for _, tt := range []struct {
		name, request, status string
	}{
		{"large headers", "GET /health HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"no HTTP", "hello\r\n\r\n", "400"},
	} {
		_, reader := dialRaw(t, s, tt.request)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !strings.HasPrefix(resp.Status, tt.status) || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s, %s", tt.name, resp.Status, resp.Header.Get("Content-Type"))
		}
		resp.Body.Close()
		closed(t, reader)
	}
}

package pinsvcapi

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestHandle_PanicIs500WithTheRequestIDOnly(t *testing.T) {
	s := start(t)
	s.backend.before = func(context.Context) error { panic("secret") }
	rep := s.do(http.MethodGet, "/pins", "", header("Origin", "https://app.example"))
	rep.fails(500, "INTERNAL_SERVER_ERROR", "request ID "+rep.header.Get(requestIDHeader))
	if strings.Contains(string(rep.body), "secret") || strings.Contains(string(rep.body), "goroutine") {
		t.Errorf("the client reads the panic: %s", rep.body)
	}
	if rep.header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a page cannot read that")
	}
	s.backend.before = nil
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestHandle_AuthenticationComesBeforeReadinessAndTheBody(t *testing.T) {
	s := startUnready(t)
	s.do(http.MethodPost, "/pins", "x", anonymous).fails(401, "UNAUTHORIZED", "credentials")
	s.do(http.MethodGet, "/x", "", anonymous).fails(401, "UNAUTHORIZED", "credentials")
	s.do(http.MethodPost, "/pins", "x").fails(503, "SERVICE_UNAVAILABLE", "starting")
	s.api.SetClient(nil)
	s.do(http.MethodPost, "/pins", "x").fails(400, "BAD_REQUEST", "JSON")
}

func TestFail_ClientThatLeavesIsNoError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	entered, left := make(chan struct{}), make(chan struct{})
	s.backend.before = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		close(left)
		return pinsvc.Wrap(pinsvc.KindUnavailable, ctx.Err(), "given up")
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/pins", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(testUser, testPassword)
	go func() {
		<-entered
		cancel()
	}()
	if resp, err := s.client.Do(r); err == nil {
		resp.Body.Close()
		t.Error("there was a response")
	}
	<-left
	s.shutdown(context.Background())
	got, raw := events(t, path)
	if len(got) != 1 || got[0].Status != statusClientGone || got[0].Route != "list_pins" {
		t.Errorf("events:\n%s", raw)
	}
}

// unavailableButHealth wants 503 of every route that needs the peer, which are
// all but /health, / and /webui.
func (s *service) unavailableButHealth(details string) {
	s.t.Helper()
	for _, e := range endpoints() {
		path := strings.ReplaceAll(e.path, "{requestid}", someCID(1).String())
		text := ""
		if strings.HasPrefix(path, "/pins") && e.method == http.MethodPost {
			text = body(1, "")
		}
		rep := s.do(e.method, path, text)
		if e.policy.readiness == anyTime {
			rep.is(http.StatusOK)
			continue
		}
		rep.fails(503, "SERVICE_UNAVAILABLE", details)
		if rep.header.Get("Retry-After") == "" {
			s.t.Errorf("%s %s has no Retry-After", e.method, path)
		}
	}
}

// Upstream sends an empty list, and accepts pins with IPFS down.
func TestCheckReady_EveryRouteThatNeedsThePeerIs503(t *testing.T) {
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

// Before there is a backend the peer itself says what it waits for.
func TestCheckReady_SaysWhatTheStartWaitsFor(t *testing.T) {
	var cause atomic.Pointer[string]
	s := startUnready(t, func(set *setup) { set.opts.Starting = func() string { return *cause.Load() } })
	none, full := "", "the disk is full"
	cause.Store(&full)
	s.unavailableButHealth("the peer is starting: the disk is full")
	cause.Store(&none)
	s.unavailableButHealth("the peer is starting")
	s.api.SetClient(nil)
	s.do(http.MethodGet, "/ready", "", anonymous).is(http.StatusOK)
}

// patientBackend is one that is worth waiting for.
type patientBackend struct {
	*scripted
	wait func(context.Context) error
}

func (p *patientBackend) Wait(ctx context.Context) error { return p.wait(ctx) }

// A million pins take some seconds to read; a list that comes meanwhile is not
// refused before it has waited for a moment.
func TestCheckReady_ListsWaitWhileThePinsetIsRead(t *testing.T) {
	reading := &pinsvc.Error{Kind: pinsvc.KindUnavailable, Details: "reading the pinset", RetryAfter: 7e9}
	for name, tt := range map[string]struct {
		waited error
		want   int
	}{"long enough": {nil, http.StatusOK}, "too short": {reading, http.StatusServiceUnavailable}} {
		t.Run(name, func(t *testing.T) {
			waits := 0
			s := startUnready(t, func(set *setup) {
				backend := set.backend
				set.opts.NewBackend = func(*rpc.Client) Backend {
					return &patientBackend{backend, func(context.Context) error {
						waits++
						return tt.waited
					}}
				}
			})
			s.backend.SetReady(reading)
			s.api.SetClient(nil)
			rep := s.do(http.MethodGet, "/pins", "")
			rep.is(tt.want)
			if got := rep.header.Get("Retry-After"); tt.waited != nil && got != "7" {
				t.Errorf("Retry-After %q", got)
			}
			s.do(http.MethodGet, "/ready", "", anonymous).fails(503, "SERVICE_UNAVAILABLE", "reading the pinset")
			s.do(http.MethodGet, "/pins/x", "").fails(503, "SERVICE_UNAVAILABLE", "reading the pinset")
			if waits != 1 {
				t.Errorf("%d requests waited", waits)
			}
		})
	}
}

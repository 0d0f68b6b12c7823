package pinsvcapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opencensus.io/trace"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// nothing is a backend whose responses cost nothing.
type nothing struct{ Backend }

func (nothing) Ready() error { return nil }

func (nothing) Close() {}

func (nothing) List(context.Context, pinsvc.User, pinsvc.Query) (pinsvc.Page, error) {
	return pinsvc.Page{}, nil
}

// BenchmarkMiddleware is what a request costs before and after the backend.
func BenchmarkMiddleware(b *testing.B) {
	cfg := config.NewConfig()
	section := `{"http_listen_multiaddress": "/ip4/127.0.0.1/tcp/0", "basic_auth_credentials": {"alice": "wonderland"}}`
	if err := cfg.LoadJSON([]byte(section)); err != nil {
		b.Fatal(err)
	}
	api, err := NewAPI(b.Context(), cfg, Options{NewBackend: func(*rpc.Client) Backend { return nothing{} }})
	if err != nil {
		b.Fatal(err)
	}
	defer api.Shutdown(context.Background())
	api.SetClient(nil)
	token, err := auth.IssueToken("alice", "wonderland", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/pins?status=pinned&limit=10", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		api.server.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}

// Upstream's defaults fail every one of these.
func TestCrossOrigin_PagesMayUseEveryRouteWithAuthorization(t *testing.T) {
	s := start(t)
	for _, e := range endpoints() {
		path := strings.ReplaceAll(e.path, "{requestid}", "x")
		rep := s.do(http.MethodOptions, path, "", anonymous, header("Origin", origin),
			header("Access-Control-Request-Method", e.method), header("Access-Control-Request-Headers", "authorization,content-type"))
		rep.is(http.StatusNoContent)
		if !slices.Contains([]string{"*", origin}, rep.header.Get("Access-Control-Allow-Origin")) ||
			rep.header.Get("Access-Control-Allow-Methods") != e.method ||
			!strings.Contains(strings.ToLower(rep.header.Get("Access-Control-Allow-Headers")), "authorization") {
			t.Errorf("preflight of %s %s: %v", e.method, path, rep.header)
		}
	}
}

// Upstream sends a 401 without CORS headers, so a page cannot read it.
func TestMiddleware_EveryResponsePassesTheOuterLayers(t *testing.T) {
	s := start(t, func(set *setup) {
		set.cfg.Headers = map[string][]string{"strict-transport-security": {"max-age=1"}, "X-Two": {"a", "b"}, "Content-Type": {"text/html"}}
	})
	s.backend.before = func(context.Context) error { return errors.New("x") }
	tests := []struct {
		name, method, path string
		set                option
		status             int
	}{
		{"a success", "GET", "/health", anonymous, 200},
		{"no credentials", "GET", "/pins", anonymous, 401},
		{"a wrong token", "GET", "/pins", bearer("x"), 401},
		{"no path", "GET", "/x", header("X", "x"), 404},
		{"no method", "DELETE", "/pins", header("X", "x"), 405},
		{"our fault", "GET", "/pins", header("X", "x"), 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rep := s.do(tt.method, tt.path, "", tt.set, header("Origin", origin)).is(tt.status)
			if rep.header.Get("Access-Control-Allow-Origin") == "" {
				t.Error("no CORS headers")
			}
			if rep.header.Get("Strict-Transport-Security") != "max-age=1" || !slices.Equal(rep.header.Values("X-Two"), []string{"a", "b"}) {
				t.Errorf("custom headers are missing: %v", rep.header)
			}
			if rep.header.Get("Content-Type") != "application/json" || rep.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("Content-Type %q, X-Content-Type-Options %q", rep.header.Get("Content-Type"), rep.header.Get("X-Content-Type-Options"))
			}
		})
	}
}

func TestTraceSpan_LeavesResponsesAlone(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.Tracing = true })
	s.do(http.MethodPost, "/pins", body(1, "")).is(202)
	s.do(http.MethodGet, "/x", "").is(404)
}

// A panic above serve is nothing that we know how to make over HTTP.
func TestRecoverPanic_PanicOfMiddlewareIs500(t *testing.T) {
	s := start(t)
	h := s.api.identify(s.api.observe(s.api.recoverPanic(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") }))))
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-done
	}()
	s.url = "http://" + l.Addr().String()
	rep := s.do(http.MethodGet, "/pins", "")
	rep.fails(500, "INTERNAL_SERVER_ERROR", "request ID "+rep.header.Get(requestIDHeader))
}

// The backend makes spans of its own below the request's.
func TestTraceSpan_ReachesTheBackend(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.Tracing = true })
	spans := make(chan *trace.Span, 1)
	s.backend.before = func(ctx context.Context) error {
		spans <- trace.FromContext(ctx)
		return nil
	}
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	s.do(http.MethodPost, "/pins", body(1, ""), header("Traceparent", "00-"+parent+"-00f067aa0ba902b7-01")).is(202)
	span := <-spans
	if span == nil {
		t.Fatal("there is no span")
	}
	// The caller is somebody on the Internet: its trace is linked, not joined.
	if span.SpanContext().TraceID.String() == parent {
		t.Error("a client decides about our traces")
	}
}

func TestIdentify_OneRecorderPerRequest(t *testing.T) {
	s := start(t, func(set *setup) {
		set.cfg.Tracing = false
		set.opts.endpoints = []endpoint{{"wrapped", http.MethodGet, "/wrapped", policy{}, func(_ *API, rq *request, _ *http.Request) (response, error) {
			if _, nested := rq.recorder.ResponseWriter.(*responseRecorder); nested {
				return response{}, errors.New("a recorder in a recorder")
			}
			return response{status: http.StatusNoContent}, nil
		}}}
	})
	if rep := s.undescribed(http.MethodGet, "/wrapped"); rep.status != http.StatusNoContent {
		t.Errorf("%d %s", rep.status, rep.body)
	}
}

package pinsvcapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const origin = "https://app.example"

// Upstream's defaults fail every one of these.
func TestABrowserMayUseEveryRouteWithAuthorization(t *testing.T) {
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
func TestEveryAnswerPassesTheOuterLayers(t *testing.T) {
	s := start(t, func(set *setup) {
		set.cfg.Headers = map[string][]string{"strict-transport-security": {"max-age=1"}, "X-Two": {"a", "b"}, "Content-Type": {"text/html"}}
	})
	s.backend.before = func(context.Context) error { return errors.New("x") }
	tests := []struct {
		name, method, path string
		set                option
		status             int
	}{
		{"an answer", "GET", "/health", anonymous, 200},
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

func TestAuthenticationComesBeforeReadinessAndTheBody(t *testing.T) {
	s := startUnready(t)
	s.do(http.MethodPost, "/pins", "x", anonymous).fails(401, "UNAUTHORIZED", "credentials")
	s.do(http.MethodGet, "/x", "", anonymous).fails(401, "UNAUTHORIZED", "credentials")
	s.do(http.MethodPost, "/pins", "x").fails(503, "SERVICE_UNAVAILABLE", "starting")
	s.api.SetClient(nil)
	s.do(http.MethodPost, "/pins", "x").fails(400, "BAD_REQUEST", "JSON")
}

// events are those of the log file.
func events(t *testing.T, path string) (events []accessEvent, raw string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var event accessEvent
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events = append(events, event)
	}
	return events, string(data)
}

func TestOneAccessEventPerRequestAndNoSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	token := s.token()
	s.do(http.MethodGet, "/pins?name=private", "", bearer(token)).is(200)
	s.do(http.MethodGet, "/pins", "", bearer(token+"x")).is(401)
	s.do(http.MethodGet, "/pins", "", as(testUser, "guessed")).is(401)
	s.do(http.MethodGet, "/pins/x%0ay", "").is(404)
	s.do(http.MethodDelete, "/pins", "").is(405)
	s.do(http.MethodOptions, "/pins", "", header("Origin", origin), header("Access-Control-Request-Method", "GET")).is(204)
	s.backend.before = func(context.Context) error { return errors.New("disk on fire") }
	s.do(http.MethodGet, "/pins", "").is(500)
	s.backend.before = func(context.Context) error { panic("oh no") }
	s.do(http.MethodGet, "/pins", "").is(500)
	s.do(http.MethodGet, "/"+strings.Repeat("x", 3000), "").is(404)
	s.shutdown(context.Background())

	got, raw := events(t, path)
	want := []struct {
		route  string
		status int
		user   string
		err    string
	}{
		{"issue_token", 200, testUser, ""},
		{"list_pins", 200, testUser, ""},
		{"list_pins", 401, "", "the access token is invalid"},
		{"list_pins", 401, "", "password wrong"},
		{"get_pin", 404, testUser, "no pin has"},
		{"other_method", 405, testUser, "takes"},
		{"other_method", 204, "", ""},
		{"list_pins", 500, testUser, "disk on fire"},
		{"list_pins", 500, testUser, "panic: oh no"},
		{"unknown", 404, testUser, "no such path"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d events of %d requests:\n%s", len(got), len(want), raw)
	}
	for i, e := range got {
		w := want[i]
		if e.Route != w.route || e.Status != w.status || e.User != w.user || !strings.Contains(e.Error, w.err) || (w.err == "") != (e.Error == "") {
			t.Errorf("event %d is %+v, want %+v", i, e, w)
		}
		if !isHexID(e.RequestID) || e.Time.IsZero() || e.Remote == "" || e.UserAgent == "" || e.DurationMS < 0 || len(e.Path) > 300 {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	if got[1].TokenID == "" || got[1].Bytes == 0 {
		t.Errorf("event of a token: %+v", got[1])
	}
	for _, secret := range []string{token, "guessed", testPassword, "Basic ", "Bearer ", "private"} {
		if strings.Contains(raw, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestTheLogFileIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	for range 2 {
		s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
		s.do(http.MethodGet, "/health", "").is(200)
		s.shutdown(context.Background())
	}
	if got, raw := events(t, path); len(got) != 2 {
		t.Errorf("%d events:\n%s", len(got), raw)
	}
}

func TestALogFileThatCannotBeOpenedIsAnError(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTPLogFile = filepath.Join(t.TempDir(), "none", "access.log")
	if _, err := NewAPI(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "http_log_file") {
		t.Errorf("NewAPI says %v", err)
	}
}

// Upstream logs them at ERROR.
func TestMistakesOfClientsAreNoErrorsInTheLog(t *testing.T) {
	tests := []struct {
		event accessEvent
		want  zapcore.Level
	}{
		{accessEvent{Status: 200}, zapcore.InfoLevel},
		{accessEvent{Status: 400}, zapcore.InfoLevel},
		{accessEvent{Status: 401}, zapcore.InfoLevel},
		{accessEvent{Status: 404}, zapcore.InfoLevel},
		{accessEvent{Status: 429}, zapcore.InfoLevel},
		{accessEvent{Status: 499, gone: true}, zapcore.InfoLevel},
		{accessEvent{Status: 503}, zapcore.WarnLevel},
		{accessEvent{Status: 500}, zapcore.ErrorLevel},
	}
	for _, tt := range tests {
		if got := tt.event.level(); got != tt.want {
			t.Errorf("status %d is logged at %s, want %s", tt.event.Status, got, tt.want)
		}
	}
}

func TestAClientThatLeavesIsNoError(t *testing.T) {
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
		t.Error("there was an answer")
	}
	<-left
	s.shutdown(context.Background())
	got, raw := events(t, path)
	if len(got) != 1 || got[0].Status != statusClientGone || got[0].Route != "list_pins" {
		t.Errorf("events:\n%s", raw)
	}
}

// counts are the samples of a registry by name and labels.
func counts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.Metric {
			key := strings.TrimPrefix(family.GetName(), "pinsvcapi_")
			for _, label := range m.Label {
				key += " " + label.GetValue()
			}
			counts[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return counts
}

func TestMetricsHaveClosedLabels(t *testing.T) {
	s := start(t)
	for i := range 5 {
		s.do(http.MethodGet, fmt.Sprintf("/pins/%d", i), "").is(404)
		s.do(http.MethodGet, fmt.Sprintf("/random%d", i), "").is(404)
		s.do(fmt.Sprintf("BREW%d", i), "/pins", "").is(405)
	}
	s.do(http.MethodGet, "/pins", "", anonymous).is(401)
	// The client has its answer a moment before it is counted.
	s.shutdown(context.Background())
	want := map[string]float64{
		"requests_total 401 GET list_pins":            1,
		"requests_total 404 GET get_pin":              5,
		"requests_total 404 GET unknown":              5,
		"requests_total 405 other other_method":       5,
		"request_duration_seconds GET list_pins":      1,
		"request_duration_seconds GET get_pin":        5,
		"request_duration_seconds GET unknown":        5,
		"request_duration_seconds other other_method": 5,
		"requests_in_flight":                          0,
	}
	if got := counts(t, s.metrics); !maps.Equal(got, want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
}

func TestTwoAPIsShareARegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		s := start(t, func(set *setup) { set.opts.Registerer = registry })
		s.do(http.MethodGet, "/health", "").is(200)
		s.shutdown(context.Background())
	}
	if got := counts(t, registry)["requests_total 200 GET health"]; got != 2 {
		t.Errorf("%v requests were counted, want 2", got)
	}
	foreign := prometheus.NewRegistry()
	foreign.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "pinsvcapi_requests_total", Help: "another"}))
	if _, err := NewAPI(t.Context(), testConfig(t), Options{Registerer: foreign}); err == nil {
		t.Error("a metric of the same name is no error")
	}
}

func TestTracingLeavesAnswersAlone(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.Tracing = true })
	s.do(http.MethodPost, "/pins", body(1, "")).is(202)
	s.do(http.MethodGet, "/x", "").is(404)
}

// A panic above serve is nothing that we know how to make over HTTP.
func TestThePanicOfALayerIsA500(t *testing.T) {
	s := start(t)
	h := s.api.recoverPanic(s.api.identify(s.api.logAccess(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") }))))
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

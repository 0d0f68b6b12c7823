package pinsvcapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-log/v2"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const somePeer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

// everyStatus lists all pins.
const everyStatus = "limit=1000&status=queued,pinning,pinned,failed"

const origin = "https://app.example"

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

// dialRaw sends bytes as they are and reads what comes until the end.
func dialRaw(t *testing.T, s *service, text string) (conn net.Conn, reader *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.api.HTTPAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// closed wants the server to close the connection.
func closed(t *testing.T, reader *bufio.Reader) {
	t.Helper()
	for {
		if _, err := reader.ReadByte(); err != nil {
			if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
				t.Error("the server keeps the connection")
			}
			return
		}
	}
}

func bearer(token string) option { return header("Authorization", "Bearer "+token) }

func someCID(n int) cid.Cid { return pinsvctest.RawCID(n) }

func body(n int, rest string) string { return `{"cid":"` + someCID(n).String() + `"` + rest + `}` }

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Started by the init of packages that the cluster imports; never ends.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
	)
}

// The suite of pinsvctest is about this package's Backend.
var (
	_ Backend            = pinsvctest.Backend(nil)
	_ pinsvctest.Backend = Backend(nil)
)

const (
	testUser     = "alice"
	testPassword = "correct horse"
)

// scripted is the honest fake with a step before every request, which may
// wait, fail or panic.
type scripted struct {
	*pinsvctest.Fake
	before func(ctx context.Context) error // may be nil
}

func (s *scripted) step(ctx context.Context) error {
	if s.before == nil {
		return nil
	}
	return s.before(ctx)
}

func (s *scripted) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	if err := s.step(ctx); err != nil {
		return pinsvc.Page{}, err
	}
	return s.Fake.List(ctx, user, q)
}

func (s *scripted) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := s.step(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	return s.Fake.Add(ctx, user, pin)
}

func (s *scripted) Get(ctx context.Context, user pinsvc.User, id string) (pinsvc.PinStatus, error) {
	if err := s.step(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	return s.Fake.Get(ctx, user, id)
}

// service is an API that serves on loopback, and a client of it.
type service struct {
	t       *testing.T
	api     *API
	backend *scripted
	metrics *prometheus.Registry
	client  *http.Client
	url     string
}

// setup is what a test may change before the service starts.
type setup struct {
	cfg     *config.Config
	opts    *Options
	backend *scripted
}

// testConfig is the default configuration on one free port of loopback, with
// one user.
func testConfig(t testing.TB) *config.Config {
	t.Helper()
	cfg := config.NewConfig()
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0")
	cfg.BasicAuthCredentials = map[string]string{testUser: testPassword, "bob": "hunter2"}
	return cfg
}

func addrs(t testing.TB, texts ...string) []multiaddr.Multiaddr {
	t.Helper()
	var addrs []multiaddr.Multiaddr
	for _, text := range texts {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// startUnready starts a service that has no client yet.
func startUnready(t *testing.T, change ...func(*setup)) *service {
	t.Helper()
	s := &service{t: t, backend: &scripted{Fake: pinsvctest.NewFake()}, metrics: prometheus.NewRegistry()}
	set := setup{cfg: testConfig(t), backend: s.backend, opts: &Options{
		NewBackend: func(*rpc.Client) Backend { return s.backend },
		Registerer: s.metrics,
		Version:    "1.2.3",
	}}
	for _, c := range change {
		c(&set)
	}
	api, err := NewAPI(t.Context(), set.cfg, *set.opts)
	if err != nil {
		t.Fatal(err)
	}
	s.api = api
	transport := &http.Transport{}
	s.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	if addrs := api.HTTPAddresses(); len(addrs) > 0 {
		s.url = "http://" + addrs[0]
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.shutdown(context.Background())
	})
	return s
}

// start starts a service that is ready.
func start(t *testing.T, change ...func(*setup)) *service {
	t.Helper()
	s := startUnready(t, change...)
	s.api.SetClient(nil)
	return s
}

func (s *service) shutdown(ctx context.Context) {
	s.t.Helper()
	if err := s.api.Shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
	}
}

// reply is a response as a client sees it.
type reply struct {
	t      *testing.T
	base   string // base_path of the service
	status int
	header http.Header
	body   []byte
}

// option changes a request.
type option func(*http.Request)

func header(name, value string) option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func as(user, password string) option {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func anonymous(r *http.Request) { r.Header.Del("Authorization") }

// do sends a request as testUser and compares the response with openapi.yaml.
func (s *service) do(method, path, body string, options ...option) reply {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(testUser, testPassword)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, change := range options {
		change(r)
	}
	return s.send(r)
}

func (s *service) send(r *http.Request) reply {
	s.t.Helper()
	rep := s.receive(r)
	rep.checkContract(r)
	return rep
}

// receive sends a request as it is.
func (s *service) receive(r *http.Request) reply {
	s.t.Helper()
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return reply{t: s.t, base: s.api.cfg.BasePath, status: resp.StatusCode, header: resp.Header, body: body}
}

// pinID makes a pin and returns its request ID.
func (s *service) pinID(pin pinsvc.Pin) string {
	s.t.Helper()
	st, err := s.backend.Fake.Add(s.t.Context(), testUser, pin)
	if err != nil {
		s.t.Fatal(err)
	}
	return st.RequestID
}

// names are of the pins that GET /pins lists.
func (s *service) names(query string) []string {
	s.t.Helper()
	var page pinsvc.PinResults
	s.do(http.MethodGet, "/pins?"+query, "").decode(http.StatusOK, &page)
	names := []string{}
	for _, st := range page.Results {
		names = append(names, st.Pin.Name)
	}
	return names
}

// decode wants that status and one JSON document.
func (rep reply) decode(status int, into any) {
	rep.t.Helper()
	if rep.status != status {
		rep.t.Fatalf("status %d, want %d: %s", rep.status, status, rep.body)
	}
	dec := json.NewDecoder(bytes.NewReader(rep.body))
	if err := dec.Decode(into); err != nil {
		rep.t.Fatalf("%v: %s", err, rep.body)
	}
	if _, err := dec.Token(); err != io.EOF {
		rep.t.Errorf("more than one document: %s", rep.body)
	}
}

// pinStatus wants that status and a PinStatus.
func (rep reply) pinStatus(status int) pinsvc.PinStatus {
	rep.t.Helper()
	var st pinsvc.PinStatus
	rep.decode(status, &st)
	return st
}

// fails wants a failure of that status and reason whose details have a text.
func (rep reply) fails(status int, reason, details string) {
	rep.t.Helper()
	var failure pinsvc.Failure
	rep.decode(status, &failure)
	if failure.Reason != reason || !strings.Contains(failure.Details, details) || failure.Details == "" {
		rep.t.Errorf("failed with %+v, want %s with %q", failure, reason, details)
	}
}

// is wants that status.
func (rep reply) is(status int) reply {
	rep.t.Helper()
	if rep.status != status {
		rep.t.Fatalf("status %d, want %d: %s", rep.status, status, rep.body)
	}
	return rep
}

// newHost is a libp2p host on loopback.
func newHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func newBackendFunc(b Backend) func(*rpc.Client) Backend {
	return func(*rpc.Client) Backend { return b }
}

// userRecorder sends the user of each request.
type userRecorder struct {
	*scripted
	users chan<- pinsvc.User
}

func (w *userRecorder) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	w.users <- user
	return w.scripted.List(ctx, user, q)
}

func (w *userRecorder) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Add(ctx, user, pin)
}

func (w *userRecorder) Get(ctx context.Context, user pinsvc.User, id string) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Get(ctx, user, id)
}

func (w *userRecorder) Replace(ctx context.Context, user pinsvc.User, id string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Replace(ctx, user, id, pin)
}

func (w *userRecorder) Delete(ctx context.Context, user pinsvc.User, id string) error {
	w.users <- user
	return w.scripted.Delete(ctx, user, id)
}

// captureLog returns what f logs.
func captureLog(t *testing.T, f func()) string {
	t.Helper()
	pipe := log.NewPipeReader(log.PipeFormat(log.JSONOutput))
	lines := make(chan string)
	go func() {
		all, _ := io.ReadAll(pipe)
		lines <- string(all)
	}()
	f()
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	return <-lines
}

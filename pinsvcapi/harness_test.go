package pinsvcapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	rpc "github.com/libp2p/go-libp2p-gorpc"
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

// inBackground sends a GET /pins; the channel gets its status, zero for none.
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

var _ Backend = (*pinsvctest.Fake)(nil)

const (
	testUser     = "alice"
	testPassword = "correct horse"
)

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

// quickDrain is for clients on the same machine.
func quickDrain() drainLimits {
	limits := defaultDrainLimits()
	limits.roundTrip = 10 * time.Millisecond
	return limits
}

// startUnready starts a service that has no client yet.
func startUnready(t *testing.T, change ...func(*setup)) *service {
	t.Helper()
	s := &service{t: t, backend: &scripted{Fake: pinsvctest.NewFake()}, metrics: prometheus.NewRegistry()}
	set := setup{cfg: testConfig(t), backend: s.backend, opts: &Options{
		NewBackend: func(*rpc.Client) Backend { return s.backend },
		Registerer: s.metrics,
		Version:    "1.2.3",
		drain:      quickDrain(),
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

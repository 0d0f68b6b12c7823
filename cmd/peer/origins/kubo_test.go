package origins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

// rpcServer is a Kubo that understands every address but those with "quic",
// and reaches every node but those at port 1. It is at port 2 itself.
type rpcServer struct {
	mu       sync.Mutex
	requests [][]string
}

func (s *rpcServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	args := r.URL.Query()["arg"]
	s.mu.Lock()
	s.requests = append(s.requests, args)
	s.mu.Unlock()
	has := func(text string) bool {
		return slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, text) })
	}
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/api/v0/swarm/connect" || len(args) == 0:
		http.NotFound(w, r)
	case has("quic"):
		s.fail(w, fmt.Sprintf("failed to parse multiaddr %q: unknown protocol quic", args[0]))
	case has("/tcp/1/"):
		s.fail(w, "connect X failure: failed to dial: all dials failed\n  * [/ip4/1.2.3.4/tcp/1] refused")
	case has("/tcp/2/"):
		s.fail(w, "connect X failure: failed to dial: dial to self attempted")
	default:
		fmt.Fprint(w, `{"Strings":["connect X success"]}`)
	}
}

// fail writes an error as Kubo does.
func (s *rpcServer) fail(w http.ResponseWriter, message string) {
	w.WriteHeader(http.StatusInternalServerError)
	_ = json.NewEncoder(w).Encode(map[string]any{"Message": message, "Code": 0, "Type": "error"})
}

// at is the address of a server in the form of a configuration.
func at(t *testing.T, addr net.Addr) func() (multiaddr.Multiaddr, error) {
	t.Helper()
	m, err := manet.FromNetAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return func() (multiaddr.Multiaddr, error) { return m, nil }
}

func info(n int, addrs ...string) peer.AddrInfo {
	to := peer.AddrInfo{ID: nodeID(n)}
	for _, addr := range addrs {
		to.Addrs = append(to.Addrs, multiaddr.StringCast(addr))
	}
	return to
}

func TestKubo_Connect(t *testing.T) {
	const good, bad, self, newer = "/ip4/1.2.3.4/tcp/4001", "/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/2", "/ip4/1.2.3.4/udp/4001/quic-v1"
	tests := map[string]struct {
		addrs    []string
		failure  string
		requests int
	}{
		"one request for all addresses":                 {addrs: []string{good, "/ip4/5.6.7.8/tcp/4001"}, requests: 1},
		"a peer ID alone":                               {requests: 1},
		"the IPFS node itself":                          {addrs: []string{self}, requests: 1},
		"unreachable":                                   {addrs: []string{bad}, failure: "all dials failed * [/ip4/1.2.3.4/tcp/1] refused", requests: 1},
		"one address is newer than Kubo":                {addrs: []string{newer, good}, requests: 3},
		"the only address is newer":                     {addrs: []string{newer}, failure: "does not understand", requests: 1},
		"one is newer than Kubo, the other unreachable": {addrs: []string{newer, bad}, failure: "failed to dial", requests: 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			kubo := &rpcServer{}
			server := httptest.NewServer(kubo)
			defer server.Close()
			k := NewKubo(kuborpc.New(at(t, server.Listener.Addr())))
			defer k.Close()
			err := k.Connect(t.Context(), info(1, test.addrs...))
			if (err == nil) != (test.failure == "") || err != nil && !strings.Contains(err.Error(), test.failure) {
				t.Errorf("got %v, want %q", err, test.failure)
			}
			if len(kubo.requests) != test.requests {
				t.Errorf("%d requests, want %d", len(kubo.requests), test.requests)
			}
			for _, arg := range kubo.requests[0] {
				if !strings.HasSuffix(arg, "/p2p/"+nodeID(1).String()) {
					t.Errorf("%s does not name the node", arg)
				}
			}
		})
	}
}

// Kubo's peering subsystem, as its RPC shows it.
func TestKubo_Peering(t *testing.T) {
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, strings.TrimPrefix(r.URL.Path, "/api/v0/swarm/peering/")+" "+strings.Join(r.URL.Query()["arg"], " "))
		if strings.HasSuffix(r.URL.Path, "/ls") {
			fmt.Fprintf(w, `{"Peers":[{"ID":%q,"Addrs":["/ip4/1.2.3.4/tcp/4001"]},{"ID":%q,"Addrs":[]}]}`, nodeID(1), nodeID(2))
		}
	}))
	defer server.Close()
	k := NewKubo(kuborpc.New(at(t, server.Listener.Addr())))
	defer k.Close()
	there, err := k.Peers(t.Context())
	if err != nil || !slices.Equal(there, ids(1, 2)) {
		t.Errorf("got %v, %v", there, err)
	}
	if err := errors.Join(k.AddPeers(t.Context(), ids(3, 4)), k.RemovePeers(t.Context(), ids(3, 4))); err != nil {
		t.Error(err)
	}
	three, four := nodeID(3).String(), nodeID(4).String()
	want := []string{"ls ", "add /p2p/" + three + " /p2p/" + four, "rm " + three + " " + four}
	if !slices.Equal(requests, want) {
		t.Errorf("requests %q, want %q", requests, want)
	}
}

func TestKubo_UnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "rpc"))
	if err != nil {
		t.Fatal(err)
	}
	kubo := &rpcServer{}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: kubo}}
	server.Start()
	defer server.Close()
	k := NewKubo(kuborpc.New(at(t, l.Addr())))
	defer k.Close()
	if err := k.Connect(t.Context(), info(1)); err != nil || len(kubo.requests) != 1 {
		t.Errorf("%v after %d requests", err, len(kubo.requests))
	}
}

// A managed node has no address for a while, and another one later.
func TestKubo_AddressChanges(t *testing.T) {
	notRunning := errors.New("the IPFS node is not running")
	addr := func() (multiaddr.Multiaddr, error) { return nil, notRunning }
	k := NewKubo(kuborpc.New(func() (multiaddr.Multiaddr, error) { return addr() }))
	defer k.Close()
	if err := k.Connect(t.Context(), info(1)); !errors.Is(err, notRunning) {
		t.Errorf("without an address: %v", err)
	}
	for range 2 {
		kubo := &rpcServer{}
		server := httptest.NewServer(kubo)
		addr = at(t, server.Listener.Addr())
		if err := k.Connect(t.Context(), info(1)); err != nil || len(kubo.requests) != 1 {
			t.Errorf("%v after %d requests", err, len(kubo.requests))
		}
		server.Close()
	}
}

func TestKubo_ContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	k := NewKubo(kuborpc.New(at(t, server.Listener.Addr())))
	defer k.Close()
	if err := k.Connect(ctx, info(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Whatever something else than Kubo replies becomes an error.
func TestKubo_OtherReplies(t *testing.T) {
	for body, want := range map[string]string{
		"":                                "502 Bad Gateway",
		"<html>":                          "<html>",
		`{"Message":""}`:                  "502 Bad Gateway",
		`{"Message":"no"}`:                "swarm/connect: no",
		strings.Repeat("x", 1_000_000):    "xxx",
		`{"Message":{"unexpected":true}}`: "unexpected",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, body)
		}))
		k := NewKubo(kuborpc.New(at(t, server.Listener.Addr())))
		err := k.Connect(t.Context(), info(1))
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.20q became %v", body, err)
		}
		k.Close()
		server.Close()
	}
}

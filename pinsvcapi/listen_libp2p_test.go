package pinsvcapi

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"strings"
	"testing"

	p2pcrypto "github.com/libp2p/go-libp2p/core/crypto"

	"github.com/libp2p/go-libp2p"
	p2phttp "github.com/libp2p/go-libp2p-http"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// over makes the client of s speak HTTP over libp2p to the host of its API.
func over(t *testing.T, s *service) {
	t.Helper()
	client := newHost(t)
	server := s.api.Host()
	client.Peerstore().AddAddrs(server.ID(), server.Addrs(), peerstore.PermanentAddrTTL)
	transport := &http.Transport{}
	transport.RegisterProtocol("libp2p", p2phttp.NewTransport(client))
	s.client.Transport, s.url = transport, "libp2p://"+server.ID().String()
}

// exercise makes the requests of a pin's life.
func exercise(s *service) {
	s.t.Helper()
	st := s.do(http.MethodPost, "/pins", body(1, "")).pinStatus(http.StatusAccepted)
	s.do(http.MethodGet, "/pins/"+st.RequestID, "").is(http.StatusOK)
	s.do(http.MethodGet, "/pins", "", anonymous).is(http.StatusUnauthorized)
	s.do(http.MethodDelete, "/pins/"+st.RequestID, "").is(http.StatusAccepted)
}

// ownHost has the API served over a libp2p host of its own alone.
func ownHost(t *testing.T, addr string) func(*setup) {
	t.Helper()
	key, _, err := p2pcrypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return func(set *setup) {
		set.cfg.HTTPListenAddr = nil
		set.cfg.ID, set.cfg.PrivateKey = id, key
		set.cfg.Libp2pListenAddr = addrs(t, addr)
	}
}

func TestListenLibp2p_HostOfItsOwn(t *testing.T) {
	s := start(t, ownHost(t, "/ip4/127.0.0.1/tcp/0"))
	if got, want := s.api.Host().ID(), s.api.cfg.ID; got != want {
		t.Errorf("the host is %s, want %s", got, want)
	}
	over(t, s)
	exercise(s)
	s.shutdown(context.Background())
	if open := s.api.Host().Network().ListenAddresses(); len(open) != 0 {
		t.Errorf("the host still listens on %v", open)
	}
}

func TestListenLibp2p_HostOfTheCaller(t *testing.T) {
	h := newHost(t)
	s := start(t, func(set *setup) { set.opts.Host = h })
	plain := s.url
	over(t, s)
	exercise(s)
	s.client.Transport, s.url = &http.Transport{DisableKeepAlives: true}, plain
	exercise(s)
	s.shutdown(context.Background())
	if open := h.Network().ListenAddresses(); len(open) == 0 {
		t.Error("the caller's host was closed")
	}
}

func TestListenLibp2p_AddressInUseIsAnErrorAndNothingStaysBound(t *testing.T) {
	key, _, err := p2pcrypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	if cfg.ID, err = peer.IDFromPrivateKey(key); err != nil {
		t.Fatal(err)
	}
	cfg.PrivateKey = key
	cfg.HTTPListenAddr = append(cfg.HTTPListenAddr, free(t))
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenAddr, err := manet.FromNetAddr(taken.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Libp2pListenAddr = append(addrs(t, "/ip4/127.0.0.1/tcp/0"), takenAddr)
	_, err = NewAPI(t.Context(), cfg, Options{})
	if err == nil || !strings.Contains(err.Error(), "api.pinsvcapi.libp2p_listen_multiaddress: cannot listen on "+takenAddr.String()) {
		t.Fatalf("NewAPI says %v", err)
	}
	l, err := bind(cfg.HTTPListenAddr[1])
	if err != nil {
		t.Fatalf("the HTTP address stays bound: %v", err)
	}
	l.Close()
}

func TestCheckExposure_HostOnANetworkNeedsUsers(t *testing.T) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(),
		libp2p.AddrsFactory(announce(addrs(t, "/ip4/203.0.113.9/tcp/4001"))))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cfg := testConfig(t)
	cfg.BasicAuthCredentials = nil
	if _, err := NewAPI(t.Context(), cfg, Options{Host: h}); err == nil || !strings.Contains(err.Error(), "allow_unauthenticated") {
		t.Errorf("NewAPI says %v", err)
	}
}

// announce makes a host say that it is at these addresses.
func announce(addrs []multiaddr.Multiaddr) func([]multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return func([]multiaddr.Multiaddr) []multiaddr.Multiaddr { return addrs }
}

package pinsvcapi

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	p2phttp "github.com/libp2p/go-libp2p-http"
	p2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// certificate is self-signed, for 127.0.0.1.
func certificate(t *testing.T, key crypto.Signer) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Upstream's list of ciphers is for RSA alone.
func TestTLSWithRSAAndECDSA(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		key     crypto.Signer
		version uint16
		http2   bool
	}{
		{"RSA, TLS 1.2", rsaKey, tls.VersionTLS12, false},
		{"RSA, TLS 1.3", rsaKey, tls.VersionTLS13, true},
		{"ECDSA, TLS 1.2", ecdsaKey, tls.VersionTLS12, true},
		{"ECDSA, TLS 1.3", ecdsaKey, tls.VersionTLS13, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert, pool := certificate(t, tt.key)
			s := start(t, func(set *setup) {
				set.cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
				set.cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0")
			})
			transport := s.client.Transport.(*http.Transport)
			transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tt.version, MaxVersion: tt.version}
			transport.ForceAttemptHTTP2 = tt.http2
			for _, addr := range s.api.HTTPAddresses() {
				s.url = "https://" + addr
				s.do(http.MethodPost, "/pins", body(1, "")).is(http.StatusAccepted)
				s.do(http.MethodGet, "/pins/"+someCID(1).String(), "").is(http.StatusOK)
				s.do(http.MethodGet, "/pins", "", anonymous).is(http.StatusUnauthorized)
			}
		})
	}
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

func TestHTTPOverAHostOfItsOwn(t *testing.T) {
	key, _, err := p2pcrypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, func(set *setup) {
		set.cfg.HTTPListenAddr = nil
		set.cfg.ID, set.cfg.PrivateKey = id, key
		set.cfg.Libp2pListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0")
	})
	if s.api.Host().ID() != id {
		t.Errorf("the host is %s, want %s", s.api.Host().ID(), id)
	}
	over(t, s)
	exercise(s)
	s.shutdown(context.Background())
	if open := s.api.Host().Network().ListenAddresses(); len(open) != 0 {
		t.Errorf("the host still listens on %v", open)
	}
}

func TestHTTPOverTheHostOfTheCaller(t *testing.T) {
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

func TestALibp2pAddressInUseIsAnErrorAndNothingStaysBound(t *testing.T) {
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

func TestAHostOnANetworkNeedsCredentials(t *testing.T) {
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

package pinsvcapi

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

func hostHeader(name string) option { return func(r *http.Request) { r.Host = name } }

// A page can let its own name resolve to 127.0.0.1 and then call the service
// as its own site (DNS rebinding).
func TestCheckHost_ForeignHostsAreRefusedWithoutUsers(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.BasicAuthCredentials = nil })
	_, port, err := net.SplitHostPort(s.api.HTTPAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example:" + port, "192.168.1.5", "[2001:db8::1]:80", "x"} {
		for _, tt := range []struct{ method, path, body string }{
			{http.MethodPost, "/pins", body(1, "")}, {http.MethodGet, "/pins", ""}, {http.MethodDelete, "/pins/x", ""},
			{http.MethodGet, "/", ""}, {http.MethodGet, "/health", ""}, {http.MethodGet, "/ready", ""}, {http.MethodGet, "/openapi.yaml", ""},
		} {
			s.do(tt.method, tt.path, tt.body, hostHeader(name)).fails(403, "FORBIDDEN", "allow_unauthenticated")
		}
	}
	for _, name := range []string{"localhost", "LOCALHOST:" + port, "localhost.", "127.0.0.1", "127.0.0.1:" + port, "127.1.2.3", "[::1]", "[::1]:" + port} {
		s.do(http.MethodPost, "/pins", body(1, ""), hostHeader(name)).is(http.StatusAccepted)
	}
}

func TestCheckHost_AnyHostWithUsersOrOnPurpose(t *testing.T) {
	for name, change := range map[string]func(*setup){
		"users":                 func(*setup) {},
		"allow_unauthenticated": func(set *setup) { set.cfg.BasicAuthCredentials, set.cfg.AllowUnauthenticated = nil, true },
	} {
		t.Run(name, func(t *testing.T) {
			start(t, change).do(http.MethodPost, "/pins", body(1, ""), hostHeader("pins.example")).is(http.StatusAccepted)
		})
	}
}

func TestCheckHost_UnixSocketsAreExempt(t *testing.T) {
	s := start(t, func(set *setup) {
		set.cfg.BasicAuthCredentials = nil
		set.cfg.HTTPListenAddr = addrs(t, "/unix"+t.TempDir()+"/api.sock")
	})
	path := s.api.HTTPAddresses()[0]
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	s.url = "http://pins.example"
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestCheckHost_Libp2pIsExempt(t *testing.T) {
	s := start(t, func(set *setup) {
		set.cfg.BasicAuthCredentials = nil
		set.opts.Host = newHost(t)
	})
	over(t, s)
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestIsOwnHost_AddressOfTheConnection(t *testing.T) {
	local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.7:9097"))
	for name, want := range map[string]bool{
		"192.0.2.7": true, "192.0.2.7:9097": true, "[::ffff:192.0.2.7]:80": true, "": true,
		"192.0.2.8": false, "host": false, "localhost:": true, "[localhost]": true, "127.0.0.1.": true, "127.0.0.1@evil.example": false,
	} {
		if got := isOwnHost(name, local); got != want {
			t.Errorf("isOwnHost(%q) = %t", name, got)
		}
	}
}

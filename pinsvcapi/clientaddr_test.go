package pinsvcapi

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestClientOf_BehindProxies(t *testing.T) {
	trusted := prefixes("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")
	tests := []struct {
		name, remote string
		header       http.Header
		want         string
		viaProxy     bool
	}{
		{"no proxy", "203.0.113.9:1", nil, "203.0.113.9", false},
		{"a client that pretends to be one", "203.0.113.9:1", http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.1"}}, "203.0.113.9", false},
		{"a proxy without a header", "10.0.0.1:1", nil, "10.0.0.1", true},
		{"one proxy", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, "192.0.2.1", true},
		{"two proxies", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1, 10.0.0.2"}}, "192.0.2.1", true},
		{"two headers", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1", "10.0.0.2"}}, "192.0.2.1", true},
		{"forged on the left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"127.0.0.1, 8.8.8.8, 192.0.2.1, 10.0.0.2"}}, "192.0.2.1", true},
		{"a proxy of somebody else", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1, 198.51.100.7"}}, "198.51.100.7", true},
		{"only proxies", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.0.0.3, 10.0.0.2"}}, "10.0.0.3", true},
		{"with a port", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1:4711"}}, "192.0.2.1", true},
		{"IPv6", "[fd00::1]:1", http.Header{"X-Forwarded-For": {"2001:db8::1"}}, "2001:db8::1", true},
		{"IPv6 in brackets", "[fd00::1]:1", http.Header{"X-Forwarded-For": {"[2001:db8::1]:99"}}, "2001:db8::1", true},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", http.Header{"X-Forwarded-For": {"::ffff:192.0.2.1"}}, "192.0.2.1", true},
		{"no address", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"unknown"}}, "10.0.0.1", true},
		{"no address on the left", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"<script>, 10.0.0.2"}}, "10.0.0.2", true},
		{"empty", "10.0.0.1:1", http.Header{"X-Forwarded-For": {""}}, "10.0.0.1", true},
		{"RFC 7239", "10.0.0.1:1", http.Header{"Forwarded": {`for=192.0.2.1;proto=https, For="10.0.0.2:80"`}}, "192.0.2.1", true},
		{"RFC 7239 with IPv6", "10.0.0.1:1", http.Header{"Forwarded": {`proto=https; for="[2001:db8::1]:4711"`}}, "2001:db8::1", true},
		{"RFC 7239 hidden", "10.0.0.1:1", http.Header{"Forwarded": {"for=_secret, for=10.0.0.2"}}, "10.0.0.2", true},
		{"RFC 7239 without for", "10.0.0.1:1", http.Header{"Forwarded": {"for=192.0.2.1, proto=https"}}, "10.0.0.1", true},
		{"both, the same", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.1"}}, "192.0.2.1", true},
		{"both, one forged", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=8.8.8.8"}}, "10.0.0.1", true},
		{"both, one broken", "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"x"}}, "10.0.0.1", true},
		{"libp2p", somePeer, http.Header{"X-Forwarded-For": {"192.0.2.1"}}, somePeer, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := (&http.Request{RemoteAddr: tt.remote, Header: tt.header}).WithContext(t.Context())
			client, viaProxy := clientOf(r, trusted)
			if client.String() != tt.want || viaProxy != tt.viaProxy {
				t.Errorf("%s, %t, want %s, %t", client, viaProxy, tt.want, tt.viaProxy)
			}
		})
	}
}

func TestClientOf_UnixSocketCountsAsLoopback(t *testing.T) {
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.UnixAddr{Name: "/x.sock", Net: "unix"})
	r := (&http.Request{RemoteAddr: "@", Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}).WithContext(ctx)
	if client, viaProxy := clientOf(r, prefixes("10.0.0.0/8")); client.String() != "unix" || viaProxy {
		t.Errorf("%s, %t", client, viaProxy)
	}
	if client, viaProxy := clientOf(r, prefixes("127.0.0.0/8")); client.String() != "192.0.2.1" || !viaProxy {
		t.Errorf("%s, %t", client, viaProxy)
	}
}

// Whatever a client writes into its headers, the proxy's own entry decides.
func TestClientOf_ClientsCannotForge(t *testing.T) {
	trusted := prefixes("10.0.0.0/8")
	rapid.Check(t, func(t *rapid.T) {
		forged := rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,40}`), 0, 4).Draw(t, "forged")
		h := http.Header{"X-Forwarded-For": append(forged, "192.0.2.1")}
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: h}
		if client, _ := clientOf(r, trusted); client.String() != "192.0.2.1" {
			t.Fatalf("%q is from %s", h, client)
		}
	})
}

func TestClientAddress_LimitKeyOfIPv6IsItsNetwork(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1::/56", "fe80::1%eth0": "fe80::/56",
	} {
		if got := (clientAddress{ip: netip.MustParseAddr(ip)}).limitKey(); got != want {
			t.Errorf("%s has the key %s, want %s", ip, got, want)
		}
	}
	if got := (clientAddress{other: "unix"}).limitKey(); got != "unix" {
		t.Errorf("a Unix socket has the key %s", got)
	}
}

// Clients behind a proxy that nobody named have limits of their own; a client on
// another machine cannot choose its own.
func TestLimitKeysOf_UnnamedProxyOnThisMachine(t *testing.T) {
	for _, tt := range []struct {
		remote, forwarded string
		want              limitKeys
	}{
		{"127.0.0.1:1", "198.51.100.7, 192.0.2.1", limitKeys{"local proxy, 192.0.2.1", "127.0.0.1"}},
		{"[::1]:1", "2001:db8:1:2::7", limitKeys{"local proxy, 2001:db8:1::/56", "::/56"}},
		{"127.0.0.1:1", "", limitKeys{"127.0.0.1", ""}},
		{"127.0.0.1:1", "unknown", limitKeys{"127.0.0.1", ""}},
		{"192.0.2.9:1", "192.0.2.1", limitKeys{"192.0.2.9", ""}},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		client, viaProxy := clientOf(r, nil)
		if got := limitKeysOf(r, client, viaProxy); got != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

func TestObserve_ClientBehindTheProxyIsInTheEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) {
		set.cfg.HTTPLogFile = path
		set.cfg.TrustedProxies = prefixes("127.0.0.1/32")
	})
	s.do(http.MethodGet, "/pins", "", header("X-Forwarded-For", "8.8.8.8, 192.0.2.1")).is(200)
	s.shutdown(context.Background())
	if got, raw := events(t, path); len(got) != 1 || got[0].Client != "192.0.2.1" || got[0].Remote == "192.0.2.1" {
		t.Errorf("events:\n%s", raw)
	}
}

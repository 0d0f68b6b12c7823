package pinsvcapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Upstream never serves the third.
func TestListen_EveryListenerIsServed(t *testing.T) {
	s := start(t, func(set *setup) {
		set.cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0", "/dns4/localhost/tcp/0", "/unix"+t.TempDir()+"/api.sock")
	})
	bound := s.api.HTTPAddresses()
	if len(bound) != 4 {
		t.Fatalf("bound to %q", bound)
	}
	for _, addr := range bound[:3] {
		s.url = "http://" + addr
		s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
	}
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", bound[3])
	}
	s.url = "http://socket"
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

// free is an address on loopback that nobody listens on.
func free(t *testing.T) multiaddr.Multiaddr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

// Upstream leaks the listeners that were bound before the one that failed.
func TestListen_AddressInUseIsAnErrorAndNothingStaysBound(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenAddr, err := manet.FromNetAddr(taken.Addr())
	if err != nil {
		t.Fatal(err)
	}
	first := free(t)
	cfg := testConfig(t)
	cfg.HTTPListenAddr = []multiaddr.Multiaddr{first, takenAddr}
	_, err = NewAPI(t.Context(), cfg, Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"api.pinsvcapi.http_listen_multiaddress", takenAddr.String(), "in use", "service.json", "CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	_, hostport, err := manet.DialArgs(first)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", hostport)
	if err != nil {
		t.Fatalf("the first address stays bound: %v", err)
	}
	l.Close()
}

func TestListen_NothingToListenOnIsAnError(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTPListenAddr = nil
	if _, err := NewAPI(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "http_listen_multiaddress") {
		t.Errorf("NewAPI says %v", err)
	}
}

// unixAddr is where no socket is yet.
func unixAddr(t *testing.T) (path string, addr multiaddr.Multiaddr) {
	t.Helper()
	path = t.TempDir() + "/api.sock"
	return path, addrs(t, "/unix"+path)[0]
}

// A process that is killed leaves its socket behind.
func TestBind_SocketOfAKilledProcessIsReplaced(t *testing.T) {
	path, addr := unixAddr(t)
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, func(set *setup) { set.cfg.HTTPListenAddr = []multiaddr.Multiaddr{addr} })
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	s.url = "http://socket"
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestBind_SocketOfALiveProcessIsAnError(t *testing.T) {
	path, addr := unixAddr(t)
	alive, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if _, err := bind(addr); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("bind returns %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the socket is gone: %v", err)
	}
	conn.Close()
}

func TestBind_FileThatIsNoSocketIsAnErrorAndStays(t *testing.T) {
	path, addr := unixAddr(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := bind(addr)
	if err == nil || !strings.Contains(err.Error(), "http_listen_multiaddress") ||
		!strings.Contains(err.Error(), path+" is not a socket") || strings.Contains(err.Error(), "another program") {
		t.Errorf("bind returns %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

// A process that does not accept connections at the moment is alive too.
func TestBind_SocketOfABusyProcessIsAnError(t *testing.T) {
	path, addr := unixAddr(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 100 { // Until its queue is full.
		conn, err := net.DialTimeout("unix", path, 100*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	if _, err := bind(addr); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("bind returns %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}

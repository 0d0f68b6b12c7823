package pinsvcapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gostream "github.com/libp2p/go-libp2p-gostream"
	p2phttp "github.com/libp2p/go-libp2p-http"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// errRefused is the error of a request that was not sent, as the client could not connect, or
// that the service has refused.
var errRefused = errors.New("refused")

// asker sends requests one after the other, as one client does. An error that is not
// errRefused is that of a request that was sent.
type asker func() error

// underLoad stops s while clients send, and wants each request that was sent to be
// answered. A client ends when it is refused.
func underLoad(t *testing.T, s *service, clients []asker) {
	t.Helper()
	var answered atomic.Int64
	var all sync.WaitGroup
	for _, ask := range clients {
		all.Go(func() {
			for {
				switch err := ask(); {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, errRefused):
					return
				default:
					t.Errorf("a request that was sent got no answer: %v", err)
					return
				}
			}
		})
	}
	await.True(t, "load", func() bool { return answered.Load() >= int64(4*len(clients)) })
	s.shutdown(context.Background())
	all.Wait()
}

const loadClients = 32

// busy is for clients on a busy machine, none of which is silent.
func busy() func(*setup) {
	return limits(func(d *drainLimits) { d.roundTrip, d.making, d.first = 3*time.Second, time.Minute, time.Minute })
}

// What a client has sent before the listener is closed is answered, also on connections
// that nobody has accepted or read yet.
func TestShutdown_AnswersWhatWasSentBefore(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	s := start(t, busy(), func(set *setup) {
		set.cfg.HTTPListenAddr = append(set.cfg.HTTPListenAddr, addrs(t, "/unix"+socket)...)
	})
	var clients []asker
	for range loadClients / 2 {
		clients = append(clients, each(dialler("tcp", s.api.HTTPAddresses()[0])), each(dialler("unix", socket)))
	}
	underLoad(t, s, clients)
}

// The handshake of TLS takes round trips of its own.
func TestShutdown_AnswersWhatWasSentBeforeOverTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s, files := startTLS(t, busy())
			dial := dialler("tcp", s.api.HTTPAddresses()[0])
			var clients []asker
			for range loadClients {
				clients = append(clients, each(func() (net.Conn, error) {
					conn, err := dial()
					if err != nil {
						return nil, err
					}
					secure := tls.Client(conn, &tls.Config{RootCAs: files.pool, ServerName: "127.0.0.1", MinVersion: version, MaxVersion: version})
					if err := secure.Handshake(); err != nil {
						return nil, fmt.Errorf("the handshake of a connection that was made: %w", err)
					}
					return secure, nil
				}))
			}
			underLoad(t, s, clients)
		})
	}
}

// Clients that keep their connections learn in time that they end.
func TestShutdown_AnswersWhatWasSentOnKeptConnections(t *testing.T) {
	s := start(t, busy())
	var clients []asker
	for range loadClients {
		clients = append(clients, kept(t, dialler("tcp", s.api.HTTPAddresses()[0])))
	}
	underLoad(t, s, clients)
}

// HTTP/2 tells clients which requests were not processed, and Go's sends them again.
func TestShutdown_AnswersWhatWasSentOverHTTP2(t *testing.T) {
	s, files := startTLS(t, busy())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: files.pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: await.Limit}
	var n atomic.Int64
	clients := make([]asker, loadClients)
	for i := range clients {
		clients[i] = func() error {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/pins", bytes.NewReader([]byte(body(int(n.Add(1)), ""))))
			if err != nil {
				return err
			}
			r.SetBasicAuth(testUser, testPassword)
			r.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(r)
			if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
				return errRefused
			}
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted || resp.ProtoMajor != 2 {
				return fmt.Errorf("%s %s", resp.Proto, resp.Status)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}
	}
	underLoad(t, s, clients)
}

// A stream of libp2p carries its request from the first packet on, so none is refused
// without an answer.
func TestShutdown_AnswersWhatWasSentOverLibp2p(t *testing.T) {
	for _, addr := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(addr, func(t *testing.T) {
			s := start(t, ownHost(t, addr), busy())
			var clients []asker
			for range loadClients / 8 {
				client := newHost(t, addr)
				for range 8 {
					clients = append(clients, each(streamDialler(t, client, s.api.Host())))
				}
			}
			underLoad(t, s, clients)
		})
	}
}

// Streams that come during a stop are answered too, and those before it that wait for a slot.
func TestShutdown_AnswersEveryStream(t *testing.T) {
	s := start(t, ownHost(t, "/ip4/127.0.0.1/tcp/0"), func(set *setup) {
		set.cfg.MaxConnections, set.cfg.ShutdownTimeout = config.MinConcurrency, time.Hour
		set.cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0")
	})
	g, statuses := occupy(t, s)
	dial := streamDialler(t, newHost(t), s.api.Host())
	const waiting = 3
	answers := make(chan error, waiting)
	for range waiting {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, err := exchange(conn, bufio.NewReader(conn)); answers <- err }()
	}
	await.True(t, "streams that wait", func() bool {
		s.api.streams.waiting.mu.Lock()
		defer s.api.streams.waiting.mu.Unlock()
		return s.api.streams.waiting.n == waiting
	})
	done := s.beginShutdown()
	await.True(t, "the second listener", func() bool {
		s.api.streams.mu.Lock()
		defer s.api.streams.mu.Unlock()
		return s.api.streams.second
	})
	if err := each(dial)(); !errors.Is(err, errRefused) {
		t.Errorf("a stream that came during the stop got %v", err)
	}
	close(g.open)
	for _, status := range statuses {
		if got := <-status; got != http.StatusOK {
			t.Errorf("a running request got %d", got)
		}
	}
	for range waiting {
		if err := <-answers; err != nil {
			t.Errorf("a stream that waited got %v", err)
		}
	}
	<-done
}

// dialler dials, with errRefused when that fails.
func dialler(network, addr string) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		conn, err := net.DialTimeout(network, addr, await.Limit)
		if err != nil {
			return nil, errors.Join(errRefused, err)
		}
		return conn, nil
	}
}

// streamDialler opens streams to server.
func streamDialler(t *testing.T, client, server host.Host) func() (net.Conn, error) {
	client.Peerstore().AddAddrs(server.ID(), server.Addrs(), peerstore.PermanentAddrTTL)
	if err := client.Connect(t.Context(), peer.AddrInfo{ID: server.ID()}); err != nil {
		t.Fatal(err)
	}
	return func() (net.Conn, error) {
		conn, err := gostream.Dial(t.Context(), client, server.ID(), p2phttp.DefaultP2PProtocol)
		if err != nil {
			return nil, errors.Join(errRefused, err)
		}
		return conn, nil
	}
}

// each asks on a connection of its own each time.
func each(dial func() (net.Conn, error)) asker {
	return func() error {
		conn, err := dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = exchange(conn, bufio.NewReader(conn))
		return err
	}
}

// kept asks on the same connection until the service says that it ends.
func kept(t *testing.T, dial func() (net.Conn, error)) asker {
	var conn net.Conn
	var reader *bufio.Reader
	t.Cleanup(func() {
		if conn != nil {
			conn.Close()
		}
	})
	return func() (err error) {
		if conn == nil {
			if conn, err = dial(); err != nil {
				conn = nil
				return err
			}
			reader = bufio.NewReader(conn)
		}
		last, err := exchange(conn, reader)
		if last || err != nil {
			conn.Close()
			conn = nil
		}
		return err
	}
}

// exchange sends a request and reads the answer. It reports whether the connection ends with it.
func exchange(conn net.Conn, reader *bufio.Reader) (last bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(await.Limit)); err != nil {
		return false, err
	}
	if _, err := fmt.Fprint(conn, healthRequest); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode == http.StatusServiceUnavailable {
		err = errors.Join(errRefused, err)
	}
	return resp.Close, err
}

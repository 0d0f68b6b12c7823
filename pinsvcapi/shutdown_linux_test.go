package pinsvcapi

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// attach has a socket drop packets of TCP.
func attach(t *testing.T, socket syscall.RawConn, program ...unix.SockFilter) {
	t.Helper()
	var failed error
	err := socket.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// dropAll drops every packet.
func dropAll() unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0} }

// butSYN drops what does not have the SYN flag: the last packet of a handshake, and what
// the client sends after it.
func butSYN() []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x02, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		dropAll(),
	}
}

// kernel is the listener of s at the kernel.
func kernel(s *service) *net.TCPListener { return s.api.listeners[0].Listener.(*net.TCPListener) }

// awaitHalfOpen waits until clients are making so many connections to s.
func awaitHalfOpen(t *testing.T, s *service, want int) {
	t.Helper()
	await.Success(t, "half-open connections", func() error {
		n, _, err := pending(kernel(s))
		if err == nil && n != want {
			err = fmt.Errorf("%d are half open, want %d", n, want)
		}
		return err
	})
}

// A client has connected and sent its request half a round trip before the last packet of the
// handshake is here.
func TestShutdown_AnswersWhatComesWithTheEndOfAHandshake(t *testing.T) {
	for _, addr := range []string{"/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"} {
		t.Run(addr, func(t *testing.T) {
			s := start(t, limits(func(d *drainLimits) { d.making = forEver }), func(set *setup) {
				set.cfg.HTTPListenAddr = addrs(t, addr)
			})
			socket, err := kernel(s).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			attach(t, socket, butSYN()...)
			conn, err := net.Dial("tcp", s.api.HTTPAddresses()[0])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprint(conn, healthRequest); err != nil {
				t.Fatal(err)
			}
			awaitHalfOpen(t, s, 1)
			done := s.beginShutdown() // Its filter takes the place of the other.
			ends(t, "the request", bufio.NewReader(conn))
			<-done
		})
	}
}

// One that is never made holds a stop for no longer than that.
func TestShutdown_AHandshakeThatDoesNotEndIsNotAwaited(t *testing.T) {
	s := start(t, limits(func(d *drainLimits) { d.making = 50 * time.Millisecond }))
	ctx, cancel := context.WithCancel(t.Context())
	dialler := net.Dialer{ControlContext: func(_ context.Context, _, _ string, socket syscall.RawConn) error {
		attach(t, socket, dropAll())
		return nil
	}}
	dialled := make(chan error)
	go func() {
		_, err := dialler.DialContext(ctx, "tcp", s.api.HTTPAddresses()[0])
		dialled <- err
	}()
	awaitHalfOpen(t, s, 1)
	await.Closed(t, "the stop", s.beginShutdown())
	cancel()
	if err := <-dialled; err == nil {
		t.Error("the client has connected")
	}
}

// Nothing is waited for that cannot come.
func TestShutdown_OfAnIdleServiceIsQuick(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	s := start(t, limits(func(d *drainLimits) { d.roundTrip, d.making, d.first = forEver, forEver, forEver }), func(set *setup) {
		set.cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0", "/unix"+socket)
	})
	_, reader := dialRaw(t, s, healthRequest)
	readResponse(t, reader)
	awaitIdle(t, s, 1)
	s.api.conns.mu.Lock()
	last := s.api.conns.idle.Back().Value.(*openConn)
	last.since = last.since.Add(-forEver)
	s.api.conns.mu.Unlock()
	await.Closed(t, "the stop", s.beginShutdown())
}

// A client may send the next request before it can know of the stop: at once after an
// answer. It is answered, and the client told that the connection ends.
func TestShutdown_AnswersTheRequestAfterTheLastAnswer(t *testing.T) {
	s := start(t, limits(func(d *drainLimits) { d.roundTrip = forEver }))
	conn, reader := dialRaw(t, s, healthRequest)
	if resp := readResponse(t, reader); resp.Close {
		t.Fatal("the connection ends before the stop")
	}
	awaitIdle(t, s, 1)
	done := s.beginShutdown()
	await.Closed(t, "the listener", s.api.listeners[0].drained)
	if _, err := fmt.Fprint(conn, healthRequest); err != nil {
		t.Fatal(err)
	}
	ends(t, "the next request", reader)
	<-done
}

// An answer that began before the stop cannot tell it, so the same holds for what comes after
// it.
func TestShutdown_AnswersTheRequestAfterAnAnswerThatHadBegun(t *testing.T) {
	s := start(t, streaming(untilDrained), limits(func(d *drainLimits) { d.roundTrip = forEver }))
	conn, reader := dialRaw(t, s, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := reader.Peek(1); err != nil {
		t.Fatal(err)
	}
	done := s.beginShutdown()
	if resp := readResponse(t, reader); resp.Close {
		t.Fatal("the connection ends with the stream")
	}
	if _, err := fmt.Fprint(conn, healthRequest); err != nil {
		t.Fatal(err)
	}
	ends(t, "the next request", reader)
	<-done
}

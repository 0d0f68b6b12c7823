package pinsvcapi

import (
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// Connections that come all the time do not hold the stop, where they cannot be kept out.
func TestListener_DrainIsBounded(t *testing.T) {
	endless := &endlessListener{}
	l := newConnections(1000).bound(endless)
	go acceptAll(l, func(conn net.Conn) { _ = conn.Close() })
	l.drain(t.Context(), drainLimits{roundTrip: forEver, making: 50 * time.Millisecond})
	if !endless.closed.Load() {
		t.Error("the listener is not closed")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// acceptAll accepts until the listener is closed.
func acceptAll(l net.Listener, each func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		each(conn)
	}
}

// endlessListener always has a connection.
type endlessListener struct {
	net.Listener
	closed, expired atomic.Bool
}

func (l *endlessListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *endlessListener) Accept() (net.Conn, error) {
	switch {
	case l.closed.Load():
		return nil, net.ErrClosed
	case l.expired.CompareAndSwap(true, false):
		return nil, os.ErrDeadlineExceeded
	}
	return &stubConn{}, nil
}

func (l *endlessListener) SetDeadline(at time.Time) error {
	l.expired.Store(!at.After(time.Now()))
	return nil
}

func (l *endlessListener) Close() error {
	l.closed.Store(true)
	return nil
}

// A stop waits for a connection until the server knows it: what the server does not know it is busy with, it drops.
func TestListener_AConnectionIsAcceptedOnceTheServerKnowsIt(t *testing.T) {
	l := newConnections(1000).bound(&endlessListener{})
	accepted := 0
	l.accepted = func() { accepted++ }
	for want := range 3 {
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if accepted != want {
			t.Errorf("%d are accepted while the server has not asked again, want %d", accepted, want)
		}
	}
}

// needyListener finds no file descriptor while it has none.
type needyListener struct {
	*net.TCPListener
	none func() bool
}

func (l *needyListener) Accept() (net.Conn, error) {
	if l.none() {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.TCPListener.Accept()
}

// drainNeedy drains a listener at which one connection waits, and returns how many were
// accepted. open is a connection that is idle, or nil.
func drainNeedy(t *testing.T, open *idleStub, making time.Duration) (accepted int64) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := newConnections(10)
	if open != nil {
		all.take()
		all.track(open, http.StateIdle)
	}
	l := all.bound(&needyListener{inner.(*net.TCPListener), func() bool { return open == nil || !open.closed.Load() }})
	waiting, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	drained, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drained)
		l.drain(t.Context(), drainLimits{roundTrip: 10 * time.Millisecond, making: making})
	}()
	await.True(t, "the drain", func() bool { return l.queue.Load() != nil })
	var n atomic.Int64
	go func() {
		defer close(ended)
		acceptAll(l, func(conn net.Conn) { n.Add(1); _ = conn.Close() })
	}()
	await.Closed(t, "the end of the drain", drained)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	return n.Load()
}

// idleStub is a connection of which only the end matters.
type idleStub struct {
	net.Conn
	closed atomic.Bool
}

func (s *idleStub) Close() error { s.closed.Store(true); return nil }

// Without a file descriptor, what waits is accepted when there is one again. An idle
// connection makes place.
func TestListener_DrainOutlivesTheWantOfFileDescriptors(t *testing.T) {
	if n := drainNeedy(t, &idleStub{}, forEver); n != 1 {
		t.Errorf("%d connections were accepted, want 1", n)
	}
}

// When there is no connection whose end could give one back, a stop ends nevertheless.
func TestListener_DrainWithoutFileDescriptorsEnds(t *testing.T) {
	if n := drainNeedy(t, nil, 50*time.Millisecond); n != 0 {
		t.Errorf("%d connections were accepted", n)
	}
}

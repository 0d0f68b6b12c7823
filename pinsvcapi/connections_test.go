package pinsvcapi

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

const healthRequest = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"

// readResponse reads one response and its body.
func readResponse(t *testing.T, reader *bufio.Reader) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestConnections_ANewOneTakesThePlaceOfTheLongestIdle(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxConnections = config.MinConcurrency })
	var readers []*bufio.Reader
	for range config.MinConcurrency {
		_, reader := dialRaw(t, s, healthRequest)
		readResponse(t, reader)
		readers = append(readers, reader)
		awaitIdle(t, s, len(readers))
	}
	_, reader := dialRaw(t, s, healthRequest)
	if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK {
		t.Errorf("the connection above the limit got %d", resp.StatusCode)
	}
	closed(t, readers[0])
	if open := len(s.api.conns.slots); open != config.MinConcurrency {
		t.Errorf("%d connections are open, want %d", open, config.MinConcurrency)
	}
}

// awaitIdle waits until so many connections are idle.
func awaitIdle(t *testing.T, s *service, n int) {
	t.Helper()
	awaitConnections(t, s, func(c *connections) error {
		if idle := c.idle.Len(); idle != n {
			return fmt.Errorf("%d connections are idle, want %d", idle, n)
		}
		return nil
	})
}

// awaitConnections waits until check, which is called with the lock, is content.
func awaitConnections(t *testing.T, s *service, check func(*connections) error) {
	t.Helper()
	await.Success(t, "the connections", func() error {
		s.api.conns.mu.Lock()
		defer s.api.conns.mu.Unlock()
		return check(s.api.conns)
	})
}

func TestConnections_BusyOnesAreNotClosedAndOthersWait(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxConnections = config.MinConcurrency })
	g := newGate(s)
	var statuses []<-chan int
	for range config.MinConcurrency {
		statuses = append(statuses, s.inBackground())
		<-g.entered
	}
	conn, reader := dialRaw(t, s, healthRequest)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Peek(1); err == nil {
		t.Error("the connection above the limit was served")
	}
	close(g.open)
	for _, status := range statuses {
		if got := <-status; got != http.StatusOK {
			t.Errorf("a busy connection got %d", got)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK {
		t.Errorf("the connection that waited got %d", resp.StatusCode)
	}
}

// All are busy when a new one comes, and none of them ends: it takes the place of the first
// that is idle, and of no other.
func TestConnections_ANewOneThatWaitsTakesThePlaceOfTheNextIdle(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxConnections = config.MinConcurrency })
	g := newGate(s)
	for range config.MinConcurrency {
		_, reader := dialRaw(t, s, "GET /pins HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic "+basic(testUser, testPassword)+"\r\n\r\n")
		<-g.entered
		go func() { _, _ = io.Copy(io.Discard, reader) }() // Kept alive until the end.
	}
	_, reader := dialRaw(t, s, healthRequest)
	awaitConnections(t, s, func(c *connections) error {
		if c.waiting != 1 {
			return fmt.Errorf("%d connections wait, want 1", c.waiting)
		}
		return nil
	})
	close(g.open)
	if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK {
		t.Errorf("the connection that waited got %d", resp.StatusCode)
	}
	awaitIdle(t, s, config.MinConcurrency) // One of them is that which waited.
}

// stubConn is a connection of which only the end matters.
type stubConn struct {
	net.Conn
	closed bool
}

func (s *stubConn) Close() error { s.closed = true; return nil }

// A connection of a second listener may take the slot that an idle one was closed for: the one
// that waits takes the place of the next idle one then.
func TestConnections_ASlotThatAnotherListenerTookIsWantedStill(t *testing.T) {
	c := newConnections(1)
	first, second := &stubConn{}, &stubConn{}
	c.take()
	defer c.wait()()
	c.track(first, http.StateIdle)
	if !first.closed {
		t.Fatal("the idle connection was kept")
	}
	<-c.slots // It has ended.
	if !c.take() {
		t.Fatal("there is no slot for the second listener's connection")
	}
	c.track(second, http.StateActive)
	c.track(second, http.StateIdle)
	if !second.closed {
		t.Error("a connection waits while another one is idle")
	}
}

// The shutdown ends an Accept that waits for a slot.
func TestBoundedListener_CloseEndsTheWait(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := newConnections(1)
	l := all.bound(inner)
	for range 2 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Accept returned %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if len(all.slots) != 0 {
		t.Errorf("%d slots are taken", len(all.slots))
	}
}

// A client of HTTPS that reads nothing has filled what lies between. The message that the connection ends waits for it
// no longer than a moment, and so does the connection that wants its slot.
func TestConnections_AClientThatReadsNothingKeepsNoSlot(t *testing.T) {
	all := newConnections(1)
	all.slots <- struct{}{}
	client, server := net.Pipe() // What is written waits for the reader.
	defer client.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := certificate(t, key)
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	idle := tls.Server((&boundedListener{all: all}).counted(server), &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
	if err := errors.Join(idle.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	for _, state := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle} {
		all.track(idle, state)
	}
	began := time.Now()
	defer all.wait()()
	all.slots <- struct{}{}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the slot was free after %s", took)
	}
}

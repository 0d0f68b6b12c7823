package pinsvcapi

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// What a client has sent before the listener is closed is answered, also on connections
// that nobody has accepted or read yet.
func TestShutdown_AnswersWhatWasSentBefore(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	s := start(t, func(set *setup) {
		set.cfg.HTTPListenAddr = append(set.cfg.HTTPListenAddr, addrs(t, "/unix"+socket)...)
	})
	const clients = 32
	var answered atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		network, addr := "tcp", s.api.HTTPAddresses()[0]
		if i%2 == 0 {
			network, addr = "unix", socket
		}
		all.Go(func() {
			for {
				sent, err := ask(network, addr)
				switch {
				case err == nil:
					answered.Add(1)
				case sent:
					t.Errorf("%s: a request that was sent got no answer: %v", network, err)
					return
				default:
					return // Refused.
				}
			}
		})
	}
	await.Success(t, "load", func() error {
		if n := answered.Load(); n < 4*clients {
			return fmt.Errorf("%d requests were answered", n)
		}
		return nil
	})
	s.shutdown(context.Background())
	all.Wait()
}

// ask sends one request on a connection of its own, and reports whether it was sent.
func ask(network, addr string) (sent bool, err error) {
	conn, err := net.DialTimeout(network, addr, 10*time.Second)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return false, err
	}
	if _, err := fmt.Fprint(conn, healthRequest); err != nil {
		return true, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return true, err
	}
	return true, resp.Body.Close()
}

// With as many connections as there may be, one waits for a slot and others in the queue
// of the kernel.
func TestShutdown_AnswersWhatWaitsToBeAccepted(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxConnections = config.MinConcurrency })
	g := newGate(s)
	var statuses []<-chan int
	for range config.MinConcurrency {
		statuses = append(statuses, s.inBackground())
		<-g.entered
	}
	var waiting []*bufio.Reader
	for range 3 {
		_, reader := dialRaw(t, s, healthRequest)
		waiting = append(waiting, reader)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(context.Background())
	}()
	<-s.api.draining.Done()
	close(g.open)
	for _, status := range statuses {
		if got := <-status; got != http.StatusOK {
			t.Errorf("a running request got %d", got)
		}
	}
	for _, reader := range waiting {
		if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK || !resp.Close {
			t.Errorf("a request that waited got %d, the connection ends: %t", resp.StatusCode, resp.Close)
		}
	}
	<-done
}

// Of a connection that was accepted, the first request is read for a moment more.
func TestShutdown_AFirstRequestThatIsUnderwayIsAnswered(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.ShutdownTimeout = time.Hour })
	conn, reader := dialRaw(t, s, healthRequest[:len(healthRequest)-2])
	awaitFresh(t, s, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(context.Background())
	}()
	await.Closed(t, "the listener", s.api.listeners[0].drained)
	if _, err := fmt.Fprint(conn, healthRequest[len(healthRequest)-2:]); err != nil {
		t.Fatal(err)
	}
	if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("it got %d, the connection ends: %t", resp.StatusCode, resp.Close)
	}
	<-done
}

// Slow and silent ones hold a stop for no longer than that.
func TestShutdown_AFirstRequestThatDoesNotComeEndsTheConnection(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.ShutdownTimeout = time.Hour })
	_, reader := dialRaw(t, s, healthRequest[:len(healthRequest)-2])
	awaitFresh(t, s, 1)
	began := time.Now()
	s.shutdown(context.Background())
	if took := time.Since(began); took < freshLimit || took > acceptLimit+freshLimit+2*time.Second {
		t.Errorf("the stop took %s", took)
	}
	closed(t, reader)
}

// awaitFresh waits until of so many connections no request was read.
func awaitFresh(t *testing.T, s *service, n int) {
	t.Helper()
	awaitConnections(t, s, func(c *connections) error {
		if len(c.fresh) != n {
			return fmt.Errorf("%d connections are fresh, want %d", len(c.fresh), n)
		}
		return nil
	})
}

// While the listener is drained, clients that keep connections learn that theirs end.
func TestShutdown_TellsKeptConnectionsFirst(t *testing.T) {
	s := start(t, func(set *setup) { set.opts.drainQuiet = 500 * time.Millisecond })
	conn, reader := dialRaw(t, s, healthRequest)
	if resp := readResponse(t, reader); resp.Close {
		t.Fatal("the connection ends before the stop")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(context.Background())
	}()
	<-s.api.draining.Done()
	if _, err := fmt.Fprint(conn, healthRequest); err != nil {
		t.Fatal(err)
	}
	if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("the request got %d, the connection ends: %t", resp.StatusCode, resp.Close)
	}
	<-done
}

// Connections that come all the time do not hold the stop, where they cannot be kept out.
func TestListener_DrainIsBounded(t *testing.T) {
	endless := &endlessListener{}
	l := newConnections(1000).bound(endless)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l.drain(ctx, time.Hour)
	if ctx.Err() == nil {
		t.Error("the listener has no more connections")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
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

// Another process may listen at a Unix socket's path as soon as the file is gone.
func TestShutdown_LeavesTheSocketOfItsSuccessor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	s := start(t, func(set *setup) {
		set.cfg.HTTPListenAddr, set.opts.drainQuiet = addrs(t, "/unix"+socket), 500*time.Millisecond
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(context.Background())
	}()
	var successor net.Listener
	await.Success(t, "a successor", func() (err error) {
		successor, err = net.Listen("unix", socket)
		return err
	})
	defer successor.Close()
	<-done
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the stop has removed the socket of another process: %v", err)
	}
}

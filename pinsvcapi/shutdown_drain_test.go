package pinsvcapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// limits makes the times of a stop others. They are bounded by a quarter of shutdown_timeout,
// which is long enough for any of a test.
func limits(change func(*drainLimits)) func(*setup) {
	return func(set *setup) {
		set.cfg.ShutdownTimeout = 8 * time.Hour
		set.cfg.ReadHeaderTimeout, set.cfg.ReadTimeout, set.cfg.IdleTimeout = forEver, forEver, forEver
		change(&set.opts.drain)
	}
}

// forEver is longer than a test.
const forEver = time.Hour

// beginShutdown returns once the stop has begun, with what is closed when it has ended.
func (s *service) beginShutdown() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(context.Background())
	}()
	<-s.api.draining.Done()
	return done
}

// occupy takes all slots with requests that run until the gate is opened.
func occupy(t *testing.T, s *service) (g gate, statuses []<-chan int) {
	t.Helper()
	g = newGate(s)
	for range config.MinConcurrency {
		statuses = append(statuses, s.inBackground())
		<-g.entered
	}
	return g, statuses
}

// awaitWaiting waits until so many connections wait for a slot.
func awaitWaiting(t *testing.T, s *service, n int) {
	t.Helper()
	awaitConnections(t, s, func(c *connections) error {
		if c.waiting != n {
			return fmt.Errorf("%d connections wait, want %d", c.waiting, n)
		}
		return nil
	})
}

// ends wants an answer with the header that says that the connection ends.
func ends(t *testing.T, what string, reader *bufio.Reader) {
	t.Helper()
	if resp := readResponse(t, reader); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("%s got %d, the connection ends: %t", what, resp.StatusCode, resp.Close)
	}
}

// With as many connections as there may be, one waits for a slot and others in the queue
// of the kernel. However long the requests before them take, they are answered.
func TestShutdown_AnswersWhatWaitsToBeAccepted(t *testing.T) {
	short := 10 * time.Millisecond
	s := start(t, limits(func(d *drainLimits) { d.making = short }),
		func(set *setup) { set.cfg.MaxConnections = config.MinConcurrency })
	g, statuses := occupy(t, s)
	var waiting []*bufio.Reader
	for range 3 {
		_, reader := dialRaw(t, s, healthRequest)
		waiting = append(waiting, reader)
	}
	awaitWaiting(t, s, 1)
	done := s.beginShutdown()
	<-time.After(10 * short) // That the limit has passed is what is tested.
	close(g.open)
	for _, status := range statuses {
		if got := <-status; got != http.StatusOK {
			t.Errorf("a running request got %d", got)
		}
	}
	for _, reader := range waiting {
		ends(t, "a request that waited", reader)
	}
	<-done
}

// Connections that send nothing do not keep others from their slots.
func TestShutdown_AnswersWhatWaitsBehindSilentConnections(t *testing.T) {
	s := start(t, limits(func(*drainLimits) {}), func(set *setup) { set.cfg.MaxConnections = config.MinConcurrency })
	for range config.MinConcurrency {
		dialRaw(t, s, "")
	}
	awaitFresh(t, s, config.MinConcurrency)
	var waiting []*bufio.Reader
	for range 2 {
		_, reader := dialRaw(t, s, healthRequest)
		waiting = append(waiting, reader)
	}
	awaitWaiting(t, s, 1)
	done := s.beginShutdown()
	for _, reader := range waiting {
		ends(t, "a request that waited", reader)
	}
	<-done
}

// halfSent opens a connection whose first request is not complete.
func halfSent(t *testing.T, s *service) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, reader := dialRaw(t, s, healthRequest[:len(healthRequest)-2])
	awaitFresh(t, s, 1)
	return conn, reader
}

// complete sends the rest of it, which must be answered.
func complete(t *testing.T, conn net.Conn, reader *bufio.Reader) {
	t.Helper()
	if _, err := fmt.Fprint(conn, healthRequest[len(healthRequest)-2:]); err != nil {
		t.Fatal(err)
	}
	ends(t, "the first request", reader)
}

// Of a connection that was accepted, the first request is read for a moment more.
func TestShutdown_AFirstRequestThatIsUnderwayIsAnswered(t *testing.T) {
	s := start(t, limits(func(d *drainLimits) { d.first = forEver }))
	conn, reader := halfSent(t, s)
	done := s.beginShutdown()
	await.Closed(t, "the listener", s.api.listeners[0].drained)
	complete(t, conn, reader)
	<-done
}

// Slow and silent ones hold a stop for no longer than that, which is less than net/http
// would give them.
func TestShutdown_AFirstRequestThatDoesNotComeEndsTheConnection(t *testing.T) {
	for name, text := range map[string]string{"half a request": healthRequest[:len(healthRequest)-2], "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			s := start(t, limits(func(d *drainLimits) { d.first = 10 * time.Millisecond }))
			_, reader := dialRaw(t, s, text)
			awaitFresh(t, s, 1)
			left := make(chan int, 1)
			s.api.server.RegisterOnShutdown(func() { left <- len(s.api.conns.unread()) })
			s.shutdown(context.Background())
			if n := <-left; n != 0 {
				t.Errorf("%d silent connections are left to net/http", n)
			}
			closed(t, reader)
		})
	}
}

// awaitFresh waits until of so many connections no request was read.
func awaitFresh(t *testing.T, s *service, n int) {
	t.Helper()
	await.Success(t, "the connections", func() error {
		if fresh := len(s.api.conns.unread()); fresh != n {
			return fmt.Errorf("%d connections are fresh, want %d", fresh, n)
		}
		return nil
	})
}

// A request that began before the stop tells it too.
func TestShutdown_TellsRunningRequests(t *testing.T) {
	s := start(t, limits(func(d *drainLimits) { d.first = forEver }))
	slow, slowReader := halfSent(t, s) // While it is awaited, net/http knows of no stop.
	g := newGate(s)
	_, reader := dialRaw(t, s, "GET /pins HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic "+basic(testUser, testPassword)+"\r\n\r\n")
	<-g.entered
	done := s.beginShutdown()
	close(g.open)
	ends(t, "a running request", reader)
	complete(t, slow, slowReader)
	<-done
}

// Another process may listen at a Unix socket's path as soon as the file is gone, while
// the stop waits still.
func TestShutdown_LeavesTheSocketOfItsSuccessor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	s := start(t, limits(func(d *drainLimits) { d.first = 10 * time.Millisecond }), func(set *setup) {
		set.cfg.HTTPListenAddr = append(set.cfg.HTTPListenAddr, addrs(t, "/unix"+socket)...)
		set.cfg.MaxConnections = config.MinConcurrency
	})
	g, _ := occupy(t, s)
	waiting, err := net.Dial("unix", socket) // The socket is drained, and not closed, while this waits.
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	awaitWaiting(t, s, 1)
	done := s.beginShutdown()
	await.True(t, "the end of the file", func() bool {
		_, err := os.Stat(socket)
		return errors.Is(err, os.ErrNotExist)
	})
	select {
	case <-done:
		t.Fatal("the stop has ended")
	default:
	}
	successor, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	close(g.open)
	<-done
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the stop has removed the socket of another process: %v", err)
	}
}

package pinsvcapi

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// bound makes l accept no more connections than there are slots.
func (c *connections) bound(l net.Listener) *boundedListener {
	return &boundedListener{
		Listener: l, all: c, closed: make(chan struct{}),
		drained: make(chan struct{}), closeOnce: sync.OnceValue(l.Close),
	}
}

// boundedListener holds one connection more than the limit while that waits for a
// slot. Its Accept is for one goroutine at a time.
type boundedListener struct {
	net.Listener
	all    *connections
	closed chan struct{}
	once   sync.Once

	quiet     atomic.Int64  // of drain, a time.Duration; zero before
	drained   chan struct{} // closed once drain has nothing more to accept
	closeOnce func() error  // closes Listener
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) { // Only drain sets deadlines.
		conn, err = l.acceptQueued()
	}
	if err != nil && l.quiet.Load() > 0 {
		close(l.drained)
		<-l.closed // The server would take it for a fault before.
	}
	if err != nil {
		return nil, err
	}
	if l.all.take() {
		return l.counted(conn), nil
	}
	defer l.all.wait()()
	select {
	case l.all.slots <- struct{}{}:
		return l.counted(conn), nil
	case <-l.closed:
		logFault("closing a connection", conn.Close())
		return nil, net.ErrClosed
	}
}

// deadliner is a listener of the kernel's, in whose queue connections wait that clients
// have made and that nobody has accepted.
type deadliner interface {
	net.Listener
	SetDeadline(time.Time) error
}

// drain has Accept accept what clients have connected until now, returns once it did, when
// nothing has come for quiet, and closes the listener. New connections are kept out
// where the system can do that. When ctx ends it waits no longer. Close is to follow.
//
// Close alone resets what waits in the kernel's queue, also whole requests.
func (l *boundedListener) drain(ctx context.Context, quiet time.Duration) {
	queue, ok := l.Listener.(deadliner)
	if !ok || ctx.Err() != nil {
		return
	}
	if err := keepOut(queue); err != nil {
		logger.Debugf("new connections to %s are accepted for a moment more: %v", l.Addr(), err)
	}
	l.quiet.Store(int64(quiet))
	logFault("ending a listener", queue.SetDeadline(time.Now()))
	select {
	case <-l.drained:
	case <-ctx.Done():
	}
	logFault("closing a listener", l.closeOnce())
}

// acceptQueued accepts while drain runs. It returns os.ErrDeadlineExceeded once nothing
// waits.
func (l *boundedListener) acceptQueued() (net.Conn, error) {
	queue, quiet := l.Listener.(deadliner), time.Duration(l.quiet.Load())
	for {
		if err := queue.SetDeadline(time.Now().Add(quiet)); err != nil {
			return nil, err
		}
		began := time.Now()
		conn, err := queue.Accept()
		// On a busy machine the deadline may pass before Accept looks.
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) >= quiet/2 {
			return conn, err
		}
	}
}

func (l *boundedListener) counted(conn net.Conn) net.Conn {
	return &countedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.all.slots })}
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.closeOnce()
}

// countedConn gives its slot back when it is closed.
type countedConn struct {
	net.Conn
	release func()
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

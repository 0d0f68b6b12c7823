package pinsvcapi

import (
	"net"
	"sync"
	"sync/atomic"
)

// bound makes l accept no more connections than there are slots.
func (c *connections) bound(l net.Listener) *boundedListener {
	closed := make(chan struct{})
	return &boundedListener{
		Listener: l, all: c,
		closed: closed, endWait: sync.OnceFunc(func() { close(closed) }), closeInner: sync.OnceValue(l.Close),
		accepted: func() {}, drained: make(chan struct{}),
	}
}

// boundedListener holds one connection more than the limit while that waits for a
// slot. Its Accept is for one goroutine at a time.
type boundedListener struct {
	net.Listener
	all *connections

	closed     chan struct{} // ends the wait for a slot
	endWait    func()        // closes closed
	closeInner func() error  // closes Listener

	accepted func()                     // called for each connection once the server knows it
	handed   bool                       // Accept has returned one that accepted was not called for.
	queue    atomic.Pointer[queueDrain] // of drain, nil before
	drained  chan struct{}              // closed once drain has nothing more to accept
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	if l.handed { // The server has told its ConnState of it when it asks for the next.
		l.handed = false
		l.accepted()
	}
	conn, err := l.next()
	if err != nil {
		return nil, err
	}
	l.handed = true
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

// next accepts a connection that has no slot yet. While drain runs, an error is no reason
// to accept no more: it may be that of the deadline which drain has set, or that there is no
// file descriptor.
func (l *boundedListener) next() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	queue := l.queue.Load()
	if err == nil || queue == nil {
		return conn, err
	}
	if conn, err = queue.accept(); err == nil {
		return conn, nil
	}
	close(l.drained)
	<-l.closed // The server would take it for a fault before.
	return nil, net.ErrClosed
}

func (l *boundedListener) counted(conn net.Conn) net.Conn {
	return &countedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.all.slots })}
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.endWait()
	return l.closeInner()
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

package pinsvcapi

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds the open connections of all listeners together, so that
// clients cannot use up the process's file descriptors. At the limit a new
// connection takes the place of the one that has been idle longest; when none is
// idle it waits until one is, or ends.
type connections struct {
	slots chan struct{}

	mu sync.Mutex // guards what follows
	// fresh are connections that have not sent a byte yet. Browsers open some in
	// advance, and the shutdown of net/http would give each 5 seconds.
	fresh map[net.Conn]struct{}
	idle  *list.List // net.Conn, idle longest first
	at    map[net.Conn]*list.Element
	// waiting are the connections that wait for a slot, and wanted those of them for
	// which no idle one was closed yet.
	waiting, wanted int
}

func newConnections(limit int) *connections {
	return &connections{
		slots: make(chan struct{}, limit),
		fresh: make(map[net.Conn]struct{}),
		idle:  list.New(),
		at:    make(map[net.Conn]*list.Element),
	}
}

// track is the ConnState of the server.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.note(conn, state)
	if state == http.StateIdle {
		c.evict()
	}
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fresh, conn)
	if e := c.at[conn]; e != nil {
		c.idle.Remove(e)
		delete(c.at, conn)
	}
	switch state {
	case http.StateNew:
		c.fresh[conn] = struct{}{}
	case http.StateIdle:
		c.at[conn] = c.idle.PushBack(conn)
	}
}

// closeFresh is called by the server once it accepts no more connections.
func (c *connections) closeFresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.fresh {
		logFault("closing a connection", conn.Close())
	}
}

// evict closes the connection that has been idle longest, if any is idle, for one
// that waits.
func (c *connections) evict() {
	// Closing may take a while, and is done without the lock.
	if conn := c.longestIdle(); conn != nil {
		logFault("closing an idle connection", conn.Close())
	}
}

// longestIdle returns a connection to close, or nil.
func (c *connections) longestIdle() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.idle.Front()
	if first == nil || c.wanted == 0 {
		return nil
	}
	c.wanted--
	conn := first.Value.(net.Conn)
	c.idle.Remove(first)
	delete(c.at, conn)
	return conn
}

// wait is called before one waits for a slot; stop when it waits no more.
func (c *connections) wait() (stop func()) {
	c.mu.Lock()
	c.waiting++
	c.wanted++
	c.mu.Unlock()
	c.evict()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting--
		c.wanted = min(c.wanted, c.waiting) // The slot may be that of one that ended by itself.
	}
}

// take takes a slot if one is free. It may be the one that an idle connection was closed
// for, by a connection of another listener: then the one that waits wants the next.
func (c *connections) take() bool {
	select {
	case c.slots <- struct{}{}:
	default:
		return false
	}
	c.mu.Lock()
	c.wanted = min(c.wanted+1, c.waiting)
	c.mu.Unlock()
	c.evict()
	return true
}

// bound makes l accept no more connections than there are slots.
func (c *connections) bound(l net.Listener) net.Listener {
	return &boundedListener{Listener: l, all: c, closed: make(chan struct{})}
}

// boundedListener holds one connection more than the limit while that waits for a
// slot.
type boundedListener struct {
	net.Listener
	all    *connections
	closed chan struct{}
	once   sync.Once
}

func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
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

func (l *boundedListener) counted(conn net.Conn) net.Conn {
	return &countedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.all.slots })}
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
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

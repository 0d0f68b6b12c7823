package pinsvcapi

import (
	"container/list"
	"context"
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
	// fresh are connections whose first request was not answered yet, with whether it was
	// read. Browsers open some in advance, and the shutdown of net/http would give each 5
	// seconds.
	fresh map[net.Conn]bool
	// noneFresh, when not nil, is closed once none is fresh.
	noneFresh chan struct{}

	idle *list.List // net.Conn, idle longest first
	at   map[net.Conn]*list.Element
	// waiting are the connections that wait for a slot, and wanted those of them for
	// which no idle one was closed yet.
	waiting, wanted int
}

func newConnections(limit int) *connections {
	return &connections{
		slots: make(chan struct{}, limit),
		fresh: make(map[net.Conn]bool),
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
	_, fresh := c.fresh[conn]
	delete(c.fresh, conn)
	if e := c.at[conn]; e != nil {
		c.idle.Remove(e)
		delete(c.at, conn)
	}
	switch state {
	case http.StateNew:
		c.fresh[conn] = false
	case http.StateActive:
		if fresh {
			c.fresh[conn] = true
		}
	case http.StateIdle:
		c.at[conn] = c.idle.PushBack(conn)
	}
	if c.noneFresh != nil && len(c.fresh) == 0 {
		close(c.noneFresh)
		c.noneFresh = nil
	}
}

// awaitFresh waits until no connection is fresh, or ctx ends. It is called once, before
// the shutdown of the server: from then on net/http drops what it has read and not yet
// handed to a handler.
func (c *connections) awaitFresh(ctx context.Context) {
	none := make(chan struct{})
	c.mu.Lock()
	if len(c.fresh) == 0 {
		c.mu.Unlock()
		return
	}
	c.noneFresh = none
	c.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// closeUnread is called by the server once it accepts no more connections. It closes those
// of which no request was read.
func (c *connections) closeUnread() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, read := range c.fresh {
		if !read {
			logFault("closing a connection", conn.Close())
		}
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

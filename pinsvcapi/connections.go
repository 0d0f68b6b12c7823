package pinsvcapi

import (
	"container/list"
	"context"
	"crypto/tls"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections bounds the open connections of all listeners together, so that
// clients cannot use up the process's file descriptors. At the limit a new
// connection takes the place of the one that has been idle longest; when none is
// idle it waits until one is, or ends.
type connections struct {
	slots chan struct{}

	mu   sync.Mutex // guards what follows
	open map[net.Conn]*openConn
	idle *list.List // *openConn, idle longest first
	// busy is how many connections are not idle: their first request was not read yet, or
	// one is being answered.
	busy int
	// noneBusy, when not nil, is closed once none is.
	noneBusy chan struct{}
	// firstLimit is within what time the first request of a new connection is to be read
	// during a stop. Zero before.
	firstLimit time.Duration

	// waiting are the connections that wait for a slot, and wanted those of them for
	// which no idle one was closed yet.
	waiting, wanted int
}

// openConn is a connection that the server knows.
type openConn struct {
	net.Conn
	busy  bool
	fresh bool          // no request was read
	limit *time.Timer   // of firstLimit, while it is fresh; nil before a stop
	place *list.Element // while it is idle
	since time.Time     // when that began
}

// closingLimit is for how long the client of a connection that is closed is told so. The message of TLS
// would wait 5 seconds for one that reads nothing, and others for its slot.
const closingLimit = 100 * time.Millisecond

// end closes a connection on which nothing is sent.
func (o *openConn) end(doing string) {
	if secure, ok := o.Conn.(*tls.Conn); ok {
		cut := time.AfterFunc(closingLimit, func() { logFault(doing, secure.NetConn().Close()) })
		defer cut.Stop()
	}
	logFault(doing, o.Close())
}

func newConnections(limit int) *connections {
	return &connections{
		slots: make(chan struct{}, limit),
		open:  make(map[net.Conn]*openConn),
		idle:  list.New(),
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
	o := c.open[conn]
	if o == nil {
		o = &openConn{Conn: conn}
		c.open[conn] = o
	}
	c.setBusy(o, state == http.StateNew || state == http.StateActive)
	o.fresh = state == http.StateNew
	if o.limit != nil {
		o.limit.Stop()
	}
	if o.place != nil {
		c.idle.Remove(o.place)
		o.place = nil
	}
	switch state {
	case http.StateNew:
		c.boundFirst(o)
	case http.StateIdle:
		o.place, o.since = c.idle.PushBack(o), time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

// setBusy is called with the lock.
func (c *connections) setBusy(o *openConn, busy bool) {
	switch {
	case busy && !o.busy:
		c.busy++
	case !busy && o.busy:
		c.busy--
	}
	o.busy = busy
	if c.busy == 0 && c.noneBusy != nil {
		close(c.noneBusy)
		c.noneBusy = nil
	}
}

// limitFirst begins to close connections of which no request is read within limit from
// now, or from their beginning: they may have the slots that others wait for. Browsers open
// some in advance.
func (c *connections) limitFirst(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.firstLimit = limit
	for _, o := range c.open {
		c.boundFirst(o)
	}
}

// boundFirst is called with the lock.
func (c *connections) boundFirst(o *openConn) {
	if o.fresh && c.firstLimit > 0 {
		o.limit = time.AfterFunc(c.firstLimit, func() { c.endUnread(o) })
	}
}

// endUnread closes a connection if no request was read.
func (c *connections) endUnread(o *openConn) {
	c.mu.Lock()
	unread := o.fresh
	c.mu.Unlock()
	if unread {
		o.end("closing a connection")
	}
}

// idleLook is how often idle connections are looked at.
const idleLook = 10 * time.Millisecond

// awaitQuiet waits until no connection is busy and each has been idle for that long, or ctx
// ends. The client of another one may have read an answer and sent the next request. It
// comes before the shutdown of the server, after which net/http drops what it has read and
// not yet handed to a handler.
func (c *connections) awaitQuiet(ctx context.Context, long time.Duration) {
	for ctx.Err() == nil {
		none, since := c.quiet()
		if none == nil {
			if since >= long {
				return
			}
			pause(ctx, min(long-since, idleLook)) // It may end or be busy before.
			continue
		}
		select {
		case <-none:
		case <-ctx.Done():
		}
	}
}

// quiet returns what is closed once no connection is busy, or nil and how long all have
// been idle. One goroutine at a time may wait.
func (c *connections) quiet() (none <-chan struct{}, idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy > 0 {
		c.noneBusy = make(chan struct{})
		return c.noneBusy, 0
	}
	last := c.idle.Back()
	if last == nil {
		return nil, math.MaxInt64
	}
	return nil, time.Since(last.Value.(*openConn).since)
}

// closeUnread is called by the server once it accepts no more connections. It closes those
// of which no request was read: the shutdown of net/http would give each 5 seconds.
func (c *connections) closeUnread() {
	for _, o := range c.unread() {
		o.end("closing a connection") // See evict.
	}
}

func (c *connections) unread() []*openConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unread []*openConn
	for _, o := range c.open {
		if o.fresh {
			unread = append(unread, o)
		}
	}
	return unread
}

// evict closes the connection that has been idle longest, if any is idle, for one
// that waits.
func (c *connections) evict() {
	// Closing may take a while, and is done without the lock.
	if conn := c.longestIdle(); conn != nil {
		conn.end("closing an idle connection")
	}
}

// longestIdle returns a connection to close, or nil.
func (c *connections) longestIdle() *openConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.idle.Front()
	if first == nil || c.wanted == 0 {
		return nil
	}
	c.wanted--
	o := first.Value.(*openConn)
	c.idle.Remove(first)
	o.place = nil
	return o
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

package pinsvcapi

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// cutOffGrace is how long handlers whose requests were cut off may take to
// notice. They end when their context does, so this is long.
const cutOffGrace = 5 * time.Second

// drain ends serving, gracefully while there is time.
func (api *API) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, api.cfg.ShutdownTimeout)
	defer cancel()
	if err := api.server.Shutdown(ctx); err != nil {
		logger.Warnf("requests did not finish within the shutdown timeout and are cut off: %v", err)
		api.cancel()
		logFault("closing connections", api.server.Close())
	}
	api.cancel()
	api.serving.Wait()
	// net/http does not wait for handlers whose connections it closed, and
	// they must not use a backend that is closed.
	if left := api.running.wait(cutOffGrace); left > 0 {
		logger.Errorf("%d requests do not end although they were cut off", left)
	}
}

// running counts requests. The zero value counts none.
type running struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // when not nil, closed once n is zero
}

func (c *running) add(d int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += d
	if c.n == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// wait returns once none is running, or after the time how many still are.
// One goroutine at a time may wait.
func (c *running) wait(limit time.Duration) (left int) {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return 0
	}
	none := make(chan struct{})
	c.none = none
	c.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-none:
		return 0
	case <-timer.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.none = nil
	return c.n
}

// silent are the connections that have not sent a byte yet. Browsers open some
// in advance, and the shutdown of net/http would give each of them 5 seconds.
type silent struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// watch is the ConnState of the server.
func (s *silent) watch(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.conns[conn] = struct{}{}
		return
	}
	delete(s.conns, conn)
}

// close is called by the server once it takes no more connections.
func (s *silent) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		logFault("closing a connection", conn.Close())
	}
}

package pinsvcapi

import (
	"context"
	"sync"
	"time"
)

// cutOffGrace is how long handlers may take to return once their requests were
// cut off. They return when their contexts end, so this is long.
const cutOffGrace = 5 * time.Second

// Shutdown stops accepting connections, ends streams, lets other requests
// finish for as long as the configuration's shutdown_timeout and ctx allow, and
// closes the rest: the connections, the backend and the API's own libp2p host.
// It may be called any number of times. It always returns nil, because an error
// would make the cluster skip the rest of its own shutdown; faults are logged.
func (api *API) Shutdown(ctx context.Context) error {
	api.lifecycle.Lock()
	defer api.lifecycle.Unlock()
	if api.shutdown {
		return nil
	}
	api.shutdown = true
	api.drain(ctx)
	if b := api.backend.Load(); b != nil {
		b.Close()
	}
	if api.ownHost {
		logFault("closing the libp2p host", api.host.Close())
	}
	logFault("closing the access log", api.accessLog.Close())
	return nil
}

// drain ends serving, gracefully while there is time.
func (api *API) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, api.cfg.ShutdownTimeout)
	defer cancel()
	api.beginDrain()
	if err := api.server.Shutdown(ctx); err != nil {
		logger.Warnf("requests did not finish within shutdown_timeout and are cut off: %v", err)
		api.cutOff(errCutOff)
		logFault("closing connections", api.server.Close())
	}
	api.cutOff(errCutOff)
	api.serving.Wait()
	// net/http does not wait for handlers whose connections it closed, and
	// they must not use a backend that is closed.
	if left := api.requests.wait(cutOffGrace); left > 0 {
		logger.Errorf("%d requests do not end although they were cut off", left)
	}
}

// requestCounter counts the requests in flight. The zero value counts none.
type requestCounter struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // when not nil, closed once n is zero
}

func (c *requestCounter) add(d int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += d
	if c.n == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// wait returns once none is in flight, or after the time limit how many still
// are. One goroutine at a time may wait.
func (c *requestCounter) wait(limit time.Duration) (left int) {
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

package pinsvcapi

import (
	"context"
	"sync"
	"time"

	p2phttp "github.com/libp2p/go-libp2p-http"
)

// cutOffGrace is how long handlers may take to return once their requests were
// cut off. They return when their contexts end, so this is long.
const cutOffGrace = 5 * time.Second

const (
	// drainQuiet is for how long no connection must come before the listeners are closed.
	// It is more than the time of a round trip, as a client has connected and sent a
	// request before its last packet is here.
	drainQuiet = 100 * time.Millisecond
	// acceptLimit bounds that, if connections come all the time.
	acceptLimit = time.Second
	// freshLimit is for how long a stop waits then for the first requests of connections.
	// What was sent before is read within milliseconds; silent and slow clients hold the
	// stop for no longer.
	freshLimit = time.Second
)

// Shutdown accepts the connections that clients have made, and no more, ends
// streams, lets other requests, also those that were only sent, finish for as long as the configuration's shutdown_timeout and ctx allow, and
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
	api.readWaiting(ctx)
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

// readWaiting accepts the connections that were made before, closes the listeners, and
// waits for the first request of each connection. Both together take at most half of
// shutdown_timeout. Meanwhile each response says that its connection ends, so that clients
// that keep connections send no request on one that is being closed as idle.
func (api *API) readWaiting(ctx context.Context) {
	quarter := api.cfg.ShutdownTimeout / 4
	accepting, cancel := context.WithTimeout(ctx, min(acceptLimit, quarter))
	defer cancel()
	var all sync.WaitGroup
	for _, l := range api.listeners {
		all.Go(func() { l.drain(accepting, api.opts.drainQuiet) })
	}
	if api.libp2p != nil {
		api.host.RemoveStreamHandler(p2phttp.DefaultP2PProtocol)
		// Streams that were opened are accepted at once: this listener has no queue.
		all.Go(func() { pause(accepting, api.opts.drainQuiet) })
	}
	all.Wait()
	reading, cancel := context.WithTimeout(ctx, min(freshLimit, quarter))
	defer cancel()
	api.conns.awaitFresh(reading)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
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

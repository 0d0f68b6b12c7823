package pinsvcapi

import (
	"context"
	"sync"
	"time"
)

// cutOffGrace is how long handlers may take to return once their requests were
// cut off. They return when their contexts end, so this is long.
const cutOffGrace = 5 * time.Second

// Shutdown accepts the connections that clients have made, and no more, ends streams, lets
// other requests finish, also those that were only sent, for as long as the configuration's
// shutdown_timeout and ctx allow, and closes the rest: the connections, the backend and the
// API's own libp2p host. It may be called any number of times. It always returns nil, because
// an error would make the cluster skip the rest of its own shutdown; faults are logged.
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
	logFault("closing the access log", api.accessLog.Close())
	return nil
}

// drain ends serving, gracefully while there is time.
func (api *API) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, api.cfg.ShutdownTimeout)
	defer cancel()
	api.beginDrain()
	api.finish(ctx)
	if err := api.server.Shutdown(ctx); err != nil {
		logger.Warnf("requests did not finish within shutdown_timeout and are cut off: %v", err)
		api.cutOff(errCutOff)
		logFault("closing connections", api.server.Close())
	}
	api.cutOff(errCutOff)
	api.serving.Wait()
	if api.libp2p != nil {
		api.endLibp2p(ctx)
	}
	// net/http does not wait for handlers whose connections it closed, and
	// they must not use a backend that is closed.
	limit, cancel := context.WithTimeout(context.Background(), cutOffGrace)
	defer cancel()
	if left := api.requests.wait(limit); left > 0 {
		logger.Errorf("%d requests do not end although they were cut off", left)
	}
}

// finish accepts the connections that were made before, closes the listeners, and
// waits for the first request of each connection, for the end of those that run, and for
// requests that clients send at once after an answer. Meanwhile each response says that its
// connection ends, so that clients that keep connections send no request on one that is being
// closed as idle.
func (api *API) finish(ctx context.Context) {
	limits := api.opts.drain.within(api.cfg.ShutdownTimeout)
	api.conns.limitFirst(limits.first)
	var all sync.WaitGroup
	for _, l := range api.listeners {
		all.Go(func() { l.drain(ctx, limits) })
	}
	if api.libp2p != nil {
		all.Go(func() { api.drainLibp2p(ctx) })
	}
	all.Wait()
	api.conns.awaitQuiet(ctx, limits.roundTrip)
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

// waitCounter counts what is underway. The zero value counts nothing.
type waitCounter struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // when not nil, closed once n is zero
}

func (c *waitCounter) add(d int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += d
	if c.n == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// wait returns once nothing is underway, or when ctx ends how much still is. One goroutine
// at a time may wait.
func (c *waitCounter) wait(ctx context.Context) (left int) {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return 0
	}
	none := make(chan struct{})
	c.none = none
	c.mu.Unlock()
	select {
	case <-none:
		return 0
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.none = nil
	return c.n
}

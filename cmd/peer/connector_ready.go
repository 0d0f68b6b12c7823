package peer

import (
	"context"
	"sync"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
)

// readyConnector is any IPFS connector with a readiness signal that can be
// held shut during a shutdown, see gate (U1 in docs/upstream-faults.md).
type readyConnector struct {
	ipfscluster.IPFSConnector
	ready *gate

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newReadyConnector(inner ipfscluster.IPFSConnector) *readyConnector {
	c := &readyConnector{IPFSConnector: inner, ready: newGate()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wg.Go(func() {
		select {
		case <-inner.Ready(c.ctx):
			c.ready.pass()
		case <-c.ctx.Done():
		}
	})
	return c
}

// Ready returns a channel that is closed once the IPFS node responds.
func (c *readyConnector) Ready(context.Context) <-chan struct{} { return c.ready.opened }

// Shutdown stops waiting for readiness and then shuts the connector down.
func (c *readyConnector) Shutdown(ctx context.Context) error {
	c.cancel()
	c.wg.Wait()
	return c.IPFSConnector.Shutdown(ctx)
}
